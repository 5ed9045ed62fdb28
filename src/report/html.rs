//! Prints a document as one self-contained HTML page: no script, no font, no image from elsewhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::report::document::{
    Align, Assurance, Block, Document, Figure, Finding, Heading, Section, Span, Table, Text,
};
use crate::report::theme;
use crate::text::one_line;

/// Words beyond this many characters in a table's cell make its column break lines.
const LONG: usize = 36;

const STYLE: &str = include_str!("html/page.css");

/// Keeps a page that holds strangers' text from loading or running anything, whatever a browser makes of it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The document as an HTML page.
#[must_use]
pub fn to_html(document: &Document) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (one_line(&document.title)) " – report" }
                style { (PreEscaped(theme::css())) (PreEscaped(STYLE)) }
            }
            body {
                header { h1 { (one_line(&document.title)) } }
                main {
                    (facts(document))
                    section.verdict aria-label="Verdict" { (blocks(&document.verdict)) }
                    (contents(&document.sections))
                    @for section in &document.sections {
                        section id=(section.id) {
                            h2 { (one_line(&section.title)) }
                            (blocks(&section.blocks))
                        }
                    }
                }
                footer { p { (one_line(&document.made_by)) } }
            }
        }
    };
    let mut page = page.into_string();
    page.push('\n');
    page
}

fn facts(document: &Document) -> Markup {
    html! {
        @if !document.facts.is_empty() {
            dl.facts {
                @for (name, value) in &document.facts {
                    div { dt { (one_line(name)) } dd { (text(value)) } }
                }
            }
        }
    }
}

fn contents(sections: &[Section]) -> Markup {
    html! {
        @if sections.len() > 1 {
            nav aria-label="Contents" {
                ul {
                    @for section in sections {
                        li { a href={ "#" (section.id) } { (one_line(&section.title)) } }
                    }
                }
            }
        }
    }
}

/// Blocks in order; charts that follow each other share a row where there is room.
fn blocks(blocks: &[Block]) -> Markup {
    let runs = blocks.chunk_by(|a, b| is_figure(a) && is_figure(b));
    html! {
        @for run in runs {
            @if is_figure(&run[0]) {
                div.charts {
                    @for block in run { (block_markup(block)) }
                }
            } @else {
                @for block in run { (block_markup(block)) }
            }
        }
    }
}

fn is_figure(block: &Block) -> bool {
    matches!(block, Block::Figure(_))
}

fn block_markup(block: &Block) -> Markup {
    match block {
        Block::Paragraph(t) => html! { p { (text(t)) } },
        Block::Note(t) => html! { p.note { (text(t)) } },
        Block::NextStep(t) => html! { p.next { strong { "Next: " } (text(t)) } },
        Block::List(items) => html! { ul { @for item in items { li { (text(item)) } } } },
        Block::Findings(findings) => findings_grid(findings),
        Block::Table(t) => table(t),
        Block::Figure(f) => figure(f),
    }
}

fn findings_grid(findings: &[Finding]) -> Markup {
    html! {
        div.findings {
            @for finding in findings {
                article class=(class(finding.assurance)) {
                    h3 {
                        (one_line(&finding.question)) " "
                        span.standing { (finding.assurance.as_str()) }
                    }
                    p.answer { (text(&finding.answer)) }
                    @if !finding.grounds.is_empty() { p.grounds { (text(&finding.grounds)) } }
                }
            }
        }
    }
}

fn class(assurance: Assurance) -> &'static str {
    match assurance {
        Assurance::Holds => "holds",
        Assurance::Caution => "caution",
        Assurance::Withheld => "withheld",
    }
}

fn table(table: &Table) -> Markup {
    let wraps = |i: usize| table.rows.iter().filter_map(|row| row.get(i)).any(|cell| characters(cell) > LONG);
    let class = |(i, heading): (usize, &Heading)| match heading.align {
        Align::Right => Some("num"),
        Align::Left if wraps(i) => Some("long"),
        Align::Left => None,
    };
    let classes: Vec<_> = table.headings.iter().enumerate().map(class).collect();
    html! {
        figure.table {
            @if !table.caption.is_empty() { figcaption { (text(&table.caption)) } }
            // Focusable, so that it can be scrolled from the keyboard.
            div.scroll tabindex="0" {
                table {
                    thead { tr {
                        @for (i, heading) in table.headings.iter().enumerate() {
                            th scope="col" class=[classes[i]] { (one_line(&heading.title)) }
                        }
                    } }
                    tbody { @for row in &table.rows { tr {
                        @for i in 0..table.headings.len() {
                            @let cell = row.get(i).map(text);
                            @if i == 0 { th scope="row" class=[classes[i]] { (cell.unwrap_or_default()) } }
                            @else { td class=[classes[i]] { (cell.unwrap_or_default()) } }
                        }
                    } } }
                }
            }
        }
    }
}

fn characters(text: &Text) -> usize {
    text.spans().iter().map(|span| span.as_str().chars().count()).sum()
}

fn figure(figure: &Figure) -> Markup {
    html! {
        figure.chart id={ "figure-" (figure.id) } {
            div.scroll tabindex="0" { (PreEscaped(figure.svg.inline())) }
            @if !figure.caption.is_empty() { figcaption { (text(&figure.caption)) } }
        }
    }
}

fn text(text: &Text) -> Markup {
    html! {
        @for span in text.spans() {
            @match span {
                Span::Plain(t) => (one_line(t)),
                Span::Strong(t) => strong { (one_line(t)) },
                Span::Code(t) => code { (one_line(t)) },
            }
        }
    }
}
