//! Every cell on both sides: what it takes, what the two differ by, and what may be said of that.

use crate::analysis::engines::{Asked, Judged, floor_ms, judge};
use crate::record::plan::{Cell, Plan};
use crate::stats::{InputError, LEVEL};
use crate::terms::{Mode, Order};

use super::allowance::Allowance;
use super::clusters::clusters;
use super::disturbed;
use super::effect::{Alongside, Basis, Effect, Pair, effects};
use super::failing::{self, Failures};
use super::machine::{MachineRow, moved};
use super::power::{Noise, one_of};
use super::ran::Ran;
use super::row::CellRow;
use super::sessions::Sessions;
use super::side::{SideCell, Sides, SidesKind, asks_alike, asks_the_same};
use super::unlike::unlike;
use super::verdict::{Settings, Verdict};
use super::witness;
use super::words::change;

/// A cell with what later steps make of it.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The row.
    pub row: CellRow,
    /// Its effect, with both sides' sessions. `None`: not compared.
    pub effect: Option<(Effect, Sessions, Sessions)>,
    /// Where its calls ran.
    pub(super) ran: Ran,
}

/// What stands on both sides under one name.
struct Matched<'s> {
    a: Option<&'s SideCell>,
    b: Option<&'s SideCell>,
    /// Why the two are not compared. `None`: they are.
    reason: Option<(Verdict, String)>,
}

/// All cells in the baseline's order, then what only the candidate has.
///
/// # Errors
/// Never for what a run folder holds.
pub fn rows(
    sides: &Sides<'_>,
    settings: &Settings,
    allowance: Option<&Allowance>,
    machine: &[MachineRow],
) -> Result<Vec<Compared>, InputError> {
    let matched = matched(sides);
    let none = Failures::default();
    let failures: Vec<(&Failures, &Failures)> = matched
        .iter()
        .map(|both| (both.a.map_or(&none, |a| &a.failures), both.b.map_or(&none, |b| &b.failures)))
        .collect();
    let failing = failing::worse(&failures)?;
    let groups = groups(&matched);
    let alongside = alongside(sides);
    let pairs = matched
        .iter()
        .zip(&groups)
        .filter(|(both, _)| both.reason.is_none())
        .filter_map(|(both, &group)| Some(Pair { group, a: &both.a?.sessions, b: &both.b?.sessions, alongside }));
    let found = effects(&pairs.collect::<Vec<_>>())?;
    let mut effects = found.iter();
    let mut compared: Vec<Compared> = Vec::with_capacity(matched.len());
    for (both, p_failing) in matched.iter().zip(failing) {
        let effect = both.reason.is_none().then(|| effects.next()).flatten();
        compared.extend(both.compared(effect, p_failing));
    }
    judged(&mut compared, settings, allowance)?;
    for cell in &mut compared {
        excuse(cell, machine, settings);
        doubt(cell, sides, machine, allowance);
        blame(&mut cell.row, settings);
    }
    Ok(compared)
}

fn alongside(sides: &Sides<'_>) -> Alongside {
    match (sides.kind, sides.baseline.run.plan.order) {
        (SidesKind::Runs | SidesKind::Halves, _) => Alongside::Nothing,
        (SidesKind::Backends, Order::Blocked | Order::Shuffled) => Alongside::Sessions,
        (SidesKind::Backends, Order::Interleaved) => Alongside::Calls,
    }
}

/// Cells that stand on both sides, those that nearly do, and those of one side.
fn matched<'s>(sides: &'s Sides<'_>) -> Vec<Matched<'s>> {
    let with_backend = sides.kind != SidesKind::Backends;
    let (ours, theirs) = (&sides.baseline.cells, &sides.candidate.cells);
    let same = |a: &SideCell, b: &SideCell| a.mode == b.mode && asks_the_same(&a.cell, &b.cell, with_backend);
    let alike = |a: &SideCell, b: &SideCell| a.mode == b.mode && asks_alike(&a.cell, &b.cell, with_backend);
    let mut left: Vec<&SideCell> = theirs.iter().filter(|b| !ours.iter().any(|a| same(a, b))).collect();
    let mut found = Vec::new();
    for a in ours {
        let b = theirs.iter().find(|b| same(a, b)).or_else(|| {
            let place = left.iter().position(|b| alike(a, b))?;
            Some(left.remove(place))
        });
        found.push(match b {
            Some(b) => Matched { a: Some(a), b: Some(b), reason: apart(a, b, sides) },
            None => Matched { a: Some(a), b: None, reason: Some(missing(a, &sides.candidate.name, sides)) },
        });
    }
    found.extend(left.into_iter().map(|b| {
        let words = format!("not asked for in {}", sides.baseline.name);
        Matched { a: None, b: Some(b), reason: Some((Verdict::Missing, words)) }
    }));
    found
}

