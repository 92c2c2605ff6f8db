//! One hold as it is stored, sent and shown, and the decision about it.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::Error;
use crate::plan::{Digest, HoldPlan};
use crate::state::State;

/// Longest reason a person may type, in characters.
pub const MAX_REASON: usize = 500;
/// How long a hold can wait for a decision.
pub const LASTING: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
/// Longest name of a person or terminal, in characters.
pub const MAX_BY: usize = 100;

/// The name of a hold: 16 characters of `0-9a-z` without `i l o u`, 80 random bits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(String);

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl HoldId {
    /// A new random id.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the system has no randomness to give.
    pub fn new() -> Result<Self, Error> {
        Ok(Self(random_word()?))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Sixteen random characters, 80 bits.
pub(crate) fn random_word() -> Result<String, Error> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| Error::Invalid { why: format!("no randomness from the system: {e}") })?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect())
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HoldId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() == 16 && text.bytes().all(|b| ALPHABET.contains(&b)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::NoSuchHold { id: crate::text::visible(text.as_bytes()) })
        }
    }
}

impl Serialize for HoldId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HoldId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Milliseconds since 1970, by the server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// This instant plus a duration.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Time from `earlier` until this instant; zero when it is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// An action that waits, or waited, for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// Its name.
    pub id: HoldId,
    /// What is held.
    pub plan: HoldPlan,
    /// The digest of `plan`, which a decision and a release must name.
    pub digest: Digest,
    /// Where it stands.
    pub state: State,
    /// When it was created.
    pub created_at: UnixMs,
    /// When a pending hold, or an approval not yet used, expires.
    pub expires_at: UnixMs,
    /// When it reached its present state.
    pub changed_at: UnixMs,
    /// The number of the event that brought it there; grows with every change of any hold.
    pub seq: i64,
}

/// What a person answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "kebab-case")]
pub enum Decision {
    /// Let it run.
    Approve,
    /// Do not let it run.
    Deny {
        /// Why, for the one who asked; at most [`MAX_REASON`] characters, may be empty.
        #[serde(default)]
        reason: String,
    },
}
