//! The policy as canonical JSON: what a digest covers.

use crate::policy::Policy;
use serde_json::Value;

impl Policy {
    /// The effective policy as canonical JSON: keys sorted, no blanks, and nothing in it but what has an effect. Where a value
    /// was written and what was warned about is left out, so a comment added to a file changes nothing.
    ///
    /// A hold is bound to a hash of this text: a policy that changed in between makes a new hold.
    ///
    /// ```
    /// use holdpoint_policy::layer::{Flags, compile};
    ///
    /// let plain = compile(&[], None, &Flags::default())?;
    /// let denied = compile(&[], None, &Flags { deny_read: vec!["**/.env*".into()], ..Flags::default() })?;
    /// assert_eq!(plain.digest_material(), plain.clone().digest_material());
    /// assert_ne!(plain.digest_material(), denied.digest_material());
    /// # Ok::<(), holdpoint_policy::ConfigError>(())
    /// ```
    pub fn digest_material(&self) -> String {
        // A policy holds nothing that JSON cannot: were that to change, `null` digests to something no hold was made for.
        let mut value = serde_json::to_value(self).unwrap_or(Value::Null);
        if let Value::Object(fields) = &mut value {
            fields.remove("warnings");
        }
        let mut text = String::new();
        write(&mut text, &strip(value));
        text
    }
}

/// Takes the origins out: `{value, origin}` becomes the value, and rules and hooks lose theirs.
fn strip(value: Value) -> Value {
    match value {
        Value::Object(mut fields) => {
            let has_origin = matches!(fields.get("origin"), Some(Value::String(_)));
            if has_origin {
                fields.remove("origin");
                if fields.len() == 1
                    && let Some(value) = fields.remove("value")
                {
                    return strip(value);
                }
            }
            Value::Object(fields.into_iter().map(|(key, value)| (key, strip(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(strip).collect()),
        value => value,
    }
}

/// Sorted keys whatever map type `serde_json` was built with.
fn write(text: &mut String, value: &Value) {
    let list = |text: &mut String, open: char, close: char, parts: &mut dyn Iterator<Item = String>| {
        text.push(open);
        text.push_str(&parts.collect::<Vec<_>>().join(","));
        text.push(close);
    };
    let inner = |value: &Value| {
        let mut text = String::new();
        write(&mut text, value);
        text
    };
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            let mut parts =
                sorted.into_iter().map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), inner(value)));
            list(text, '{', '}', &mut parts);
        }
        Value::Array(values) => list(text, '[', ']', &mut values.iter().map(inner)),
        value => text.push_str(&value.to_string()),
    }
}
