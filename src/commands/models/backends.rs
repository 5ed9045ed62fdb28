//! `phasebench models verify --backends`: whether the backends of a scenario file compute the same from the same weights, before
//! they are compared: two versions of an engine that do not are no two speeds of one thing.
//!
//! Every backend decodes greedily by itself and tells its most probable tokens. Two are compared step by step as far as they
//! choose the same tokens, the step where they first part included.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::allowed::Allowed;
use crate::backend::{self, Backend, BackendError, Call, CancelToken, Deadline, Probed, Surroundings};
use crate::cli::VerifyArgs;
use crate::clock::RealClock;
use crate::commands::CommandError;
use crate::exit::Exit;
use crate::model::verify::Closeness;
use crate::model::{self, Form, ModelSource, prompt};
use crate::scenario::{self, BackendSettings};
use crate::terms::{Dtype, Procedure};
use crate::units::significant;

/// Prompts of each model, by their seeds, and their length.
const PROMPTS: (u64, usize) = (3, 12);

/// Greedy steps after each.
const STEPS: u32 = 8;

/// Most probable tokens that the first backend tells, and those of the others that are looked up among them.
const TOLD: (u32, u32) = (256, 8);

/// How long one load, or one call, may take.
const BY: Deadline = Deadline(Duration::from_secs(600));

/// A backend beside the first that could be asked.
#[derive(Debug, Serialize)]
struct Comparison {
    model: String,
    backend: String,
    /// Engine and version.
    engine: String,
    /// The backend that it is compared with. `None`: it is the first.
    against: Option<String>,
    same_weights: Option<bool>,
    /// `None`: nothing was compared, for the reason in `not_compared`.
    found: Option<Closeness>,
    allowed: f64,
    not_compared: Option<String>,
    agrees: bool,
}

/// What a backend answered.
struct Answered {
    backend: String,
    engine: String,
    weights_id: String,
    dtype: Dtype,
    /// By prompt. An error: it tells no log-probabilities, or failed.
    probed: Result<Vec<Probed>, String>,
}

/// Compares and prints.
///
/// # Errors
/// A bad scenario file, a backend that is not there, a model that cannot be made.
pub fn execute(args: &VerifyArgs, file: &Path, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let file = scenario::read(file)?;
    let given = args.folder.as_ref().map(|folder| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        vec![ModelSource { name, form: Form::Folder(folder.clone()) }]
    });
    let models = given.unwrap_or(file.models);
    // A model that only a server has is in no other engine.
    let models = models.iter().filter(|model| !matches!(model.form, Form::Served(_)));
    let surroundings = Surroundings::new(Arc::new(RealClock::default()), crate::cache::root(), file.seed);
    let mut comparisons = Vec::new();
    for model in models {
        let answers = file.backends.iter().map(|backend| ask(backend, model, &surroundings));
        comparisons.extend(compare(&model.name, &answers.collect::<Result<Vec<_>, _>>()?));
    }
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&comparisons)?)?;
    } else {
        print(&comparisons, out)?;
    }
    let compared = comparisons.iter().any(|comparison| comparison.found.is_some());
    Ok(if compared && comparisons.iter().all(|c| c.agrees) { Exit::Good } else { Exit::CheckFailed })
}

fn ask(settings: &BackendSettings, model: &ModelSource, around: &Surroundings) -> Result<Answered, CommandError> {
    let mut backend = backend::open(settings, around);
    let description = backend.describe()?;
    let version = description.version.unwrap_or_default();
    let prepared = backend.prepare(model)?;
    let (weights_id, dtype) = (prepared.weights_id.clone(), prepared.dtype);
    let architecture = model::architecture(&model.form)?;
    let prompts = (0..PROMPTS.0).map(|seed| prompt::random_ids(&architecture, PROMPTS.1, seed));
    let calls: Vec<Call> = prompts.map(|ids| ids.map(call)).collect::<Result<_, _>>()?;
    Ok(Answered {
        backend: settings.name.clone(),
        engine: format!("{} {version}", description.engine).trim_end().to_owned(),
        weights_id,
        dtype,
        probed: probe(backend.as_mut(), &prepared, &calls)?,
    })
}

fn call(ids: Vec<u32>) -> Call {
    Call {
        procedure: Procedure::PrefillDecode,
        scenario: "verify".to_owned(),
        padded_to: u32::try_from(ids.len()).unwrap_or(u32::MAX),
        prompts: vec![ids],
        texts: None,
        steps: STEPS,
        index: 0,
        attempt: 0,
        seed: 0,
    }
}

/// The most probable tokens after each prompt. An inner error: the engine's words.
fn probe(
    backend: &mut dyn Backend,
    prepared: &backend::Prepared,
    calls: &[Call],
) -> Result<Result<Vec<Probed>, String>, BackendError> {
    let shapes: Vec<_> = calls.iter().map(Call::shape).collect();
    let mut session = match backend.load(prepared, &shapes, BY, &CancelToken::default()) {
        Ok(session) => session,
        Err(failure) => return Ok(Err(failure.to_string())),
    };
    let silent = || Err("it tells no log-probabilities".to_owned());
    let probe = |call| session.probe(call, TOLD.0, BY).map_or_else(silent, |told| told.map_err(|e| e.to_string()));
    let probed = calls.iter().map(probe).collect();
    session.close()?;
    Ok(probed)
}

