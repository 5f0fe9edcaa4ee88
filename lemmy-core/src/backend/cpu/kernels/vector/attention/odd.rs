//! Sizes that are not multiples of 16: rows are copied with zeros behind them, then it is the ordinary case.

#![allow(clippy::indexing_slicing)] // The lengths were checked by the caller.

use super::super::isa::{Isa, LANES};
use super::super::{AttentionJob, KvRows};
use super::empty_for;
use crate::kv::KEY_BLOCK;

/// Buffers that are kept from call to call.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    out: Vec<f32>,
}

impl Scratch {
    pub(super) fn bytes(&self) -> usize {
        let buffers = [&self.queries, &self.keys, &self.values, &self.out];
        buffers.iter().map(|buffer| buffer.capacity() * size_of::<f32>()).sum()
    }
}

/// Runs the job on padded copies of all rows that its queries see. Key rows become whole: what lies in the value row on
/// a layer whose keys are its values is copied behind the key's numbers, so each index of a query keeps its lane.
pub(super) fn run<I: Isa, T: Copy + Into<f32>>(
    isa: I,
    job: &AttentionJob<'_>,
    keys: &[T],
    values: &[T],
    out: &mut [f32],
    scratch: &mut super::Scratch,
) {
    let mut buffers = std::mem::take(&mut scratch.odd);
    let Scratch { queries: padded_queries, keys: padded_keys, values: padded_values, out: padded_out } = &mut buffers;
    let query_dim = job.query_dim.next_multiple_of(LANES);
    let value_dim = job.value_dim.next_multiple_of(LANES);

    empty_for(padded_queries, job.spans.len() * query_dim);
    for query in job.queries.chunks_exact(job.query_dim) {
        push_padded(padded_queries, query.iter().copied(), query_dim);
    }
    let first = job.spans.iter().map(|span| span.start).min().unwrap_or(0) / KEY_BLOCK * KEY_BLOCK;
    let end = job.spans.iter().map(|span| span.end).max().unwrap_or(0).next_multiple_of(KEY_BLOCK);
    empty_for(padded_keys, (end - first) * query_dim);
    empty_for(padded_values, (end - first) * value_dim);
    for position in first..end {
        let row = position % job.rows;
        let key = &keys[row * job.key_dim..][..job.key_dim];
        let value = &values[row * job.value_dim..][..job.value_dim];
        let rest = if job.query_dim > job.key_dim { &value[job.key_dim..] } else { &[] };
        push_padded(padded_keys, key.iter().chain(rest).map(|&x| x.into()), query_dim);
        push_padded(padded_values, value.iter().map(|&x| x.into()), value_dim);
    }
    empty_for(padded_out, job.spans.len() * value_dim);
    padded_out.resize(job.spans.len() * value_dim, 0.0);

    let spans: Vec<_> = job.spans.iter().map(|span| span.start - first..span.end - first).collect();
    let padded = AttentionJob {
        rows: end - first,
        kv: KvRows::F32(padded_keys, padded_values),
        key_dim: query_dim,
        value_dim,
        query_dim,
        queries: padded_queries,
        spans: &spans,
    };
    super::run(isa, &padded, padded_out, scratch);
    for (out, padded) in out.chunks_exact_mut(job.value_dim).zip(padded_out.chunks_exact(value_dim)) {
        out.copy_from_slice(&padded[..job.value_dim]);
    }
    scratch.odd = buffers;
}

fn push_padded(out: &mut Vec<f32>, row: impl Iterator<Item = f32>, len: usize) {
    let end = out.len() + len;
    out.extend(row);
    out.resize(end, 0.0);
}
