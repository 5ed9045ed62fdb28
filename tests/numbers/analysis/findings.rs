//! What the first screen of a report says of a fit, and with what reservations.

use std::collections::BTreeMap;

use phasebench::analysis::Tables;
use phasebench::record::{Decision, Line, Rule};
use phasebench::report::document::{Assurance, Block, Finding};
use phasebench::report::markdown;
use phasebench::terms::{Evidence, Mode};

use crate::analysis::run::{FOUR, Model, Run, Shape, shape};

const SHORT: Shape = shape("short", 2, 1, 64);
const LONG: Shape = shape("long", 8, 1, 64);
/// Calls of a quiet cell around 1.
const QUIET: [f64; 8] = [1.0, 1.01, 0.99, 1.0, 1.005, 0.995, 1.002, 0.998];

/// Twice the quiet calls, times what a law says of each call, on a machine with nothing beside.
fn measured(law: impl Fn(Model, Shape, usize) -> f64) -> Run {
    Run::measured(&FOUR, &[SHORT, LONG], 16, |m, s, i| {
        let quiet = QUIET[i as usize % 8];
        (f64::from(s.prompt) * m.millions.sqrt() * quiet * law(m, s, i as usize), 64.0 * m.millions.sqrt() * quiet)
    })
}

fn finding(run: &Run, question: &str) -> (Assurance, String) {
    let document = run.report();
    let all = document.verdict.iter().flat_map(|block| match block {
        Block::Findings(findings) => findings.as_slice(),
        _ => &[],
    });
    let found: &Finding = all.clone().find(|f| f.question == question).unwrap_or_else(|| panic!("no {question}"));
    let text = |text: &phasebench::report::document::Text| {
        text.spans().iter().map(|span| span.as_str()).collect::<String>().replace('\u{a0}', " ")
    };
    (found.assurance, format!("{} {}", text(&found.answer), text(&found.grounds)))
}

fn next(run: &Run) -> String {
    let document = run.report();
    let next = document.verdict.iter().find_map(|block| match block {
        Block::NextStep(next) => Some(next.to_string()),
        _ => None,
    });
    next.unwrap_or_else(|| panic!("no next step: {:?}", document.verdict))
}

fn on_d_long(m: Model, s: Shape) -> bool {
    m.name == "d" && s.scenario == "long"
}

#[test]
fn quiet_cells_carry_their_fit() {
    let (standing, text) = finding(&measured(|_, _, _| 1.0), "Prefill on eng");
    assert_eq!(standing, Assurance::Holds, "{text}");
}

/// A constant beside the size bends a power law: the card names the line and quotes no exponent.
#[test]
fn a_line_is_called_a_line_and_no_factor_is_printed() {
    let run = Run::measured(&FOUR, &[SHORT, LONG], 16, |m, _, i| {
        let quiet = QUIET[i as usize % 8];
        ((2.0 + 0.5 * m.millions) * quiet, 64.0 * m.millions.sqrt() * quiet)
    });
    let (standing, text) = finding(&run, "Prefill on eng");
    assert_eq!(standing, Assurance::Caution, "{text}");
    assert!(text.starts_with("Time follows a line, not a power of parameters: 2.00 ["), "{text}");
    assert!(text.contains("ms more per million parameters. R² of the logarithms 1.000 along the line, 0.96"), "{text}");
    assert!(text.contains("4 models are few to tell two laws apart."), "{text}");
    assert!(!text.contains("parameters^") && !text.contains("Twice the"), "{text}");
    let (standing, text) = finding(&run, "Decode on eng");
    assert_eq!(standing, Assurance::Holds, "{text}");
    assert!(text.contains("parameters^0.500"), "a power law stays one: {text}");
}

