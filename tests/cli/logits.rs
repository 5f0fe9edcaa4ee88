//! `lemmy logits`.

use super::*;
use serde_json::Value;

fn rows(arguments: &[&str]) -> Vec<Value> {
    let shown = done(lemmy(["logits", &tiny(), "--json"]).args(arguments)).code(0);
    shown.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_for_each_position_with_the_best() {
    let rows = rows(&["--tokens", "2,5,7"]);
    assert_eq!(rows.len(), 3);
    for (i, (row, token)) in rows.iter().zip([2, 5, 7]).enumerate() {
        assert_eq!((&row["pos"], &row["token"]), (&Value::from(i), &Value::from(token)));
        let top = row["top"].as_array().unwrap();
        assert_eq!(top.len(), 10);
        for best in top {
            assert_eq!(best.as_object().unwrap().keys().collect::<Vec<_>>(), ["id", "piece", "logit", "logprob"]);
            assert!(best["piece"].is_string() && best["logprob"].as_f64().unwrap() < 0.0);
        }
        let logits: Vec<_> = top.iter().map(|best| best["logit"].as_f64().unwrap()).collect();
        assert!(logits.is_sorted_by(|a, b| a >= b), "{logits:?}");
    }
}

/// The f32 that was written: the shortest decimal that reads back to it is not the same f64.
fn f32_of(value: &Value) -> f64 {
    f64::from(value.as_f64().unwrap() as f32)
}

#[test]
fn all_logits_agree_with_the_best_and_with_any_cut() {
    let all = rows(&["--tokens", "2,5,7", "--all"]);
    let best = rows(&["--tokens", "2,5,7", "--top", "3"]);
    let first = rows(&["--tokens", "2", "--all"]);
    assert_eq!(all[0], first[0], "what comes later changes nothing");
    for (all, best) in all.iter().zip(&best) {
        assert_eq!(all.as_object().unwrap().keys().collect::<Vec<_>>(), ["pos", "token", "logits"]);
        let logits: Vec<_> = all["logits"].as_array().unwrap().iter().map(f32_of).collect();
        assert_eq!(logits.len(), 512);
        assert!(logits.iter().all(|l| l.abs() <= 30.0), "after the softcap");
        let sum: f64 = logits.iter().map(|l| l.exp()).sum();
        for best in best["top"].as_array().unwrap() {
            let id = usize::try_from(best["id"].as_u64().unwrap()).unwrap();
            assert_eq!(best["logit"], all["logits"][id]);
            assert!((best["logprob"].as_f64().unwrap() - (logits[id] - sum.ln())).abs() < 1e-9);
        }
    }
}

#[test]
fn ids_from_stdin_and_a_table_for_people() {
    let mut command = lemmy(["logits", &tiny(), "--tokens", "-", "--json", "--top", "1"]);
    let piped = done_with(&mut command, b"2 5 7\n").code(0);
    assert_eq!(piped.text().lines().count(), 3);
    let table = done(&mut lemmy(["logits", &tiny(), "--tokens", "2", "--top", "4"])).code(0);
    assert_eq!(table.text().lines().count(), 5);
}

#[test]
fn a_long_prompt_is_written_row_by_row() {
    let ids = vec!["7"; 1500].join(",");
    let rows = rows(&["--tokens", &ids, "--top", "1"]);
    assert_eq!(rows.len(), 1500);
    assert!(rows.iter().enumerate().all(|(i, row)| row["pos"] == i));
}
