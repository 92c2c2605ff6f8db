//! The JSON schema of the configuration file, generated from the shapes that read it.

use super::shape::FileShape;

/// The JSON schema of a configuration file, pretty-printed with a final newline.
pub fn schema() -> String {
    let schema = schemars::schema_for!(FileShape);
    let mut text = format!("{:#}", schema.to_value());
    text.push('\n');
    text
}
