//! One report over runs of several scenarios: the first is the main one, shown whole; the others add what they say, and what two
//! say together.

use crate::analysis::across::{Across, AcrossRow, AcrossRun, GrowthRow, Law, Together, across};
use crate::analysis::engines::PROCESS_ALLOWANCE;
use crate::record::manifest::Tool;
use crate::report::document::{Assurance, Block, Document, Finding, Section, Table, Text};
use crate::report::format::{self, ABSENT};
use crate::terms::Mode;
use crate::units::significant;

use super::names::{Names, counted, mode};
use super::{ReportedRun, SECTIONS, contradicted, facts, findings, warnings};

/// Names of the runs' sections in links; as many as a report may have runs.
const IDS: [&str; 16] = [
    "run-1", "run-2", "run-3", "run-4", "run-5", "run-6", "run-7", "run-8", "run-9", "run-10", "run-11", "run-12",
    "run-13", "run-14", "run-15", "run-16",
];
/// Most runs of one report.
pub const MOST_RUNS: usize = IDS.len();

/// A run under the name that the report calls it by.
#[derive(Debug, Clone, Copy)]
pub struct NamedRun<'a> {
    /// Its folder's name; no two runs of a report have the same.
    pub name: &'a str,
    /// The run.
    pub run: ReportedRun<'a>,
}

