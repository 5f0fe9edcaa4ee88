//! What `--profile` shows: kinds of steps, their time, and the rate at which decode reads their weights.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::profile::Times;
use super::report::Table;
use super::traffic::Kind;

/// Times of all counted repeats of one test.
#[derive(Debug, Clone)]
pub(super) struct Phase {
    /// Time and tokens of all of them.
    total: Duration,
    tokens: usize,
    times: Times,
}

/// Both tests, and what a token of decode reads.
#[derive(Debug, Clone)]
pub(super) struct Phases {
    pub(super) pp: Option<Phase>,
    pub(super) tg: Option<Phase>,
    pub(super) traffic: BTreeMap<Kind, u64>,
}

impl Phase {
    /// What no step accounts for is [`Kind::Other`]. `None`: nothing was measured.
    pub(super) fn new(total: Duration, tokens: usize, mut times: Times) -> Option<Self> {
        let known: Duration = times.values().sum();
        *times.entry(Kind::Other).or_default() += total.saturating_sub(known);
        (tokens > 0 && !total.is_zero()).then_some(Self { total, tokens, times })
    }

    fn share(&self, kind: Kind) -> f64 {
        self.seconds(kind) / self.total.as_secs_f64()
    }

    /// Milliseconds of one token.
    #[allow(clippy::cast_precision_loss)] // a time for people
    fn ms(&self, kind: Kind) -> f64 {
        1e3 * self.seconds(kind) / self.tokens as f64
    }

    fn seconds(&self, kind: Kind) -> f64 {
        self.times.get(&kind).map_or(0.0, Duration::as_secs_f64)
    }
}

impl Phases {
    fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<_> =
            [&self.pp, &self.tg].into_iter().flatten().flat_map(|p| p.times.keys().copied()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// Bytes a second that decode reads for a kind of step.
    #[allow(clippy::cast_precision_loss)] // a rate for people
    fn rate(&self, kind: Kind) -> Option<f64> {
        let tg = self.tg.as_ref()?;
        let bytes = self.traffic.get(&kind).copied().filter(|&bytes| bytes > 0)?;
        Some(bytes as f64 * tg.tokens as f64 / tg.seconds(kind)).filter(|rate| rate.is_finite())
    }

    /// A row for each kind of step.
    pub(super) fn table(&self) -> Table {
        let mut head = vec!["step".to_owned()];
        for (name, phase) in [("prompt", &self.pp), ("decode", &self.tg)] {
            if phase.is_some() {
                head.extend([name.to_owned(), "ms/token".to_owned()]);
            }
        }
        if self.tg.is_some() {
            head.push("GB/s".to_owned());
        }
        let rows = self.kinds().into_iter().map(|kind| {
            let mut row = vec![kind.names().0.to_owned()];
            for phase in [&self.pp, &self.tg].into_iter().flatten() {
                row.extend([format!("{:.1} %", 100.0 * phase.share(kind)), format!("{:.3}", phase.ms(kind))]);
            }
            if self.tg.is_some() {
                row.push(self.rate(kind).map_or_else(String::new, |rate| format!("{:.1}", rate / 1e9)));
            }
            row
        });
        Table(std::iter::once(head).chain(rows).collect())
    }

    /// The same for programs; what was not measured is null.
    pub(super) fn json(&self) -> Value {
        let phase = |phase: &Phase, is_decode: bool| -> Value {
            let row = |kind: &Kind| {
                let rate = if is_decode { self.rate(*kind) } else { None };
                json!({
                    "step": kind.names().1,
                    "share": phase.share(*kind),
                    "ms_per_token": phase.ms(*kind),
                    "gb_s": rate.map(|rate| rate / 1e9),
                })
            };
            phase.times.keys().map(row).collect()
        };
        json!({
            "pp": self.pp.as_ref().map(|p| phase(p, false)),
            "tg": self.tg.as_ref().map(|p| phase(p, true)),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn phases() -> Phases {
        let ms = Duration::from_millis;
        let times = Times::from([(Kind::ExpertsUp, ms(50)), (Kind::Head, ms(30))]);
        let tg = Phase::new(ms(100), 2, times);
        Phases { pp: None, tg, traffic: BTreeMap::from([(Kind::Head, 600_000_000), (Kind::Other, 0)]) }
    }

    #[test]
    fn shares_make_a_whole() {
        let json = phases().json();
        let rows = json.get("tg").unwrap().as_array().unwrap();
        let sum: f64 = rows.iter().map(|row| row.get("share").unwrap().as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{json}");
        assert_eq!(rows.last().unwrap().get("step").unwrap(), "other");
        assert_eq!(json.get("pp"), Some(&Value::Null));
    }

    #[test]
    fn rates_are_of_what_a_token_reads() {
        let text = phases().table().plain();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "step               decode  ms/token  GB/s",
                "experts: gate, up  50.0 %  25.000",
                "head               30.0 %  15.000    40.0",
                "other              20.0 %  10.000",
            ]
        );
    }

    #[test]
    fn nothing_measured_is_no_phase() {
        assert!(Phase::new(Duration::ZERO, 0, Times::new()).is_none());
    }
}
