//! Checks a tree of nodes against the table in [`super::format`], and fills in the defaults.
//!
//! What one key says about itself is checked here; what keys say about each other in [`super::consistency`].

use std::collections::{HashMap, hash_map};

use super::node::{self, Entry, Node, Value, shortened};
use super::problem::{Position, Problem, nearest};
use super::quantity;
use super::section::{Choice, Field, Kind, Need, Section};
use crate::model::mistaken;

/// The one version of the format.
pub const VERSION: u64 = 1;
/// Longest name. Unit: characters.
pub const MAX_NAME: usize = 64;
/// Characters of a name besides ASCII letters and digits; the first is a letter or digit.
pub const NAME_MARKS: &str = "._-";

/// Reports everything about `node` that is not as `section` says, and puts defaults where keys are absent.
pub fn section(node: &mut Node, section: &Section, problems: &mut Vec<Problem>) {
    labelled(node, section, section.what, problems);
}

fn labelled(node: &mut Node, section: &Section, label: &str, problems: &mut Vec<Problem>) {
    let at = node.at;
    let found = node.described();
    let Value::Map(entries) = &mut node.value else {
        let message = format!("{label} must be a mapping, found {found}");
        problems.push(Problem::new(at, message).help("keys", keys(section).join(", ")));
        return;
    };
    let merges = merges(entries);
    entries.retain(|entry| entry.key != node::MERGE);
    let unchosen = section.choice.as_ref().filter(|choice| choose(entries, choice, problems) == 0);
    let mut meant = Vec::new();
    for entry in entries.iter_mut() {
        match section.fields.iter().find(|f| f.key == entry.key) {
            Some(field) => value(&mut entry.value, &field.kind, &quoted(field.key), problems),
            None => meant.extend(unknown(entry, section, unchosen, problems)),
        }
    }
    if let Some(choice) = unchosen
        && !merges
        && !choice.keys.iter().any(|key| meant.contains(key))
    {
        let message = format!("{} needs its {}", section.what, choice.what);
        problems.push(Problem::new(at, message).help("one of", choice.keys.join(", ")));
    }
    for field in section.fields {
        let may_be_merged = merges && matches!(field.need, Need::Required);
        if !entries.iter().any(|e| e.key == field.key) && !meant.contains(&field.key) && !may_be_merged {
            absent(at, entries, section, field, problems);
        }
    }
}

/// Whether another mapping would be merged into this one, which is reported where it is read: what is missing may be in that.
fn merges(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| entry.key == node::MERGE)
}

/// How many keys of a choice are there; more than one is reported.
fn choose(entries: &[Entry], choice: &Choice, problems: &mut Vec<Problem>) -> usize {
    let chosen: Vec<&Entry> = entries.iter().filter(|e| choice.keys.contains(&e.key.as_str())).collect();
    for extra in chosen.iter().skip(1) {
        let message = format!("`{}` cannot stand beside `{}`", extra.key, chosen[0].key);
        problems.push(Problem::new(extra.at, message).help("try", format!("keep one {}", choice.what)));
    }
    chosen.len()
}

/// Reports a key that a section does not have. Returns the key it was perhaps meant to be, which is then not
/// reported as missing as well; where a choice is open, an unknown name is taken for one of its keys.
fn unknown(
    entry: &Entry,
    section: &Section,
    unchosen: Option<&Choice>,
    problems: &mut Vec<Problem>,
) -> Option<&'static str> {
    let known = keys(section);
    if let Some(choice) = unchosen {
        let others: Vec<&str> = known.iter().copied().filter(|k| !choice.keys.contains(k)).collect();
        if nearest(&entry.key, &others).is_none() {
            let message = format!("unknown {} `{}`", choice.what, shortened(&entry.key));
            problems.push(Problem::new(entry.at, message).known(&entry.key, choice.keys));
            return choice.keys.first().copied();
        }
    }
    let message = format!("unknown key `{}` in {}", shortened(&entry.key), section.what);
    problems.push(Problem::new(entry.at, message).known(&entry.key, &known));
    nearest(&entry.key, &known)
}