fn missing(a: &SideCell, other: &str, sides: &Sides<'_>) -> (Verdict, String) {
    let skipped = sides.candidate.run.plan.skipped.iter().find(|skipped| skipped.cell.id == a.cell.id);
    let words = match skipped {
        Some(skipped) => format!("skipped in {other}: {}", skipped.reason),
        None => format!("not asked for in {other}"),
    };
    (Verdict::Missing, words)
}

/// Why two cells of one name are not compared. `None`: they are.
fn apart(a: &SideCell, b: &SideCell, sides: &Sides<'_>) -> Option<(Verdict, String)> {
    for (cell, name) in [(a, &sides.baseline.name), (b, &sides.candidate.name)] {
        if let Some(reason) = &cell.reason {
            // Calls without proof were made, and are another matter than calls that were not.
            let verdict = if cell.measured_as.is_some() { Verdict::NotComparable } else { Verdict::Missing };
            let kinds = cell.failures.kinds();
            let why = if kinds.is_empty() { String::new() } else { format!(" ({kinds})") };
            return Some((verdict, format!("{name}: {reason}{why}")));
        }
    }
    unlike(a, b, (&sides.baseline, &sides.candidate)).map(|reason| (Verdict::NotComparable, reason))
}

/// Numbers cells by backend and mode: those lend each other what they know of sessions.
fn groups(matched: &[Matched<'_>]) -> Vec<usize> {
    let mut known: Vec<(&str, Mode)> = Vec::new();
    let mut numbers = Vec::with_capacity(matched.len());
    for both in matched {
        let key = both.one().map(|cell| (cell.cell.session.backend.as_str(), cell.mode));
        let number = key.map(|key| {
            known.iter().position(|other| *other == key).unwrap_or_else(|| {
                known.push(key);
                known.len() - 1
            })
        });
        numbers.push(number.unwrap_or(0));
    }
    numbers
}

impl<'s> Matched<'s> {
    fn one(&self) -> Option<&'s SideCell> {
        self.a.or(self.b)
    }

    /// The row with every figure that does not depend on other rows.
    fn compared(&self, effect: Option<&Effect>, p_failing: f64) -> Option<Compared> {
        let one = self.one()?;
        let cell = &one.cell;
        let sessions = |side: Option<&SideCell>| side.map(|side| side.sessions.clone()).unwrap_or_default();
        let (a, b) = (sessions(self.a), sessions(self.b));
        let other = self.b.map(|b| b.cell.session.backend.clone());
        let degraded = |side: Option<&SideCell>| side.map_or(0, |side| side.failures.all());
        let disturbed = |side: Option<&SideCell>| side.map_or(0, SideCell::disturbed);
        let both = self.a.zip(self.b).is_some();
        let row = CellRow {
            backend: cell.session.backend.clone(),
            backend_b: other.filter(|backend| *backend != cell.session.backend),
            model: cell.session.model.clone(),
            scenario: cell.scenario.clone(),
            batch: cell.batch,
            gen_tokens: cell.gen_tokens,
            mode: one.mode,
            verdict: self.reason.as_ref().map_or(Verdict::Undecided, |(verdict, _)| *verdict),
            reason: self.reason.as_ref().map(|(_, reason)| reason.clone()),
            ratio: effect.map(|effect| effect.ratio.value()),
            ratio_low: None,
            ratio_high: None,
            location_a_ms: a.location_ms(),
            location_b_ms: b.location_ms(),
            difference_ms: None,
            basis: effect.map(|effect| effect.basis),
            sessions_a: a.count(),
            sessions_b: b.count(),
            calls_a: a.calls(),
            calls_b: b.calls(),
            session_sd_ln: effect.and_then(|effect| effect.variance).map(|variance| variance.value.sqrt()),
            p: None,
            p_holm: None,
            q: None,
            detectable_ratio: None,
            sessions_to_decide: None,
            doubted: false,
            disturbed_a: disturbed(self.a),
            disturbed_b: disturbed(self.b),
            degraded_a: degraded(self.a),
            degraded_b: degraded(self.b),
            p_failing: both.then_some(p_failing),
            clusters: None,
        };
        let ran = self.a.zip(self.b).map_or(Ran::Unknown, |(a, b)| Ran::of(a, b));
        Some(Compared { row, effect: effect.map(|effect| (*effect, a, b)), ran })
    }
}

