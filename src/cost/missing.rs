//! The scenario file that would measure what a workload needs.

use std::path::Path;

use crate::scenario::workload::Bin;
use crate::scenario::{self, ScenarioFile};

/// Share of requests at either end that a proposed scenario need not reach.
const LEFT_OUT: f64 = 0.005;
/// Lengths further apart than this get one between them.
const FAR_APART: f64 = 4.0;

/// A scenario file as it was run, its prompts replaced by such as reach the whole workload within `longest_context`; checked.
/// `None`: the file is written in a way that its prompts cannot be replaced, or nothing of the workload fits.
#[must_use]
pub fn scenario_file(text: &str, bins: &[Bin], longest_context: Option<u64>) -> Option<String> {
    let shapes = shapes(bins, longest_context)?;
    let mut lines = vec![
        "# Question: what does the workload take, at lengths that reach all of it?".to_owned(),
        "# The models and engines of an earlier run. How long it takes: phasebench plan FILE".to_owned(),
    ];
    let mut inside = false;
    // Comments at the top are about the earlier run.
    for line in text.lines().skip_while(|line| line.is_empty() || line.starts_with('#')) {
        if line.starts_with("scenarios:") {
            inside = true;
            lines.push("scenarios:".to_owned());
            lines.extend(shapes.iter().map(Shape::line));
            continue;
        }
        let goes_on = line.is_empty() || line.starts_with([' ', '\t', '-', ']', '#']);
        inside = inside && goes_on;
        if let Some(name) = line.strip_prefix("name:") {
            lines.push(format!("name: {}-workload", name.split('#').next().unwrap_or_default().trim()));
        } else if !inside {
            lines.push(line.to_owned());
        }
    }
    let file = lines.join("\n") + "\n";
    let parsed = scenario::parse(&file, Path::new("missing.yaml"), Path::new("")).ok()?;
    (names(&parsed) == shapes.iter().map(Shape::name).collect::<Vec<_>>()).then_some(file)
}

fn names(file: &ScenarioFile) -> Vec<String> {
    file.scenarios.iter().map(|scenario| scenario.name.clone()).collect()
}

/// A prompt with the answers to be written after it.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    prompt: u32,
    generated: Vec<u32>,
}

impl Shape {
    fn name(&self) -> String {
        format!("prompt-{}", self.prompt)
    }

    fn line(&self) -> String {
        let steps: Vec<String> = self.generated.iter().map(u32::to_string).collect();
        let (name, prompt, steps) = (self.name(), self.prompt, steps.join(", "));
        format!("  - {{ name: {name}, prompt: {{ tokens: {prompt} }}, gen_tokens: [{steps}] }}")
    }
}

fn shapes(bins: &[Bin], longest_context: Option<u64>) -> Option<Vec<Shape>> {
    let longest = longest_context.unwrap_or(u64::MAX);
    let fit = |prompt: u32, generated: u32| u64::from(prompt) + u64::from(generated) <= longest;
    let inside: Vec<&Bin> = bins.iter().filter(|bin| fit(bin.prompt, bin.generated)).collect();
    let prompts = ladder(inside.iter().map(|bin| (bin.prompt, bin.weight)).collect())?;
    let answers = ladder(inside.iter().map(|bin| (bin.generated, bin.weight)).collect())?;
    let shape = |prompt: u32| Shape {
        prompt,
        generated: answers.iter().copied().filter(|generated| fit(prompt, *generated)).collect(),
    };
    let shapes = prompts.into_iter().map(shape).filter(|shape| !shape.generated.is_empty());
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

    #[test]
    fn the_scenario_reaches_the_workload_and_is_one() {
        let file = scenario_file(RUN, &[bin(100, 64), bin(2000, 128)], Some(4096)).unwrap();
        let parsed = scenario::parse(&file, Path::new("m.yaml"), Path::new("")).unwrap();
        assert_eq!(parsed.name, "quickstart-workload");
        assert_eq!(names(&parsed), ["prompt-100", "prompt-271", "prompt-737", "prompt-2000"]);
        assert!(parsed.scenarios.iter().all(|scenario| scenario.gen_tokens == [64, 128]));
        let run = scenario::parse(RUN, Path::new("q.yaml"), Path::new("")).unwrap();
        assert_eq!((parsed.models, parsed.backends), (run.models, run.backends));
    }

    #[test]
    fn what_no_model_holds_is_not_proposed() {
        let shapes = shapes(&[bin(100, 64), bin(1000, 64), bin(2000, 64)], Some(1024)).unwrap();
        assert_eq!(shapes, [Shape { prompt: 100, generated: vec![64] }]);
        assert_eq!(scenario_file(RUN, &[bin(2000, 64)], Some(1024)), None);
    }
}
