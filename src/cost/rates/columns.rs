//! Where a table of rates holds what, and its rows.

use std::collections::BTreeMap;

use csv::StringRecord;

use crate::economics::price::Draw;
use crate::scenario::{CsvError, CsvTable};
use crate::terms::{Attribution, SensorKind};

/// Which columns of a table hold what.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Columns whose values rows are grouped by. Empty: each row stands alone.
    pub group: Vec<String>,
    /// Rate of prefill. `None`: by its usual name.
    pub prefill: Option<String>,
    /// Rate of decode. `None`: by its usual name.
    pub decode: Option<String>,
    /// One rate for all tokens. `None`: prefill and decode have their own.
    pub rate: Option<String>,
    /// The sensor that power and energy are from. `None`: not said.
    pub sensor: Option<SensorKind>,
}

const PREFILL: [&str; 1] = ["prefill_tokens_per_s"];
const DECODE: [&str; 2] = ["decode_tokens_per_s", "kv_decode_tokens_per_s"];

/// Values of the columns that tell rows apart.
pub type Labels = BTreeMap<String, String>;

/// Rows that belong together.
pub(super) struct Group {
    pub(super) labels: Labels,
    pub(super) rows: Vec<Rates>,
}

/// One row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rates {
    pub(super) prefill: f64,
    pub(super) decode: f64,
    pub(super) prefill_draw: Option<Draw>,
    pub(super) decode_draw: Option<Draw>,
    /// Tokens of the prompt and the answer, as measured.
    pub(super) lengths: Option<(f64, f64)>,
}

/// Where a table holds what.
struct Places {
    prefill: usize,
    decode: usize,
    prefill_draw: DrawColumn,
    decode_draw: DrawColumn,
    prompt: LengthColumn,
    steps: LengthColumn,
}

/// A column of power or of energy.
#[derive(Clone, Copy)]
enum DrawColumn {
    None,
    Watts(usize),
    JoulesPerToken(usize),
}

/// A column of tokens, or of the time that they took.
#[derive(Clone, Copy)]
enum LengthColumn {
    None,
    Tokens(usize),
    Milliseconds(usize),
}

impl Places {
    fn find(table: &CsvTable, wanted: &Wanted) -> Result<Self, CsvError> {
        if let Some(rate) = &wanted.rate {
            let rate = table.find(rate)?;
            let draw = DrawColumn::find(table, "")?;
            let none = LengthColumn::None;
            return Ok(Self {
                prefill: rate,
                decode: rate,
                prefill_draw: draw,
                decode_draw: draw,
                prompt: none,
                steps: none,
            });
        }
        Ok(Self {
            prefill: one_of(table, wanted.prefill.as_deref(), &PREFILL)?,
            decode: one_of(table, wanted.decode.as_deref(), &DECODE)?,
            prefill_draw: DrawColumn::find(table, "prefill_")?,
            decode_draw: DrawColumn::find(table, "decode_")?,
            prompt: LengthColumn::find(table, "prompt_tokens", "prefill_ms")?,
            steps: LengthColumn::find(table, "gen_tokens", "decode_ms")?,
        })
    }
}

/// The column asked for, else the first of the usual names that is there, else an error about the first of them.
fn one_of(table: &CsvTable, wanted: Option<&str>, usual: &[&str]) -> Result<usize, CsvError> {
    let there = usual.iter().copied().find(|name| has(table, name));
    table.find(wanted.or(there).unwrap_or(usual[0]))
}

fn has(table: &CsvTable, name: &str) -> bool {
    table.columns().any(|column| column == name)
}

impl DrawColumn {
    fn find(table: &CsvTable, phase: &str) -> Result<Self, CsvError> {
        let (joules, watts) = (format!("{phase}j_per_token"), format!("{phase}power_w"));
        if has(table, &joules) {
            return table.find(&joules).map(Self::JoulesPerToken);
        }
        if has(table, &watts) { table.find(&watts).map(Self::Watts) } else { Ok(Self::None) }
    }

    fn of(self, table: &CsvTable, record: &StringRecord) -> Result<Option<Draw>, CsvError> {
        match self {
            Self::None => Ok(None),
            Self::Watts(column) => Ok(table.number(record, column)?.map(Draw::Watts)),
            Self::JoulesPerToken(column) => Ok(table.number(record, column)?.map(Draw::JoulesPerToken)),
        }
    }
}

