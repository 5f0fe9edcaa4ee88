//! Which type each tensor gets: against llama-quantize's own choices on three models.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use lemmy_core::quant::DType;
use lemmy_core::requantize::{Mixture, TypeRule};

struct Tensor {
    name: String,
    shape: Vec<u64>,
    /// Type in a file of each of the table's mixtures.
    types: Vec<DType>,
}

/// A table: a header `name shape MIXTURE...`, then a line for each tensor, all separated by tabs.
fn table(file: &str) -> (Vec<Mixture>, Vec<Tensor>) {
    let path = format!("{}/../tests/fixtures/quants/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let mixtures = lines.next().unwrap()[2..].iter().map(|m| m.parse().unwrap()).collect();
    let dtype = |name: &&str| DType::ALL.iter().copied().find(|t| t.name() == *name).unwrap();
    let tensors = lines.map(|line| Tensor {
        name: line[0].into(),
        shape: line[1].split(',').map(|n| n.parse().unwrap()).collect(),
        types: line[2..].iter().map(dtype).collect(),
    });
    (mixtures, tensors.collect())
}

fn check(file: &str, layers: u64, experts: u64, expected_tensors: usize) {
    let (mixtures, tensors) = table(file);
    assert_eq!(tensors.len(), expected_tensors);
    for (column, &mixture) in mixtures.iter().enumerate() {
        let rule = TypeRule::new(mixture, layers, experts, tensors.iter().map(|t| t.name.as_str()));
        for t in &tensors {
            let got = rule.tensor_type(&t.name, &t.shape, DType::F32);
            assert_eq!(got, t.types[column], "{mixture} {} {:?}", t.name, t.shape);
        }
    }
}

#[test]
fn gemma4_26b_a4b() {
    check("gemma4-26b-a4b.tsv", 30, 128, 658);
}

#[test]
fn gemma4_26b_a4b_has_the_published_sizes() {
    let (mixtures, tensors) = table("gemma4-26b-a4b.tsv");
    for (mixture, gigabytes) in [("q8_0", 26.844), ("q6_k", 22.623), ("q5_k_m", 19.117), ("q4_k_m", 16.780)] {
        let column = mixtures.iter().position(|m| m.name() == mixture).unwrap();
        let bytes = |t: &Tensor| t.types[column].row_bytes(t.shape.iter().product::<u64>() as usize).unwrap();
        let total: usize = tensors.iter().map(bytes).sum();
        assert_eq!((total as f64 / 1e6).round() / 1e3, gigabytes, "{mixture}");
    }
}

#[test]
fn gemma4_tiny() {
    check("gemma4-tiny.tsv", 6, 10, 134);
}

#[test]
fn gemma3_270m_dense() {
    check("gemma3-270m.tsv", 18, 0, 236);
}

#[test]
fn rules_that_no_table_reaches() {
    let names = ["token_embd.weight", "output.weight", "blk.0.attn_v.weight", "blk.1.attn_v.weight"];
    let rule = |mixture, experts| TypeRule::new(mixture, 2, experts, names);
    let dense = rule(Mixture::Q4_K_M, 0);
    let q4 = |name: &str, shape: &[u64]| dense.tensor_type(name, shape, DType::BF16);
    // An untied embedding is a matrix like others; the output is not.
    assert_eq!(q4("token_embd.weight", &[512, 1000]), DType::Q4_K);
    assert_eq!(q4("output.weight", &[512, 1000]), DType::Q6_K);
    // Rows that no block fits.
    assert_eq!(q4("blk.0.attn_q.weight", &[40, 64]), DType::F16);
    // A matrix of one row counts as a vector; what is no number stays.
    assert_eq!(q4("blk.0.attn_q.weight", &[256, 1, 1, 1]), DType::BF16);
    assert_eq!(dense.tensor_type("table.weight", &[256, 4], DType::I32), DType::I32);
    // Eight experts.
    let eight = rule(Mixture::Q4_K_M, 8);
    assert_eq!(eight.tensor_type("blk.0.attn_v.weight", &[256, 64], DType::F32), DType::Q8_0);
    assert_eq!(eight.tensor_type("blk.0.attn_k.weight", &[256, 64], DType::F32), DType::Q8_0);
    assert_eq!(eight.tensor_type("blk.0.attn_output.weight", &[256, 64], DType::F32), DType::Q5_K);
    assert_eq!(eight.tensor_type("blk.0.attn_q.weight", &[256, 64], DType::F32), DType::Q4_K);
}

#[test]
fn names_of_mixtures() {
    for mixture in Mixture::ALL {
        assert_eq!(mixture.name().parse::<Mixture>().unwrap(), mixture);
        assert_eq!(mixture.name().to_uppercase().parse::<Mixture>().unwrap(), mixture);
    }
    let error = "q3_k_s".parse::<Mixture>().unwrap_err().to_string();
    assert!(error.contains("q3_k_s") && error.contains("q4_k_m"), "{error}");
}