/// One bad cell of eight is enough, and it is named with its figure.
#[test]
fn a_cell_that_is_unsteady_lowers_the_standing_of_its_fit() {
    // Two speeds, both seen all along; a few slow calls; ever slower.
    let speeds = measured(|m, s, i| if on_d_long(m, s) && i % 3 == 0 { 2.0 } else { 1.0 });
    let tail = measured(|m, s, i| if on_d_long(m, s) && i == 5 { 4.0 } else { 1.0 });
    let drift = measured(|m, s, i| if on_d_long(m, s) { 1.0 + 0.02 * i as f64 } else { 1.0 });
    for (run, sentence) in [
        (&speeds, "Calls vary by more than 15 % in 1 of its 8 cells: d · long, by "),
        (&speeds, "The interval of the location is wider than ±10 % in 1 of its 8 cells: d · long, ±"),
        (&tail, "Mean and median differ by more than 10 % in 1 of its 8 cells: d · long, mean 1.1"),
        (&drift, "Calls drift in 1 of its 8 cells: d · long, +"),
    ] {
        let (standing, text) = finding(run, "Prefill on eng");
        assert_eq!(standing, Assurance::Caution, "{text}");
        assert!(text.contains(sentence), "{sentence}: {text}");
        let (standing, text) = finding(run, "Decode on eng");
        assert_eq!(standing, Assurance::Holds, "the other phase is quiet: {text}");
    }
}

#[test]
fn the_worst_of_several_cells_is_named() {
    let run = measured(|m, s, i| match (m.name, s.scenario) {
        ("d", "long") if i % 3 == 0 => 1.6,
        ("a", "short") if i % 3 == 0 => 2.5,
        _ => 1.0,
    });
    let (_, text) = finding(&run, "Prefill on eng");
    assert!(text.contains("Calls vary by more than 15 % in 2 of its 8 cells: most in a · short, by "), "{text}");
}

#[test]
fn scenarios_that_contradict_each_other_are_named() {
    let run = measured(|m, s, _| if s.scenario == "long" { m.millions.powf(0.4) } else { 1.0 });
    let (standing, text) = finding(&run, "Prefill on eng");
    assert_eq!(standing, Assurance::Caution, "{text}");
    let named = text.contains("the 95 % intervals of short (slope 0.500 [") && text.contains("and long (slope 0.900 [");
    assert!(named && text.contains("have no slope in common."), "{text}");
}

/// Without proof there is a reason in place of a slope, and the cells are labelled where they are shown.
#[test]
fn without_proof_the_report_says_why_there_is_no_fit() {
    let mut run = measured(|_, _, _| 1.0);
    for call in run.calls().filter(|call| call.session.model != "a") {
        call.attribution.actual = None;
    }
    let (standing, text) = finding(&run, "Prefill on eng");
    assert_eq!(standing, Assurance::Withheld, "{text}");
    assert!(text.contains("not identifiable: 1 model, at least 3 are needed"), "{text}");
    assert!(text.contains("`b` is left out in short, long: nothing proves where it ran"), "{text}");
    let (_, text) = finding(&run, "Did it run where it should?");
    assert!(text.contains("The others are in no fit, aggregate or ranking."), "{text}");
    let page = markdown::to_markdown(&run.report());
    assert!(page.contains("b (unattributed)") && page.contains("Unattributed, since nothing proves"), "{page}");
}

/// The interval stands beside what it is an interval of, and what it reckoned with is shown.
#[test]
fn an_interval_stands_beside_its_own_location() {
    let run = measured(|m, s, i| if on_d_long(m, s) && i % 3 == 0 { 2.0 } else { 1.0 });
    let tables: Tables = run.tables();
    let page = markdown::to_markdown(&run.report()).replace('\u{a0}', " ");
    let row = tables.summary.iter().find(|r| r.key.cell_id == "d-long-1-64" && r.mode == Mode::Prefill).unwrap();
    let (location, low, high) = (row.location_ms.unwrap(), row.ci_low_ms.unwrap(), row.ci_high_ms.unwrap());
    assert!(row.median_ms < low, "the median lies outside: {} {low}", row.median_ms);
    let digits = if location < 100.0 { 1 } else { 0 };
    let shown = format!("{location:.digits$} \\[{low:.digits$}, {high:.digits$}\\]");
    assert!(page.contains(&shown) || page.contains(&shown.replace('\\', "")), "{shown}: {page}");
    assert!(page.contains("lag-1 autocorrelation") && page.contains("effective n"), "{page}");
    assert!(page.contains(&format!(" {:.1} |", row.n_effective.unwrap())), "{page}");
}