impl LengthColumn {
    fn find(table: &CsvTable, tokens: &str, milliseconds: &str) -> Result<Self, CsvError> {
        if has(table, tokens) {
            return table.find(tokens).map(Self::Tokens);
        }
        if has(table, milliseconds) { table.find(milliseconds).map(Self::Milliseconds) } else { Ok(Self::None) }
    }

    /// Tokens as they were measured: a rate times the time it is of, where no column counts them. Names of scenarios tell
    /// nominal lengths, which are others.
    fn of(self, table: &CsvTable, record: &StringRecord, rate: f64) -> Result<Option<f64>, CsvError> {
        let found = match self {
            Self::None => None,
            Self::Tokens(column) => table.number(record, column)?,
            Self::Milliseconds(column) => table.number(record, column)?.map(|ms| ms / 1e3 * rate),
        };
        Ok(found.filter(|tokens| *tokens > 0.0))
    }
}

/// The rows of a table, grouped; those without a positive rate are left out.
pub(super) fn groups(table: &CsvTable, wanted: &Wanted, notes: &mut Vec<String>) -> Result<Vec<Group>, CsvError> {
    let places = Places::find(table, wanted)?;
    let by =
        wanted.group.iter().map(|name| Ok((name.clone(), table.find(name)?))).collect::<Result<Vec<_>, CsvError>>()?;
    let names: Vec<String> = table.columns().map(str::to_owned).collect();
    let mut groups: Vec<Group> = Vec::new();
    let mut left_out = 0;
    table.rows(|record| {
        let (prefill, decode) = (table.number(record, places.prefill)?, table.number(record, places.decode)?);
        let (Some(prefill), Some(decode)) = (prefill.filter(|rate| *rate > 0.0), decode.filter(|rate| *rate > 0.0))
        else {
            left_out += 1;
            return Ok::<(), CsvError>(());
        };
        let labels = labels(record, &by, &names);
        let said = counts_energy(&labels, wanted.sensor);
        let (prompt, steps) = (places.prompt.of(table, record, prefill)?, places.steps.of(table, record, decode)?);
        let draws = (places.prefill_draw.of(table, record)?, places.decode_draw.of(table, record)?);
        if let (Some(why), (Some(_), _) | (_, Some(_))) = (&said, draws)
            && !notes.contains(why)
        {
            notes.push(why.clone());
        }
        let row = Rates {
            prefill,
            decode,
            prefill_draw: draws.0.filter(|_| said.is_none()),
            decode_draw: draws.1.filter(|_| said.is_none()),
            lengths: prompt.zip(steps),
        };
        match groups.iter_mut().find(|group| !by.is_empty() && group.labels == labels) {
            Some(group) => group.rows.push(row),
            None => groups.push(Group { labels, rows: vec![row] }),
        }
        Ok(())
    })?;
    if left_out > 0 {
        notes.push(format!("{left_out} rows without a positive rate are left out"));
    }
    Ok(groups)
}

/// Values of the columns that group; where none does, every cell that is no number.
fn labels(record: &StringRecord, by: &[(String, usize)], names: &[String]) -> Labels {
    if !by.is_empty() {
        return by.iter().map(|(name, at)| (name.clone(), record.get(*at).unwrap_or_default().to_owned())).collect();
    }
    let words = names.iter().zip(record).filter(|(_, cell)| !cell.is_empty() && cell.parse::<f64>().is_err());
    words.map(|(name, cell)| (name.clone(), cell.to_owned())).collect()
}

/// Why watts of a row are not counted. `None`: they are. A processor's energy is its package's, and tables hold what a GPU
/// draws while it idles beside it.
fn counts_energy(labels: &Labels, sensor: Option<SensorKind>) -> Option<String> {
    let name = labels.values().cloned().collect::<Vec<_>>().join(" ");
    let ran_on = Attribution { actual: Some(name), ..Attribution::default() };
    match (ran_on.device(), sensor) {
        (Some(None), None | Some(SensorKind::Nvml)) => Some(
            "power of rows that ran on the processor is left out: it may be an idle GPU's; give --sensor rapl if it is the \
             package's"
                .to_owned(),
        ),
        (Some(Some(_)), Some(SensorKind::Rapl)) => {
            Some("power of rows that ran on a GPU is left out: --sensor rapl is the processor's".to_owned())
        }
        _ => None,
    }
}
