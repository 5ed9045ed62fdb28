//! What columns are: name, kind, unit and meaning.
//!
//! A row type is written with `columns!`: a column's name, type and meaning stand there once, and give the struct, the
//! header of the CSV file, its cells, and the page `docs/tables.md`. Columns that several tables share are a struct of
//! their own, such as [`CellKey`](super::CellKey), which a row holds as a part.
//!
//! A column's doc comment says what it means; `None` is an empty cell. A line that begins with `Unit:` gives the unit where
//! the name does not, one that begins with `Source:` where the formula comes from.

use std::borrow::Cow;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::ser::SerializeStruct;

mod kind;
pub mod nested;
mod unit;

pub use kind::Kind;

/// One column. Its name is a `String` where it is put together of a field's and its part's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column<Name = &'static str> {
    /// Name in the header.
    pub name: Name,
    /// What its cells hold.
    pub kind: Kind,
    /// The doc comment, line by line.
    lines: Cow<'static, [&'static str]>,
}

impl Column {
    /// A column of cells of type `C` with its doc comment.
    #[must_use]
    pub fn of<C: DeserializeOwned>(name: &'static str, lines: &'static [&'static str]) -> Self {
        Self { name, kind: Kind::of::<C>(), lines: Cow::Borrowed(lines) }
    }

    /// The same with a name that is not in the program's text.
    #[must_use]
    pub fn with_own_name(self) -> Column<String> {
        Column { name: self.name.to_owned(), kind: self.kind, lines: self.lines }
    }
}

impl<Name: AsRef<str>> Column<Name> {
    /// What it means, in a sentence or more.
    #[must_use]
    pub fn meaning(&self) -> String {
        in_a_file(self.lines.iter().filter(|line| !LABELS.iter().any(|label| line.trim().starts_with(label))).copied())
    }

    /// Where its formula comes from. `None`: it has none, or the meaning says it all.
    #[must_use]
    pub fn source(&self) -> Option<&'static str> {
        self.labelled(SOURCE)
    }

    /// Its unit: what its name ends in, else what is said of it. `None`: it holds no quantity, or counts.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        self.unit_of_name().or_else(|| self.declared_unit())
    }

    /// The unit that its name ends in. `None`: it ends in none.
    #[must_use]
    pub fn unit_of_name(&self) -> Option<&'static str> {
        unit::of_name(self.name.as_ref())
    }

    /// The unit that is said of it. `None`: its name tells, or it has none.
    #[must_use]
    pub fn declared_unit(&self) -> Option<&'static str> {
        self.labelled(UNIT)
    }

    fn labelled(&self, label: &str) -> Option<&'static str> {
        let found = self.lines.iter().find_map(|line| line.trim().strip_prefix(label))?;
        Some(found.trim().trim_end_matches('.'))
    }
}

/// A CSV file's description, without its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its name, or its path inside the run folder.
    pub file: &'static str,
    /// What a row stands for, and in which order they come.
    pub about: String,
    /// In order.
    pub columns: Vec<Column<String>>,
}

/// A doc comment as one text that speaks of a CSV file: what is not there is an empty cell.
fn in_a_file(lines: impl Iterator<Item = &'static str>) -> String {
    let text = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    text.replace("`None`", "Empty").replace("Null:", "Empty:")
}

const UNIT: &str = "Unit:";
const SOURCE: &str = "Source:";
const LABELS: [&str; 2] = [UNIT, SOURCE];

/// A struct whose fields are columns: a row, or a part of one. Written by `columns!`.
pub trait Columns {
    /// How many there are.
    const COUNT: usize;

    /// All of them, in order.
    fn columns() -> Vec<Column>;

    /// Hands out every cell, in the order of the columns.
    ///
    /// # Errors
    /// What the receiver says.
    fn cells<R: SerializeStruct>(&self, row: &mut R) -> Result<(), R::Error>;
}

impl<C: Columns> Columns for Arc<C> {
    const COUNT: usize = C::COUNT;

    fn columns() -> Vec<Column> {
        C::columns()
    }

    fn cells<R: SerializeStruct>(&self, row: &mut R) -> Result<(), R::Error> {
        C::cells(self, row)
    }
}

/// A part that may be missing: then its cells are empty.
impl<C: Columns> Columns for Option<C> {
    const COUNT: usize = C::COUNT;

    fn columns() -> Vec<Column> {
        C::columns()
    }

