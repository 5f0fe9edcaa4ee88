//! The thread pool: every index once, exclusive windows, panics, nesting, several callers, idle cost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lemmy_core::threads::{Window, WindowMut};
use lemmy_core::{Error, ErrorKind, ThreadPool, ThreadPoolBuilder};
use proptest::prelude::*;

fn counters(n: usize) -> Vec<AtomicUsize> {
    (0..n).map(|_| AtomicUsize::new(0)).collect()
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn all_once(seen: &[AtomicUsize]) -> bool {
    seen.iter().all(|n| n.load(Ordering::Relaxed) == 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn ranges_cover_every_index_once(n in 0usize..3000, grain in 0usize..70, threads in 1usize..6) {
        let pool = ThreadPool::new(threads).unwrap();
        let seen = counters(n);
        pool.ranges(n, grain, &|worker, range| {
            assert!(worker < threads && !range.is_empty());
            assert!(range.start.is_multiple_of(grain.max(1)));
            assert!(range.end.is_multiple_of(grain.max(1)) || range.end == n);
            range.for_each(|i| count(&seen[i]));
        })
        .unwrap();
        prop_assert!(all_once(&seen));
    }

    #[test]
    fn items_are_dealt_once(n in 0usize..3000, threads in 1usize..6) {
        let pool = ThreadPool::new(threads).unwrap();
        let seen = counters(n);
        pool.items(n, &|_, item| count(&seen[item])).unwrap();
        prop_assert!(all_once(&seen));
    }

    #[test]
    fn columns_and_rows_fill_a_matrix(rows in 0usize..20, stride in 1usize..90, grain in 1usize..20, threads in 1usize..4) {
        let pool = ThreadPool::new(threads).unwrap();
        let expected: Vec<usize> = (0..rows * stride).collect();
        let mut out = vec![usize::MAX; rows * stride];
        pool.columns(&mut out, stride, grain, &|_, mut window| {
            let Window { rows, cols } = window.window().clone();
            for r in rows {
                for (x, c) in window.row(r).iter_mut().zip(cols.clone()) {
                    *x = r * stride + c;
                }
            }
        })
        .unwrap();
        prop_assert_eq!(&out, &expected);
        out.fill(usize::MAX);
        pool.rows(&mut out, stride, grain, &|_, first, part| {
            for (i, x) in part.iter_mut().enumerate() {
                *x = first * stride + i;
            }
        })
        .unwrap();
        prop_assert_eq!(&out, &expected);
    }
}

#[test]
fn huge_ranges_stay_in_32_bits() {
    let pool = ThreadPool::new(2).unwrap();
    let (n, total) = (1usize << 40, Mutex::new(0usize));
    pool.ranges(n, 3, &|_, range: Range<usize>| {
        assert!(range.start.is_multiple_of(3));
        *total.lock().unwrap() += range.len();
    })
    .unwrap();
    assert_eq!(*total.lock().unwrap(), n);
}

#[test]
fn an_idle_worker_steals_from_the_far_end() {
    let pool = ThreadPool::new(2).unwrap();
    let stolen = Mutex::new(Vec::new());
    // Worker 0 cannot finish its share (0..50) until somebody has taken index 49, the far end of it.
    let far_end_done = AtomicUsize::new(0);
    pool.ranges(100, 1, &|worker, range| {
        if worker == 1 && range.start < 50 {
            stolen.lock().unwrap().push(range.clone());
        }
        if range.contains(&49) {
            far_end_done.store(1, Ordering::Release);
        } else if worker == 0 && range.start == 0 {
            while far_end_done.load(Ordering::Acquire) == 0 {
                std::thread::yield_now();
            }
        }
    })
    .unwrap();
    assert_eq!(stolen.lock().unwrap()[0].end, 50);
}

fn window(rows: Range<usize>, cols: Range<usize>) -> Window {
    Window { rows, cols }
}

#[test]
fn windows_are_handed_out_exclusively() {
    let pool = ThreadPool::new(3).unwrap();
    let mut out = vec![0; 6 * 10];
    let list = [window(0..2, 0..4), window(0..2, 4..9), window(2..2, 0..10), window(3..6, 2..3), window(3..6, 3..10)];
    pool.windows(&mut out, 10, &list, &|_, item, mut w| {
        assert_eq!(w.window(), &list[item]);
        for i in 0..w.rows() {
            w.row(i).iter_mut().for_each(|x| *x += item + 1);
        }
    })
    .unwrap();
    for (i, x) in out.into_iter().enumerate() {
        let inside = |w: &Window| w.rows.contains(&(i / 10)) && w.cols.contains(&(i % 10));
        assert_eq!(x, list.iter().position(inside).map_or(0, |item| item + 1), "element {i}");
    }
}

#[test]
fn overlapping_disordered_or_outlying_windows_are_refused() {
    let pool = ThreadPool::new(2).unwrap();
    let mut out = vec![0u8; 6 * 10];
    #[allow(clippy::reversed_empty_ranges)]
    let bad = [
        vec![window(0..2, 0..5), window(0..2, 4..9)],
        vec![window(0..2, 0..5), window(1..3, 5..9)],
        vec![window(2..4, 0..5), window(0..2, 0..5)],
        vec![window(0..2, 5..9), window(0..2, 0..5)],
        vec![window(0..7, 0..5)],
        vec![window(0..2, 0..11)],
        vec![window(3..2, 0..5)],
        vec![window(0..2, 5..4)],
        vec![window(0..usize::MAX, 0..5)],
    ];
    for list in bad {
        let error = pool.windows(&mut out, 10, &list, &|_, _, _| unreachable!()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{list:?}");
    }
    for stride in [0, 7] {
        assert!(pool.windows(&mut out, stride, &[], &|_, _, _| ()).is_err());
        assert!(pool.columns(&mut out, stride, 1, &|_, _| ()).is_err());
        assert!(pool.rows(&mut out, stride, 1, &|_, _, _| ()).is_err());
        assert!(WindowMut::whole(&mut out, stride).is_err());
    }
}

#[test]
fn a_window_splits_into_parts_that_know_their_place() {
    let mut matrix: Vec<usize> = (0..40).collect();
    let mut whole = WindowMut::whole(&mut matrix, 10).unwrap();
    let (mut top, mut bottom) = whole.split_rows(1);
    assert_eq!((top.rows(), bottom.rows(), bottom.width()), (1, 3, 10));
    assert_eq!(top.row(0)[9], 9);
    let (mut left, mut right) = bottom.split_cols(4);
    assert_eq!(right.window(), &window(1..4, 4..10));
    assert_eq!((left.row(2), right.row(0)), (&mut [30, 31, 32, 33][..], &mut [14, 15, 16, 17, 18, 19][..]));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| left.row(3)[0])).is_err());
}

