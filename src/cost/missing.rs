//! The scenario file that would measure what a workload needs.

use std::path::Path;

use serde_json::json;

use crate::economics::figures::{Figure, Figures};
use crate::economics::request_time::{Measured, Reach, RequestTime};
use crate::scenario::workload::Bin;
use crate::scenario::{self, ScenarioFile, SkipRule};

use super::bill::percent;

/// Share of requests at either end that a proposed scenario need not reach.
const LEFT_OUT: f64 = 0.005;
/// Lengths further apart than this get one between them.
const FAR_APART: f64 = 4.0;

/// What a scenario file is to measure.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Requests by length.
    pub bins: &'a [Bin],
    /// Rows decoded together, each number once.
    pub batches: &'a [u32],
    /// Longest prompt and answer together. Unit: tokens. `None`: not known.
    pub longest_context: Option<u64>,
}

/// A scenario file as it was run, its prompts replaced by such as reach the whole workload within the longest context, in every
/// batch; checked. Rules that skip one of the earlier prompts are left out with it.
///
/// # Errors
/// The file is written in a way that its prompts cannot be replaced, or nothing of the workload fits; in words.
pub fn scenario_file(text: &str, wanted: Wanted<'_>) -> Result<String, String> {
    let parse = |text: &str| scenario::parse(text, Path::new("missing.yaml"), Path::new(""));
    let earlier = parse(text).map_err(|_| "the run's scenario file cannot be used again".to_owned())?;
    let shapes = shapes(wanted).ok_or("no request of the workload fits into the models' contexts")?;
    let (kept, dropped): (Vec<_>, Vec<_>) = earlier.skip.iter().partition(|rule| rule.scenario.is_none());
    let mut lines = vec![
        "# Question: what does the workload take, at lengths that reach what of it the models' contexts hold?"
            .to_owned(),
        format!(
            "# They reach {} of that. The models and engines are those of an earlier run.",
            reached(&shapes, wanted)
        ),
        "# How long it takes: phasebench plan FILE".to_owned(),
    ];
    if !dropped.is_empty() {
        lines.push(format!("# Left out: rules by which the earlier run skipped single prompts, {}.", dropped.len()));
    }
    let mut inside = false;
    // Comments at the top are about the earlier run.
    for line in text.lines().skip_while(|line| line.is_empty() || line.starts_with('#')) {
        let goes_on = line.is_empty() || line.starts_with([' ', '\t', '-', ']', '#']);
        inside = inside && goes_on;
        if line.starts_with("scenarios:") {
            inside = true;
            lines.push("scenarios:".to_owned());
            lines.extend(shapes.iter().map(Shape::line));
        } else if line.starts_with("skip:") && !dropped.is_empty() {
            inside = true;
            lines.extend((!kept.is_empty()).then(|| "skip:".to_owned()));
            lines.extend(kept.iter().map(|rule| skip_line(rule)));
        } else if let Some(name) = line.strip_prefix("name:") {
            lines.push(format!("name: {}-workload", name.split('#').next().unwrap_or_default().trim()));
        } else if !inside {
            lines.push(line.to_owned());
        }
    }
    let file = lines.join("\n") + "\n";
    let parsed = parse(&file).ok();
    let wanted_names: Vec<String> = shapes.iter().map(Shape::name).collect();
    let usable = parsed.is_some_and(|parsed| names(&parsed) == wanted_names);
    usable.then_some(file).ok_or_else(|| {
        "the run's scenario file is written in a way that its prompts cannot be replaced: begin `scenarios:` on a line of its own"
            .to_owned()
    })
}

fn names(file: &ScenarioFile) -> Vec<String> {
    file.scenarios.iter().map(|scenario| scenario.name.clone()).collect()
}

/// A rule that skips a model, a backend or both.
fn skip_line(rule: &SkipRule) -> String {
    let parts =
        [("model", rule.model.as_deref()), ("backend", rule.backend.as_deref()), ("reason", Some(&*rule.reason))];
    let parts = parts.iter().filter_map(|(key, value)| value.map(|value| format!("{key}: {}", json!(value))));
    format!("  - {{ {} }}", parts.collect::<Vec<_>>().join(", "))
}

