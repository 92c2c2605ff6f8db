//! Arguments with the pointer array that `execve` wants, built where allocation is allowed.

use std::{
    ffi::{CString, c_char},
    fmt,
};

/// What a program is called with; `execve` takes [`pointers`](Self::pointers).
pub(crate) struct Arguments {
    pointers: Vec<*const c_char>,
    strings: Vec<CString>,
}

// SAFETY: the pointers lead to its own strings, which stay where they are when it moves and are never changed.
unsafe impl Send for Arguments {}

impl Arguments {
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect();
        Self { pointers, strings }
    }

    /// The last one is null.
    pub(crate) fn pointers(&self) -> &[*const c_char] {
        &self.pointers
    }
}

impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.strings).finish()
    }
}
