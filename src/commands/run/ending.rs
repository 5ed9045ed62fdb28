//! How a run ended: what is said of it, and the exit code.

use std::io::Write;
use std::path::Path;

use crate::commands::run::warn;
use crate::exit::Exit;
use crate::plan::{Cell, Plan};
use crate::record::Finished;
use crate::record::given_up::{GivenUp, given_up, sessions_given_up};
use crate::terms::Procedure;

/// Longest piece of an engine's words on one line of standard error, in characters.
const WORDS: usize = 200;

/// Says what a complete run holds, and what it lacks.
pub(super) fn complete(plan: &Plan, folder: &Path, finished: Finished, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let recording = crate::store::read(folder)?;
    let gone = given_up(&recording.lines, plan);
    let tally = Tally::new(plan, finished, &gone);
    writeln!(out, "{} calls recorded in {}", finished.calls, folder.display())?;
    if finished.degraded > 0 || tally.skipped > 0 || !gone.is_empty() {
        let share = percent(tally.degraded_share());
        write!(out, "  {} degraded ({share}), {} cells skipped", finished.degraded, tally.skipped)?;
        if !gone.is_empty() {
            write!(out, ", {} given up", gone.len())?;
        }
        writeln!(out)?;
    }
    if finished.made_again > 0 {
        writeln!(out, "  {} ended early and were made again", finished.made_again)?;
    }
    writeln!(out, "  next: phasebench report {}", folder.display())?;
    for cell in &gone {
        warn(&format!("{}: given up: {}{}", name(cell.cell), cell.decision.why, words(cell)));
    }
    Ok(tally.judge(plan))
}

fn name(cell: &Cell) -> String {
    let (key, steps) = (&cell.session, cell.gen_tokens);
    let what = match cell.procedure {
        Procedure::Prefill => "prefill".to_owned(),
        Procedure::PrefillDecode => format!("{steps} steps"),
        Procedure::Uncached => format!("{steps} uncached steps"),
    };
    format!("{} × {} × {} × {what}", key.backend, key.model, cell.scenario)
}

/// The engine's words as the end of a line.
fn words(cell: &GivenUp<'_>) -> String {
    let Some(words) = cell.words else { return String::new() };
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(WORDS) {
        Some((end, _)) => format!(": {}…", &line[..end]),
        None => format!(": {line}"),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// What the exit code rests on.
struct Tally {
    finished: Finished,
    skipped: usize,
    /// Timed calls that were never made because their cell was given up.
    missing: u32,
    /// Sessions of which every cell was given up.
    sessions: Vec<String>,
}

impl Tally {
    fn new(plan: &Plan, finished: Finished, gone: &[GivenUp<'_>]) -> Self {
        let sessions = sessions_given_up(gone, plan);
        Self {
            finished,
            skipped: plan.skipped.len(),
            missing: gone.iter().map(|cell| cell.missing).sum(),
            sessions: sessions.iter().map(|key| format!("{} × {}", key.backend, key.model)).collect(),
        }
    }

    /// Degraded calls of those made. No call: 0.
    fn degraded_share(&self) -> f64 {
        share(self.finished.degraded, self.finished.calls)
    }

    /// Calls that were never made count as degraded ones.
    fn judge(&self, plan: &Plan) -> Exit {
        let Finished { calls, degraded, .. } = self.finished;
        let rate = share(degraded.saturating_add(self.missing), calls.saturating_add(self.missing));
        let beyond = rate > plan.degraded_rate;
        if beyond {
            let limit = percent(plan.degraded_rate);
            let never = if self.missing > 0 { " or could not be made" } else { "" };
            warn(&format!("{} of the calls are degraded{never}, more than the limit of {limit}", percent(rate)));
        }
        for session in &self.sessions {
            warn(&format!("{session}: every cell was given up"));
        }
        if beyond || !self.sessions.is_empty() { Exit::Degraded } else { Exit::Good }
    }
}

fn share(part: u32, whole: u32) -> f64 {
    if whole == 0 { 0.0 } else { f64::from(part) / f64::from(whole) }
}
