//! Where two configurations say different things.

use serde_json::Value;

/// The first place where `spec` does not say what a plan says, and what is wrong there. Absent and empty are the same
/// (engines written in Go leave out either), and so are lists whose order has no meaning.
pub(super) fn difference(spec: &Value, plan: &Value) -> Option<(String, String)> {
    at("", spec, plan)
}

fn at(place: &str, spec: &Value, plan: &Value) -> Option<(String, String)> {
    if is_empty(spec) && is_empty(plan) {
        return None;
    }
    match (spec, plan) {
        (Value::Object(left), Value::Object(right)) => {
            let keys = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
            keys.map(|key| (key, join(place, key)))
                .find_map(|(key, place)| at(&place, &spec[key.as_str()], &plan[key.as_str()]))
        }
        (Value::Array(left), Value::Array(right)) if is_ordered(place) => {
            (0..left.len().max(right.len())).find_map(|index| {
                let nothing = &Value::Null;
                let (left, right) = (left.get(index).unwrap_or(nothing), right.get(index).unwrap_or(nothing));
                at(&format!("{place}[{index}]"), left, right)
            })
        }
        (Value::Array(left), Value::Array(right)) => {
            let foreign = left.iter().find(|value| !right.contains(value));
            let missing = right.iter().find(|value| !left.contains(value));
            foreign.map(|value| too_much(place, value)).or_else(|| missing.map(|value| too_little(place, value)))
        }
        _ if spec == plan => None,
        _ if is_empty(spec) => Some(too_little(place, plan)),
        _ if is_empty(plan) => Some(too_much(place, spec)),
        _ => Some((place.to_owned(), format!("is {}, and a plan says {}", short(spec), short(plan)))),
    }
}

fn too_much(place: &str, value: &Value) -> (String, String) {
    (place.to_owned(), format!("a plan cannot say {}", short(value)))
}

fn too_little(place: &str, value: &Value) -> (String, String) {
    (place.to_owned(), format!("a plan also says {}", short(value)))
}

fn is_ordered(place: &str) -> bool {
    matches!(place, "mounts" | "process.args" | "process.env" | "linux.seccomp.syscalls")
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
        _ => false,
    }
}

fn join(place: &str, key: &str) -> String {
    match place {
        "" => key.to_owned(),
        "annotations" => format!("annotations[{key}]"),
        _ => format!("{place}.{key}"),
    }
}

/// A value for a message: an annotation can be as long as a plan.
fn short(value: &Value) -> String {
    const LONGEST: usize = 120;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}