/// Fills in a default, or reports that there is none.
fn absent(at: Position, entries: &mut Vec<Entry>, section: &Section, field: &Field, problems: &mut Vec<Problem>) {
    match field.need {
        Need::Optional => {}
        Need::Required => {
            problems
                .push(Problem::new(at, format!("{} needs `{}`", section.what, field.key)).help("meaning", field.doc));
        }
        Need::Default(text) => {
            if let Ok(mut filled) = node::parse(text, problems) {
                place(&mut filled, at);
                value(&mut filled, &field.kind, &quoted(field.key), problems);
                entries.push(Entry { key: field.key.to_owned(), at, value: filled });
            }
        }
    }
}

/// Gives a default the position of the section it was left out of.
fn place(node: &mut Node, at: Position) {
    node.at = at;
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| place(item, at)),
        Value::Map(entries) => entries.iter_mut().for_each(|e| {
            e.at = at;
            place(&mut e.value, at);
        }),
        _ => {}
    }
}

/// Reports what is wrong with one value, called `label` in messages.
fn value(node: &mut Node, kind: &Kind, label: &str, problems: &mut Vec<Problem>) {
    match kind {
        Kind::Section(inner) => labelled(node, inner, label, problems),
        Kind::WholeOr { section, .. } if matches!(node.value, Value::Map(_)) => {
            labelled(node, section, label, problems)
        }
        Kind::WholeOr { min, max, .. } => problems.extend(scalar(node, &Kind::Whole { min: *min, max: *max }, label)),
        Kind::Forms(forms) => form(node, forms, label, problems),
        Kind::List { item, min, unique } => {
            list(node, item, *min, label, problems);
            if *unique {
                repeated(node, label, problems);
            }
        }
        Kind::Version => version(node, problems),
        _ => problems.extend(scalar(node, kind, label)),
    }
}

/// The form that entries are of: one whose first key is there, else one of whose keys any is, else one that needs none.
fn meant<'a>(entries: &[Entry], forms: &'a [Section]) -> Option<&'a Section> {
    let is_there = |field: &Field| entries.iter().any(|entry| entry.key == field.key);
    let by_first = forms.iter().find(|form| form.fields.first().is_some_and(is_there));
    let by_any = by_first.or_else(|| forms.iter().find(|form| form.fields.iter().any(is_there)));
    by_any.or_else(|| forms.iter().find(|form| form.fields.iter().all(|field| field.need != Need::Required)))
}

/// Reports entries that are of no form.
fn no_form(at: Position, entries: &[Entry], forms: &[Section], label: &str, problems: &mut Vec<Problem>) {
    let all: Vec<&str> = distinct(forms.iter().flat_map(keys));
    for entry in entries {
        let message = format!("unknown key `{}` in {label}", shortened(&entry.key));
        problems.push(Problem::new(entry.at, message).known(&entry.key, &all));
    }
    if entries.is_empty() {
        let firsts: Vec<&str> = forms.iter().filter_map(|form| form.fields.first()).map(|field| field.key).collect();
        problems.push(Problem::new(at, format!("{label} is empty")).help("one of", firsts.join(", ")));
    }
}

