//! What an older kernel lacks: what needs it is refused there, and tests look at that instead.

use holdpoint_runtime::{Error, Protection, probe::probe};

/// Whether this kernel's Landlock keeps programs apart that nothing else does: signals and abstract sockets, since ABI 6.
pub(crate) fn keeps_apart() -> bool {
    let landlock = probe().features.into_iter().find(|feature| feature.name == "landlock").unwrap();
    let abi = landlock.detail.strip_prefix("ABI ").and_then(|rest| rest.split(':').next()?.parse::<u32>().ok());
    abi.is_some_and(|abi| abi >= 6)
}

/// Looks at an error that an older kernel gave: it says what is missing, and from which Linux on it is there.
#[track_caller]
pub(crate) fn is_refusal(error: &Error) {
    assert!(!keeps_apart(), "{error}");
    assert!(matches!(error, Error::Unsupported { protection: Protection::Landlock, .. }), "{error}");
    assert!(error.to_string().contains("ABI 6 is needed (Linux 6.12)"), "{error}");
}
