//! A report's content, apart from how it is printed.

use std::fmt;

mod table;

use crate::report::chart::{ChartError, Svg};
use crate::text::one_line;

pub use table::{Align, Columns, Heading, Table};

/// A whole report.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The run's name.
    pub title: String,
    /// Short facts about the run, e.g. `machine` → `2 cores, …`. Shown below the title.
    pub facts: Vec<(String, Text)>,
    /// The answer: what a reader sees without scrolling.
    pub verdict: Vec<Block>,
    /// The rest.
    pub sections: Vec<Section>,
    /// The tool that made the report, with its version.
    pub made_by: String,
}

impl Document {
    /// Every figure, in order of appearance.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        let blocks = self.sections.iter().flat_map(|s| &s.blocks);
        self.verdict.iter().chain(blocks).filter_map(|b| match b {
            Block::Figure(figure) => Some(figure),
            _ => None,
        })
    }
}

/// A part of the report under one heading.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Names it in links: lower-case letters, digits and hyphens, unique in its document.
    pub id: &'static str,
    /// Its heading.
    pub title: String,
    /// Its content.
    pub blocks: Vec<Block>,
}

/// One element of a section.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// Running text.
    Paragraph(Text),
    /// Bullet points.
    List(Vec<Text>),
    /// Something to know before the numbers are used.
    Note(Text),
    /// What a reader would do next.
    NextStep(Text),
    /// Questions with answers.
    Findings(Vec<Finding>),
    /// A table.
    Table(Table),
    /// A chart.
    Figure(Figure),
}

impl Block {
    /// A chart with its caption, or a note saying why there is none.
    #[must_use]
    pub fn figure(id: &str, caption: Text, chart: Result<Svg, ChartError>) -> Self {
        match chart {
            Ok(svg) => Self::Figure(Figure { id: id.to_owned(), caption, svg }),
            Err(reason) => Self::Note(Text::plain("No chart ").code(id).and(format!(": {reason}."))),
        }
    }
}

/// A question, its answer, and what the answer rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What a reader wants to know, in few words.
    pub question: String,
    /// How far the answer may be trusted.
    pub assurance: Assurance,
    /// The answer in one sentence, with its numbers.
    pub answer: Text,
    /// What it rests on: counts, fits, proofs.
    pub grounds: Text,
}

/// How far an answer may be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assurance {
    /// The data carry it.
    Holds,
    /// The data carry it with a reservation, which the grounds name.
    Caution,
    /// The data carry no answer.
    Withheld,
}

impl Assurance {
    /// The word printed beside the answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Caution => "with caution",
            Self::Withheld => "withheld",
        }
    }
}

/// A chart in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Names its file, `plots/<id>.svg`: lower-case letters, digits, `-` and `_`, unique in its document.
    pub id: String,
    /// What to see in it.
    pub caption: Text,
    /// The drawing.
    pub svg: Svg,
}

impl Figure {
    /// Its file, relative to the report.
    #[must_use]
    pub fn path(&self) -> String {
        format!("plots/{}.svg", self.id)
    }
}

/// Running text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text(Vec<Span>);

/// A stretch of text. It may hold anything: printing cleans and escapes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// As it is.
    Plain(String),
    /// Emphasised.
    Strong(String),
    /// A name as typed: a cell, a flag, a file.
    Code(String),
}

impl Span {
    /// The text as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Plain(t) | Self::Strong(t) | Self::Code(t) => t,
        }
    }
}

impl Text {
    /// Plain text.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::default().and(text)
    }

    /// Adds plain text.
    #[must_use]
    pub fn and(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Plain(text.into()));
        self
    }

    /// Adds emphasised text.
    #[must_use]
    pub fn strong(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Strong(text.into()));
        self
    }

    /// Adds a name as typed.
    #[must_use]
    pub fn code(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Code(text.into()));
        self
    }

    /// Its stretches.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.0
    }

    /// True if it prints nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|s| s.as_str().is_empty())
    }
}

/// The text cleaned for a terminal, without emphasis.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|span| f.write_str(&one_line(span.as_str())))
    }
}

impl<T: Into<String>> From<T> for Text {
    fn from(text: T) -> Self {
        Self::plain(text)
    }
}