#[test]
fn a_panic_becomes_an_error_and_the_pool_goes_on() {
    let pool = ThreadPool::new(3).unwrap();
    for round in 0..50 {
        let error = pool.items(100, &|_, item| assert!(item != round, "item {item} is bad")).unwrap_err();
        assert!(matches!(&error, Error::Internal(text) if text.contains(&format!("item {round} is bad"))), "{error}");
        let error = pool.ranges(100, 1, &|_, _| panic!("no range is good")).unwrap_err();
        assert!(error.to_string().contains("no range is good"));
        let seen = counters(100);
        pool.items(100, &|_, item| count(&seen[item])).unwrap();
        assert!(all_once(&seen));
    }
}

#[test]
fn a_panic_whose_payload_panics_when_dropped_is_an_error_too() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    for threads in [1, 3] {
        let pool = ThreadPool::new(threads).unwrap();
        for _ in 0..20 {
            assert!(pool.items(30, &|_, _| std::panic::panic_any(Bomb)).is_err());
        }
        pool.items(30, &|_, _| {}).unwrap();
    }
}

#[test]
fn a_call_inside_a_call_runs_on_that_worker() {
    let pool = ThreadPool::new(3).unwrap();
    let seen = counters(20 * 30);
    pool.items(20, &|outer_worker, outer| {
        pool.ranges(30, 4, &|worker, range| {
            assert_eq!(worker, outer_worker);
            range.for_each(|i| count(&seen[outer * 30 + i]));
        })
        .unwrap();
        assert!(pool.items(1, &|_, _| panic!("inside")).is_err());
    })
    .unwrap();
    assert!(all_once(&seen));
}

#[test]
fn callers_from_several_threads_take_turns() {
    let pool = ThreadPool::new(3).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let pool = pool.clone();
            scope.spawn(move || {
                for n in 0..500 {
                    let sum = AtomicUsize::new(0);
                    pool.ranges(n, 1, &|_, range| {
                        sum.fetch_add(range.sum(), Ordering::Relaxed);
                    })
                    .unwrap();
                    assert_eq!(sum.into_inner(), (0..n).sum::<usize>());
                }
            });
        }
    });
}

#[test]
fn work_that_comes_after_a_sleep_is_done() {
    let pool = ThreadPool::builder().threads(3).spin(Duration::ZERO).build().unwrap();
    for _ in 0..200 {
        let both = AtomicUsize::new(0);
        // Two items that wait for each other: at least one sleeping worker must have woken.
        pool.items(2, &|_, _| {
            both.fetch_add(1, Ordering::SeqCst);
            while both.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
        })
        .unwrap();
    }
}

#[test]
fn thread_counts_out_of_range_are_refused() {
    for n in [0, ThreadPoolBuilder::MAX_THREADS + 1, usize::MAX] {
        assert_eq!(ThreadPool::new(n).unwrap_err().kind(), ErrorKind::Argument);
    }
    assert!(ThreadPool::builder().build().unwrap().threads() >= 1);
}

#[cfg(target_os = "linux")]
#[test]
fn workers_can_be_bound_to_a_cpu() {
    let pool = ThreadPool::builder().threads(2).pin(&[0]).build().unwrap();
    let met = AtomicUsize::new(0);
    pool.items(2, &|worker, _| {
        if worker == 1 {
            // SAFETY: no arguments, no memory.
            assert_eq!(unsafe { libc::sched_getcpu() }, 0);
        }
        met.fetch_add(1, Ordering::SeqCst);
        while met.load(Ordering::SeqCst) < 2 {
            std::thread::yield_now();
        }
    })
    .unwrap();
    assert_eq!(ThreadPool::builder().threads(2).pin(&[usize::MAX]).build().unwrap_err().kind(), ErrorKind::Argument);
    assert_eq!(ThreadPool::builder().threads(2).pin(&[1023]).build().unwrap_err().kind(), ErrorKind::Io);
}
