//! `phasebench models`: makes, exports, inspects and verifies model folders.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use self::allowed::Allowed;
use crate::backend::Surroundings;
use crate::backend::onnx::verify::{self, Verified};
use crate::cli::{ExportArgs, InspectArgs, ModelsCommand, SynthArgs, VerifyArgs};
use crate::clock::RealClock;
use crate::commands::CommandError;
use crate::exit::Exit;
use crate::files;
use crate::model::onnx::{ArgMax, Options, Weights};
use crate::model::{self, Error, Folder, Form, ModelSource, Precision, mistaken};
use crate::scenario::{self, OnnxSettings};
use crate::terms;
use crate::terms::model::{Architecture, Dtype, Family, Synthetic};
use crate::units::{Bytes, significant};

mod allowed;
mod backends;
mod engines;
pub mod server;
mod worker;

/// Does one of the commands.
///
/// # Errors
/// A recipe out of range, a folder that cannot be read or written, a runtime that is missing.
pub fn execute(command: &ModelsCommand, out: &mut dyn Write) -> Result<Exit, CommandError> {
    match command {
        ModelsCommand::Synth(args) => synth(args, out),
        ModelsCommand::Export(args) => export(args, out),
        ModelsCommand::Inspect(args) => inspect(args, out),
        ModelsCommand::Verify(args) => {
            let verified = verify_whatever(args, out);
            if let (true, Err(error)) = (args.json, &verified) {
                let result = json!({ "agrees": null, "error": error.words() });
                writeln!(out, "{result:#}")?;
            }
            verified
        }
        ModelsCommand::Pull(args) => server::pull(args, out),
        ModelsCommand::Prune(args) => server::prune(args, out),
    }
}

/// Verifies what is asked for: backends of a scenario file, a server or worker, or ONNX Runtime on a folder.
fn verify_whatever(args: &VerifyArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    match (&args.backends, &args.folder) {
        (Some(file), _) => backends::execute(args, file, out),
        (None, Some(folder)) if args.ollama.is_some() || worker::asked(args).is_some() => {
            engines::execute(args, folder, out)
        }
        (None, Some(folder)) => verify(args, folder, out),
        // The command line asks for one of them.
        (None, None) => Ok(Exit::Usage),
    }
}

fn synth(args: &SynthArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let recipe = recipe(args)?;
    if let Some(into) = &args.out {
        must_be_new(into)?;
    }
    let made = recipe.materialise(&crate::cache::root())?;
    let folder = match &args.out {
        Some(into) => copy(&made, into)?,
        None => made,
    };
    let architecture = recipe.architecture()?;
    writeln!(out, "{}", folder.display())?;
    writeln!(out, "  {}, {} parameters, {}", args.family, architecture.parameters(), recipe.dtype)?;
    Ok(Exit::Good)
}

fn recipe(args: &SynthArgs) -> Result<Synthetic, Error> {
    let family = pick("family", &args.family, Family::ALL, |family| family.as_str())?;
    let mut recipe = Synthetic::new(family, size(args.n_layer), size(args.n_embd), size(args.n_head));
    recipe.n_kv_head = args.n_kv_head.map(size);
    recipe.n_inner = args.n_inner.map(size);
    recipe.vocab = args.vocab.map_or(recipe.vocab, size);
    recipe.n_positions = args.n_positions.map_or(recipe.n_positions, size);
    recipe.seed = args.seed.unwrap_or(recipe.seed);
    if let Some(dtype) = &args.dtype {
        recipe.dtype = pick("dtype", dtype, &[Dtype::F32, Dtype::F16, Dtype::Bf16], |dtype| dtype.as_str())?;
    }
    Ok(recipe)
}

fn pick<T: Copy>(field: &'static str, text: &str, known: &[T], name: fn(&T) -> &'static str) -> Result<T, Error> {
    known.iter().copied().find(|value| name(value) == text).ok_or_else(|| {
        let allowed = known.iter().map(name).collect::<Vec<_>>().join(", ");
        Error::Recipe { field, value: format!("`{text}`"), allowed }
    })
}

