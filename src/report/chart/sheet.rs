//! The sheet a chart is drawn on: title, legend, axes.

use plotters::chart::{ChartBuilder, ChartContext, LabelAreaPosition};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{PathElement, Text};
use plotters::prelude::SVGBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, TextStyle};

use super::axis::Axis;
use super::mark::Mark;
use super::{ChartError, Svg};
use crate::report::text::clean;
use crate::report::theme::{AXIS, Colour, INK, MUTED, PAPER, RULE};

/// Width of every chart. Two stand side by side on a desk; one is still legible on a phone.
pub(super) const WIDTH_PX: i32 = 560;
/// Text size of labels.
pub(super) const LABEL_PX: f64 = 13.0;
const TITLE_PX: f64 = 16.0;
const TITLE_LINE_PX: i32 = 21;
const LEGEND_LINE_PX: i32 = 21;
/// What the SVG writer divides font sizes by.
const WRITER_FONT_SCALE: f64 = 1.24;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Plot<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Axis, Axis>>;

/// Text of `size` pixels.
pub(super) fn font(size: f64, colour: Colour, h: HPos, v: VPos) -> TextStyle<'static> {
    ("sans-serif", size * WRITER_FONT_SCALE)
        .into_font()
        .color(&colour.light)
        .pos(Pos::new(h, v))
}

/// Title and legend, laid out before the sheet's height is known.
pub(super) struct Head {
    title: String,
    lines: Vec<String>,
    legend: Vec<(i32, i32, Mark, String)>,
    height_px: i32,
}

impl Head {
    /// Lays out the title and the legend's entries; both break into lines as needed.
    pub fn new(title: &str, legend: &[(Mark, String)]) -> Self {
        let title = clean(title);
        let lines = wrap(&title, TITLE_PX * 1.06, WIDTH_PX - 8);
        let mut y = TITLE_LINE_PX * as_px(lines.len()) + 6;
        let (mut x, mut placed) = (0, Vec::new());
        for (mark, label) in legend {
            let label = shorten(&clean(label), LABEL_PX, WIDTH_PX - 24);
            let width = 20 + text_width(&label, LABEL_PX);
            if x > 0 && x + width > WIDTH_PX {
                (x, y) = (0, y + LEGEND_LINE_PX);
            }
            placed.push((x, y, *mark, label));
            x += width + 18;
        }
        let height_px = if placed.is_empty() {
            y
        } else {
            y + LEGEND_LINE_PX
        };
        Self {
            title,
            lines,
            legend: placed,
            height_px,
        }
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), ChartError> {
        let bold = ("sans-serif", TITLE_PX * WRITER_FONT_SCALE)
            .into_font()
            .style(plotters::style::FontStyle::Bold)
            .color(&INK.light)
            .pos(Pos::new(HPos::Left, VPos::Top));
        for (i, line) in self.lines.iter().enumerate() {
            area.draw(&Text::new(
                line.clone(),
                (0, 2 + TITLE_LINE_PX * as_px(i)),
                bold.clone(),
            ))?;
        }
        let style = font(LABEL_PX, INK, HPos::Left, VPos::Center);
        for (x, y, mark, label) in &self.legend {
            area.draw(&mark.at((x + 7, y + 8), 5, 1.0))?;
            area.draw(&Text::new(label.clone(), (x + 20, y + 8), style.clone()))?;
        }
        Ok(())
    }
}

/// Draws a chart: the head, and what `draw` puts below it.
pub(super) fn render(
    head: &Head,
    description: String,
    body_px: i32,
    draw: impl for<'a> FnOnce(&Area<'a>) -> Result<(), ChartError>,
) -> Result<Svg, ChartError> {
    let (width_px, height_px) = (
        WIDTH_PX.unsigned_abs(),
        (head.height_px + body_px).unsigned_abs(),
    );
    let mut written = String::new();
    {
        let root = SVGBackend::with_string(&mut written, (width_px, height_px)).into_drawing_area();
        root.fill(&PAPER.light)?;
        head.draw(&root)?;
        let (_, body) = root.split_vertically(head.height_px);
        draw(&body)?;
        root.present()?;
    }
    // The writer's own outer element has no room for a title and a description.
    let inner = written.split_once(">\n").map_or("", |(_, rest)| rest);
    let inner = inner.trim_end().strip_suffix("</svg>").unwrap_or(inner);
    Ok(Svg {
        title: head.title.clone(),
        description,
        width_px,
        height_px,
        body: inner.replace(" opacity=\"1\"", ""),
    })
}

