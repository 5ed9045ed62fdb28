//! YAML text as a tree of nodes that know where they stand.
//!
//! A typed parse stops at its first error; a tree can be checked whole. Only the shape of the text is decided
//! here, what it means in [`super::check`].

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_yaml::{Location, MessageFormatter, Spanned, UserMessageFormatter};

use super::problem::{Position, Problem};

/// Largest file that is read. Unit: bytes. A prompt longer than this belongs in a file of its own.
pub(super) const MAX_TEXT: usize = 1 << 20;
/// Deepest nesting; the format itself needs five.
const MAX_DEPTH: usize = 32;
/// Most nodes after aliases are expanded.
const MAX_NODES: usize = 100_000;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its first character; that of an alias where it is one.
    pub at: Position,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, `null` or `~`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Whole(i128),
    /// Any other number, infinities included.
    Number(f64),
    /// Text, quoted or not.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping in file order; no key twice.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub at: Position,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The entries of a mapping; none of anything else.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none of anything else.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The value under a key. `None`: no such key, or not a mapping.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|e| e.key == key).map(|e| &e.value)
    }

    /// The text. `None`: not a text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The truth value. `None`: not one.
    #[must_use]
    pub fn flag(&self) -> Option<bool> {
        match self.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    /// The whole number. `None`: not one, or too large for the type asked for.
    #[must_use]
    pub fn whole<T: TryFrom<i128>>(&self) -> Option<T> {
        match self.value {
            Value::Whole(n) => T::try_from(n).ok(),
            _ => None,
        }
    }

    /// The number, whole or not. `None`: not a number.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a number this large is out of every range")]
    pub fn number(&self) -> Option<f64> {
        match self.value {
            Value::Whole(n) => Some(n as f64),
            Value::Number(x) => Some(x),
            _ => None,
        }
    }

    /// The value itself, for messages: `3`, `a list`, a text in backquotes.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Flag(b) => format!("`{b}`"),
            Value::Whole(n) => n.to_string(),
            Value::Number(x) => format!("{x:?}"),
            Value::Text(text) => format!("`{}`", shortened(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// What stands there, for messages: `the number 3`, `a list`.
    #[must_use]
    pub fn described(&self) -> String {
        match &self.value {
            Value::Whole(_) | Value::Number(_) => format!("the number {}", self.shown()),
            Value::Text(_) => format!("the text {}", self.shown()),
            _ => self.shown(),
        }
    }
}

/// One line of at most 40 characters.
pub(super) fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.len() == text.len() && line.chars().count() <= 40 {
        line.to_owned()
    } else {
        let head: String = line.chars().take(39).collect();
        format!("{head}…")
    }
}

/// Reads YAML text.
///
/// Keys that are given twice or are not text are reported in `problems`, and left out of the tree.
///
/// # Errors
/// Text that is not YAML, is more than one document, or exceeds the limits of size and depth.
pub fn parse(text: &str, problems: &mut Vec<Problem>) -> Result<Node, Problem> {
    if text.len() > MAX_TEXT {
        let message = format!("the file has more than {MAX_TEXT} bytes");
        return Err(Problem::new(Position { line: 1, column: 1 }, message)
            .help("try", "move long prompts into files of their own: `prompt: { file: …, tokens: … }`"));
    }
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
        reject_unsupported_tags: true,
    };
    let raw: Spanned<Raw> = serde_yaml::from_str_with_options(text, options).map_err(|e| syntax_problem(&e))?;
    Ok(Tree { lines: text.lines().collect(), problems }.node(raw))
}

fn syntax_problem(error: &serde_yaml::Error) -> Problem {
    let at = error.location().map_or(Position { line: 1, column: 1 }, position);
    let error = error.without_snippet();
    Problem::new(
        at,
        match error {
            serde_yaml::Error::MultipleDocuments { .. } => "a second document begins here, allowed: one".to_owned(),
            serde_yaml::Error::UnknownAnchor { .. } => "no anchor of this name stands before its alias".to_owned(),
            serde_yaml::Error::Budget { .. } => {
                format!("too large or too deeply nested, allowed: {MAX_NODES} values, {MAX_DEPTH} levels")
            }
            other => format!("not readable as YAML: {}", UserMessageFormatter.format_message(other)),
        },
    )
}

