//! The JSON Schema against the files that the reader takes and refuses.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::{parse, yaml_files};

/// Whether a value obeys the part of JSON Schema that ours uses; patterns are the reader's own and left out.
pub fn obeys(value: &Value, schema: &Value) -> bool {
    let object = schema.as_object().unwrap();
    object.iter().all(|(keyword, rule)| match keyword.as_str() {
        "type" => match rule.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            other => panic!("type {other}"),
        },
        "const" => value == rule,
        "enum" => rule.as_array().unwrap().contains(value),
        "minimum" => value.as_f64().is_none_or(|x| x >= rule.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|x| x <= rule.as_f64().unwrap()),
        "exclusiveMinimum" => value.as_f64().is_none_or(|x| x > rule.as_f64().unwrap()),
        "exclusiveMaximum" => value.as_f64().is_none_or(|x| x < rule.as_f64().unwrap()),
        "minItems" => value.as_array().is_none_or(|a| a.len() as u64 >= rule.as_u64().unwrap()),
        "uniqueItems" => {
            value.as_array().is_none_or(|a| rule == false || (1..a.len()).all(|i| !a[..i].contains(&a[i])))
        }
        "items" => value.as_array().is_none_or(|a| a.iter().all(|item| obeys(item, rule))),
        "required" => value
            .as_object()
            .is_none_or(|o| rule.as_array().unwrap().iter().all(|key| o.contains_key(key.as_str().unwrap()))),
        "properties" => value
            .as_object()
            .is_none_or(|o| o.iter().all(|(key, inner)| rule.get(key).is_none_or(|schema| obeys(inner, schema)))),
        "additionalProperties" => {
            value.as_object().is_none_or(|o| o.keys().all(|key| object["properties"].get(key).is_some()))
        }
        "oneOf" => rule.as_array().unwrap().iter().filter(|form| obeys(value, form)).count() == 1,
        "maxLength" => value.as_str().is_none_or(|text| text.len() as u64 <= rule.as_u64().unwrap()),
        "pattern" | "description" | "default" | "title" | "$schema" => true,
        other => panic!("keyword {other}"),
    })
}

pub fn as_json(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

#[test]
fn good_files_obey_the_schema() {
    let schema = phasebench::scenario::schema();
    for path in yaml_files("scenarios").into_iter().chain(yaml_files("tests/data/scenario")) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(parse(&text).is_ok(), "{}", path.display());
        assert!(obeys(&as_json(&text), &schema), "{}", path.display());
    }
}

/// Broken files that only break rules between keys, or of YAML itself: a schema cannot see them.
const BEYOND_SCHEMA: &[&str] = &[
    "anchor_unknown",
    "clocks_mixed",
    "document_two",
    "duplicate_keys",
    "duplicate_names",
    "indentation",
    "keys_not_text",
    "merge_key",
    "repetitions_contradict",
    "sessions_adaptive_of_fixed",
    "sessions_of_adaptive",
    "sessions_too_many",
    "syntax",
    "tag",
    "texts_never_used",
];

#[test]
fn files_broken_in_shape_break_the_schema_too() {
    let schema = phasebench::scenario::schema();
    for path in yaml_files("tests/data/scenario/broken") {
        let name = super::stem(&path);
        if BEYOND_SCHEMA.contains(&name.as_str()) {
            continue;
        }
        let Ok(value) = serde_yaml::from_str::<Value>(&fs::read_to_string(&path).unwrap()) else { continue };
        assert!(!obeys(&value, &schema), "{name} obeys the schema");
    }
}

/// Every key of the schema, as a path without list positions.
fn schema_keys(schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    for form in schema["oneOf"].as_array().into_iter().flatten() {
        schema_keys(form, path, keys);
    }
    if let Some(items) = schema.get("items") {
        schema_keys(items, path, keys);
    }
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}/{key}");
        schema_keys(inner, &path, keys);
        keys.insert(path);
    }
}

fn file_keys(value: &Value, path: &str, keys: &mut BTreeSet<String>) {
    for item in value.as_array().into_iter().flatten() {
        file_keys(item, path, keys);
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        let path = format!("{path}/{key}");
        file_keys(inner, &path, keys);
        keys.insert(path);
    }
}

/// `everything.yaml` has every key but the one that excludes another, so a key added to the format has to be added there,
/// where a test says what it means.
#[test]
fn the_example_with_every_key_has_every_key() {
    let (mut documented, mut used) = (BTreeSet::new(), BTreeSet::new());
    schema_keys(&phasebench::scenario::schema(), "", &mut documented);
    let example = include_str!("../data/scenario/everything.yaml");
    file_keys(&as_json(example), "", &mut used);
    used.insert("/repetitions/fixed".to_owned());
    assert_eq!(documented, used);
}