/// Each answer beside the first that told anything.
fn compare(model: &str, answers: &[Answered]) -> Vec<Comparison> {
    let first = answers.iter().position(|answer| answer.probed.is_ok());
    let rows = answers.iter().enumerate().map(|(place, answer)| {
        let base = first.filter(|&first| first != place).map(|first| &answers[first]);
        let allowed = Allowed::of(answer.dtype).difference;
        let allowed = base.map_or(allowed, |base| allowed.max(Allowed::of(base.dtype).difference));
        let found = base.and_then(|base| closeness(answer.probed.as_ref().ok()?, base.probed.as_ref().ok()?));
        let same_weights = base.map(|base| base.weights_id == answer.weights_id);
        let close = found.is_some_and(|found| found.largest_difference <= allowed);
        Comparison {
            model: model.to_owned(),
            backend: answer.backend.clone(),
            engine: answer.engine.clone(),
            against: base.map(|base| base.backend.clone()),
            same_weights,
            found,
            allowed,
            not_compared: answer.probed.as_ref().err().cloned(),
            agrees: first == Some(place) || (close && same_weights == Some(true)),
        }
    });
    rows.collect()
}

/// Of all prompts, as far as both chose the same tokens. `None`: they have no token in common.
fn closeness(found: &[Probed], base: &[Probed]) -> Option<Closeness> {
    let rows = found.iter().flatten().zip(base.iter().flatten());
    let steps = rows.flat_map(|(found, base)| {
        let mut together = true;
        found.iter().zip(base).take_while(move |(found, base)| {
            let before = together;
            together &= found.first().map(|best| best.0) == base.first().map(|best| best.0);
            before
        })
    });
    let close = steps.filter_map(|(found, base)| {
        let best = &found[..found.len().min(TOLD.1 as usize)];
        Closeness::of(best, |id| base.iter().find(|(other, _)| *other == id).map(|&(_, logprob)| logprob))
    });
    close.reduce(Closeness::and)
}

fn print(comparisons: &[Comparison], out: &mut dyn Write) -> std::io::Result<()> {
    let widest = |of: fn(&Comparison) -> &str| comparisons.iter().map(|row| of(row).len()).max().unwrap_or(0).max(7);
    let (models, backends) = (widest(|row| &row.model), widest(|row| &row.backend));
    let engines = widest(|row| &row.engine);
    writeln!(
        out,
        "{:models$}  {:backends$}  {:engines$}  weights  steps  largest |Δ log-prob|  allowed  agrees",
        "model", "backend", "engine"
    )?;
    for row in comparisons {
        let weights = row.same_weights.map_or("", |same| if same { "same" } else { "OTHER" });
        write!(out, "{:models$}  {:backends$}  {:engines$}  {weights:7}  ", row.model, row.backend, row.engine)?;
        match (&row.found, &row.against, &row.not_compared) {
            (Some(found), ..) => {
                let (largest, agrees) =
                    (format!("{:.1e}", found.largest_difference), if row.agrees { "yes" } else { "NO" });
                let allowed = significant(row.allowed, 1);
                writeln!(out, "{:5}  {largest:>20}  {allowed:>7}  {agrees}", found.steps)?;
            }
            (None, _, Some(why)) => writeln!(out, "not compared: {why}")?,
            (None, None, None) => writeln!(out, "the others are held against it")?,
            (None, Some(_), None) => writeln!(out, "NO token in common with the first")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(backend: &str, weights: &str, steps: Vec<Vec<(u32, f64)>>) -> Answered {
        Answered {
            backend: backend.to_owned(),
            engine: "Engine 1".to_owned(),
            weights_id: weights.to_owned(),
            dtype: Dtype::F32,
            probed: Ok(vec![vec![steps]]),
        }
    }

    #[test]
    fn steps_count_up_to_where_the_tokens_part() {
        let base = answered("a", "w", vec![vec![(1, -0.1), (2, -2.0)], vec![(3, -0.5), (4, -0.6)], vec![(5, -0.1)]]);
        let near =
            answered("b", "w", vec![vec![(1, -0.10002), (2, -2.0)], vec![(4, -0.6), (3, -0.5)], vec![(9, -7.0)]]);
        let found = compare("m", &[base, near]);
        let close = found[1].found.map(|found| (found.steps, found.values));
        assert_eq!((close, found[1].agrees, found[0].agrees), (Some((2, 4)), true, true));
    }

    #[test]
    fn other_weights_other_numbers_and_silence_do_not_agree() {
        let base = || answered("a", "w", vec![vec![(1, -0.1)]]);
        let silent = Answered { probed: Err("it tells no log-probabilities".to_owned()), ..base() };
        for other in [answered("b", "v", vec![vec![(1, -0.1)]]), answered("b", "w", vec![vec![(1, -0.2)]]), silent] {
            let found = compare("m", &[base(), other]);
            assert!(found[0].agrees && !found[1].agrees, "{:?}", found[1]);
        }
    }
}
