//! Exclusive parts of a shared matrix.

use std::marker::PhantomData;
use std::ops::Range;

use crate::error::{Error, Result};

/// A window of a row-major matrix: some rows, some columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Rows of the window.
    pub rows: Range<usize>,
    /// Columns of the window.
    pub cols: Range<usize>,
}

/// Exclusive access to the elements of one [`Window`].
#[derive(Debug)]
pub struct WindowMut<'a, T> {
    /// First element of the whole matrix.
    base: *mut T,
    stride: usize,
    window: Window,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: a window is an exclusive borrow of its elements, like `&mut [T]`, which is `Send` for `T: Send`.
unsafe impl<T: Send> Send for WindowMut<'_, T> {}

impl<'a, T> WindowMut<'a, T> {
    /// The whole of a matrix of row length `stride`. [`Error::Internal`] if `out` is not whole rows.
    ///
    /// ```
    /// use lemmy_core::threads::WindowMut;
    /// let mut matrix = [1, 2, 3, 4, 5, 6];
    /// let mut window = WindowMut::whole(&mut matrix, 3)?;
    /// assert_eq!(window.row(1), [4, 5, 6]);
    /// # Ok::<(), lemmy_core::Error>(())
    /// ```
    pub fn whole(out: &'a mut [T], stride: usize) -> Result<Self> {
        let rows = whole_rows(out.len(), stride)?;
        Ok(Self {
            base: out.as_mut_ptr(),
            stride,
            window: Window { rows: 0..rows, cols: 0..stride },
            owner: PhantomData,
        })
    }

    /// Where the window lies in the whole.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.window.rows.len()
    }

    /// Number of columns: the length of each [`row`](Self::row).
    pub fn width(&self) -> usize {
        self.window.cols.len()
    }

    /// Row `i` of the window, counted from the window's first row; its length is the window's width.
    ///
    /// # Panics
    /// If the window has no row `i`. (The pool turns a panic of its closures into [`Error::Internal`].)
    #[inline]
    pub fn row(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.rows(), "row {i} of a window of {} rows", self.rows());
        let start = (self.window.rows.start + i) * self.stride + self.window.cols.start;
        // SAFETY: the window lies in the matrix (whoever made it proved that) and `i` is one of its rows, so these
        // elements exist; they belong to this window alone, and the result borrows it mutably.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(start), self.window.cols.len()) }
    }

    /// The window's rows before its row `at`, and the others.
    ///
    /// # Panics
    /// If `at` is above [`rows`](Self::rows).
    pub fn split_rows(&mut self, at: usize) -> (WindowMut<'_, T>, WindowMut<'_, T>) {
        assert!(at <= self.rows(), "split at row {at} of {}", self.rows());
        let Window { rows, cols } = self.window.clone();
        let middle = rows.start + at;
        (
            self.part(Window { rows: rows.start..middle, cols: cols.clone() }),
            self.part(Window { rows: middle..rows.end, cols }),
        )
    }

    /// The window's columns before its column `at`, and the others.
    ///
    /// # Panics
    /// If `at` is above [`width`](Self::width).
    pub fn split_cols(&mut self, at: usize) -> (WindowMut<'_, T>, WindowMut<'_, T>) {
        assert!(at <= self.width(), "split at column {at} of {}", self.width());
        let Window { rows, cols } = self.window.clone();
        let middle = cols.start + at;
        (
            self.part(Window { rows: rows.clone(), cols: cols.start..middle }),
            self.part(Window { rows, cols: middle..cols.end }),
        )
    }

    /// A part of this window. The two callers above borrow `self` mutably for as long as the parts live, and make parts
    /// that do not overlap.
    fn part<'b>(&self, window: Window) -> WindowMut<'b, T> {
        WindowMut { base: self.base, stride: self.stride, window, owner: PhantomData }
    }
}

/// The start of a matrix that several threads write to, each to a part of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base<T>(*mut T);

// SAFETY: a `Base` gives access to elements only by its unsafe functions, whose callers promise that no element is
// reachable from two threads at once; moving such access between threads is what `T: Send` allows.
unsafe impl<T: Send> Sync for Base<T> {}

impl<T> Base<T> {
    pub(super) fn new(out: &mut [T]) -> Self {
        Self(out.as_mut_ptr())
    }

    /// # Safety
    /// The elements `start..start + len` must exist, must outlive `'a`, and nobody else may use them during `'a`.
    pub(super) unsafe fn slice<'a>(&self, start: usize, len: usize) -> &'a mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }

    /// # Safety
    /// The window must lie in the matrix of row length `stride`, must outlive `'a`, and nobody else may use its elements
    /// during `'a`.
    pub(super) unsafe fn window<'a>(&self, stride: usize, window: Window) -> WindowMut<'a, T> {
        WindowMut { base: self.0, stride, window, owner: PhantomData }
    }
}

/// Rows of a matrix of `len` elements; an error if they are not whole.
pub(super) fn whole_rows(len: usize, row_len: usize) -> Result<usize> {
    match (len, row_len) {
        (0, _) => Ok(0),
        (_, 1..) if len.is_multiple_of(row_len) => Ok(len / row_len),
        _ => Err(Error::Internal(format!("{len} elements are no matrix of row length {row_len}"))),
    }
}

/// Proves that windows lie in a matrix and do not overlap, see [`ThreadPool::windows`](super::ThreadPool::windows).
///
/// Neighbours suffice: windows with the same rows go from left to right, and the next such group starts below.
pub(super) fn check_disjoint(windows: &[Window], rows: usize, stride: usize) -> Result<()> {
    for Window { rows: r, cols: c } in windows {
        if r.start > r.end || r.end > rows || c.start > c.end || c.end > stride {
            return Err(Error::Internal(format!(
                "window of rows {r:?}, columns {c:?} is not in a matrix of {rows} x {stride}"
            )));
        }
    }
    for (a, b) in windows.iter().zip(windows.iter().skip(1)) {
        let right_of = a.rows == b.rows && a.cols.end <= b.cols.start;
        if !right_of && a.rows.end > b.rows.start {
            return Err(Error::Internal(format!("windows overlap or are out of order: {a:?}, then {b:?}")));
        }
    }
    Ok(())
}
