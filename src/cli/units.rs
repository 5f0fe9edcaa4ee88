//! Numbers for people.

use std::time::SystemTime;

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

/// A point in time as in "2026-11-25T01:02:03Z".
pub(crate) fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of the year 0, in eras of 400 years, whose years begin in March.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
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
    fn points_in_time() {
        let at = |seconds| utc(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds));
        // As `date -u -d @SECONDS` says.
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_795_570_323), "2026-11-25T01:32:03Z");
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
