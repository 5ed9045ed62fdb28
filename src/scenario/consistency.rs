//! What the keys of a scenario file say about each other: names, references, contradictions. What an engine's keys say
//! about each other is in its file below [`super::engine`].
//!
//! Works on the tree, so that one broken value does not hide what is wrong elsewhere.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use super::node::Node;
use super::problem::{Position, Problem};
use super::reference::Names;
use super::settings::Placed;
use super::typed::{items, text};
use super::{engine, quantity};
use crate::units::Nanos;

/// Reports every contradiction in a tree whose keys were checked.
pub fn check(root: &Node, problems: &mut Vec<Problem>) {
    for axis in ["scenarios", "models", "backends"] {
        duplicates(items(root, axis), problems);
    }
    for scenario in items(root, "scenarios") {
        unused_texts(scenario, problems);
    }
    repetitions(root, problems);
    sessions(root, problems);
    telemetry(root, problems);
    skips(root, problems);
    engines(root, problems);
    clocks(items(root, "backends"), problems);
}

/// Reports names that stand there more than once.
pub(super) fn duplicates(items: &[Node], problems: &mut Vec<Problem>) {
    let mut taken: HashMap<&str, Position> = HashMap::new();
    for item in items {
        let (Some(node), Some(name)) = (item.get("name"), text(item, "name")) else {
            continue;
        };
        match taken.entry(name) {
            Entry::Occupied(first) => problems.push(
                Problem::new(node.at, format!("the name `{name}` is taken"))
                    .help("first", format!("line {}", first.get().line)),
            ),
            Entry::Vacant(free) => {
                free.insert(node.at);
            }
        }
    }
}

/// Rows take the texts in turn, so a batch smaller than the list would leave some out.
fn unused_texts(scenario: &Node, problems: &mut Vec<Problem>) {
    let texts = scenario.get("prompt").and_then(|prompt| prompt.get("texts")).map_or(0, |texts| texts.items().len());
    if let Some(batch) = scenario.get("batch")
        && let Some(rows) = batch.whole::<usize>()
        && (1..texts).contains(&rows)
    {
        let message = format!("`batch` is {rows}, but there are {texts} texts: the rest would never be used");
        problems.push(Problem::new(batch.at, message).help("allowed", format!("{texts} or more")));
    }
}

fn repetitions(root: &Node, problems: &mut Vec<Problem>) {
    let Some(repetitions) = root.get("repetitions") else {
        return;
    };
    let bounds = (repetitions.get("min"), repetitions.get("max"));
    if let (Some(min), Some(max)) = bounds
        && let (Some(least), Some(most)) = (min.whole::<u64>(), max.whole::<u64>())
        && most < least
    {
        let message = format!("`max` is {most}, less than `min`, which is {least}");
        problems.push(Problem::new(max.at.max(min.at), message));
    }
}

/// Sessions divide a number of calls, or are added until an interval is narrow; which of the two, repetitions say.
fn sessions(root: &Node, problems: &mut Vec<Problem>) {
    let Some((sessions, repetitions)) = root.get("sessions").zip(root.get("repetitions")) else {
        return;
    };
    let fixed = repetitions.get("fixed").and_then(Node::whole::<u64>);
    let adaptive = repetitions.get("max").is_some();
    if let Some(count) = sessions.whole::<u64>() {
        if adaptive && count > 1 {
            let message = format!("`sessions` is {count}, but how many calls there are to divide is not fixed");
            let help = "sessions: { min: 3, max: 10 }, or repetitions: { fixed: 30 }";
            problems.push(Problem::new(sessions.at, message).help("try", help));
        }
        if let Some(calls) = fixed.filter(|calls| *calls < count) {
            let message = format!("`sessions` is {count}, but there are {calls} timed calls to divide");
            problems.push(Problem::new(sessions.at, message).help("allowed", format!("at most {calls}")));
        }
        return;
    }
    if fixed.is_some() && sessions.get("max").is_some() {
        let message = "`sessions` goes on until an interval is narrow, but the number of timed calls is fixed";
        problems
            .push(Problem::new(sessions.at, message).help("try", "sessions: 3, or repetitions: { min: 10, max: 100 }"));
    }
    if let Some((min, max)) = sessions.get("min").zip(sessions.get("max"))
        && let Some((least, most)) = min.whole::<u64>().zip(max.whole::<u64>())
        && most < least
    {
        let message = format!("`max` is {most}, less than `min`, which is {least}");
        problems.push(Problem::new(max.at.max(min.at), message));
    }
}

