//! The effective policy as text and as data.

use crate::policy::Policy;
use std::path::Path;

/// The effective policy for a screen.
pub fn text(policy: &Policy, workspace: &Path) -> String {
    sandbox_lines(policy, workspace).join("\n")
}

/// What the sandbox will allow, one plain sentence a line.
pub fn sandbox_lines(policy: &Policy, workspace: &Path) -> Vec<String> {
    vec![format!("sandbox {} in {}", policy.sandbox.value, workspace.display())]
}