/// Which share of the requests that fit the shapes reach.
fn reached(shapes: &[Shape], wanted: Wanted<'_>) -> String {
    let figure = Figures::default().add(Figure::exact(1.0));
    let cells = shapes.iter().flat_map(|shape| {
        let cell = move |steps: &u32| Measured { prompt: f64::from(shape.prompt), steps: f64::from(*steps), figure };
        shape.generated.iter().map(cell)
    });
    let cells: Vec<Measured> = cells.collect();
    let time = RequestTime::new(&cells, &cells, None);
    let is_reached = |bin: &Bin| {
        time.as_ref().is_some_and(|t| t.reach(f64::from(bin.prompt), f64::from(bin.generated)) == Reach::Covered)
    };
    let (mut inside, mut all) = (0.0, 0.0);
    for bin in wanted.bins.iter().filter(|bin| wanted.fits(bin.prompt, bin.generated)) {
        all += bin.weight;
        inside += if is_reached(bin) { bin.weight } else { 0.0 };
    }
    percent(inside / all)
}

/// A prompt in a batch, with the answers to be written after it.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    prompt: u32,
    batch: u32,
    generated: Vec<u32>,
}

impl Shape {
    fn name(&self) -> String {
        let batch = if self.batch == 1 { String::new() } else { format!("-by-{}", self.batch) };
        format!("prompt-{}{batch}", self.prompt)
    }

    fn line(&self) -> String {
        let steps: Vec<String> = self.generated.iter().map(u32::to_string).collect();
        let (name, prompt, steps) = (self.name(), self.prompt, steps.join(", "));
        let batch = if self.batch == 1 { String::new() } else { format!("batch: {}, ", self.batch) };
        format!("  - {{ name: {name}, prompt: {{ tokens: {prompt} }}, {batch}gen_tokens: [{steps}] }}")
    }
}

impl Wanted<'_> {
    fn fits(&self, prompt: u32, generated: u32) -> bool {
        self.longest_context.is_none_or(|longest| u64::from(prompt) + u64::from(generated) <= longest)
    }
}

fn shapes(wanted: Wanted<'_>) -> Option<Vec<Shape>> {
    let inside: Vec<&Bin> = wanted.bins.iter().filter(|bin| wanted.fits(bin.prompt, bin.generated)).collect();
    let prompts = ladder(inside.iter().map(|bin| (bin.prompt, bin.weight)).collect())?;
    let answers = ladder(inside.iter().map(|bin| (bin.generated, bin.weight)).collect())?;
    let shape = |prompt: u32, batch: u32| Shape {
        prompt,
        batch,
        generated: answers.iter().copied().filter(|generated| wanted.fits(prompt, *generated)).collect(),
    };
    let of_batch = |batch: &u32| prompts.iter().map(|prompt| shape(*prompt, *batch)).collect::<Vec<_>>();
    let shapes = wanted.batches.iter().flat_map(of_batch).filter(|shape| !shape.generated.is_empty());
    Some(shapes.collect())
}