/// A size of the command line; too large for this machine's addresses is out of every range there is.
fn size(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// A folder that does not exist, or is empty: what others put there is not overwritten.
fn must_be_new(folder: &Path) -> Result<(), Error> {
    files::sweep(folder);
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        let source = std::io::Error::from(std::io::ErrorKind::DirectoryNotEmpty);
        return Err(Error::Io { action: "write into", path: folder.to_owned(), source });
    }
    Ok(())
}

fn create(folder: &Path) -> Result<(), Error> {
    let refused = |source| Error::Io { action: "create", path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(refused)
}

fn copy(from: &Path, into: &Path) -> Result<PathBuf, CommandError> {
    create(into)?;
    let unlistable = |source| Error::Io { action: "list", path: from.to_owned(), source };
    for entry in fs::read_dir(from).map_err(unlistable)? {
        let file = entry?.path();
        let to = into.join(file.file_name().unwrap_or_default());
        files::copy(&file, &to).map_err(|source| Error::Io { action: "write", path: to.clone(), source })?;
    }
    Ok(into.to_owned())
}

fn export(args: &ExportArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let cache = crate::cache::root();
    let folder = Folder::open(&args.folder, &cache)?;
    let precision = precision(args.dtype);
    let options = Options { precision, arg_max: arg_max(args.arg_max) };
    if let Some(file) = args.out.as_deref().filter(|out| is_file_name(out)) {
        writeln!(out, "{}", export_as(file, args.gguf, &folder, precision)?.display())?;
        return Ok(Exit::Good);
    }
    if let Some(into) = &args.out {
        must_be_new(into)?;
        create(into)?;
    }
    let path = match &args.out {
        Some(into) if args.gguf => model::gguf::write(&folder, precision, into)?.path,
        Some(into) => {
            let weights = if args.external_data { Weights::Beside } else { Weights::Inside };
            model::onnx::write(&folder, options, weights, into)?;
            into.join(model::onnx::FILE)
        }
        None if args.gguf => model::gguf::export(&folder, precision, &cache)?.path,
        None => model::onnx::export(&folder, options, &cache)?.path,
    };
    writeln!(out, "{}", path.display())?;
    Ok(Exit::Good)
}

/// Whether a place to export to has the name of an exported file, and is no folder.
fn is_file_name(place: &Path) -> bool {
    let extension = place.extension().unwrap_or_default();
    (extension == "gguf" || extension == "onnx") && !place.is_dir()
}

/// Exports to a file of this name; there must be none.
fn export_as(file: &Path, gguf: bool, folder: &Folder, precision: Precision) -> Result<PathBuf, Error> {
    if !gguf || file.extension() != Some("gguf".as_ref()) {
        let (key, value) = ("--out".to_owned(), "the name of a file".to_owned());
        let supported =
            "a folder, for the graph and its weights; with --gguf also a file that ends in .gguf".to_owned();
        return Err(Error::Unsupported { path: file.to_owned(), key, value, supported });
    }
    if file.exists() {
        let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(Error::Io { action: "create", path: file.to_owned(), source });
    }
    if let Some(into) = file.parent().filter(|into| !into.as_os_str().is_empty()) {
        create(into)?;
    }
    Ok(model::gguf::write_file(folder, precision, file)?.path)
}

fn precision(dtype: terms::Dtype) -> Precision {
    match dtype {
        terms::Dtype::F32 => Precision::F32,
        terms::Dtype::F16 | terms::Dtype::AsServed => Precision::F16,
    }
}

fn arg_max(place: scenario::ArgMax) -> ArgMax {
    match place {
        scenario::ArgMax::Outside => ArgMax::Outside,
        scenario::ArgMax::Inside => ArgMax::Inside,
    }
}

/// What `inspect --json` prints.
#[derive(Debug, Serialize)]
struct Inspection<'a> {
    weights_id: String,
    params: u64,
    weights_bytes: u64,
    kv_bytes_per_token_f32: u64,
    kv_bytes_per_token_f16: u64,
    /// Tensors in the files that the architecture has no place for.
    unused_tensors: &'a [String],
    subnormal_share: f64,
    architecture: &'a Architecture,
}

