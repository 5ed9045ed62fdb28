//! What a decode time must be divided by: linearity in the number of new tokens, and projections.

use crate::analysis::linearity::DecodeForm;
use crate::analysis::{DecodeLinearityRow, DecodeProjectionErrorRow};
use crate::report::document::{Block, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::report::sections::names::{Names, counted};
use crate::report::sections::{MOST_ROWS, ReportedRun};

/// Counts of one model that the table of projections shows: those nearest to these shares of the largest.
const SHARES: [f64; 4] = [1.0 / 16.0, 1.0 / 8.0, 1.0 / 4.0, 1.0 / 2.0];

/// Of runs whose calls made different numbers of tokens.
pub(super) fn blocks(run: &ReportedRun<'_>, names: &Names) -> Vec<Block> {
    let mut blocks = vec![linearity(run, names)];
    blocks.extend(names.backends().iter().filter_map(|backend| right_form(run, backend)));
    blocks.extend(projections(run, names));
    blocks
}

/// A model, with its backend and batch where there are several.
fn model_name(names: &Names, backend: &str, model: &str, batch: u32) -> String {
    let mut name = if names.several_backends() { format!("{backend} · {model}") } else { model.to_owned() };
    if names.several_batches() {
        name.push_str(&format!(" · batch {batch}"));
    }
    name
}

fn linearity(run: &ReportedRun<'_>, names: &Names) -> Block {
    let caption = Text::plain(
        "Decode time against the number of new tokens, the first one from the prefill included; in brackets how many \
         different ones. Slope and intercept are those of time = intercept + slope · count. The columns ÷ show the largest ÷ \
         the smallest of the medians per count: near 1 where the form is right. The last column says where the calls lie between the step form (0) and the \
         proportional one (1), with the 95\u{a0}% interval; a form is right if all of it is nearer to that form. From ",
    )
    .code("analysis/decode_linearity.csv")
    .and(".");
    Table::of(run.tables.decode_linearity.iter().filter(|row| row.n_counts > 1))
        .words("model", |row| model_name(names, &row.backend, &row.model, row.batch))
        .count("calls", |row| row.n_calls)
        .number("new tokens", "", |row| match row.count_min.zip(row.count_max) {
            Some((fewest, most)) => format!("{fewest:.0} to {most:.0} ({})", row.n_counts),
            None => ABSENT.to_owned(),
        })
        .number("R²", "", |row| format::r2(row.r2))
        .number("slope", "ms", |row| format::ms(row.slope_ms_per_step))
        .number("intercept", "steps", |row| format::fixed(row.intercept_steps, 2))
        .number("÷ (count − 1)", "", |row| format::ratio(row.step_spread))
        .number("÷ count", "", |row| format::ratio(row.proportional_spread))
        .words("right form", judged)
        .captioned(caption)
        .into()
}

/// The form that is right, with where the calls lie between the two, or why it is not known.
fn judged(row: &DecodeLinearityRow) -> String {
    let form = match row.form {
        DecodeForm::Step => "step",
        DecodeForm::Proportional => "proportional",
        DecodeForm::Undecided => "undecided",
    };
    match (row.between_forms, row.between_forms_low.zip(row.between_forms_high)) {
        (Some(place), Some((low, high))) => {
            let [place, low, high] = [place, low, high].map(|value| format::fixed(value, 2));
            format!("{form}: {place} [{low}, {high}]")
        }
        _ => format!("{form}: {}", row.reason),
    }
}

/// The models of one backend, by the form that is right for them.
struct Judged<'a> {
    /// `On BACKEND (ENGINE VERSION) `.
    on: String,
    models: Vec<&'a DecodeLinearityRow>,
}

impl Judged<'_> {
    fn count(&self, form: DecodeForm) -> usize {
        self.models.iter().filter(|row| row.form == form).count()
    }

    /// How many models agree, of all.
    fn of_all(&self, form: DecodeForm) -> String {
        format!("{} of {}", self.count(form), counted(self.models.len(), "model"))
    }

    /// The largest of a spread over the models for which `form` is right.
    fn widest(&self, form: DecodeForm, spread: fn(&DecodeLinearityRow) -> Option<f64>) -> String {
        let models = self.models.iter().filter(|row| row.form == form);
        format::ratio(models.filter_map(|row| spread(row)).reduce(f64::max))
    }

    fn step(&self) -> Text {
        Text::plain(&self.on).strong("the step form is right").and(format!(
            ", time ÷ (count − 1), for {}. The first new token comes out of the prefill, so an answer of N tokens \
             takes N − 1 decode steps. Divided so, the medians stay within {} of each other; divided by the count they \
             move by up to {}. The naive form, time ÷ count, takes every step for 1/N shorter than it is: by 50\u{a0}% \
             after 2 tokens, 12.5\u{a0}% after 8, 3.1\u{a0}% after 32. Answers that end early then look fast, and the more \
             so the earlier they end.",
            self.of_all(DecodeForm::Step),
            self.widest(DecodeForm::Step, |row| row.step_spread),
            self.widest(DecodeForm::Step, |row| row.proportional_spread),
        ))
    }

    fn proportional(&self) -> Text {
        Text::plain(&self.on).strong("the proportional form is right").and(format!(
            ", time ÷ count, for {}: the first new token is timed like every other. Divided so, the medians stay \
             within {} of each other; divided by count − 1 they move by up to {}.",
            self.of_all(DecodeForm::Proportional),
            self.widest(DecodeForm::Proportional, |row| row.proportional_spread),
            self.widest(DecodeForm::Proportional, |row| row.step_spread),
        ))
    }
}

