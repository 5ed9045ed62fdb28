//! The column names of a table, without a row to show them.

use serde::de::value::Error;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

/// The columns of a row type: its fields by their serialized names, in order. Empty for a type that is no struct.
#[must_use]
pub fn columns<R: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // The probe notes the names it is asked for and then always refuses.
    let _: Result<R, Error> = R::deserialize(Probe(&mut fields));
    fields
}

struct Probe<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        Err(Error::custom("holds names only"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[test]
    fn names_are_the_serialized_ones_in_order() {
        #[derive(Deserialize)]
        struct Row {
            #[serde(rename = "first_ms")]
            _b: f64,
            #[serde(rename = "second")]
            _a: Option<u32>,
        }
        assert_eq!(columns::<Row>(), ["first_ms", "second"]);
        assert!(columns::<u32>().is_empty());
    }
}
