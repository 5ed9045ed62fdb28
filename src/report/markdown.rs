//! Prints a document as GitHub-flavoured Markdown.

use std::fmt::Write as _;

use crate::report::document::{Align, Block, Document, Finding, Span, Table, Text};
use crate::text::one_line;

/// The document as Markdown; figures link to their files.
#[must_use]
pub fn to_markdown(document: &Document) -> String {
    let mut out = format!("# {}\n", escape(&document.title));
    if !document.facts.is_empty() {
        out.push('\n');
        for (name, value) in &document.facts {
            let _ = writeln!(out, "- {}: {}", escape(name), inline(value));
        }
    }
    blocks(&mut out, &document.verdict);
    for section in &document.sections {
        let _ = write!(out, "\n## {}\n", escape(&section.title));
        blocks(&mut out, &section.blocks);
    }
    let _ = write!(out, "\n---\n\n{}\n", escape(&document.made_by));
    out
}

fn blocks(out: &mut String, blocks: &[Block]) {
    for block in blocks {
        out.push('\n');
        match block {
            Block::Paragraph(text) => {
                let _ = writeln!(out, "{}", line(text));
            }
            Block::NextStep(text) => {
                let _ = writeln!(out, "**Next:** {}", inline(text));
            }
            Block::Note(text) => {
                let _ = writeln!(out, "> {}", line(text));
            }
            Block::List(items) => {
                for item in items {
                    let _ = writeln!(out, "- {}", line(item));
                }
            }
            Block::Findings(findings) => {
                for finding in findings {
                    write_finding(out, finding);
                }
            }
            Block::Table(table) => write_table(out, table),
            Block::Figure(figure) => {
                // A bracket would end the title early, or begin a link inside it.
                let alt = escape(&figure.svg.title().replace(['[', ']'], " "));
                let path = figure.path();
                let _ = writeln!(out, "![{alt}]({path})\n\n{}", line(&figure.caption));
            }
        }
    }
}

fn write_finding(out: &mut String, finding: &Finding) {
    let _ =
        write!(out, "- {} ({}): {}", strong(&finding.question), finding.assurance.as_str(), inline(&finding.answer));
    if !finding.grounds.is_empty() {
        let _ = write!(out, "  \n  {}", line(&finding.grounds));
    }
    out.push('\n');
}

/// Columns are padded, so that the source reads as a table too.
fn write_table(out: &mut String, table: &Table) {
    if !table.caption.is_empty() {
        let _ = writeln!(out, "{}\n", line(&table.caption));
    }
    let head: Vec<String> =
        table.headings.iter().map(|c| escape_before(&c.title, Next::Harmless).replace('|', "\\|")).collect();
    let rows: Vec<Vec<String>> = table.rows.iter().map(|r| cells(r, head.len())).collect();
    let widths: Vec<usize> = head
        .iter()
        .enumerate()
        .map(|(i, title)| {
            rows.iter().map(|r| r[i].chars().count()).chain([title.chars().count(), 3]).max().unwrap_or(3)
        })
        .collect();
    let columns = || table.headings.iter().map(|c| c.align).zip(&widths);
    let mut write_row = |cells: &[String]| {
        for (cell, (align, width)) in cells.iter().zip(columns()) {
            let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
            let _ = match align {
                Align::Left => write!(out, "| {cell}{gap} "),
                Align::Right => write!(out, "| {gap}{cell} "),
            };
        }
        out.push_str("|\n");
    };
    write_row(&head);
    let rules: Vec<String> = columns()
        .map(|(align, width)| match align {
            Align::Left => "-".repeat(*width),
            Align::Right => format!("{}:", "-".repeat(width - 1)),
        })
        .collect();
    write_row(&rules);
    for row in &rows {
        write_row(row);
    }
}

/// A row's cells, as many as there are columns; a pipe would end a cell even inside code.
fn cells(row: &[Text], columns: usize) -> Vec<String> {
    (0..columns).map(|i| row.get(i).map_or_else(String::new, |t| inline(t).replace('|', "\\|"))).collect()
}

/// Text at the start of a line, where a few more characters mean something.
fn line(text: &Text) -> String {
    let text = inline(text);
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    match text[digits..].chars().next() {
        Some('#' | '+' | '-' | '=' | '>' | '[') if digits == 0 => format!("\\{text}"),
        Some('.' | ')') if digits > 0 => {
            format!("{}\\{}", &text[..digits], &text[digits..])
        }
        _ => text,
    }
}

