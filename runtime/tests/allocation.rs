//! Nothing allocates between `clone3` and `execve`: an allocator that ends the child says so.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::tests_outside_test_module, reason = "integration tests are a test module")]

use holdpoint_runtime::{Access, Sandbox};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// Ends the process on any use inside a new pid namespace, where this process, and only its launched child, is pid 1.
struct Tripwire;

// SAFETY: passes every call on to the system's allocator.
unsafe impl GlobalAlloc for Tripwire {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        trip();
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        trip();
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn trip() {
    // SAFETY: neither call has preconditions.
    unsafe {
        if libc::getpid() == 1 {
            libc::_exit(99);
        }
    }
}

#[global_allocator]
static ALLOCATOR: Tripwire = Tripwire;

#[test]
fn launching_allocates_nothing_in_the_child_while_other_threads_allocate() {
    assert_ne!(std::process::id(), 1, "this test cannot tell its child from itself when it is pid 1");
    let workspace = tempfile::tempdir().unwrap();
    for name in [".env", "a.env"] {
        std::fs::write(workspace.path().join(name), "secret").unwrap();
    }
    /// Stops the other threads also when the test fails.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    drop(std::hint::black_box(vec![0u8; 4096]));
                }
            });
        }
        let _stop = Stop(&stop);
        for round in 0..20 {
            let sandbox = Sandbox::builder()
                .system()
                .workspace(workspace.path(), Access::ReadWrite)
                .deny_read("**/*env")
                .start()
                .unwrap_or_else(|error| panic!("round {round}: {error:?}"));
            assert!(sandbox.command("true").status().unwrap().success());
        }
    });
}
