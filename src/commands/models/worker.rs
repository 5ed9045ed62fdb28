//! What a worker makes of some prompts, for `models verify --worker`.

use std::time::Duration;

use crate::backend::ollama::verify::{Greedy, GreedyStep};
use crate::backend::worker::WorkerBackend;
use crate::backend::worker::settings::Workers;
use crate::backend::{Backend as _, BackendError, Call, CancelToken, Deadline, Session, Surroundings};
use crate::cli::VerifyArgs;
use crate::commands::CommandError;
use crate::model::ModelSource;
use crate::scenario::{ConnectSettings, WorkerSource};
use crate::terms::Procedure;

/// Most probable tokens that are compared at each step.
const TOP: u32 = 8;

/// Long enough for any of it.
const BY: Deadline = Deadline(Duration::from_secs(600));

/// The worker that is asked for: at an address, or to be started. `None`: none is.
pub(super) fn asked(args: &VerifyArgs) -> Option<ConnectSettings> {
    let source = match &args.worker {
        Some(address) => WorkerSource::Address { address: address.clone(), token_env: args.token_env.clone() },
        None if args.command.is_empty() => return None,
        None => WorkerSource::Command(args.command.clone()),
    };
    let (device, options) = (args.device.clone(), args.options.clone());
    Some(ConnectSettings { source, device, dtype: args.dtype, threads: None, options })
}

/// Its greedy tokens with their log-probabilities, and what its engine is called.
///
/// # Errors
/// It does not answer, cannot load the model, or tells no log-probabilities.
pub(super) fn greedy(
    settings: &ConnectSettings,
    source: &ModelSource,
    prompts: &[Vec<u32>],
    steps: u32,
    surroundings: &Surroundings,
) -> Result<(String, Vec<Greedy>), CommandError> {
    let name = match &settings.source {
        WorkerSource::Address { address, .. } => address.clone(),
        WorkerSource::Command(command) => command.join(" "),
    };
    let mut backend = WorkerBackend::new(&name, Workers::of_others(settings), surroundings);
    let described = backend.describe()?;
    let prepared = backend.prepare(source)?;
    let refused = |why: &dyn std::fmt::Display| BackendError::Prepare {
        model: source.name.clone(),
        backend: name.clone(),
        why: why.to_string(),
    };
    let calls: Vec<Call> = prompts.iter().map(|prompt| call(prompt, steps)).collect();
    let shapes: Vec<_> = calls.iter().map(Call::shape).collect();
    let loaded = backend.load(&prepared, &shapes, BY, &CancelToken::default());
    let mut session = loaded.map_err(|failure| refused(&failure))?;
    let made = calls.iter().map(|call| probed(session.as_mut(), call)).collect::<Result<Vec<_>, _>>();
    session.close()?;
    let engine = match described.version {
        Some(version) => format!("{} {version}", described.engine),
        None => described.engine,
    };
    Ok((engine, made.map_err(|why| refused(&why))?))
}

fn call(prompt: &[u32], steps: u32) -> Call {
    Call {
        procedure: Procedure::PrefillDecode,
        scenario: "verify".to_owned(),
        prompts: vec![prompt.to_vec()],
        texts: None,
        padded_to: u32::try_from(prompt.len()).unwrap_or(u32::MAX),
        steps,
        index: 0,
        attempt: 0,
        seed: 0,
    }
}

fn probed(session: &mut dyn Session, call: &Call) -> Result<Greedy, String> {
    let told = session.probe(call, TOP, BY).ok_or("it tells no log-probabilities: `capabilities.logprobs` is false")?;
    let rows = told.map_err(|failure| failure.to_string())?;
    let step = |top: &Vec<(u32, f64)>| Some(GreedyStep { token: top.first()?.0, top: top.clone() });
    let steps = rows.first().into_iter().flatten().map_while(step).collect();
    Ok(Greedy { prompt_ids: call.prompts[0].clone(), steps })
}
