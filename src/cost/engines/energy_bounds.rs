//! What energy lies between, where a figure of it is of grade D: too uncertain to be counted, and known to within a factor.

use std::collections::HashMap;

use crate::analysis::energy::{COVERAGE_FACTOR, EnergyScope, U_SYS};
use crate::analysis::{EnergyEventRow, SummaryRow, Tables};
use crate::economics::figures::{Figure, Figures};
use crate::economics::request_time::{Measured, RequestTime};
use crate::terms::energy::Grade;
use crate::terms::{Flag, Mode, Role};

use super::energy::{graded, owned};

/// Both ends of an engine's energy. Nothing between them is likelier than the rest: there is no figure.
#[derive(Debug, Clone)]
pub struct EnergyBounds {
    /// Every cell at its lower end.
    pub low: EnergyEnd,
    /// Every cell at its upper end.
    pub high: EnergyEnd,
}

/// Energy of an engine if all its cells are at one end.
#[derive(Debug, Clone)]
pub struct EnergyEnd {
    /// Of a call. Unit: joules.
    pub of_call: RequestTime,
    /// Of a million prompt tokens. Unit: joules.
    pub prefill_million_j: f64,
    /// The same of tokens written.
    pub decode_million_j: f64,
}

/// A cell with what a token of it takes.
struct Bounded<'a> {
    row: &'a SummaryRow,
    /// Unit: joules.
    per_token: [f64; 2],
}

/// Bounds where every cell has a figure of grade D or better, from one sensor that is the device's own. `None`: a cell has none.
pub(super) fn between(
    prefill: &[&SummaryRow],
    decode: &[&SummaryRow],
    tables: &Tables,
    figures: &mut Figures,
) -> Option<EnergyBounds> {
    let (mut cells, mut sensor) = (Vec::new(), None);
    let uncertain = uncertain(&tables.energy_events);
    for row in prefill.iter().chain(decode) {
        let (of, per_token) = bounds(row, tables, &uncertain)?;
        if *sensor.get_or_insert(of) != of {
            return None;
        }
        cells.push(Bounded { row, per_token });
    }
    let mut end = |place: usize| {
        let (prefill, decode): (Vec<&Bounded<'_>>, Vec<&Bounded<'_>>) =
            cells.iter().partition(|cell| cell.row.mode == Mode::Prefill);
        let (prefill_cells, prefill_million_j) = of_phase(&prefill, place, figures)?;
        let (decode_cells, decode_million_j) = of_phase(&decode, place, figures)?;
        let of_call = RequestTime::new(&prefill_cells, &decode_cells, None)?;
        Some(EnergyEnd { of_call, prefill_million_j, decode_million_j })
    };
    Some(EnergyBounds { low: end(0)?, high: end(1)? })
}

/// The cells of a phase at one end, and the mean of a million tokens over them. `None`: of no cell, or one whose prompt is not
/// known.
#[expect(clippy::cast_precision_loss, reason = "a count of cells")]
fn of_phase(cells: &[&Bounded<'_>], end: usize, figures: &mut Figures) -> Option<(Vec<Measured>, f64)> {
    let mut measured = Vec::new();
    for cell in cells {
        let prompt = cell.row.prompt_tokens?;
        let tokens = f64::from(cell.row.key.batch) * if cell.row.mode == Mode::Prefill { prompt } else { 1.0 };
        let figure = figures.add(Figure::exact(cell.per_token[end] * tokens));
        measured.push(Measured { prompt, steps: f64::from(cell.row.key.gen_tokens), figure });
    }
    let sum: f64 = cells.iter().map(|cell| cell.per_token[end]).sum();
    (!cells.is_empty()).then(|| (measured, 1e6 * sum / cells.len() as f64))
}

/// Phases with a figure of grade D, by cell and mode.
type Uncertain<'a> = HashMap<(&'a str, Mode), Vec<&'a EnergyEventRow>>;

fn uncertain(events: &[EnergyEventRow]) -> Uncertain<'_> {
    let mut found: Uncertain<'_> = HashMap::new();
    for event in events.iter().filter(|event| event.grade == Some(Grade::D)) {
        let timed = event.scope != EnergyScope::Natural || event.role == Some(Role::Timed);
        if timed && !event.flags.contains(Flag::Throttled) {
            found.entry((event.key.cell_id.as_str(), event.phase.mode())).or_default().push(event);
        }
    }
    found
}

/// The sensor, and what a token of a cell takes at least and at most: of a graded figure its interval, else what holds the
/// intervals of all that are of grade D. `None`: there is no figure, or it is another device's.
fn bounds<'a>(row: &SummaryRow, tables: &'a Tables, uncertain: &Uncertain<'a>) -> Option<(&'a str, [f64; 2])> {
    if let Ok(best) = graded(row, &tables.energy_summary) {
        let around = around(best.j_per_token?, best.u_stat?);
        return Some((best.sensor.as_deref()?, around));
    }
    let events = uncertain.get(&(row.key.cell_id.as_str(), row.mode))?;
    let sensor = events.first()?.sensor.as_deref()?;
    owned(row.actual.as_deref(), Some(sensor)).ok()?;
    let own = events.iter().filter(|event| event.sensor.as_deref() == Some(sensor));
    let ends = own.filter_map(|event| Some(around(event.j_per_token?, event.u_stat?)));
    let held = ends.reduce(|all, next| [all[0].min(next[0]), all[1].max(next[1])])?;
    Some((sensor, held))
}

/// The 95 % interval of a figure, its sensor's gain included. Energy is not negative, nor 0, of which there is no logarithm.
fn around(joules: f64, u_stat: f64) -> [f64; 2] {
    let half_width = COVERAGE_FACTOR * u_stat.hypot(U_SYS);
    [joules * (1.0 - half_width).max(f64::MIN_POSITIVE), joules * (1.0 + half_width)]
}
