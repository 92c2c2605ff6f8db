//! What tests see from outside of something that runs: that it has come so far, that it runs no more.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Waits for what must come, and gives up long after it should have.
pub(crate) fn wait_for(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Asserts that nobody writes to `beat` any more, to which something wrote again and again.
pub(crate) fn assert_still(beat: &Path) {
    thread::sleep(Duration::from_millis(100));
    let before = fs::metadata(beat).unwrap().len();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(fs::metadata(beat).unwrap().len(), before, "something still runs");
}