/// Which form is right for one backend, and what the other one does. `None`: none of its models has several counts.
fn right_form(run: &ReportedRun<'_>, backend: &str) -> Option<Block> {
    let linearity = run.tables.decode_linearity.iter();
    let models: Vec<_> = linearity.filter(|row| row.backend == backend && row.n_counts > 1).collect();
    let first = *models.first()?;
    let engine = run.manifest.stack.backends.get(backend).map_or_else(String::new, |entry| {
        format!(" ({} {})", entry.engine, entry.version.as_deref().unwrap_or(ABSENT))
    });
    let judged = Judged { on: format!("On {backend}{engine} "), models };
    let text = match (judged.count(DecodeForm::Step), judged.count(DecodeForm::Proportional)) {
        (0, 0) => Text::plain(format!("{}the calls do ", judged.on))
            .strong("not tell the right form")
            .and(format!(": {}.", first.reason)),
        (_, 0) => judged.step(),
        (0, _) => judged.proportional(),
        _ => Text::plain(format!("{}the models ", judged.on))
            .strong("disagree")
            .and(": the step form is right for some, the proportional for others. Nothing should be scaled there."),
    };
    // Scaling by steps is wrong wherever a time is in proportion to the count.
    let scaled = run.tables.metrics.iter().any(|row| row.scaled && row.key.backend == backend);
    if scaled && judged.count(DecodeForm::Proportional) > 0 {
        return Some(Block::Note(text.and(
            " Times of this run were scaled by the steps that the backend says it timed: compare the two columns of equivalents \
             in metrics.csv before using them.",
        )));
    }
    Some(Block::Paragraph(text))
}

/// What short answers say about the longest, by each form. `None`: there are none.
fn projections(run: &ReportedRun<'_>, names: &Names) -> Option<Block> {
    let of_one_model = |a: &DecodeProjectionErrorRow, b: &DecodeProjectionErrorRow| {
        (&a.backend, &a.model, &a.weights_id, a.batch) == (&b.backend, &b.model, &b.weights_id, b.batch)
    };
    let models = run.tables.decode_projection_error.chunk_by(of_one_model);
    let shown: Vec<&DecodeProjectionErrorRow> = models.flat_map(near_shares).take(MOST_ROWS).collect();
    if shown.is_empty() {
        return None;
    }
    let caption = Text::plain(
        "How far off the time at the largest count is when it is projected from the median at a smaller one: time ÷ count × \
         target, time ÷ (count − 1) × (target − 1), and by a line through the medians at all smaller counts. All counts are in ",
    )
    .code("analysis/decode_projection_error.csv")
    .and(".");
    let table = Table::of(shown)
        .words("model", |row| model_name(names, &row.backend, &row.model, row.batch))
        .number("from", "tokens", |row| format::fixed(row.count, 0))
        .number("to", "tokens", |row| format::fixed(row.count_target, 0))
        .number("measured", "ms", |row| format::ms(row.measured_ms))
        .number("proportional", "", |row| error_percent(Some(row.proportional_error)))
        .number("step", "", |row| error_percent(Some(row.step_error)))
        .number("affine", "", |row| error_percent(row.affine_error))
        .captioned(caption);
    Some(table.into())
}

fn error_percent(error: Option<f64>) -> String {
    format::change_percent(error.map(|share| share * 100.0))
}

/// The rows of one model nearest to [`SHARES`] of the target, each once.
fn near_shares(rows: &[DecodeProjectionErrorRow]) -> Vec<&DecodeProjectionErrorRow> {
    let mut places: Vec<usize> = SHARES
        .iter()
        .filter_map(|share| {
            let distance = |row: &DecodeProjectionErrorRow| (row.count / (row.count_target * share)).ln().abs();
            (0..rows.len()).min_by(|&a, &b| distance(&rows[a]).total_cmp(&distance(&rows[b])))
        })
        .collect();
    places.dedup();
    places.into_iter().map(|place| &rows[place]).collect()
}