fn form(node: &mut Node, forms: &[Section], label: &str, problems: &mut Vec<Problem>) {
    let all: Vec<&str> = distinct(forms.iter().flat_map(keys));
    let Value::Map(entries) = &node.value else {
        let message = format!("{label} must be a mapping, found {}", node.described());
        problems.push(Problem::new(node.at, message).help("keys", all.join(", ")));
        return;
    };
    let Some(chosen) = meant(entries, forms) else {
        if !merges(entries) {
            no_form(node.at, entries, forms, label, problems);
        }
        return;
    };
    let first = chosen.fields.first().map_or("", |f| f.key);
    let misplaced: Vec<(Position, String)> = entries
        .iter()
        .filter(|e| all.contains(&e.key.as_str()) && !keys(chosen).contains(&e.key.as_str()))
        .map(|e| (e.at, e.key.clone()))
        .collect();
    if let Value::Map(entries) = &mut node.value {
        entries.retain(|e| !misplaced.iter().any(|(_, key)| *key == e.key));
    }
    for (at, key) in misplaced {
        let message = format!("`{key}` cannot stand beside `{first}` in {label}");
        problems.push(Problem::new(at, message).help("allowed", keys(chosen).join(", ")));
    }
    section(node, chosen, problems);
}

fn list(node: &mut Node, item: &Kind, min: usize, label: &str, problems: &mut Vec<Problem>) {
    let (at, found) = (node.at, node.described());
    let Value::List(items) = &mut node.value else {
        problems.push(Problem::new(at, format!("{label} must be a list, found {found}")));
        return;
    };
    if items.len() < min {
        let found = if items.is_empty() { "is empty".to_owned() } else { format!("has {} items", items.len()) };
        problems.push(Problem::new(at, format!("{label} {found}, needed: at least {min}")));
    }
    let label = match item {
        Kind::Section(section) => section.what.to_owned(),
        _ => format!("an item of {label}"),
    };
    for entry in items {
        value(entry, item, &label, problems);
    }
}

fn repeated(node: &Node, label: &str, problems: &mut Vec<Problem>) {
    // Items are single values, which their text tells apart.
    let mut known: HashMap<String, Position> = HashMap::new();
    for item in node.items() {
        match known.entry(format!("{:?}", item.value)) {
            hash_map::Entry::Occupied(first) => {
                let message = format!("{label} lists {} twice", item.shown());
                let place = format!("line {}, column {}", first.get().line, first.get().column);
                problems.push(Problem::new(item.at, message).help("first", place));
            }
            hash_map::Entry::Vacant(new) => {
                new.insert(item.at);
            }
        }
    }
}

fn version(node: &Node, problems: &mut Vec<Problem>) {
    if node.whole::<u64>() != Some(VERSION) {
        let message = format!("`version` must be {VERSION}, found {}", node.described());
        problems.push(Problem::new(node.at, message));
    }
}