impl CellRow {
    /// Whether two rows are about one cell and mode.
    fn is_same_cell(&self, other: &Self) -> bool {
        (&self.backend, &self.model, &self.scenario) == (&other.backend, &other.model, &other.scenario)
            && (self.batch, self.gen_tokens, self.mode) == (other.batch, other.gen_tokens, other.mode)
    }

    /// Whether it is about this cell of a plan, on either side.
    #[must_use]
    pub fn is_of(&self, cell: &Cell) -> bool {
        let backend = &cell.session.backend;
        (&self.backend == backend || self.backend_b.as_ref() == Some(backend)) && self.asks(cell)
    }

    /// Whether a plan has it, of both backends where it is about two.
    #[must_use]
    pub fn is_planned_in(&self, plan: &Plan) -> bool {
        let planned =
            |backend: &String| plan.cells.iter().any(|cell| cell.session.backend == *backend && self.asks(cell));
        planned(&self.backend) && self.backend_b.as_ref().is_none_or(planned)
    }

    /// Whether a cell of a plan is this one, whatever its backend.
    fn asks(&self, cell: &Cell) -> bool {
        (&self.model, &self.scenario) == (&cell.session.model, &cell.scenario)
            && (self.batch, self.gen_tokens) == (cell.batch, cell.gen_tokens)
            && cell.procedure.modes().contains(&self.mode)
    }

    /// What the baseline takes per decode step, or per prefill. `None`: nothing measured.
    #[must_use]
    pub fn first_ms(&self) -> Option<f64> {
        Some(self.location_a_ms? / self.mode.units(self.gen_tokens))
    }
}

/// Judges all cells that are compared together.
fn judged(cells: &mut [Compared], settings: &Settings, allowance: Option<&Allowance>) -> Result<(), InputError> {
    let allowance_ln = allowance.map_or(0.0, |allowance| allowance.ln);
    let of_runs = allowance.is_some_and(|allowance| allowance.baseline_runs().is_some());
    let asked: Vec<Option<Asked>> = cells
        .iter()
        .map(|cell| {
            let (effect, ..) = cell.effect.as_ref()?;
            let ratio = effect.ratio.with_error(allowance_ln * std::f64::consts::SQRT_2);
            Some(Asked { ratio, first_ms: cell.row.first_ms()?, floor_ms: floor_ms(cell.row.mode) })
        })
        .collect();
    let all: Vec<Asked> = asked.iter().copied().flatten().collect();
    let mut judged = judge(&all, settings.rule)?.into_iter();
    for (cell, asked) in cells.iter_mut().zip(asked) {
        if let Some(asked) = asked
            && let Some(judged) = judged.next()
        {
            fill(cell, asked, judged, settings, (allowance_ln, all.len()));
            if of_runs {
                rest_on_runs(&mut cell.row);
            }
        }
    }
    Ok(())
}

fn fill(cell: &mut Compared, asked: Asked, judged: Judged, settings: &Settings, (allowance_ln, family): (f64, usize)) {
    let Some((effect, a, b)) = &cell.effect else { return };
    let row = &mut cell.row;
    let interval = asked.ratio.interval(LEVEL);
    row.ratio_low = interval.map(|interval| interval.low);
    row.ratio_high = interval.map(|interval| interval.high);
    row.difference_ms = Some(asked.first_ms * (asked.ratio.value() - 1.0));
    (row.p, row.p_holm, row.q) = (Some(judged.p), Some(judged.p_holm), Some(judged.q));
    row.detectable_ratio = asked.ratio.detectable_at(one_of(family, settings.rule));
    row.verdict = judged.verdict.into();
    if asked.is_same_by_floor(judged.verdict, settings.rule) {
        row.reason = Some(below_floor(row.mode));
    }
    if effect.basis == Basis::OneSession {
        row.verdict = Verdict::Undecided;
        row.reason = Some("one session each side".to_owned());
    }
    if matches!(row.verdict, Verdict::Undecided | Verdict::SlowerExtentOpen | Verdict::FasterExtentOpen) {
        let noise = Noise::of(effect, allowance_ln, family);
        row.sessions_to_decide = noise.and_then(|noise| noise.sessions_to_decide(asked.ratio.ln, settings.rule));
    }
    let said: Vec<String> = [("baseline", a), ("candidate", b)]
        .into_iter()
        .filter_map(|(side, of)| two_kinds(side, of, settings))
        .collect();
    row.clusters = (!said.is_empty()).then(|| said.join("; "));
}

