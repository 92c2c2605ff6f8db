//! Sizes (`"1GiB"`) and times (`"10m"`) of the `limits` table.

use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::fmt;
use std::time::Duration;

/// A size in bytes, written as `"512MiB"`, `"1.5GiB"`, `"2GB"`, `"4096"` or a bare number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// A length of time, written as `"90s"`, `"10m"`, `"1h30m"`, `"250ms"` or a bare number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

/// A share of processors, written as `2` or `1.5`; held in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus(pub u32);

const SIZES: [(&str, u64); 13] = [
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("t", 1 << 40),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
];

const TIMES: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Size {
    /// Reads a size.
    ///
    /// # Errors
    /// A sentence saying what a size looks like.
    pub fn parse(text: &str) -> Result<Size, String> {
        let wrong = || format!("`{text}` is not a size, write for example \"512MiB\" or \"1GiB\"");
        let (number, rest) = number(text.trim()).ok_or_else(wrong)?;
        let unit = rest.trim().to_ascii_lowercase();
        let factor = match unit.as_str() {
            "" => 1,
            unit => SIZES.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1,
        };
        positive(number, factor).map(Size).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 >= 1 << shift && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl Cpus {
    /// Takes a number of processors.
    fn new(number: f64) -> Option<Cpus> {
        const LEAST: f64 = 0.01; // What the kernel measures out.
        const MOST: f64 = 100_000.0;
        (LEAST..=MOST).contains(&number).then(|| Cpus((number * 1000.0).round() as u32))
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 1000.0)
    }
}

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cpus, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Cpus;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of processors, such as 2 or 1.5")
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Cpus, E> {
                Cpus::new(number).ok_or_else(|| {
                    E::custom(format!("`{number}` is not a number of processors, write for example 1.5"))
                })
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Cpus, E> {
                self.visit_f64(number as f64)
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Cpus, E> {
                self.visit_f64(number as f64)
            }
        }
        deserializer.deserialize_any(Number)
    }
}

impl Time {
    /// Reads a length of time.
    ///
    /// # Errors
    /// A sentence saying what a time looks like.
    pub fn parse(text: &str) -> Result<Time, String> {
        let wrong = || format!("`{text}` is not a time, write for example \"90s\", \"10m\" or \"1h30m\"");
        let mut rest = text.trim();
        let mut millis: u64 = 0;
        loop {
            let (count, after) = number(rest).ok_or_else(wrong)?;
            let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, next) = after.split_at(end);
            let factor = match unit {
                "" if millis == 0 && next.is_empty() => 1_000,
                unit => TIMES.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1,
            };
            millis = positive(count, factor).and_then(|part| millis.checked_add(part)).ok_or_else(wrong)?;
            rest = next.trim();
            if rest.is_empty() {
                return Ok(Time(Duration::from_millis(millis)));
            }
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if millis >= factor {
                write!(f, "{}{unit}", millis / factor)?;
                millis %= factor;
            }
        }
        Ok(())
    }
}

/// The decimal number at the start and what follows it; the number as a whole part and thousandths.
fn number(text: &str) -> Option<((u64, u64), &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let digits = digits.replace('_', "");
    let (whole, part) = digits.split_once('.').unwrap_or((&digits, "0"));
    if whole.is_empty() || part.is_empty() || part.len() > 3 {
        return None;
    }
    let thousandths: u64 = format!("{part:0<3}").parse().ok()?;
    Some(((whole.parse().ok()?, thousandths), rest))
}

/// The number times the factor; `None` when it is nothing or too much.
fn positive((whole, thousandths): (u64, u64), factor: u64) -> Option<u64> {
    let part = u128::from(thousandths) * u128::from(factor) / 1_000;
    let value = u128::from(whole) * u128::from(factor) + part;
    u64::try_from(value).ok().filter(|value| *value > 0)
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"1GiB\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                Size::parse(text).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes).ok().filter(|n| *n > 0).map(Size).ok_or_else(|| E::custom("a size is more than 0"))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Time;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as \"10m\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                Time::parse(text).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Time, E> {
                let seconds = u64::try_from(seconds).ok().filter(|n| *n > 0);
                seconds.map(|n| Time(Duration::from_secs(n))).ok_or_else(|| E::custom("a time is more than 0"))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        let bytes = |text| Size::parse(text).map(|size| size.0);
        assert_eq!(bytes("1GiB"), Ok(1 << 30));
        assert_eq!(bytes("1.5 gib"), Ok(3 << 29));
        assert_eq!(bytes("2GB"), Ok(2_000_000_000));
        assert_eq!(bytes("64M"), Ok(64 << 20));
        assert_eq!(bytes("4096"), Ok(4096));
        for wrong in ["", "0", "-1", "1XB", "GiB", "1.2.3M", "99999999999T", "1e9"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_read_as_people_write_them() {
        let time = |text| Time::parse(text).map(|time| time.0.as_millis());
        assert_eq!(time("90s"), Ok(90_000));
        assert_eq!(time("1h30m"), Ok(5_400_000));
        assert_eq!(time("1h 30m"), Ok(5_400_000));
        assert_eq!(time("250ms"), Ok(250));
        assert_eq!(time("15"), Ok(15_000));
        for wrong in ["", "0s", "10 minutes", "m", "1m30", "-5s", "1w"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for bytes in [1, 1000, 1 << 10, 3 << 29, (1 << 40) + 1] {
            assert_eq!(Size::parse(&Size(bytes).to_string()), Ok(Size(bytes)));
        }
        for millis in [1, 999, 1000, 61_000, 5_400_000, 90_061_001] {
            let time = Time(Duration::from_millis(millis));
            assert_eq!(Time::parse(&time.to_string()), Ok(time));
        }
    }
}