fn scalar(node: &Node, kind: &Kind, label: &str) -> Option<Problem> {
    let expected = |what: &str| {
        let message = format!("{label} must be {what}, found {}", node.described());
        let problem = Problem::new(node.at, message);
        let quotable = matches!(node.value, Value::Flag(_) | Value::Whole(_) | Value::Number(_));
        Some(match kind {
            Kind::Name | Kind::Text | Kind::Path if quotable => problem.help("try", "put it in quotes"),
            _ => problem,
        })
    };
    let wrong = |message: String| Some(Problem::new(node.at, message));
    match kind {
        Kind::Name => match node.text() {
            Some(text) => name(text).map(|m| Problem::new(node.at, format!("{label} {m}"))),
            None => expected("text"),
        },
        Kind::Text | Kind::Path => match node.text() {
            Some(text) if text.trim().is_empty() => wrong(format!("{label} is empty")),
            Some(text) if matches!(kind, Kind::Path) => not_expanded(node.at, text, label),
            Some(_) => None,
            None => expected("text"),
        },
        Kind::Whole { min, max } => match &node.value {
            Value::Whole(n) if (i128::from(*min)..=i128::from(*max)).contains(n) => None,
            Value::Whole(n) => wrong(format!("{label} is {n}, allowed: {min} to {max}")),
            _ => expected("a whole number"),
        },
        Kind::Number { min, max, above, below } => match node.number() {
            Some(x) if inside(x, *min, *max, *above, *below) => None,
            Some(x) => wrong(format!("{label} is {x}, allowed: {}", range(*min, *max, *above, *below))),
            None => expected("a number"),
        },
        Kind::Flag => match node.value {
            Value::Flag(_) => None,
            _ => expected("`true` or `false`"),
        },
        Kind::Duration | Kind::DurationOrNone => match node.text().map(|text| (text, quantity::duration(text))) {
            Some((_, Ok(d))) if !d.is_zero() || matches!(kind, Kind::DurationOrNone) => None,
            Some((text, Ok(_))) => wrong(format!("{label} is `{text}`, allowed: more than 0")),
            Some((text, Err(reason))) => wrong(format!("{label}: `{}` {reason}", shortened(text)))
                .map(|p| p.help("example", "20ms, 1.5s, 120s, 1m30s")),
            None => expected("a duration with its unit, such as `120s`"),
        },
        Kind::Bytes => match node.text().map(|text| (text, quantity::bytes(text))) {
            Some((_, Ok(b))) if b.0 > 0 => None,
            Some((text, Ok(_))) => wrong(format!("{label} is `{text}`, allowed: more than 0")),
            Some((text, Err(reason))) => {
                wrong(format!("{label}: `{}` {reason}", shortened(text))).map(|p| p.help("example", "500MB, 8GiB"))
            }
            None => expected("a size with its unit, such as `8GiB`"),
        },
        Kind::Word { allowed, explained } => match node.text() {
            Some(text) => word(node.at, text, allowed, explained, label),
            None => expected(&format!("one of {}", allowed.join(", "))),
        },
        Kind::Version | Kind::List { .. } | Kind::WholeOr { .. } | Kind::Section(_) | Kind::Forms(_) => None,
    }
}

/// What is wrong with a path as it is written, if anything: whether there is such a file is seen where it is read.
pub fn not_expanded(at: Position, text: &str, label: &str) -> Option<Problem> {
    if !mistaken::begins_at_home(text) {
        return None;
    }
    Some(Problem::new(at, format!("{label} is `{}`: {}", shortened(text), mistaken::HOME)))
}

/// What is wrong with one of several words, if anything.
fn word(
    at: Position,
    text: &str,
    allowed: &[&'static str],
    explained: &[(&'static str, &'static str)],
    label: &str,
) -> Option<Problem> {
    if allowed.contains(&text) {
        return None;
    }
    Some(match explained.iter().find(|(word, _)| *word == text) {
        Some((word, why)) => Problem::new(at, format!("`{word}` {why}")).known("", allowed),
        None => Problem::new(at, format!("{label} cannot be `{}`", shortened(text))).known(text, allowed),
    })
}

/// What is wrong with a name, if anything.
fn name(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("is empty".to_owned());
    }
    let marks = |c: char| NAME_MARKS.contains(c);
    let good = text.chars().all(|c| c.is_ascii_alphanumeric() || marks(c))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= MAX_NAME;
    (!good).then(|| {
        format!(
            "is `{}`, allowed: 1 to {MAX_NAME} letters, digits, `.`, `_` and `-`, the first a letter or digit",
            shortened(text)
        )
    })
}

fn inside(x: f64, min: f64, max: f64, above: bool, below: bool) -> bool {
    let low = if above { x > min } else { x >= min };
    let high = if below { x < max } else { x <= max };
    low && high
}

fn range(min: f64, max: f64, above: bool, below: bool) -> String {
    let low = if above { format!("more than {min}") } else { format!("at least {min}") };
    let high = if below { format!("less than {max}") } else { format!("at most {max}") };
    format!("{low}, {high}")
}

fn keys(section: &Section) -> Vec<&'static str> {
    section.fields.iter().map(|f| f.key).collect()
}

fn distinct(keys: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut seen = Vec::new();
    for key in keys {
        if !seen.contains(&key) {
            seen.push(key);
        }
    }
    seen
}

fn quoted(key: &str) -> String {
    format!("`{key}`")
}