fn inspect(args: &InspectArgs, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let folder = Folder::open(&args.folder, &crate::cache::root())?;
    let architecture = folder.architecture();
    let found = Inspection {
        weights_id: folder.weights_id()?,
        params: folder.parameters(),
        weights_bytes: folder.bytes(),
        kv_bytes_per_token_f32: architecture.kv_bytes_per_token(Dtype::F32),
        kv_bytes_per_token_f16: architecture.kv_bytes_per_token(Dtype::F16),
        unused_tensors: folder.unused(),
        subnormal_share: folder.subnormal_share()?,
        architecture,
    };
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?;
        return Ok(Exit::Good);
    }
    let heads = format!("{} of width {}", architecture.n_head, architecture.head_dim);
    let shared = format!("{} key-value heads", architecture.n_kv_head);
    let kv = |bytes| Bytes(bytes).to_string();
    for (label, value) in [
        ("family", architecture.family.to_string()),
        ("parameters", format!("{} ({:.1} million)", found.params, millions(found.params))),
        ("weights", format!("{}, {}", architecture.dtype, Bytes(found.weights_bytes))),
        ("layers", architecture.n_layer.to_string()),
        ("width", format!("{}, {} inside the MLP", architecture.n_embd, architecture.n_inner)),
        ("heads", format!("{heads}, {shared}")),
        ("vocabulary", architecture.vocab.to_string()),
        ("context", format!("{} tokens", architecture.n_positions)),
        (
            "KV cache",
            format!(
                "{} per token in f32, {} in f16",
                kv(found.kv_bytes_per_token_f32),
                kv(found.kv_bytes_per_token_f16)
            ),
        ),
        ("unused", unused(found.unused_tensors)),
        ("subnormal", subnormal(found.subnormal_share)),
        ("weights id", found.weights_id),
    ] {
        writeln!(out, "{label:12}{value}")?;
    }
    Ok(Exit::Good)
}

/// Tensors that stay in the file, with the first as an example.
fn unused(names: &[String]) -> String {
    match names {
        [] => "no tensor of the files".to_owned(),
        [only] => format!("1 tensor of the files: {only}"),
        [first, ..] => format!("{} tensors of the files: {first}, \u{2026}", names.len()),
    }
}

/// Shares above this slow processors that compute subnormal numbers in microcode.
const MANY_SUBNORMAL: f64 = 1e-4;

fn subnormal(share: f64) -> String {
    let warning = if share > MANY_SUBNORMAL { ": they slow some processors several times" } else { "" };
    format!("{} % of the weights{warning}", significant(100.0 * share, 2))
}

#[expect(clippy::cast_precision_loss, reason = "printed with one decimal")]
fn millions(n: u64) -> f64 {
    n as f64 / 1e6
}

/// What `verify --json` prints.
#[derive(Debug, Serialize)]
struct Verification {
    dtype: &'static str,
    tolerance: f64,
    order_required: bool,
    agrees: bool,
    prompts: Vec<VerifiedPrompt>,
}

#[derive(Debug, Serialize)]
struct VerifiedPrompt {
    prompt: String,
    steps: usize,
    largest_difference: f64,
    /// `prefill`, or `decode 3` for the third step on the cache.
    at: String,
    same_order: bool,
    same_greedy_tokens: bool,
    agrees: bool,
}

