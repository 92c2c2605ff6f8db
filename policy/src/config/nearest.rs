//! The nearest known word, for "did you mean".

use std::cmp::min;

/// The word of `known` that `word` was most likely meant to be, if any is near enough to say so.
pub(crate) fn nearest<'a, S: AsRef<str>>(word: &str, known: &'a [S]) -> Option<&'a str> {
    let folded = fold(word);
    let allowed = (folded.chars().count() / 3).clamp(1, 4);
    known
        .iter()
        .map(AsRef::as_ref)
        .filter_map(|candidate| {
            let other = fold(candidate);
            let far = distance(&folded, &other);
            let inside = min(folded.len(), other.len()) >= 4 && (folded.contains(&other) || other.contains(&folded));
            // Of two equally far, the one that was abbreviated.
            let short_for = abbreviates(&folded, &other);
            (far <= allowed || inside).then_some((far, !short_for, candidate))
        })
        .min_by_key(|(far, other, _)| (*far, *other))
        .map(|(_, _, candidate)| candidate)
}

/// Case and the choice of `-`, `_` and blank do not make words differ.
fn fold(word: &str) -> String {
    word.trim().to_lowercase().chars().filter(|c| !matches!(c, '-' | '_' | ' ')).collect()
}

/// Whether all letters of `short` stand in `long`, in this order.
fn abbreviates(short: &str, long: &str) -> bool {
    let mut letters = long.chars();
    short.chars().all(|c| letters.any(|letter| letter == c))
}

/// Edits (insert, delete, replace, swap two neighbours) between two words; bounded work for absurd lengths.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    const MODES: [&str; 4] = ["read-only", "workspace-write", "workspace-write-and-net", "none"];

    #[test]
    fn typing_errors_find_their_word() {
        assert_eq!(nearest("raed-only", &MODES), Some("read-only"));
        assert_eq!(nearest("readonly", &MODES), Some("read-only"));
        assert_eq!(nearest("Read_Only", &MODES), Some("read-only"));
        assert_eq!(nearest("workspace-writ", &MODES), Some("workspace-write"));
        assert_eq!(nearest("workspace-write-net", &MODES), Some("workspace-write-and-net"));
        assert_eq!(nearest("sandbox_mode", &["sandbox", "model"]), Some("sandbox"));
        assert_eq!(nearest("deny_read", &["deny_read_paths", "protect_paths"]), Some("deny_read_paths"));
    }

    #[test]
    fn a_word_far_from_all_finds_none() {
        assert_eq!(nearest("danger-full-access", &MODES), None);
        assert_eq!(nearest("", &MODES), None);
        assert_eq!(nearest("x", &["sandbox"]), None);
    }
}
