//! The scenario file's format as a JSON Schema, made from the table that files are checked against.

use serde_json::{Map, Value, json};

use super::check::{MAX_NAME, NAME_MARKS, VERSION};
use super::format::SCENARIO_FILE;
use super::quantity::{BYTES_PATTERN, DURATION_PATTERN};
use super::section::{Field, Kind, Need, Section};

/// The JSON Schema (draft 2020-12) of scenario files, for editors.
///
/// It knows every key, kind, range and default; what keys say about each other, only `phasebench plan` knows.
#[must_use]
pub fn schema() -> Value {
    of(&SCENARIO_FILE, "phasebench scenario file")
}

/// The same of any of our formats.
pub(super) fn of(file: &Section, title: &str) -> Value {
    let mut schema = section(file);
    schema.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".to_owned(), title.into());
    schema.into()
}

fn section(section: &Section) -> Map<String, Value> {
    let keys_where =
        |test: fn(&Field) -> bool| -> Vec<&str> { section.fields.iter().filter(|f| test(f)).map(|f| f.key).collect() };
    let properties: Map<String, Value> = section.fields.iter().map(|f| (f.key.to_owned(), field(f).into())).collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    schema.insert("properties".to_owned(), properties.into());
    schema.insert("required".to_owned(), keys_where(|f| f.need == Need::Required).into());
    schema.insert("additionalProperties".to_owned(), false.into());
    if let Some(choice) = &section.choice {
        let alternatives = choice.keys.iter().map(|key| json!({ "required": [key] }));
        schema.insert("oneOf".to_owned(), alternatives.collect());
    }
    schema
}

fn field(field: &Field) -> Map<String, Value> {
    let mut schema = kind(&field.kind);
    schema.insert("description".to_owned(), field.doc.into());
    if let Need::Default(text) = field.need
        && let Ok(value) = serde_yaml::from_str::<Value>(text)
    {
        schema.insert("default".to_owned(), value);
    }
    schema
}

fn kind(kind: &Kind) -> Map<String, Value> {
    let schema = match kind {
        Kind::Version => json!({ "const": VERSION }),
        Kind::Name => json!({
            "type": "string",
            "pattern": format!("^[A-Za-z0-9][A-Za-z0-9{NAME_MARKS}]*$"),
            "maxLength": MAX_NAME,
        }),
        Kind::Text | Kind::Path => json!({ "type": "string", "pattern": r"\S" }),
        Kind::Whole { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Number { min, max, above, below } => {
            let low = if *above { "exclusiveMinimum" } else { "minimum" };
            let high = if *below { "exclusiveMaximum" } else { "maximum" };
            json!({ "type": "number", low: min, high: max })
        }
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Duration | Kind::DurationOrNone => json!({ "type": "string", "pattern": DURATION_PATTERN }),
        Kind::Bytes => json!({ "type": "string", "pattern": BYTES_PATTERN }),
        Kind::Word { allowed, .. } => json!({ "enum": allowed }),
        Kind::List { item, min, unique } => {
            json!({ "type": "array", "items": self::kind(item), "minItems": min, "uniqueItems": unique })
        }
        Kind::WholeOr { min, max, section: inner } => {
            json!({ "oneOf": [self::kind(&Kind::Whole { min: *min, max: *max }), section(inner)] })
        }
        Kind::Section(inner) => return section(inner),
        Kind::Forms(forms) => json!({ "oneOf": forms.iter().map(section).collect::<Vec<_>>() }),
    };
    match schema {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
