//! Numbers for people.

/// Bytes as in "16.79 GB" (powers of 1000, as model hubs show the sizes of files).
pub(crate) fn bytes(n: u64) -> String {
    scaled(n, &[(1e9, "GB"), (1e6, "MB"), (1e3, "kB")]).unwrap_or_else(|| format!("{n} B"))
}

/// Bytes as in "15.64 GiB" (powers of 1024, as llama-bench shows them).
pub(crate) fn binary_bytes(n: u64) -> String {
    const KIB: f64 = 1024.0;
    scaled(n, &[(KIB * KIB * KIB, "GiB"), (KIB * KIB, "MiB"), (KIB, "KiB")]).unwrap_or_else(|| format!("{n} B"))
}

/// Counts as in "25.23 B".
pub(crate) fn count(n: u64) -> String {
    scaled(n, &[(1e9, "B"), (1e6, "M"), (1e3, "K")]).unwrap_or_else(|| n.to_string())
}

#[allow(clippy::cast_precision_loss)] // two decimals are shown
fn scaled(n: u64, units: &[(f64, &str)]) -> Option<String> {
    units.iter().find(|(size, _)| n as f64 >= *size).map(|(size, unit)| format!("{:.2} {unit}", n as f64 / size))
}

/// The middle value; of an even number the mean of the two in the middle. 0 of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |i: usize| sorted.get(i).copied().unwrap_or_default();
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { at(middle) } else { (at(middle.saturating_sub(1)) + at(middle)) / 2.0 }
}

/// Mean and sample standard deviation.
#[allow(clippy::cast_precision_loss)] // a handful of repeats
pub(crate) fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n.max(1.0);
    let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt())
}

/// Greatest less least.
pub(crate) fn spread(values: &[f64]) -> f64 {
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    if values.is_empty() { 0.0 } else { greatest - least }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(16_790_000_000), "16.79 GB");
        assert_eq!(binary_bytes(16_790_000_000), "15.64 GiB");
        assert_eq!(count(25_230_000_000), "25.23 B");
        assert_eq!(count(12), "12");
    }

    #[test]
    fn statistics() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
        assert_eq!(spread(&[1.0, 4.0, 2.0]), 3.0);
        assert_eq!(spread(&[]), 0.0);
        let (mean, deviation) = mean_and_deviation(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(mean, 5.0);
        assert!((deviation - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(mean_and_deviation(&[5.0]), (5.0, 0.0));
    }
}