/// Lengths from nearly the shortest to nearly the longest, none too far from the next. `None`: of nothing.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two lengths")]
fn ladder(mut lengths: Vec<(u32, f64)>) -> Option<Vec<u32>> {
    lengths.sort_by_key(|(length, _)| *length);
    let all: f64 = lengths.iter().map(|(_, weight)| weight).sum();
    let mut before = 0.0;
    let mut inside = Vec::new();
    for (length, weight) in lengths {
        if before < (1.0 - LEFT_OUT) * all && before + weight > LEFT_OUT * all {
            inside.push(length);
        }
        before += weight;
    }
    let (least, most) = (*inside.first()?, *inside.last()?);
    let ratio = f64::from(most) / f64::from(least);
    let parts = (ratio.ln() / FAR_APART.ln()).ceil().max(1.0);
    let step = |part: u32| (f64::from(least) * ratio.powf(f64::from(part) / parts)).round() as u32;
    let mut rungs: Vec<u32> = (0..=parts as u32).map(step).collect();
    rungs.dedup();
    Some(rungs)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const RUN: &str = include_str!("../../scenarios/quickstart.yaml");

    fn bin(prompt: u32, generated: u32) -> Bin {
        Bin { prompt, generated, weight: 1.0 }
    }

    fn wanted(bins: &[Bin], longest: u64) -> Wanted<'_> {
        Wanted { bins, batches: &[1], longest_context: Some(longest) }
    }

    fn parsed(file: &str) -> ScenarioFile {
        scenario::parse(file, Path::new("m.yaml"), Path::new("")).unwrap()
    }

    #[test]
    fn the_scenario_reaches_the_workload_and_is_one() {
        let file = scenario_file(RUN, wanted(&[bin(100, 64), bin(2000, 128)], 4096)).unwrap();
        let found = parsed(&file);
        assert_eq!(found.name, "quickstart-workload");
        assert_eq!(names(&found), ["prompt-100", "prompt-271", "prompt-737", "prompt-2000"]);
        assert!(found.scenarios.iter().all(|scenario| scenario.gen_tokens == [64, 128] && scenario.batch == 1));
        let run = parsed(RUN);
        assert_eq!((found.models, found.backends), (run.models, run.backends));
        assert!(file.contains("\n# They reach 100.0 % of that."), "{file}");
    }

    #[test]
    fn what_no_model_holds_is_not_proposed() {
        let bins = [bin(100, 64), bin(1000, 64), bin(2000, 64)];
        assert_eq!(shapes(wanted(&bins, 1024)).unwrap(), [Shape { prompt: 100, batch: 1, generated: vec![64] }]);
        let none = scenario_file(RUN, wanted(&bins[2..], 1024)).unwrap_err();
        assert_eq!(none, "no request of the workload fits into the models' contexts");
    }

    /// Engines that take eight rows at once are measured with eight.
    #[test]
    fn a_batch_stays_one() {
        let bins = [bin(100, 64)];
        let file = scenario_file(RUN, Wanted { batches: &[1, 8], ..wanted(&bins, 1024) }).unwrap();
        let found = parsed(&file);
        let batches: Vec<(&str, u32)> = found.scenarios.iter().map(|of| (of.name.as_str(), of.batch)).collect();
        assert_eq!(batches, [("prompt-100", 1), ("prompt-100-by-8", 8)]);
    }

    /// A rule about a prompt that is no longer there would make the file invalid.
    #[test]
    fn rules_about_earlier_prompts_are_left_out_and_others_stay() {
        let run = "version: 1\nname: r\nscenarios:\n  - { name: long, prompt: { tokens: 64 } }\n  \
                   - { name: short, prompt: { tokens: 16 } }\nskip:\n  \
                   - { model: m, scenario: long, reason: too slow }\n  - { backend: sim, model: n, reason: \"as \\\"told\\\": x\" }\n\
                   models:\n  - { name: m, synthetic: { family: gpt2, n_layer: 2, n_embd: 64, n_head: 2 } }\n  \
                   - { name: n, synthetic: { family: gpt2, n_layer: 2, n_embd: 64, n_head: 2 } }\n\
                   backends:\n  - { name: sim, simulated: {} }\n";
        let bins = [bin(100, 64)];
        let file = scenario_file(run, wanted(&bins, 1024)).unwrap();
        let found = parsed(&file);
        assert_eq!(found.skip.len(), 1, "{file}");
        let rule = &found.skip[0];
        assert_eq!((rule.model.as_deref(), rule.backend.as_deref()), (Some("n"), Some("sim")));
        assert_eq!((rule.scenario.as_deref(), rule.reason.as_str()), (None, "as \"told\": x"));
        assert!(file.contains("# Left out: rules by which the earlier run skipped single prompts, 1."), "{file}");
        let all = run.replace("  - { backend: sim, model: n, reason: \"as \\\"told\\\": x\" }\n", "");
        assert_eq!(parsed(&scenario_file(&all, wanted(&bins, 1024)).unwrap()).skip, []);
    }
}
