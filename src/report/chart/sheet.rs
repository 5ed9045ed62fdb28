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
use super::svg::{ChartError, PX, Svg};
use crate::report::theme::{AXIS, Colour, INK, MUTED, PAPER, RULE};
use crate::text::one_line;

/// Width of every chart: a phone shows it whole with legible text, a desk shows two side by side.
pub(super) const WIDTH_PX: i32 = 440;
/// Text size of labels.
pub(super) const LABEL_PX: f64 = 13.0;
const TITLE_PX: f64 = 16.0;
const TITLE_LINE_PX: i32 = 21;
const LEGEND_LINE_PX: i32 = 21;
/// Free space beside a plot: half of a tick's label may stand there.
const SIDE_PX: i32 = 15;
/// Between a vertical axis and its ticks' labels.
const TICK_PX: i32 = 10;
/// Height of the vertical axis' name.
const Y_NAME_PX: i32 = 26;
/// Height of the horizontal axis' tick labels and name.
pub(super) const X_LABELS_PX: i32 = 48;
/// Height of the tick labels above a tall plot.
pub(super) const TOP_TICKS_PX: i32 = 28;
/// What the SVG writer divides font sizes by.
const WRITER_FONT_SCALE: f64 = 1.24;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Plot<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Axis, Axis>>;