fn verify(args: &VerifyArgs, folder: &Path, out: &mut dyn Write) -> Result<Exit, CommandError> {
    let reference = folder.join("reference.json");
    if !reference.is_file() {
        if let Some(mistaken) = mistaken::for_a_folder(folder) {
            return Err(mistaken.into());
        }
        let message = "is not there: it holds the log-probabilities that an independent implementation computed";
        return Err(Error::Malformed { path: reference, message: message.to_owned() }.into());
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let source = ModelSource { name, form: Form::Folder(folder.to_owned()) };
    let settings = OnnxSettings { dtype: args.dtype, ..OnnxSettings::default() };
    let surroundings = Surroundings::new(Arc::new(RealClock::default()), crate::cache::root(), 0);
    let verified = verify::verify(&source, &reference, settings, surroundings)?;
    let found = judge(args.dtype, verified);
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?;
    } else {
        print(&found, out)?;
    }
    Ok(if found.agrees { Exit::Good } else { Exit::CheckFailed })
}

fn judge(dtype: terms::Dtype, verified: Vec<Verified>) -> Verification {
    let allowed = Allowed::of(dtype);
    let prompts: Vec<_> = verified.into_iter().map(|verified| judge_prompt(verified, allowed)).collect();
    // No prompt at all proves nothing.
    let agrees = !prompts.is_empty() && prompts.iter().all(|prompt| prompt.agrees);
    Verification {
        dtype: dtype.as_str(),
        tolerance: allowed.difference,
        order_required: allowed.order,
        agrees,
        prompts,
    }
}

fn judge_prompt(verified: Verified, allowed: Allowed) -> VerifiedPrompt {
    let found = verified.agreement;
    VerifiedPrompt {
        prompt: verified.prompt,
        steps: verified.steps,
        largest_difference: found.largest_difference,
        at: if found.step == 0 { "prefill".to_owned() } else { format!("decode {}", found.step) },
        same_order: found.same_order,
        same_greedy_tokens: found.same_greedy_tokens,
        agrees: found.largest_difference <= allowed.difference
            && (!allowed.order || (found.same_order && found.same_greedy_tokens)),
    }
}

fn print(found: &Verification, out: &mut dyn Write) -> std::io::Result<()> {
    let yes = |value| if value { "yes" } else { "NO" };
    writeln!(out, "steps  largest |Δ log-prob|  found at    same order  same tokens  prompt")?;
    for prompt in &found.prompts {
        writeln!(
            out,
            "{:5}  {:>20}  {:10}  {:10}  {:11}  {:?}",
            prompt.steps,
            format!("{:.2e}", prompt.largest_difference),
            prompt.at,
            yes(prompt.same_order),
            yes(prompt.same_greedy_tokens),
            prompt.prompt,
        )?;
    }
    let verdict = if found.agrees { "agrees" } else { "DISAGREES" };
    let order = if found.order_required { "the same order and tokens" } else { "any order of near neighbours" };
    let tolerance = significant(found.tolerance, 1);
    writeln!(
        out,
        "{verdict} with the reference; in {} a difference of {tolerance} and {order} are allowed",
        found.dtype
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::verify::Agreement;

    fn verified(largest_difference: f64, same_order: bool, same_greedy_tokens: bool) -> Verified {
        let agreement = Agreement { largest_difference, step: 2, token: 1, same_order, same_greedy_tokens };
        Verified { prompt: "Hi".to_owned(), steps: 4, agreement }
    }

    #[test]
    fn every_criterion_can_fail_a_model() {
        for (found, agrees) in [
            (vec![verified(1e-5, true, true)], true),
            (vec![verified(2e-4, true, true)], false),
            (vec![verified(1e-5, false, true)], false),
            (vec![verified(1e-5, true, false)], false),
            (vec![verified(1e-5, true, true), verified(f64::NAN, true, true)], false),
            (vec![], false),
        ] {
            assert_eq!(judge(terms::Dtype::F32, found.clone()).agrees, agrees, "{found:?}");
        }
        assert!(judge(terms::Dtype::F16, vec![verified(1e-2, false, false)]).agrees);
        assert!(!judge(terms::Dtype::F16, vec![verified(3e-2, true, true)]).agrees);
    }
}
