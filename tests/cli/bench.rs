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

#[test]
fn limits_and_the_share_that_decode_reaches() {
    let json = bench(&["--json", "--limits", "-p", "0", "-t", "2"]).json();
    for order in ["sequence", "random"] {
        for threads in ["one_thread_gb_s", "all_threads_gb_s"] {
            assert!(json["limits"][order][threads].as_f64().unwrap() > 0.0, "{json}");
        }
    }
    assert_eq!(json["bandwidth_gb_s"], json["limits"]["random"]["all_threads_gb_s"]);
    let token = json["limits"]["token_bytes"].as_f64().unwrap();
    let share = token * json["tg_tok_s"].as_f64().unwrap() / json["bandwidth_gb_s"].as_f64().unwrap() / 1e9;
    assert!((json["tg_bandwidth_share"].as_f64().unwrap() / share - 1.0).abs() < 1e-6, "{json}");
    let plain = bench(&["--limits"]);
    assert!(plain.text().contains("in random blocks of ") && plain.text().contains("a token of decode reads "));
}

#[test]
fn a_profile_accounts_for_all_of_the_time() {
    let json = bench(&["--json", "--profile"]).json();
    for test in ["pp", "tg"] {
        let steps = json["profile"][test].as_array().unwrap();
        let share: f64 = steps.iter().map(|step| step["share"].as_f64().unwrap()).sum();
        assert!((share - 1.0).abs() < 1e-6, "{json}");
        for name in ["attention_qkv", "attention_scores", "mlp", "router", "experts_gate_up", "experts_down", "head"] {
            let step = steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("{name}: {json}"));
            assert!(step["ms_per_token"].as_f64().unwrap() > 0.0, "{name}: {json}");
        }
    }
    assert!(bench(&["--profile"]).text().contains("experts: down"));
}

#[test]
fn kernels_are_held_against_each_other() {
    let done = done(&mut lemmy(["bench", &tiny(), "--kernels", "--json"]));
    let json = done.json();
    for product in json["products"].as_array().unwrap() {
        let ways = product["ways"].as_array().unwrap();
        let rates: Vec<_> = ways.iter().map(|way| way["gmac_s"].as_f64().unwrap()).collect();
        assert!(rates.is_sorted_by(|a, b| a >= b), "{product}");
        assert_eq!(ways.iter().filter(|way| way["chosen"] == true).count(), 1, "{product}");
    }
    // Which set is fastest is the machine's affair; that the exit code says so is ours.
    let is_behind = json["products"].as_array().unwrap().iter().any(|p| p["behind"].as_f64().unwrap() > 0.05);
    assert_eq!((done.code, json.get("error").is_some()), (Some(i32::from(is_behind)), is_behind));
}

#[test]
fn company_is_noted_and_tables_of_llama_bench_hold_nothing_else() {
    assert_eq!(bench(&["--json", "--busy", "2", "-n", "2"]).json()["busy"], 2);
    for flag in ["--limits", "--profile", "--kernels"] {
        done(&mut lemmy(["bench", &tiny(), "-o", "csv", flag])).code(2).says("-o csv");
    }
}