    fn cells<R: SerializeStruct>(&self, row: &mut R) -> Result<(), R::Error> {
        match self {
            Some(part) => part.cells(row),
            None => C::columns().iter().try_for_each(|column| row.serialize_field(column.name, &None::<u32>)),
        }
    }
}

/// Some columns of a part, by name and in this order. `part` says which part of the row that is.
pub(super) fn picked<Row, Part: Columns>(_part: fn(&Row) -> &Part, names: &[&str]) -> Vec<Column> {
    let all = Part::columns();
    names.iter().filter_map(|name| all.iter().find(|column| column.name == *name).cloned()).collect()
}

/// Defines a row type, or a part of one.
///
/// ```text
/// columns! {
///     /// What a row stands for.
///     pub struct SomeRow {
///         /// A column of its own. `None`: when it is empty.
///         latency_ms: Option<f64>,
///         ..energy: EnergyColumns,                      // all columns of a part
///         ..key: Arc<CellKey> { backend, model },       // these columns of a part
///         ..key { scenario },                           // further ones of the same
///     }
/// }
/// ```
macro_rules! columns {
    (
        $(#[doc = $about:literal])*
        $(#[derive($($derived:ident),+)])?
        pub struct $row:ident {
            $($(#[doc = $meaning:literal])* $name:ident: $type:ty,)*
            $(
                ..$part:ident $(: $part_type:ty)? $({ $($picked:ident),+ })?,
                $($(#[doc = $later_meaning:literal])* $later:ident: $later_type:ty,)*
            )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq, $($($derived),+)?)]
        pub struct $row {
            $($(#[doc = $meaning])* pub $name: $type,)*
            $(
                $(
                    #[doc = concat!("See [`", stringify!($part_type), "`].")]
                    pub $part: $part_type,
                )?
                $($(#[doc = $later_meaning])* pub $later: $later_type,)*
            )*
        }

        impl $crate::analysis::columns::Columns for $row {
            const COUNT: usize = [$(stringify!($name),)* $($(stringify!($later),)*)*].len()
                $(+ columns!(@count {$($part_type)?} {$($($picked)+)?}))*;

            fn columns() -> Vec<$crate::analysis::columns::Column> {
                use $crate::analysis::columns::Column;
                [
                    vec![$(Column::of::<$type>(stringify!($name), &[$($meaning),*])),*],
                    $(
                        columns!(@columns $row $part {$($($picked)+)?}),
                        vec![$(Column::of::<$later_type>(stringify!($later), &[$($later_meaning),*])),*],
                    )*
                ]
                .concat()
            }

            fn cells<R: ::serde::ser::SerializeStruct>(&self, row: &mut R) -> Result<(), R::Error> {
                $(row.serialize_field(stringify!($name), &self.$name)?;)*
                $(
                    columns!(@cells self row $part {$($($picked)+)?});
                    $(row.serialize_field(stringify!($later), &self.$later)?;)*
                )*
                Ok(())
            }
        }

        impl ::serde::Serialize for $row {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use ::serde::ser::SerializeStruct;
                use $crate::analysis::columns::Columns;
                let mut row = serializer.serialize_struct(stringify!($row), Self::COUNT)?;
                self.cells(&mut row)?;
                row.end()
            }
        }
    };
    (@count {$part_type:ty} {}) => { <$part_type as $crate::analysis::columns::Columns>::COUNT };
    (@count {$($part_type:ty)?} {$($picked:ident)+}) => { [$(stringify!($picked)),+].len() };
    (@columns $row:ident $part:ident {}) => {
        $crate::analysis::columns::all_of(|row: &$row| &row.$part)
    };
    (@columns $row:ident $part:ident {$($picked:ident)+}) => {
        $crate::analysis::columns::picked(|row: &$row| &row.$part, &[$(stringify!($picked)),+])
    };
    (@cells $self:ident $to:ident $part:ident {}) => {
        $crate::analysis::columns::Columns::cells(&$self.$part, $to)?;
    };
    (@cells $self:ident $to:ident $part:ident {$($picked:ident)+}) => {
        $($to.serialize_field(stringify!($picked), &$self.$part.$picked)?;)+
    };
}
pub(super) use columns;

/// Every column of a part. `part` says which part of the row that is.
pub(super) fn all_of<Row, Part: Columns>(_part: fn(&Row) -> &Part) -> Vec<Column> {
    Part::columns()
}
