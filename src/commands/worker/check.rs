//! `phasebench worker check`: whether a worker keeps to the protocol.

use std::io::Write;
use std::sync::Arc;

use serde::Serialize;

use crate::backend::worker::WorkerBackend;
use crate::backend::worker::check::{Finding, Verdict};
use crate::backend::worker::settings::Workers;
use crate::backend::{Backend as _, Surroundings};
use crate::cli::CheckArgs;
use crate::clock::RealClock;
use crate::commands::CommandError;
use crate::exit::Exit;
use crate::model::{Form, ModelSource};
use crate::scenario::{ConnectSettings, WorkerSource};
use crate::terminal::warn;
use crate::terms::model::{Family, Synthetic};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    format: u32,
    worker: String,
    model: String,
    keeps: bool,
    findings: &'a [Finding],
}

/// Tries every rule, and says so as it goes.
///
/// # Errors
/// The worker does not answer, or there is no such model.
pub fn execute(args: &CheckArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let source = match &args.address {
        Some(address) => WorkerSource::Address { address: address.clone(), token_env: args.token_env.clone() },
        None => WorkerSource::Command(args.command.clone()),
    };
    let worker = args.address.clone().unwrap_or_else(|| args.command.join(" "));
    let settings = ConnectSettings {
        source,
        device: args.device.clone(),
        dtype: args.dtype,
        threads: args.threads,
        options: args.options.clone(),
    };
    let model = model(args);
    let surroundings = Surroundings::new(Arc::new(RealClock::default()), crate::cache::root(), 0);
    let mut backend = WorkerBackend::new(&worker, Workers::of_others(&settings), &surroundings);
    backend.tell(Box::new(warn));
    let mut refused = None;
    let mut tell = |finding: &Finding| {
        if !args.json {
            refused = print(finding, out).err().or(refused.take());
        }
    };
    let findings = backend.check(&model, &mut tell)?;
    if let Some(refused) = refused {
        return Err(refused.into());
    }
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let failed = count(Verdict::Fail);
    if args.json {
        let checked = Checked { format: 1, worker, model: model.name, keeps: failed == 0, findings: &findings };
        writeln!(out, "{}", serde_json::to_string_pretty(&checked)?)?;
    } else {
        let (kept, not_tried) = (count(Verdict::Pass), count(Verdict::NotTried));
        writeln!(out, "{kept} rules kept, {failed} broken, {not_tried} not tried: {worker}, model {}", model.name)?;
    }
    Ok(if failed == 0 { Exit::Good } else { Exit::CheckFailed })
}

/// The folder that is named, or a small one: large enough for a call that can be interrupted, small enough for a minute.
fn model(args: &CheckArgs) -> ModelSource {
    match &args.model {
        Some(folder) => {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            ModelSource { name, form: Form::Folder(folder.clone()) }
        }
        None => {
            let made = Synthetic { vocab: 2000, n_positions: 256, ..Synthetic::new(Family::Gpt2, 6, 192, 4) };
            ModelSource { name: "synthetic gpt2, 6 layers".to_owned(), form: Form::Synthetic(made) }
        }
    }
}

fn print(finding: &Finding, out: &mut dyn Write) -> std::io::Result<()> {
    let verdict = match finding.verdict {
        Verdict::Pass => "PASS",
        Verdict::Fail => "FAIL",
        Verdict::NotTried => "----",
    };
    writeln!(out, "{verdict}  {:13}  {}", finding.rule, finding.words)?;
    out.flush()
}
