//! An idle pool costs nothing and ends with its last clone. Alone in this file: it looks at the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use std::time::{Duration, Instant};

use lemmy_core::ThreadPool;

#[test]
fn idle_workers_sleep_and_end_with_the_last_clone() {
    let before = threads();
    let pool = ThreadPool::new(4).unwrap();
    let clone = pool.clone();
    pool.items(100, &|_, _| ()).unwrap();
    assert_eq!(threads(), before + 3);

    std::thread::sleep(Duration::from_millis(50));
    let start = cpu_time();
    std::thread::sleep(Duration::from_millis(300));
    let used = cpu_time() - start;
    // One spinning worker would have used 300 ms, three of them 900 ms.
    assert!(used < Duration::from_millis(30), "an idle pool used {used:?} in 300 ms");

    drop(pool);
    clone.items(100, &|_, _| ()).unwrap();
    drop(clone);
    // They are joined; the system may list them for a moment longer.
    let deadline = Instant::now() + Duration::from_secs(10);
    while threads() > before && Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert_eq!(threads(), before);
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// User and system time of the whole process.
fn cpu_time() -> Duration {
    // SAFETY: `rusage` is plain numbers; the call fills it in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &mut usage), 0);
        usage
    };
    let time = |t: libc::timeval| Duration::from_secs(t.tv_sec as u64) + Duration::from_micros(t.tv_usec as u64);
    time(usage.ru_utime) + time(usage.ru_stime)
}
