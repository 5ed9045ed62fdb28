//! JSON read so that whatever is wrong is told with its place: a key that stands twice, a number that is none, a field that is
//! missing or of another kind.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::error::ImportError;
use super::source::Source;
use crate::units::Nanos;

/// A value with where it stands.
#[derive(Clone)]
pub(super) struct Place<'a> {
    source: &'a Source,
    value: &'a Value,
    at: String,
}

/// The whole file as one value.
pub(super) fn whole(source: &Source) -> Result<Value, ImportError> {
    value(source, &source.text, 1)
}

/// One value per line that is not empty, with the number of its line.
pub(super) fn lines(source: &Source) -> Result<Vec<(usize, Value)>, ImportError> {
    let numbered = source.text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    numbered.map(|(line, number)| Ok((number, value(source, line, number)?))).collect()
}

/// A text that begins at this line of the file.
fn value(source: &Source, text: &str, first_line: usize) -> Result<Value, ImportError> {
    let unreadable = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        let place = format!("{}:{column}", first_line + line.saturating_sub(1));
        let words = error.to_string();
        let words = words.rsplit_once(" at line ").map_or(words.as_str(), |(what, _)| what).to_owned();
        match not_a_number(text, line, column) {
            Some(found) => source.error(place, format!("`{found}` is no number"), "finite numbers"),
            None if error.is_eof() => {
                source.error(place, format!("ends too early: {words}"), "a file that the tool wrote to its end")
            }
            None => source.error(place, words, "JSON, every key once"),
        }
    };
    serde_json::from_str::<Unique>(text).map(|unique| unique.0).map_err(unreadable)
}

/// What Python writes for a number that is none, if it stands there.
fn not_a_number(text: &str, line: usize, column: usize) -> Option<&'static str> {
    let line = text.lines().nth(line.saturating_sub(1))?;
    let from = line.floor_char_boundary(column.saturating_sub(2));
    ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| {
        let near = line.get(line.floor_char_boundary(from.saturating_sub(1))..).unwrap_or_default();
        near.find(word).is_some_and(|found| found <= 2)
    })
}

/// A value in which no key stands twice.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(de::Error::custom(format!("key `{key}` stands twice")));
            }
            let Unique(value) = entries.next_value()?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

impl<'a> Place<'a> {
    /// A value of the file; `at` is empty for the whole of it.
    pub(super) fn new(source: &'a Source, value: &'a Value, at: impl Into<String>) -> Self {
        Self { source, value, at: at.into() }
    }

    /// Where it stands.
    pub(super) fn at(&self) -> &str {
        &self.at
    }

    /// What is wrong with it.
    pub(super) fn error(&self, what: impl Into<String>, allowed: impl Into<String>) -> ImportError {
        self.source.error(self.at.clone(), what, allowed)
    }

    /// A field. `None`: it is not there, or null.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Self { source: self.source, value, at: format!("{}/{key}", self.at) })
    }

    /// A field that must be there.
    pub(super) fn need(&self, key: &str) -> Result<Self, ImportError> {
        if !self.value.is_object() {
            return Err(self.error(format!("is {}", kind(self.value)), "an object"));
        }
        self.get(key).ok_or_else(|| self.error(format!("`{key}` is missing"), "a file of this format has it"))
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Result<Vec<Self>, ImportError> {
        let Value::Array(items) = self.value else {
            return Err(self.error(format!("is {}", kind(self.value)), "a list"));
        };
        let placed = items.iter().enumerate();
        Ok(placed.map(|(i, value)| Self { source: self.source, value, at: format!("{}/{i}", self.at) }).collect())
    }

    /// Every field of an object by name.
    pub(super) fn fields(&self) -> Vec<(&'a str, &'a Value)> {
        self.value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value)).collect()
    }

    /// A text.
    pub(super) fn text(&self) -> Result<&'a str, ImportError> {
        self.value.as_str().ok_or_else(|| self.error(format!("is {}", kind(self.value)), "a text"))
    }

    /// A finite number.
    pub(super) fn number(&self) -> Result<f64, ImportError> {
        let found = self.value.as_f64().filter(|value| value.is_finite());
        found.ok_or_else(|| self.error(format!("is {}", kind(self.value)), "a finite number"))
    }

    /// A whole number from 0.
    pub(super) fn count(&self) -> Result<u32, ImportError> {
        let whole = self.value.as_f64().filter(|value| value.fract() == 0.0 && (0.0..=4e9).contains(value));
        whole
            .map(|value| value as u32)
            .ok_or_else(|| self.error(format!("is {}", kind(self.value)), "a whole number from 0"))
    }

    /// A time; the number × `unit_ns` is in nanoseconds.
    pub(super) fn time(&self, unit_ns: f64) -> Result<Nanos, ImportError> {
        self.source.time(&self.at, self.number()?, unit_ns)
    }

    /// As [`count`](Self::count), of a field. `None`: it is not there.
    pub(super) fn count_of(&self, key: &str) -> Result<Option<u32>, ImportError> {
        self.get(key).map(|place| place.count()).transpose()
    }

    /// As [`number`](Self::number), of a field. `None`: it is not there.
    pub(super) fn number_of(&self, key: &str) -> Result<Option<f64>, ImportError> {
        self.get(key).map(|place| place.number()).transpose()
    }

    /// As [`text`](Self::text), of a field. `None`: it is not there.
    pub(super) fn text_of(&self, key: &str) -> Result<Option<&'a str>, ImportError> {
        self.get(key).map(|place| place.text()).transpose()
    }
}

/// A scalar as text, whatever its kind: `true` and `1` are one, as tools write either.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Bool(value) => Some(u8::from(*value).to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::String(value) => Some(value.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(text) => format!("the text `{}`", text.chars().take(40).collect::<String>()),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}
