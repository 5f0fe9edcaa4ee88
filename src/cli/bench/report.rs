//! The report of `lemmy bench`: llama-bench's columns, and one JSON object.

use serde_json::{Value, json};

use super::kernels::Contest;
use super::limits::Limits;
use super::phases::Phases;
use crate::cli::load::Loaded;
use crate::cli::locate::Place;
use crate::cli::system;
use crate::cli::units::{binary_bytes, bytes, count, mean_and_deviation, median, spread};

/// What was measured, and on what.
#[derive(Debug)]
pub(super) struct Facts {
    file: String,
    model: String,
    bytes: u64,
    parameters: u64,
    backend: String,
    threads: usize,
    depth: u32,
    load_s: f64,
}

/// Tokens per second of each repeat.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) prompt: usize,
    pub(super) generate: usize,
    pub(super) pp: Vec<f64>,
    pub(super) tg: Vec<f64>,
    pub(super) first_token_s: f64,
    /// Of the minute before.
    pub(super) load_average: Option<f64>,
    /// Bytes that a token of decode reads, in the middle of the test.
    pub(super) token_bytes: u64,
    pub(super) limits: Option<Limits>,
    pub(super) phases: Option<Phases>,
    /// Threads that spun beside it.
    pub(super) busy: u16,
}

impl Measured {
    /// The share of the rate of reading that decode reached.
    fn share(&self) -> Option<f64> {
        let limits = self.limits.as_ref().filter(|_| !self.tg.is_empty())?;
        Some(limits.share(self.token_bytes, median(&self.tg)))
    }
}

/// Rows of cells, the first one the head.
#[derive(Debug)]
pub(super) struct Table(pub(super) Vec<Vec<String>>);

impl Table {
    /// Columns side by side.
    pub(super) fn plain(&self) -> String {
        self.aligned("  ", "", "").join("\n") + "\n"
    }

    /// As Markdown has it.
    pub(super) fn markdown(&self) -> String {
        let mut lines = self.aligned(" | ", "| ", " |");
        let rule = lines.first().map(|head| head.chars().map(|c| if c == '|' { '|' } else { '-' }).collect::<String>());
        lines.insert(1.min(lines.len()), rule.unwrap_or_default());
        lines.join("\n") + "\n"
    }

    /// Rows as lines, every column as wide as its widest cell.
    fn aligned(&self, between: &str, before: &str, after: &str) -> Vec<String> {
        let mut widths = Vec::new();
        for row in &self.0 {
            widths.resize(row.len().max(widths.len()), 0);
            widths.iter_mut().zip(row).for_each(|(width, cell)| *width = cell.chars().count().max(*width));
        }
        let line = |row: &Vec<String>| {
            let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            format!("{before}{}{after}", cells.join(between)).trim_end().to_owned()
        };
        self.0.iter().map(line).collect()
    }
}

impl Facts {
    pub(super) fn new(place: &Place, loaded: &Loaded, depth: u32) -> Self {
        let info = loaded.model.info();
        let common = info.types.first().map(|(dtype, _)| dtype.name()).unwrap_or_default();
        Self {
            file: place.to_string(),
            model: format!("{} {common}", info.architecture),
            bytes: info.file_bytes,
            parameters: info.parameters,
            backend: info.backend.clone(),
            threads: loaded.pool.threads(),
            depth,
            load_s: loaded.time.as_secs_f64(),
        }
    }

    /// A line about the machine.
    pub(super) fn machine(&self) -> String {
        let or_unknown = |fact: Option<String>| fact.unwrap_or_else(|| "unknown".into());
        let load = system::load_average().map(|load| format!("{load:.2}"));
        format!(
            "cpu: {}, {}; governor: {}; load: {}; loaded in {:.2} s",
            or_unknown(system::cpu()),
            system::isa(),
            or_unknown(system::governor()),
            or_unknown(load),
            self.load_s
        )
    }
}

const COLUMNS: [&str; 7] = ["model", "size", "params", "backend", "threads", "test", "t/s"];

