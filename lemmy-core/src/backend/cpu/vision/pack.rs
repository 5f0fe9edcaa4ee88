//! Operands in the order that the dense kernels want; see `kernels::vector::dense`.

use super::super::kernels::{PANEL, STRIP};
use crate::error::{Error, Result, try_vec};
use crate::plan::Matrix;
use crate::quant;
use crate::threads::ThreadPool;

/// Numbers that `matrices` of the same width take as panels, each on whole panels of its own.
pub(super) fn panels_len(rows: impl IntoIterator<Item = usize>, cols: usize) -> usize {
    rows.into_iter().map(|rows| rows.next_multiple_of(PANEL)).sum::<usize>() * cols
}

/// Zeros for the panels of these matrices.
pub(super) fn room(matrices: &[&Matrix], what: &str) -> Result<Vec<f32>> {
    let cols = matrices.first().map_or(0, |m| m.cols);
    try_vec(panels_len(matrices.iter().map(|m| m.rows), cols), 0.0, what)
}

/// Row `r` of a matrix, its numbers in order, as a column of the panels.
pub(super) fn put_row(panels: &mut [f32], cols: usize, r: usize, row: impl Iterator<Item = f32>) {
    let start = r / PANEL * PANEL * cols + r % PANEL;
    let places = panels.get_mut(start..).unwrap_or_default().iter_mut().step_by(PANEL);
    places.zip(row).for_each(|(place, x)| *place = x);
}

/// The matrices as floats, packed as the panels of one product.
pub(super) fn weights(pool: &ThreadPool, matrices: &[&Matrix], panels: &mut [f32]) -> Result<()> {
    let mut rest = panels;
    for matrix in matrices {
        let panel_len = PANEL * matrix.cols;
        let (own, after) = rest.split_at_mut_checked(panels_len([matrix.rows], matrix.cols)).ok_or_else(too_small)?;
        rest = after;
        let row_bytes = matrix.row_bytes();
        let bytes = matrix.matrix(0);
        pool.rows(own, panel_len, 1, &|_, first, panels| {
            // Some columns at a time, so that what is written stays near.
            const COLUMNS: usize = 256;
            let step = if COLUMNS.is_multiple_of(matrix.dtype.block_len()) { COLUMNS } else { matrix.cols };
            let mut piece = [0.0; COLUMNS];
            for (p, panel) in (first..).zip(panels.chunks_exact_mut(panel_len)) {
                let rows = bytes.chunks_exact(row_bytes).skip(p * PANEL).take(PANEL);
                for (column, row) in rows.enumerate() {
                    for start in (0..matrix.cols).step_by(step) {
                        let n = step.min(matrix.cols - start);
                        let blocks = start / matrix.dtype.block_len()..(start + n) / matrix.dtype.block_len();
                        let size = matrix.dtype.block_bytes();
                        let from = row.get(blocks.start * size..blocks.end * size).unwrap_or_default();
                        let to = piece.get_mut(..n).unwrap_or_default();
                        // Types and sizes were checked when the weights were found.
                        if quant::dequantize(matrix.dtype, from, to).is_ok() {
                            put_row(panel.get_mut(start * PANEL..).unwrap_or_default(), n, column, to.iter().copied());
                        }
                    }
                }
            }
        })?;
    }
    Ok(())
}

/// Row `r` of a matrix of `cols` columns as a row of the strips.
pub(super) fn put_strip_row(strips: &mut [f32], cols: usize, r: usize, row: &[f32]) {
    let start = r / STRIP * STRIP * cols + r % STRIP;
    let places = strips.get_mut(start..).unwrap_or_default().iter_mut().step_by(STRIP);
    places.zip(row).for_each(|(place, &x)| *place = x);
}

pub(super) fn too_small() -> Error {
    Error::Internal("a buffer of the vision tower is smaller than its rows".into())
}
