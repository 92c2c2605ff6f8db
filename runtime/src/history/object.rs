//! Names of objects in a git database.

use std::fmt;

/// A SHA-1 or SHA-256, in full.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ObjectName {
    bytes: [u8; 32],
    length: u8,
}

impl ObjectName {
    /// From the bytes of a tree or an index; none when these are too many or too few.
    pub(super) fn new(raw: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        bytes.get_mut(..raw.len())?.copy_from_slice(raw);
        matches!(raw.len(), 20 | 32).then_some(Self { bytes, length: raw.len() as u8 })
    }

    /// From its usual form, in lower case.
    pub(super) fn parse(hex: &[u8]) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let (pairs, rest) = hex.as_chunks::<2>();
        let raw =
            pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect::<Option<Vec<u8>>>()?;
        Self::new(&raw).filter(|_| rest.is_empty())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which hash a database is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Sha1,
    Sha256,
}

impl Format {
    /// The name of the object in which there is nothing.
    pub(super) fn nothing(self) -> Option<ObjectName> {
        ObjectName::parse(match self {
            Self::Sha1 => b"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
            Self::Sha256 => b"473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
        })
    }

    /// Bytes of a name.
    pub(super) fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}