fn inline(text: &Text) -> String {
    let spans = text.spans();
    let print = |(i, span): (usize, &Span)| match span {
        Span::Plain(t) if i + 1 == spans.len() => escape_before(t, Next::Harmless),
        Span::Plain(t) => escape(t),
        Span::Strong(t) if t.trim().is_empty() => escape(t),
        Span::Strong(t) => strong(t),
        Span::Code(t) => code(t),
    };
    spans.iter().enumerate().map(print).collect()
}

/// Emphasis: the asterisks behind it give its last character no meaning.
fn strong(text: &str) -> String {
    format!("**{}**", escape_before(text.trim(), Next::Harmless))
}

/// A code span: its fence is longer than any run of backticks inside.
fn code(text: &str) -> String {
    let text = one_line(text);
    if text.trim().is_empty() {
        return String::new();
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let space = if longest > 0 { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// `text` cleaned, and with every character that Markdown or HTML would act on made plain.
///
/// Characters that mean something only in company (`<` before a letter, `]` before `(`) stay where they are alone,
/// so that `<0.001` and `[1.10, 1.40]` read as such in the source; at the text's end nobody knows the company.
/// Pipes are the table's business.
fn escape(text: &str) -> String {
    escape_before(text, Next::Unknown)
}

/// What stands behind a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Perhaps something that gives its last character a meaning.
    Unknown,
    /// Nothing that does: the end of a line or cell, or emphasis' asterisks.
    Harmless,
}

fn escape_before(text: &str, next: Next) -> String {
    let chars: Vec<char> = one_line(text).chars().collect();
    let mut out = String::with_capacity(chars.len());
    for (i, c) in chars.iter().enumerate() {
        let (before, after) = (i.checked_sub(1).and_then(|i| chars.get(i)), chars.get(i + 1));
        let company = |acts: fn(char) -> bool| after.map_or(next == Next::Unknown, |c| acts(*c));
        let word = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric());
        let acts = match c {
            '\\' | '`' | '*' | '~' | '$' => true,
            '_' => !(word(before) && word(after)),
            ']' => company(|c| matches!(c, '(' | '[' | ':')),
            '<' => company(|c| c.is_alphabetic() || matches!(c, '/' | '!' | '?')),
            '&' => company(|c| c.is_alphanumeric() || c == '#'),
            _ => false,
        };
        match c {
            '<' if acts => out.push_str("&lt;"),
            '&' if acts => out.push_str("&amp;"),
            c => {
                if acts {
                    out.push('\\');
                }
                out.push(*c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::Heading;

    #[test]
    fn hostile_text_stays_text() {
        for (given, printed) in [
            ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
            ("a *b* [c](d) `e`", "a \\*b\\* [c\\](d) \\`e\\`"),
            ("kv_decode _x_", "kv_decode \\_x\\_"),
            ("\x1b[31mred\x1b[0m", "red"),
            ("two\nlines", "two lines"),
            ("&lt;", "&amp;lt;"),
            ("p <0.001, R & D", "p <0.001, R & D"),
            ("1.23 [1.10, 1.40] ms", "1.23 [1.10, 1.40] ms"),
            ("[a]: http://x", "[a\\]: http://x"),
            ("ends in <", "ends in &lt;"),
        ] {
            assert_eq!(escape(given), printed);
        }
        assert_eq!(inline(&"0.8 [0.7, 0.9]".into()), "0.8 [0.7, 0.9]");
        assert_eq!(inline(&Text::default().strong("0.8 [0.7, 0.9]").and(" ms.")), "**0.8 [0.7, 0.9]** ms.");
        assert_eq!(inline(&Text::default().strong("[a](b)*").and("(x)")), "**[a\\](b)\\***(x)");
        assert_eq!(inline(&Text::plain("[a]").and("(http://x)")), "[a\\](http://x)");
        assert_eq!(code("a`b``c"), "``` a`b``c ```");
        assert_eq!(line(&"# not a heading".into()), "\\# not a heading");
        assert_eq!(line(&"> not a quote".into()), "\\> not a quote");
        assert_eq!(line(&"1. not a list".into()), "1\\. not a list");
        assert_eq!(line(&"1.5 ms".into()), "1\\.5 ms");
        assert_eq!(line(&"25 models".into()), "25 models");
    }

    #[test]
    fn tables_hold_their_shape() {
        let table = Table {
            caption: "Cells.".into(),
            headings: vec![Heading::words("model"), Heading::numbers("median (ms)")],
            rows: vec![vec!["a|b".into(), "1.23".into()], vec![Text::default().code("x|y")]],
        };
        let mut out = String::new();
        write_table(&mut out, &table);
        assert_eq!(
            out,
            "Cells.\n\n\
             | model  | median (ms) |\n\
             | ------ | ----------: |\n\
             | a\\|b   |        1.23 |\n\
             | `x\\|y` |             |\n"
        );
    }
}
