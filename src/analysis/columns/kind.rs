//! What the cells of a column hold, found from their type.

use std::fmt;

use serde::de::value::Error;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

/// What a cell holds, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Words.
    Text,
    /// `true` or `false`.
    Truth,
    /// A whole number.
    Whole,
    /// A number with as many digits as it has.
    Number,
    /// One of these names.
    Name(&'static [&'static str]),
    /// A list as it stands in JSON.
    List,
}

impl Kind {
    /// What cells of a type hold: what the type asks for when it is read.
    pub(super) fn of<C: DeserializeOwned>() -> Self {
        let mut kind = Self::Text;
        // The probe notes what it is asked for and then always refuses.
        let _: Result<C, Error> = C::deserialize(Probe(&mut kind));
        kind
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Truth => f.write_str("`true` or `false`"),
            Self::Whole => f.write_str("whole number"),
            Self::Number => f.write_str("number"),
            Self::List => f.write_str("list, as in JSON"),
            Self::Name(names) => {
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                f.write_str(&names.join(", "))
            }
        }
    }
}

struct Probe<'a>(&'a mut Kind);

impl Probe<'_> {
    fn note<T>(self, kind: Kind) -> Result<T, Error> {
        *self.0 = kind;
        Err(Error::custom("holds a kind only"))
    }
}

/// Methods that note a kind.
macro_rules! notes {
    ($($method:ident => $kind:ident),+ $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            self.note(Kind::$kind)
        })+
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    notes! {
        deserialize_any => Text, deserialize_bool => Truth, deserialize_f32 => Number, deserialize_f64 => Number,
        deserialize_i32 => Whole, deserialize_i64 => Whole, deserialize_u32 => Whole, deserialize_u64 => Whole,
        deserialize_seq => List,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        self.note(Kind::Name(names))
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u128 char str string bytes byte_buf unit unit_struct newtype_struct tuple tuple_struct
        map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::Finish;

    #[test]
    fn a_kind_follows_from_the_type() {
        for (found, kind) in [
            (Kind::of::<String>(), Kind::Text),
            (Kind::of::<bool>(), Kind::Truth),
            (Kind::of::<usize>(), Kind::Whole),
            (Kind::of::<Option<i64>>(), Kind::Whole),
            (Kind::of::<Option<f64>>(), Kind::Number),
            (Kind::of::<Option<Finish>>(), Kind::Name(&["length", "stop", "interrupted"])),
        ] {
            assert_eq!(found, kind);
        }
    }
}