fn position(location: Location) -> Position {
    Position { line: location.line().max(1), column: location.column().max(1) }
}

/// Longest line in which numbers are looked at as they are written. Unit: bytes.
const LONGEST_LINE: usize = 1000;

/// How YAML merges one mapping into another.
pub(super) const MERGE: &str = "<<";

/// What nodes are made with.
struct Tree<'a> {
    /// The text.
    lines: Vec<&'a str>,
    /// What is wrong so far.
    problems: &'a mut Vec<Problem>,
}

impl Tree<'_> {
    fn node(&mut self, raw: Spanned<Raw>) -> Node {
        let at = position(raw.referenced);
        let value = match raw.value {
            Raw::Scalar(Value::Number(x)) => self.number(x, at),
            Raw::Scalar(value) => value,
            Raw::List(items) => Value::List(items.into_iter().map(|item| self.node(item)).collect()),
            Raw::Map(entries) => Value::Map(self.map(entries)),
        };
        Node { at, value }
    }

    fn map(&mut self, raw: Vec<(Spanned<Raw>, Spanned<Raw>)>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::with_capacity(raw.len());
        let mut first: HashMap<String, Position> = HashMap::with_capacity(raw.len());
        for (raw_key, raw_value) in raw {
            let key = self.node(raw_key);
            let value = self.node(raw_value);
            let Value::Text(name) = key.value else {
                let message = format!("a key must be text, not {}", key.described());
                self.problems.push(Problem::new(key.at, message).help("try", "put it in quotes"));
                continue;
            };
            if name == MERGE {
                let message = "`<<` would merge another mapping into this one, which is not read here";
                let instead = "write its keys out; `key: *name` repeats a whole value";
                self.problems.push(Problem::new(key.at, message).help("try", instead));
                // It may bring what would otherwise be missing here.
                entries.push(Entry { key: name, at: key.at, value });
                continue;
            }
            if let Some(first) = first.get(&name) {
                let message = format!("`{name}` is given twice");
                self.problems.push(Problem::new(key.at, message).help("first", format!("line {}", first.line)));
                continue;
            }
            first.insert(name.clone(), key.at);
            entries.push(Entry { key: name, at: key.at, value });
        }
        entries
    }

    /// A number that is not whole to the parser. `010` is none either, and nobody knows whether 8 or 10 is meant.
    fn number(&mut self, x: f64, at: Position) -> Value {
        let written = self.written(at);
        let digits = written.trim_start_matches(['+', '-']);
        if !digits.starts_with('0') || !digits[1..].starts_with(|c: char| c.is_ascii_digit()) {
            return Value::Number(x);
        }
        let message = format!("`{}` begins with 0: to some programs that is a number in base 8", shortened(written));
        let instead = format!("{x}, or in quotes where a text is meant");
        self.problems.push(Problem::new(at, message).help("try", instead));
        // One problem is enough: where a whole number belongs, this is one.
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        let value = if x.fract() == 0.0 && x.abs() < 9e15 { Value::Whole(x as i128) } else { Value::Number(x) };
        value
    }

    /// What stands at a place, up to where a plain value ends at the latest. Empty: the line is longer than anybody writes, and
    /// looking for places in it takes its time.
    fn written(&self, at: Position) -> &str {
        let place = |from_one: u64| usize::try_from(from_one.saturating_sub(1)).unwrap_or(usize::MAX);
        let line =
            self.lines.get(place(at.line)).copied().filter(|line| line.len() <= LONGEST_LINE).unwrap_or_default();
        let begin = line.char_indices().nth(place(at.column)).map_or(line.len(), |(begin, _)| begin);
        let rest = &line[begin..];
        &rest[..rest.find([' ', ',', ']', '}', '#']).unwrap_or(rest.len())]
    }
}

/// A node as the parser hands it over, before keys are looked at.
enum Raw {
    Scalar(Value),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Flag(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Whole(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Whole(value.into())))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Whole(value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Number(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}
