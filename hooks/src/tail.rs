//! The end of an output stream, in bounded memory.

/// Bytes kept of each stream: a reason is one line, so its end is enough.
const KEPT: usize = 64 * 1024;

/// The longest reason handed on, in characters.
const REASON: usize = 400;

/// Keeps the last bytes of what is pushed into it, however much that is.
#[derive(Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > 2 * KEPT {
            self.bytes.drain(..self.bytes.len() - KEPT);
        }
    }

    /// The last line that has anything visible in it, shortened when it is very long.
    ///
    /// The text is untrusted: whoever shows it encodes it for the place where it is shown.
    pub(crate) fn last_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        let line = text.split(['\n', '\r']).map(str::trim).rfind(|line| !line.is_empty())?;
        let mut short: String = line.chars().take(REASON).collect();
        if short.len() < line.len() {
            short.push('…');
        }
        Some(short)
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Tail};

    #[test]
    fn the_last_line_with_text_is_the_reason() {
        let mut tail = Tail::default();
        assert_eq!(tail.last_line(), None);
        tail.push(b"first\nBLOCK: second \r\n\n  \n");
        assert_eq!(tail.last_line().as_deref(), Some("BLOCK: second"));
        tail.push(b"\xff\xfe end");
        assert_eq!(tail.last_line().as_deref(), Some("\u{fffd}\u{fffd} end"));
    }

    #[test]
    fn memory_stays_bounded_and_a_long_line_is_shortened() {
        let mut tail = Tail::default();
        for _ in 0..1000 {
            tail.push(&[b'x'; 4096]);
            assert!(tail.bytes.len() <= 2 * KEPT);
        }
        let line = tail.last_line().unwrap();
        assert_eq!(line.chars().count(), super::REASON + 1);
        assert!(line.ends_with('…'));
    }
}
