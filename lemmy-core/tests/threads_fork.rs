//! After `fork` the pool answers with an error in the child and works on in the parent. Alone in this file.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use lemmy_core::{ErrorKind, ThreadPool};

#[test]
fn a_forked_child_gets_an_error_and_ends() {
    let pool = ThreadPool::new(3).unwrap();
    pool.items(10, &|_, _| ()).unwrap();
    // SAFETY: the child only calls the pool, which must not touch locks or threads there, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let forked = |answer: lemmy_core::Result<()>| answer.is_err_and(|error| error.kind() == ErrorKind::Forked);
        let good = forked(pool.items(10, &|_, _| ())) && forked(pool.ranges(10, 1, &|_, _| ()));
        drop(pool);
        // SAFETY: ends the process without running anything of the parent's.
        unsafe { libc::_exit(if good { 7 } else { 1 }) };
    }
    assert!(child > 0);
    let mut status = 0;
    // SAFETY: waits for our own child; `status` lives.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "status {status}");
    pool.items(10, &|_, _| ()).unwrap();
}