/// What proves where the calls ran is shown, whatever their loads prove: headline and tables go by the same rule.
#[test]
fn the_proof_of_calls_is_shown() {
    let mut run = measured(|_, _, _| 1.0);
    for line in &mut run.lines {
        if let Line::Load(load) = line {
            load.attribution.evidence = Evidence::default();
        }
    }
    for (number, call) in (0..).zip(run.calls()) {
        let (nodes, nonce) = ((7 + number % 3).to_string(), format!("word {number}"));
        call.attribution.evidence = evidence(&[("nodes", &nodes), ("nonce", &nonce)]);
    }
    let (standing, text) = finding(&run, "Did it run where it should?");
    assert_eq!(standing, Assurance::Holds, "{text}");
    assert!(text.contains("Proof: nodes = 7 to 9, nonce = 128 different values."), "{text}");
    let page = markdown::to_markdown(&run.report()).split_whitespace().collect::<Vec<_>>().join(" ");
    let place = (*run.calls().next().unwrap().attribution).clone();
    let (asked, ran) = (place.requested, place.actual.unwrap());
    assert!(
        page.contains(&format!("| a | eng | {asked} | not proven | – |")),
        "a load's claim without evidence: {page}"
    );
    let own = "| 34 | nodes = 7 to 9, nonce = 34 different values |";
    assert!(page.contains(&format!("| a | eng | {asked} | {ran} {own}")), "{page}");
}

fn evidence(texts: &[(&str, &str)]) -> Evidence {
    let texts = texts.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    Evidence::from(texts.collect::<BTreeMap<_, _>>())
}

fn page(run: &Run) -> String {
    markdown::to_markdown(&run.report()).replace('\u{a0}', " ")
}

/// The first screen ends in what its reader would do, most urgent first.
#[test]
fn what_to_do_next_follows_from_what_was_found() {
    let mut quiet = measured(|_, _, _| 1.0);
    assert_eq!(next(&quiet), "keep this run; after an upgrade phasebench rerun RUN says whether anything changed.");
    let unsteady = measured(|m, s, i| if on_d_long(m, s) && i % 3 == 0 { 2.0 } else { 1.0 });
    let said = next(&unsteady);
    let again = "run again with sessions: 5 and more repetitions in the scenario file.";
    assert_eq!(said, format!("for answers without the caution below, {again}"));
    quiet.lines.retain(|line| !matches!(line, Line::Finished(_)));
    assert_eq!(next(&quiet), "measure what is left: phasebench run --resume RUN.");
    let first = quiet.lines.iter().find(|line| matches!(line, Line::Call(_))).unwrap().clone();
    quiet.lines.push(first);
    assert_eq!(next(&quiet), "find out what this record contradicts: phasebench validate RUN.");
}

#[test]
fn a_record_that_does_not_hold_together_is_said_to_first() {
    let mut run = measured(|_, _, _| 1.0);
    assert!(!page(&run).contains("does not hold together"));
    let twice = run.lines.iter().find(|line| matches!(line, Line::Call(_))).unwrap().clone();
    run.lines.insert(run.lines.len() - 1, twice);
    let page = page(&run);
    let warning = page.find("This record does not hold together").unwrap_or_else(|| panic!("{page}"));
    assert!(page.contains("is recorded twice") && warning < page.find("## ").unwrap(), "{page}");
}

#[test]
fn fewer_processors_than_there_are_stand_in_the_first_lines() {
    let mut run = measured(|_, _, _| 1.0);
    let machine = &mut run.manifest.stack.machine;
    (machine.logical_cores, machine.physical_cores) = (Some(2), Some(2));
    (machine.cpu_affinity, machine.cpu_quota_cores) = (None, None);
    let held = "0.5 of 2 processors (granted by a control group) usable";
    assert!(!page(&run).contains("usable"), "{}", page(&run));
    run.manifest.stack.machine.cpu_quota_cores = Some(0.5);
    let page = page(&run);
    let at = page.find(held).unwrap_or_else(|| panic!("{page}"));
    assert!(at < page.find("## ").unwrap(), "{page}");
}

#[test]
fn an_interval_wider_than_its_estimate_is_no_figure_to_quote() {
    let mut run = measured(|_, _, _| 1.0);
    let cell_id = run.plan.cells[0].id.clone();
    let (rule, why) = (Rule::MaxCalls, "30 calls made, CI beyond ±100 %".to_owned());
    let decision = Decision { cell_id, rule, calls_ok: 30, relative_ci: Some(81.1961), why };
    run.lines.insert(run.lines.len() - 1, Line::Decision(decision.into()));
    let page = page(&run);
    assert!(page.contains("a factor of 162 either way: not quotable") && !page.contains("8119"), "{page}");
}