/// Text of `size` pixels.
pub(super) fn font(size: f64, colour: Colour, h: HPos, v: VPos) -> TextStyle<'static> {
    ("sans-serif", size * f64::from(PX) * WRITER_FONT_SCALE).into_font().color(&colour.light).pos(Pos::new(h, v))
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
        let title = one_line(title);
        let lines = wrap(&title, TITLE_PX * 1.06, WIDTH_PX - 8);
        let mut y = TITLE_LINE_PX * as_px(lines.len()) + 6;
        let (mut x, mut placed) = (0, Vec::new());
        for (mark, label) in legend {
            let label = shorten(&one_line(label), LABEL_PX, WIDTH_PX - 24);
            let width = 20 + text_width(&label, LABEL_PX);
            if x > 0 && x + width > WIDTH_PX {
                (x, y) = (0, y + LEGEND_LINE_PX);
            }
            placed.push((x, y, *mark, label));
            x += width + 18;
        }
        let height_px = if placed.is_empty() { y } else { y + LEGEND_LINE_PX };
        Self { title, lines, legend: placed, height_px }
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), ChartError> {
        let bold = ("sans-serif", TITLE_PX * f64::from(PX) * WRITER_FONT_SCALE)
            .into_font()
            .style(plotters::style::FontStyle::Bold)
            .color(&INK.light)
            .pos(Pos::new(HPos::Left, VPos::Top));
        for (i, line) in self.lines.iter().enumerate() {
            area.draw(&Text::new(line.clone(), (0, (2 + TITLE_LINE_PX * as_px(i)) * PX), bold.clone()))?;
        }
        let style = font(LABEL_PX, INK, HPos::Left, VPos::Center);
        for (x, y, mark, label) in &self.legend {
            let y = (y + 8) * PX;
            area.draw(&mark.at(((x + 7) * PX, y), 5, 1.0))?;
            area.draw(&Text::new(label.clone(), ((x + 20) * PX, y), style.clone()))?;
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
    let (width_px, height_px) = (WIDTH_PX.unsigned_abs(), (head.height_px + body_px).unsigned_abs());
    let mut written = String::new();
    {
        let unit = PX.unsigned_abs();
        let size = (width_px * unit, height_px * unit);
        let root = SVGBackend::with_string(&mut written, size).into_drawing_area();
        root.fill(&PAPER.light)?;
        head.draw(&root)?;
        let (_, body) = root.split_vertically(head.height_px * PX);
        draw(&body)?;
        root.present()?;
    }
    // The writer's own outer element has no room for a title and a description.
    let inner = written.split_once(">\n").map_or("", |(_, rest)| rest);
    let inner = inner.trim_end().strip_suffix("</svg>").unwrap_or(inner);
    Ok(Svg { title: head.title.clone(), description, width_px, height_px, body: inner.replace(" opacity=\"1\"", "") })
}

/// What surrounds a plot.
pub(super) struct Frame<'a> {
    pub x: &'a Axis,
    pub y: &'a Axis,
    /// Name and unit of the horizontal axis, printed below it.
    pub x_name: &'a str,
    /// Name and unit of the vertical axis, printed above it; the least room for its tick labels. `None`: rows are
    /// labelled otherwise.
    pub y_name: Option<(&'a str, i32)>,
    /// Names the ticks above the plot as well, for plots taller than a screen.
    pub ticks_on_top: bool,
}

impl Frame<'_> {
    /// Draws grid, axes and their names, and gives the plot inside them.
    pub fn draw<'a>(&self, area: &Area<'a>) -> Result<Plot<'a>, ChartError> {
        let name = |h, v| font(LABEL_PX, MUTED, h, v);
        let (y_labels_px, top_px) = match self.y_name {
            Some((y_name, room_px)) => {
                let style = name(HPos::Left, VPos::Center);
                area.draw(&Text::new(one_line(y_name), (0, 11 * PX), style))?;
                let widest_px = self.y.labels().map(|label| text_width(label, LABEL_PX)).max().unwrap_or(0);
                (room_px.max(widest_px + TICK_PX), Y_NAME_PX)
            }
            None => (0, 0),
        };
        let (_, area) = area.split_vertically(top_px * PX);
        let mut builder = ChartBuilder::on(&area);
        builder
            .margin_right(SIDE_PX * PX)
            .margin_left(if y_labels_px == 0 { SIDE_PX * PX } else { 0 })
            .x_label_area_size(X_LABELS_PX * PX)
            .y_label_area_size(y_labels_px * PX);
        if self.ticks_on_top {
            builder.set_label_area_size(LabelAreaPosition::Top, TOP_TICKS_PX * PX);
        }
        let mut plot = builder.build_cartesian_2d(self.x.clone(), self.y.clone())?;
        plot.configure_mesh()
            .max_light_lines(0)
            .bold_line_style(RULE.light.stroke_width(PX.unsigned_abs()))
            .axis_style(AXIS.light.stroke_width(PX.unsigned_abs()))
            .set_all_tick_mark_size(3 * PX)
            .label_style(font(LABEL_PX, INK, HPos::Center, VPos::Center))
            .draw()?;
        let (across, down) = plot.plotting_area().get_pixel_range();
        let (_, base) = area.get_base_pixel();
        let x_name = shorten(&one_line(self.x_name), LABEL_PX, WIDTH_PX);
        let below = ((across.start + across.end) / 2, down.end - base + 36 * PX);
        area.draw(&Text::new(x_name, below, name(HPos::Center, VPos::Center)))?;
        Ok(plot)
    }
}

/// A straight line between two places.
pub(super) fn line(from: (f64, f64), to: (f64, f64), colour: Colour, width_px: u32) -> PathElement<(f64, f64)> {
    PathElement::new(vec![from, to], colour.light.stroke_width(width_px * PX.unsigned_abs()))
}

/// How wide text will be, about: no font is at hand to ask. Rather too wide than too narrow.
#[expect(clippy::cast_possible_truncation, reason = "lengths of labels, in pixels")]
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
            start.iter().chain(&['…']).chain(end).collect::<String>()
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
        let entries: Vec<_> = (0..12).map(|i| (Mark::nth(i), format!("a scenario of some length {i}"))).collect();
        let many =
            Head::new("A title that is a good deal longer than the width of one chart allows it to be", &entries);
        assert_eq!((one.lines.len(), many.lines.len()), (1, 2));
        assert!(
            many.legend
                .iter()
                .all(|(x, y, _, label)| { x + 20 + text_width(label, LABEL_PX) <= WIDTH_PX && y + 8 < many.height_px })
        );
        assert!(many.height_px > one.height_px + 5 * LEGEND_LINE_PX);
    }
}
