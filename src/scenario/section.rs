//! What a file format is made of: sections, keys, kinds of values. The format itself is in [`super::format`]
//! and, for engines, below [`super::engine`].

/// A mapping with fixed keys.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// What it is, for messages: `a model`.
    pub what: &'static str,
    /// Its keys in the order they are documented.
    pub fields: &'static [Field],
    /// Keys of which exactly one must be there.
    pub choice: Option<Choice>,
}

/// Keys of which exactly one must be there.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// What is chosen, for messages: `engine`.
    pub what: &'static str,
    /// The keys.
    pub keys: &'static [&'static str],
}

/// A key.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub key: &'static str,
    /// What its value must be.
    pub kind: Kind,
    /// Whether it must be there.
    pub need: Need,
    /// What it means.
    pub doc: &'static str,
}

/// Whether a key must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It must.
    Required,
    /// It need not, and its absence means something.
    Optional,
    /// It need not; this YAML stands in for it.
    Default(&'static str),
}

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// The number of the format's version.
    Version,
    /// A name that tables, ids and `--only` can carry.
    Name,
    /// Text that is not empty.
    Text,
    /// The path of a file or a folder.
    Path,
    /// A whole number from `min` to `max`.
    Whole {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A number from `min` to `max`.
    Number {
        /// Smallest; itself refused where `above` is set.
        min: f64,
        /// Largest; itself refused where `below` is set.
        max: f64,
        /// `min` itself is refused.
        above: bool,
        /// `max` itself is refused.
        below: bool,
    },
    /// `true` or `false`.
    Flag,
    /// A duration with its unit, longer than nothing.
    Duration,
    /// The same, or none at all: `0s`.
    DurationOrNone,
    /// A size with its unit, more than nothing.
    Bytes,
    /// One of these words.
    Word {
        /// The words.
        allowed: &'static [&'static str],
        /// Words that are wrong for a reason worth telling.
        explained: &'static [(&'static str, &'static str)],
    },
    /// A list of at least `min` items.
    List {
        /// What each item must be.
        item: &'static Kind,
        /// Fewest items.
        min: usize,
        /// No item may be there twice.
        unique: bool,
    },
    /// A whole number from `min` to `max`, or a mapping that says more.
    WholeOr {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
        /// The mapping.
        section: &'static Section,
    },
    /// A mapping.
    Section(&'static Section),
    /// A mapping of one of these forms, told apart by the first key of each.
    Forms(&'static [Section]),
}

/// A key that must be there.
pub const fn required(key: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { key, kind, need: Need::Required, doc }
}

/// A key whose absence means something, as `doc` says.
pub const fn optional(key: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { key, kind, need: Need::Optional, doc }
}

/// A key that the YAML in `value` stands in for.
pub const fn default(key: &'static str, kind: Kind, value: &'static str, doc: &'static str) -> Field {
    Field { key, kind, need: Need::Default(value), doc }
}

/// One of these words.
pub const fn words(allowed: &'static [&'static str]) -> Kind {
    Kind::Word { allowed, explained: &[] }
}

/// A whole number from `min` to `max`.
pub const fn whole(min: u64, max: u64) -> Kind {
    Kind::Whole { min, max }
}

/// A number from `min` to `max`.
pub const fn number(min: f64, max: f64) -> Kind {
    Kind::Number { min, max, above: false, below: false }
}

/// Most tokens of a prompt or a decode loop; far beyond any context, so that sums cannot overflow.
pub const TOKENS: Kind = whole(1, 1 << 20);