/// Columns side by side, then what else was measured.
pub(super) fn table(facts: &Facts, measured: &Measured) -> String {
    let mut text = rows(facts, measured).plain();
    if let Some(limits) = &measured.limits {
        text += &format!("\n{}", limits.text(facts.threads));
        if let Some(share) = measured.share() {
            text += &format!(
                "a token of decode reads {}: {:.2} t/s are {:.0} % of what all threads read in random blocks\n",
                bytes(measured.token_bytes),
                median(&measured.tg),
                100.0 * share
            );
        }
    }
    if let Some(phases) = &measured.phases {
        text += &format!("\n{}", phases.table().plain());
    }
    text
}

/// Markdown tables.
pub(super) fn markdown(facts: &Facts, measured: &Measured) -> String {
    let mut text = rows(facts, measured).markdown();
    if let Some(limits) = &measured.limits {
        text += &format!("\n{}", limits.table(facts.threads).markdown());
    }
    if let Some(phases) = &measured.phases {
        text += &format!("\n{}", phases.table().markdown());
    }
    text
}

/// Comma-separated values: mean and deviation in columns of their own, numbers plain.
pub(super) fn csv(facts: &Facts, measured: &Measured) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut text = String::from("model,size,params,backend,threads,test,avg_ts,stddev_ts\n");
    for (test, speeds) in tests(facts, measured) {
        let (mean, deviation) = mean_and_deviation(speeds);
        text += &format!(
            "{},{},{},{},{},{},{mean:.6},{deviation:.6}\n",
            quoted(&facts.model),
            facts.bytes,
            facts.parameters,
            quoted(&facts.backend),
            facts.threads,
            quoted(&test)
        );
    }
    text
}