/// Shortest and longest time between two readings of power, in milliseconds.
const PERIOD_MS: (u64, u64) = (1, 1000);

fn telemetry(root: &Node, problems: &mut Vec<Problem>) {
    let Some(node) = root.get("telemetry").and_then(|telemetry| telemetry.get("period")) else {
        return;
    };
    let Some(period) = node.text().and_then(|text| quantity::duration(text).ok()) else {
        return;
    };
    let (shortest, longest) = (Duration::from_millis(PERIOD_MS.0), Duration::from_millis(PERIOD_MS.1));
    if !(shortest..=longest).contains(&period) {
        let message = format!("`period` is {}, which no sampler can keep or no sensor needs", Nanos::from(period));
        problems.push(Problem::new(node.at, message).help("allowed", "1ms to 1s"));
    }
}

/// The selectors of a skip rule and the axes they choose from.
const SELECTORS: [(&str, &str); 3] = [("model", "models"), ("backend", "backends"), ("scenario", "scenarios")];

fn skips(root: &Node, problems: &mut Vec<Problem>) {
    let names = SELECTORS.map(|(selector, axis)| (selector, Names::of(root, axis)));
    let mut earlier = EarlierRules::default();
    for rule in items(root, "skip") {
        let mut selected = false;
        for (selector, names) in &names {
            selected |= rule.get(selector).is_some();
            names.check(rule, selector, problems);
        }
        if !selected && text(rule, "reason").is_some() {
            let message = "a skip rule without model, backend or scenario would skip everything";
            problems.push(Problem::new(rule.at, message));
        }
        if let Some(first) = earlier.take(rule) {
            problems.push(
                Problem::new(rule.at, "this rule skips nothing that an earlier one has not")
                    .help("first", format!("line {}", first.line)),
            );
        }
    }
}

/// What a skip rule selects by, in the order of [`SELECTORS`]. `None`: it takes all of that axis.
type Selected<'a> = [Option<&'a str>; SELECTORS.len()];

/// The skip rules so far, each with its number and where it stands.
#[derive(Default)]
struct EarlierRules<'a>(HashMap<Selected<'a>, (usize, Position)>);

impl<'a> EarlierRules<'a> {
    /// The first rule that every combination of this one is of already. `None`: there is none.
    fn take(&mut self, rule: &'a Node) -> Option<Position> {
        let own: Selected = SELECTORS.map(|(selector, _)| text(rule, selector));
        // A rule that names less covers more: every way to leave some of the names out, but not all.
        let wider = (0..1_usize << own.len()).map(|kept| {
            let mut wider = own;
            for (place, name) in wider.iter_mut().enumerate() {
                *name = name.filter(|_| kept & (1 << place) != 0);
            }
            wider
        });
        let wider = wider.filter(|names| names.iter().any(Option::is_some));
        let first = wider.filter_map(|names| self.0.get(&names)).min_by_key(|(number, _)| *number).copied();
        if SELECTORS.iter().zip(own).all(|((selector, _), name)| name.is_some() || rule.get(selector).is_none()) {
            let number = self.0.len();
            self.0.entry(own).or_insert((number, rule.at));
        }
        first.map(|(_, at)| at)
    }
}

/// What engines say against themselves and the rest of the file.
fn engines(file: &Node, problems: &mut Vec<Problem>) {
    for backend in items(file, "backends") {
        for (engine, section) in engine::named(backend) {
            (engine.contradictions)(Placed { file, backend, section }, problems);
        }
    }
}

/// An engine's section, and whether it asks for a virtual clock.
struct Clocked<'a> {
    backend: &'a Node,
    section: &'a Node,
    is_virtual: bool,
}

/// One run has one clock: what a virtual one says cannot be set beside what a real one says.
fn clocks(backends: &[Node], problems: &mut Vec<Problem>) {
    let clocked: Vec<Clocked<'_>> = backends.iter().flat_map(clocks_of).collect();
    let Some(real) = clocked.iter().find(|engine| !engine.is_virtual) else {
        return;
    };
    let beside = text(real.backend, "name").unwrap_or("another backend");
    for engine in clocked.iter().filter(|engine| engine.is_virtual) {
        let message = format!("a virtual clock cannot run beside the real one of `{beside}`");
        problems.push(Problem::new(engine.section.at, message).help("try", "pace: real"));
    }
}

fn clocks_of(backend: &Node) -> impl Iterator<Item = Clocked<'_>> {
    engine::named(backend).filter_map(move |(engine, section)| {
        let is_virtual = (engine.asks_for_virtual_clock)(section)?;
        Some(Clocked { backend, section, is_virtual })
    })
}