/// What the runs say together.
#[must_use]
pub fn across_runs(runs: &[NamedRun<'_>]) -> Across {
    let sides: Vec<AcrossRun<'_>> = runs
        .iter()
        .map(|named| AcrossRun { name: named.name, manifest: named.run.manifest, tables: named.run.tables })
        .collect();
    across(&sides)
}

/// The report of several runs, the main one first; more than [`MOST_RUNS`] are left out. The same runs give the same document.
#[must_use]
pub fn compose_several(runs: &[NamedRun<'_>], across: &Across) -> Document {
    let mut verdict = Vec::new();
    let mut sections = vec![overview(runs)];
    sections.extend(cells_section(&across.cells));
    sections.extend(growth_section(&across.growth));
    for (named, id) in runs.iter().zip(IDS) {
        let notes = warnings(&named.run, contradicted(&named.run));
        verdict.extend(notes.map(|note| Block::Note(Text::plain(format!("{}: ", named.name)).and(note.to_string()))));
        sections.push(run_section(named, id));
    }
    verdict.push(Block::Findings(together(across)));
    let mut all_facts = Vec::new();
    if let Some(main) = runs.first() {
        let names = Names::new(main.run.plan);
        all_facts = facts::facts(&main.run);
        sections.extend(SECTIONS.iter().filter_map(|section| section(&main.run, &names)));
    }
    let main = runs.first().map_or("", |named| named.run.plan.name.as_str());
    Document {
        title: format!("{main} and {}", counted(runs.len().saturating_sub(1), "further run")),
        facts: all_facts,
        verdict,
        sections,
        made_by: format!("Made by phasebench {} from the runs' own rows.", facts::tool(&Tool::this())),
    }
}

/// Which runs these are.
fn overview(runs: &[NamedRun<'_>]) -> Section {
    let table = Table::of(runs)
        .words("run", |named| named.name)
        .words("scenario file", |named| named.run.plan.name.as_str())
        .words("machine", |named| facts::machine(&named.run.manifest.stack.machine))
        .words("engines", |named| {
            let engines = named.run.manifest.stack.backends.iter();
            let told = engines.map(|(name, entry)| {
                format!("{name}: {} {}", entry.engine, entry.version.as_deref().unwrap_or(ABSENT))
            });
            told.collect::<Vec<_>>().join("; ")
        })
        .count("models", |named| named.run.manifest.models.len())
        .count("cells", |named| named.run.plan.cells.len())
        .words("fingerprint", |named| named.run.manifest.stack_sha256.get(..12).unwrap_or(ABSENT))
        .captioned(Text::plain(
            "The first run is the main one; its sections follow those that the runs have in common. ",
        ));
    let intro = "Runs of one host are set against each other; runs of other hosts, or with other weights, stand side by side and enter \
                 no ratio.";
    Section { id: "runs", title: "The runs".to_owned(), blocks: vec![Block::Paragraph(intro.into()), table.into()] }
}

/// What one run says by itself.
fn run_section(named: &NamedRun<'_>, id: &'static str) -> Section {
    let names = Names::new(named.run.plan);
    let told = facts::facts(&named.run).into_iter().map(|(fact, value)| Text::plain(format!("{fact}: {value}")));
    let blocks = vec![Block::List(told.collect()), Block::Findings(findings::findings(&named.run, &names))];
    Section { id, title: format!("Run {}", named.name), blocks }
}

/// A finding for whatever two runs say together.
#[must_use]
pub fn together(across: &Across) -> Vec<Finding> {
    let mut found = findings::cell_findings(&across.cells);
    found.extend(across.growth.iter().map(growth_finding));
    if found.is_empty() {
        found.push(Finding {
            question: "What do the runs say together?".to_owned(),
            assurance: Assurance::Withheld,
            answer: "Nothing: no two of them have cells of the same shape on the same engine that differ in cache, compiler or heads, nor \
                     laws of the same phase."
                .into(),
            grounds: "Each run's own answers are below.".into(),
        });
    }
    found
}

fn phase_name(phase: Mode) -> String {
    mode(phase).to_lowercase()
}

fn growth_finding(row: &GrowthRow) -> Finding {
    let told = |law: &Law| match law.slope.zip(law.low).zip(law.high) {
        Some(((slope, low), high)) => {
            format!("slope {} [{}, {}]", significant(slope, 3), significant(low, 3), significant(high, 3))
        }
        None => format!("no law ({})", law.reason.as_deref().unwrap_or("not quoted")),
    };
    let assurance = match row.verdict {
        Together::Holds => Assurance::Holds,
        Together::Differs | Together::NotInBoth => Assurance::Caution,
        Together::InNeither => Assurance::Withheld,
    };
    let answer = match row.verdict {
        Together::Holds => "the law of size holds in both",
        Together::Differs => "the law of size differs between them",
        Together::NotInBoth => "the law of size holds in one of them only",
        Together::InNeither => "neither has a law of size",
    };
    let (a, b) = (&row.first, &row.second);
    Finding {
        question: format!("Does {} scale alike on {}?", phase_name(row.phase), row.backend),
        assurance,
        answer: format!("{}: {}; {}: {}: {answer}.", a.run, told(a), b.run, told(b)).into(),
        grounds: format!(
            "{} over {} models ({}), {} over {} models ({})",
            a.run, a.n_models, a.fingerprint, b.run, b.n_models, b.fingerprint
        )
        .into(),
    }
}

fn cells_section(cells: &[AcrossRow]) -> Option<Section> {
    if cells.is_empty() {
        return None;
    }
    let side = |side: &crate::analysis::across::Side| format!("{} · {} · {}", side.run, side.backend, side.model);
    let table = Table::of(cells)
        .words("what", |row| row.statement.as_str())
        .words("phase", |row| row.phase.as_str())
        .words("shape", |row| format!("{} + {}, batch {}", row.prompt_tokens, row.gen_tokens, row.batch))
        .words("first", |row| side(&row.first))
        .number("takes", "ms", |row| significant(row.first.ms, 4))
        .words("second", |row| side(&row.second))
        .number("takes", "ms", |row| significant(row.second.ms, 4))
        .number("times as fast", "", |row| match row.speed.zip(row.speed_low).zip(row.speed_high) {
            Some(((speed, low), high)) => {
                format!("{} [{}, {}]", significant(speed, 3), significant(low, 3), significant(high, 3))
            }
            None => ABSENT.to_owned(),
        })
        .when(cells.iter().any(|row| row.reason.is_some()), |columns| {
            columns.words("side by side", |row| row.reason.as_deref().unwrap_or(""))
        })
        .captioned(
            Text::plain(format!(
                "Cells of the same shape on the same engine. Every interval between two runs, or within one of one session, allows for \
                 {:.0} % of standard deviation on either side, by which another process may differ. From ",
                100.0 * PROCESS_ALLOWANCE
            ))
            .code("across_runs.csv")
            .and("."),
        );
    Some(Section { id: "across-runs", title: "What two runs say together".to_owned(), blocks: vec![table.into()] })
}

fn growth_section(rows: &[GrowthRow]) -> Option<Section> {
    if rows.is_empty() {
        return None;
    }
    let slope = |law: &Law| format::fixed(law.slope, 3);
    let table = Table::of(rows)
        .words("phase", |row| row.phase.as_str())
        .words("engine", |row| row.backend.as_str())
        .words("run", |row| row.first.run.as_str())
        .number("slope", "", |row| slope(&row.first))
        .words("other run", |row| row.second.run.as_str())
        .number("slope", "", |row| slope(&row.second))
        .words("together", |row| row.verdict.as_str())
        .words("why not", |row| row.first.reason.as_deref().or(row.second.reason.as_deref()).unwrap_or(""))
        .captioned(Text::plain("Headline fits of every two runs. From ").code("growth_across_runs.csv").and("."));
    Some(Section {
        id: "growth-across-runs",
        title: "Whether laws of size hold in every run".to_owned(),
        blocks: vec![table.into()],
    })
}
