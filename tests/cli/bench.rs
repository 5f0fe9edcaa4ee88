//! `lemmy bench`.

use super::*;

fn bench(arguments: &[&str]) -> Done {
    done(lemmy(["bench", &tiny(), "-p", "32", "-n", "8", "-r", "3"]).args(arguments)).code(0)
}

#[test]
fn one_json_object_with_medians_and_spread() {
    let json = bench(&["--json", "-t", "2", "-d", "40"]).json();
    for kind in ["pp", "tg"] {
        let mut speeds: Vec<_> = json[kind].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        assert_eq!(speeds.len(), 3, "{kind}");
        assert!(speeds.iter().all(|&speed| speed > 0.0));
        speeds.sort_by(f64::total_cmp);
        let near = |key: &str, value: f64| (json[format!("{kind}_{key}")].as_f64().unwrap() - value).abs() < 1e-6;
        assert!(near("tok_s", speeds[1]) && near("spread", speeds[2] - speeds[0]), "{json}");
    }
    assert_eq!(json["threads"], 2);
    assert_eq!(json["depth"], 40);
    assert_eq!(json["file"], tiny());
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    for key in ["load_s", "first_token_s"] {
        assert!(json[key].as_f64().unwrap() > 0.0, "{key}");
    }
    for key in ["peak_rss_bytes", "cpu", "isa", "load_avg"] {
        assert!(json.get(key).is_some(), "{key}");
    }
    assert_eq!(bench(&["-o", "json"]).json().as_object().unwrap().len(), json.as_object().unwrap().len());
}

#[test]
fn the_columns_of_llama_bench() {
    let table = bench(&["-d", "16"]);
    let lines: Vec<_> = table.text().lines().collect();
    let columns: Vec<_> = lines[0].split_whitespace().collect();
    assert_eq!(columns, ["model", "size", "params", "backend", "threads", "test", "t/s"]);
    assert!(lines[1].contains("pp32 @ d16") && lines[1].contains(" ± "), "{table:?}");
    assert!(lines[2].contains("tg8 @ d16"), "{table:?}");
    assert!(table.err.starts_with("cpu: "), "{table:?}");

    let markdown = bench(&["-o", "md"]);
    assert!(markdown.text().lines().all(|line| line.starts_with('|') && line.ends_with('|')), "{markdown:?}");
    let csv = bench(&["-o", "csv", "-n", "0"]);
    assert_eq!(csv.text().lines().count(), 2);
    assert!(csv.text().starts_with("model,size,params,backend,threads,test,avg_ts,stddev_ts\n"));
}

#[test]
fn what_was_not_measured_is_null() {
    let json = bench(&["--json", "-p", "0"]).json();
    assert!(json["pp_tok_s"].is_null() && json["tg_tok_s"].is_number());
}