/// What surrounds a plot.
pub(super) struct Frame<'a> {
    pub x: &'a Axis,
    pub y: &'a Axis,
    /// Name and unit of the horizontal axis.
    pub x_name: &'a str,
    /// Room for the labels of the vertical axis; 0 where rows are labelled otherwise.
    pub y_labels_px: i32,
    /// Names the ticks above the plot as well, for plots taller than a screen.
    pub ticks_on_top: bool,
}

impl Frame<'_> {
    /// Draws grid, axes and their names, and gives the plot inside them.
    pub fn draw<'a>(&self, area: &Area<'a>) -> Result<Plot<'a>, ChartError> {
        let mut builder = ChartBuilder::on(area);
        builder
            .margin_right(14)
            .margin_left(if self.y_labels_px == 0 { 8 } else { 0 })
            .x_label_area_size(46)
            .y_label_area_size(self.y_labels_px);
        if self.ticks_on_top {
            builder.set_label_area_size(LabelAreaPosition::Top, 46);
        }
        let mut plot = builder.build_cartesian_2d(self.x.clone(), self.y.clone())?;
        plot.configure_mesh()
            .max_light_lines(0)
            .bold_line_style(RULE.light)
            .axis_style(AXIS.light)
            .set_all_tick_mark_size(3)
            .label_style(font(LABEL_PX, INK, HPos::Center, VPos::Center))
            .axis_desc_style(font(LABEL_PX, MUTED, HPos::Center, VPos::Center))
            .x_desc(clean(self.x_name))
            .draw()?;
        Ok(plot)
    }
}

/// A straight line between two places.
pub(super) fn line(
    from: (f64, f64),
    to: (f64, f64),
    colour: Colour,
    width_px: u32,
) -> PathElement<(f64, f64)> {
    PathElement::new(vec![from, to], colour.light.stroke_width(width_px))
}

/// How wide text will be, about: no font is at hand to ask. Rather too wide than too narrow.
#[expect(
    clippy::cast_possible_truncation,
    reason = "lengths of labels, in pixels"
)]
pub(super) fn text_width(text: &str, size: f64) -> i32 {
    let em: f64 = text
        .chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | '.' | ',' | ':' | '|' | '\'' | ' ' | '\u{a0}' => 0.34,
            'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.95,
            '\u{1100}'.. => 1.0,
            c if c.is_uppercase() => 0.72,
            _ => 0.6,
        })
        .sum();
    (em * size).ceil() as i32
}

/// `text`, with an ellipsis in its middle if it is wider than `most_px`: names differ at their ends.
pub(super) fn shorten(text: &str, size: f64, most_px: i32) -> String {
    if text_width(text, size) <= most_px {
        return text.to_owned();
    }
    let chars: Vec<char> = text.chars().collect();
    (1..chars.len() / 2 + 1)
        .rev()
        .map(|n| {
            let (start, end) = (&chars[..n], &chars[chars.len() - n..]);
            start
                .iter()
                .chain(&['…'])
                .chain(end)
                .collect::<String>()
        })
        .find(|short| text_width(short, size) <= most_px)
        .unwrap_or_else(|| "…".to_owned())
}

/// Breaks text into lines at spaces; a word wider than a line is shortened.
fn wrap(text: &str, size: f64, most_px: i32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word = shorten(word, size, most_px);
        match lines.last_mut() {
            Some(last) if text_width(&format!("{last} {word}"), size) <= most_px => {
                last.push(' ');
                last.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// A small count as pixels or rows.
pub(super) fn as_px(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_their_ends() {
        let name = "huggingface-organisation/very-long-model-name-instruct-q4_k_m";
        let short = shorten(name, LABEL_PX, 200);
        assert!(short.starts_with("huggingface"), "{short}");
        assert!(short.ends_with("q4_k_m"), "{short}");
        assert!(text_width(&short, LABEL_PX) <= 200);
        assert_eq!(shorten("micro", LABEL_PX, 200), "micro");
    }

    #[test]
    fn titles_and_legends_break_into_lines() {
        let one = Head::new("Prefill", &[]);
        let entries: Vec<_> = (0..12)
            .map(|i| (Mark::nth(i), format!("a scenario of some length {i}")))
            .collect();
        let many = Head::new(
            "A title that is a good deal longer than the width of one chart allows it to be",
            &entries,
        );
        assert_eq!((one.lines.len(), many.lines.len()), (1, 2));
        assert!(many.legend.iter().all(|(x, y, _, label)| {
            x + 20 + text_width(label, LABEL_PX) <= WIDTH_PX && y + 8 < many.height_px
        }));
        assert!(many.height_px > one.height_px + 5 * LEGEND_LINE_PX);
    }
}