/// Why a change by more than the margin is none.
fn below_floor(mode: Mode) -> String {
    let units = if mode.is_of_steps() { " a step" } else { "" };
    format!("less than the floor of {:.0} µs{units}", 1e3 * floor_ms(mode))
}

/// Says that the baseline's sessions are runs at different times: more sessions of either run would be at the same time, and
/// decide nothing.
fn rest_on_runs(row: &mut CellRow) {
    if row.basis == Some(Basis::Sessions) {
        row.basis = Some(Basis::Runs);
        row.sessions_to_decide = None;
    }
}

fn two_kinds(side: &str, sessions: &Sessions, settings: &Settings) -> Option<String> {
    let logs: Vec<f64> = sessions.means().into_values().collect();
    let found = clusters(&logs, settings.rule.margin)?;
    Some(format!("{side}: {} sessions fast, {} slower by a factor of {:.2}", found.fast, found.slow, found.ratio))
}

/// Puts what was measured afresh in the place of what looked worse, which is why it was measured again. `fresh`: those cells
/// alone that were to be.
pub fn confirm(cells: &mut [Compared], fresh: &[Compared]) {
    for cell in cells.iter_mut().filter(|cell| cell.row.verdict.is_worse()) {
        let Some(found) = fresh.iter().find(|fresh| fresh.row.is_same_cell(&cell.row)) else {
            let words = "not measured afresh".to_owned();
            let reason = cell.row.reason.take();
            cell.row.reason = Some(reason.map_or(words.clone(), |reason| format!("{words}; {reason}")));
            continue;
        };
        let before = cell.row.verdict;
        *cell = found.clone();
        let words = if found.row.verdict == before {
            "confirmed in fresh sessions".to_owned()
        } else {
            format!("{} at first, not confirmed in fresh sessions", before.as_str())
        };
        cell.row.reason = Some(found.row.reason.as_ref().map_or(words.clone(), |reason| format!("{words}; {reason}")));
    }
}

/// A cell that moved with the device that it ran on, or beside other programs, is no change of the stack.
fn excuse(Compared { row, ran, .. }: &mut Compared, machine: &[MachineRow], settings: &Settings) {
    let Some(slower) = row.verdict.direction() else { return };
    let beside = machine.iter().filter(|kernel| ran.is_where(kernel));
    if let Some(kernel) = moved(beside, settings.rule.margin, slower) {
        let change = change(kernel.ratio, Some((kernel.low, kernel.high)));
        row.verdict = Verdict::NotComparable;
        row.reason = Some(format!("{} is {change} ({})", ran.as_str(), kernel.kernel));
    } else if let Some(reason) =
        disturbed::explains((row.disturbed_b, row.calls_b), (row.disturbed_a, row.calls_a), slower)
    {
        row.verdict = Verdict::NotComparable;
        row.reason = Some(reason);
    }
}

/// How far a cell moved stays open where the machine itself may have moved as far.
fn doubt(
    Compared { row, ran, .. }: &mut Compared,
    sides: &Sides<'_>,
    machine: &[MachineRow],
    allowance: Option<&Allowance>,
) {
    let Some(slower) = row.verdict.direction() else { return };
    if let Some(reason) =
        witness::missing((&row.backend, &*ran), (row.ratio_low, row.ratio_high), slower, sides, machine, allowance)
    {
        row.verdict = Verdict::extent_open(slower);
        row.reason = Some(reason);
        row.doubted = true;
        // More sessions tell nothing of the machine: what would decide is that its own speed is known.
        row.sessions_to_decide = None;
    }
}

/// A cell whose calls fail as they did not is worse, however fast the others are.
fn blame(row: &mut CellRow, settings: &Settings) {
    if row.p_failing.is_some_and(|p| p <= settings.rule.alpha) {
        let words = format!(
            "{} of {} calls do not count, {} of {} before",
            row.degraded_b,
            row.degraded_b + row.calls_b as u64,
            row.degraded_a,
            row.degraded_a + row.calls_a as u64
        );
        row.verdict = Verdict::NewlyFailing;
        row.reason = Some(row.reason.take().map_or(words.clone(), |reason| format!("{words}; {reason}")));
    }
}
