//! What went on beside a call, as a set. Text only in files.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::terms::Flag;

/// Flags of a row: each once, in the order they came.
///
/// In files their names stand joined by `;`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flags(Vec<Flag>);

impl Flags {
    /// Whether this flag is among them.
    #[must_use]
    pub fn contains(&self, flag: Flag) -> bool {
        self.0.contains(&flag)
    }

    /// Whether nothing was flagged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds those that are not there yet.
    pub(super) fn add(&mut self, flags: &[Flag]) {
        for &flag in flags {
            if !self.contains(flag) {
                self.0.push(flag);
            }
        }
    }
}

impl From<&[Flag]> for Flags {
    fn from(flags: &[Flag]) -> Self {
        let mut set = Self::default();
        set.add(flags);
        set
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, flag) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { ";" };
            write!(f, "{separator}{flag}")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for Flags {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = text.split(';').filter(|name| !name.is_empty());
        let flags: Vec<Flag> = names.map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self::from(flags.as_slice()))
    }
}

impl Serialize for Flags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Flags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_stands_once_in_the_order_it_came() {
        let mut flags = Flags::from([Flag::IdleDrift, Flag::Throttled, Flag::IdleDrift].as_slice());
        flags.add(&[Flag::CoResident, Flag::Throttled]);
        assert_eq!(flags.to_string(), "idle_drift;throttled;co_resident");
        assert_eq!(flags.to_string().parse(), Ok(flags.clone()));
        assert!(flags.contains(Flag::CoResident) && !flags.contains(Flag::PowerCapped));
    }

    #[test]
    fn no_flag_is_an_empty_text() {
        assert_eq!(Flags::default().to_string(), "");
        assert_eq!("".parse(), Ok(Flags::default()));
        let unknown = "throttled;hot".parse::<Flags>();
        assert!(unknown.is_err_and(|why| why.starts_with("unknown value `hot`, known: throttled")));
    }
}