/// One object. Speeds are medians, spreads are greatest less least; what was not measured is null.
pub(super) fn json(facts: &Facts, measured: &Measured) -> Value {
    let some = |speeds: &[f64], of: fn(&[f64]) -> f64| (!speeds.is_empty()).then(|| of(speeds));
    json!({
        "pp_tok_s": some(&measured.pp, median),
        "tg_tok_s": some(&measured.tg, median),
        "pp_spread": some(&measured.pp, spread),
        "tg_spread": some(&measured.tg, spread),
        "pp": measured.pp,
        "tg": measured.tg,
        "n_prompt": measured.prompt,
        "n_gen": measured.generate,
        "depth": facts.depth,
        "load_s": facts.load_s,
        "first_token_s": measured.first_token_s,
        "peak_rss_bytes": system::peak_resident_bytes(),
        "threads": facts.threads,
        "file": facts.file,
        "model": facts.model,
        "file_bytes": facts.bytes,
        "parameters": facts.parameters,
        "backend": facts.backend,
        "cpu": system::cpu(),
        "isa": system::isa(),
        "load_avg": measured.load_average,
        "busy": measured.busy,
        "bandwidth_gb_s": measured.limits.as_ref().map(|limits| limits.random.all / 1e9),
        "tg_bandwidth_share": measured.share(),
        "limits": measured.limits.as_ref().map(|limits| limits.json(measured.token_bytes)),
        "profile": measured.phases.as_ref().map(Phases::json),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// Name and speeds of each test that was made.
fn tests<'m>(facts: &Facts, measured: &'m Measured) -> Vec<(String, &'m [f64])> {
    let depth = if facts.depth > 0 { format!(" @ d{}", facts.depth) } else { String::new() };
    let pp = (format!("pp{}{depth}", measured.prompt), measured.pp.as_slice());
    let tg = (format!("tg{}{depth}", measured.generate), measured.tg.as_slice());
    [pp, tg].into_iter().filter(|(_, speeds)| !speeds.is_empty()).collect()
}

fn rows(facts: &Facts, measured: &Measured) -> Table {
    let head = COLUMNS.map(str::to_owned).to_vec();
    let rows = tests(facts, measured).into_iter().map(|(test, speeds)| {
        let (mean, deviation) = mean_and_deviation(speeds);
        vec![
            facts.model.clone(),
            binary_bytes(facts.bytes),
            count(facts.parameters),
            facts.backend.clone(),
            facts.threads.to_string(),
            test,
            format!("{mean:.2} ± {deviation:.2}"),
        ]
    });
    Table(std::iter::once(head).chain(rows).collect())
}

/// A row for each way to make each product, the choice marked.
pub(super) fn kernels(contests: &[Contest]) -> Table {
    let head = ["type", "shape", "tokens", "weights from", "kernels", "GB/s", "GMAC/s", ""].map(str::to_owned).to_vec();
    let rows = contests.iter().flat_map(|contest| {
        contest.entries.iter().map(|entry| {
            vec![
                contest.dtype.name().into(),
                format!("{} x {}", contest.rows, contest.cols),
                contest.tokens.to_string(),
                contest.place().into(),
                entry.name.clone(),
                format!("{:.1}", contest.gb_s(entry)),
                format!("{:.1}", contest.gmac_s(entry)),
                if entry.is_chosen { "chosen".into() } else { String::new() },
            ]
        })
    });
    Table(std::iter::once(head).chain(rows).collect())
}

/// The same for programs.
pub(super) fn kernels_json(contests: &[Contest]) -> Value {
    let products = contests.iter().map(|contest| {
        let ways = contest.entries.iter().map(|entry| {
            json!({
                "kernels": entry.name,
                "gb_s": contest.gb_s(entry),
                "gmac_s": contest.gmac_s(entry),
                "chosen": entry.is_chosen,
            })
        });
        json!({
            "type": contest.dtype.name(),
            "rows": contest.rows,
            "cols": contest.cols,
            "tokens": contest.tokens,
            "from": contest.place(),
            "behind": contest.behind(),
            "ways": ways.collect::<Vec<_>>(),
        })
    });
    let products: Vec<_> = products.collect();
    json!({
        "cpu": system::cpu(),
        "isa": system::isa(),
        "load_avg": system::load_average(),
        "products": products,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Facts, Measured) {
        let facts = Facts {
            file: "m.gguf".into(),
            model: "gemma4 Q4_K".into(),
            bytes: 16_790_000_000,
            parameters: 25_230_000_000,
            backend: "cpu (avx2)".into(),
            threads: 2,
            depth: 64,
            load_s: 0.5,
        };
        let measured = Measured {
            prompt: 512,
            generate: 0,
            pp: vec![30.0, 32.0, 31.0],
            tg: Vec::new(),
            first_token_s: 1.0,
            load_average: None,
            token_bytes: 2_600_000_000,
            limits: None,
            phases: None,
            busy: 0,
        };
        (facts, measured)
    }

    #[test]
    fn markdown_has_the_columns_of_llama_bench() {
        let (facts, measured) = example();
        let text = markdown(&facts, &measured);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "| model       | size      | params  | backend    | threads | test        | t/s          |",
                "|-------------|-----------|---------|------------|---------|-------------|--------------|",
                "| gemma4 Q4_K | 15.64 GiB | 25.23 B | cpu (avx2) | 2       | pp512 @ d64 | 31.00 ± 1.00 |",
            ]
        );
    }

    #[test]
    fn csv_quotes_and_keeps_numbers_plain() {
        let (facts, measured) = example();
        assert_eq!(
            csv(&facts, &measured),
            "model,size,params,backend,threads,test,avg_ts,stddev_ts\n\
             \"gemma4 Q4_K\",16790000000,25230000000,\"cpu (avx2)\",2,\"pp512 @ d64\",31.000000,1.000000\n"
        );
    }

    #[test]
    fn json_has_medians_and_nulls() {
        let (facts, measured) = example();
        let value = json(&facts, &measured);
        assert_eq!(value.get("pp_tok_s"), Some(&json!(31.0)));
        assert_eq!(value.get("pp_spread"), Some(&json!(2.0)));
        assert_eq!(value.get("tg_tok_s"), Some(&Value::Null));
        assert_eq!(value.get("tg"), Some(&json!([])));
    }
}
