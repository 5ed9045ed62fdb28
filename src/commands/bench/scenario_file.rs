//! The scenario file that targets stand for: what a user would have written by hand, and can go on with.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::BenchArgs;
use crate::scenario::naming::free_name;

use super::shapes;
use super::target::{Target, TargetEngine, TargetModel};

/// Calls of a cell, divided over five processes of each engine: one does not tell what the next would take, and three tell it so
/// badly that an interval is several times as wide.
const SEVERAL_SESSIONS: &str = "sessions: 5\nrepetitions: { fixed: 15 }";
/// The same where every process would compile again, which takes minutes: as many calls as the fewest after which an interval may
/// decide that they are enough.
const ONE_SESSION: &str = "repetitions: { fixed: 8 }";

/// The file that measures these targets and nothing else.
#[must_use]
pub fn text(targets: &[Target], args: &BenchArgs) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    header(&mut text, targets, args).and_then(|()| matrix(&mut text, targets, args)).unwrap_or_default();
    text
}

fn header(text: &mut String, targets: &[Target], args: &BenchArgs) -> std::fmt::Result {
    let words = args.targets.iter().map(|word| word.chars().filter(|c| !c.is_control()).collect::<String>());
    let words: Vec<String> = words.collect();
    writeln!(text, "# Question: which of these is fastest on this machine, prefill and decode apart?")?;
    writeln!(text, "# Stands for: phasebench bench {}", words.join(" "))?;
    let compiles = targets.iter().any(|target| target.engine == TargetEngine::Compile);
    let calls = if compiles { ONE_SESSION } else { SEVERAL_SESSIONS };
    writeln!(text, "version: 1\nname: bench\nseed: 42\norder: interleaved\n{calls}")?;
    writeln!(text, "gen_tokens: [{}]\nmodes: [prefill, kv_decode]\ntimeout: 300s\nscenarios:", args.gen_tokens)?;
    for tokens in &args.prompt {
        let batch = if args.batch == 1 { String::new() } else { format!(", batch: {}", args.batch) };
        writeln!(text, "  - {{ name: prompt-{tokens}, prompt: {{ tokens: {tokens} }}{batch} }}")?;
    }
    Ok(())
}

fn matrix(text: &mut String, targets: &[Target], args: &BenchArgs) -> std::fmt::Result {
    let (models, engines) = (distinct_models(targets), distinct_engines(targets));
    writeln!(text, "models:")?;
    for (name, model) in &models {
        writeln!(text, "  - {{ name: {}, {} }}", quoted(name), source(model))?;
    }
    writeln!(text, "backends:")?;
    for &engine in &engines {
        writeln!(text, "  - {{ name: {}, {} }}", engine.as_str(), settings(engine, args))?;
    }
    let unpaired = models.iter().flat_map(|(name, model)| {
        let asked = |engine: TargetEngine| targets.iter().any(|t| t.engine == engine && t.model == *model);
        engines.iter().filter(move |engine| !asked(**engine)).map(move |engine| (name, engine.as_str()))
    });
    for (i, (model, backend)) in unpaired.enumerate() {
        if i == 0 {
            writeln!(text, "skip:")?;
        }
        writeln!(text, "  - {{ model: {}, backend: {backend}, reason: not among the targets }}", quoted(model))?;
    }
    Ok(())
}

/// In the order of the targets. Where two have the same name, the later one gets a number.
fn distinct_models(targets: &[Target]) -> Vec<(String, TargetModel)> {
    let mut models: Vec<(String, TargetModel)> = Vec::new();
    for target in targets {
        if models.iter().any(|(_, model)| *model == target.model) {
            continue;
        }
        let name = free_name(&target.model.name(), |name| models.iter().any(|(taken, _)| taken == name));
        models.push((name, target.model.clone()));
    }
    models
}

fn distinct_engines(targets: &[Target]) -> Vec<TargetEngine> {
    let mut engines: Vec<TargetEngine> = Vec::new();
    for target in targets {
        if !engines.contains(&target.engine) {
            engines.push(target.engine);
        }
    }
    engines
}

fn source(model: &TargetModel) -> String {
    match model {
        TargetModel::Folder(path) => format!("huggingface: {}", quoted(&path.display().to_string())),
        TargetModel::Served(tag) => format!("ollama: {}", quoted(tag)),
        TargetModel::Synthetic(name) => format!("synthetic: {}", flow(&shapes::find(name))),
    }
}

fn settings(engine: TargetEngine, args: &BenchArgs) -> String {
    let threads = args.threads.map(|threads| format!("threads: {threads}"));
    let device = |name: &str| args.gpu.then(|| name.to_owned());
    let (key, mut settings) = match engine {
        TargetEngine::Onnx => ("onnx", vec![device("provider: cuda")]),
        TargetEngine::Torch => ("torch", vec![device("device: cuda")]),
        TargetEngine::Compile => ("torch", vec![device("device: cuda"), Some("compile: {}".to_owned())]),
        TargetEngine::Ollama => {
            let url = args.ollama.as_ref().map(|url| format!("url: {}", quoted(url)));
            ("ollama", vec![device("device: gpu"), url])
        }
    };
    settings.push(threads);
    let settings: Vec<String> = settings.into_iter().flatten().collect();
    if settings.is_empty() { format!("{key}: {{}}") } else { format!("{key}: {{ {} }}", settings.join(", ")) }
}

/// As JSON, which YAML is a superset of.
fn quoted(text: &str) -> String {
    flow(&text)
}

fn flow(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use std::path::Path;

    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::scenario;

    fn args(words: &[&str]) -> BenchArgs {
        let cli = Cli::try_parse_from(["phasebench", "bench"].iter().chain(words)).unwrap();
        let Command::Bench(args) = cli.command else { panic!("not bench") };
        args
    }

    /// What was written is read again as what was asked for: every target, and no other pair.
    #[test]
    fn the_file_measures_the_targets_and_nothing_else() {
        let words = ["synthetic:gpt2-5m", "compile:synthetic:gpt2-5m", "torch:synthetic:gpt2-25m", "ollama:a:b \"c\""];
        let args = args(&[&words[..], &["--prompt", "7,9", "--gen", "3", "--batch", "2", "--threads", "1"]].concat());
        let targets: Vec<Target> = args.targets.iter().map(|word| Target::parse(word).unwrap()).collect();
        let text = text(&targets, &args);
        let file = scenario::parse(&text, Path::new("bench.yaml"), Path::new("")).unwrap();
        let names: Vec<&str> = file.models.iter().map(|model| model.name.as_str()).collect();
        assert_eq!(names, ["gpt2-5m", "gpt2-25m", "a-b--c-"]);
        let backends: Vec<&str> = file.backends.iter().map(|backend| backend.name.as_str()).collect();
        assert_eq!(backends, ["onnx", "compile", "torch", "ollama"]);
        let scenarios: Vec<(&str, u32)> = file.scenarios.iter().map(|s| (s.name.as_str(), s.batch)).collect();
        assert_eq!(scenarios, [("prompt-7", 2), ("prompt-9", 2)]);
        assert_eq!((file.sessions.min, file.sessions.max), (1, 1), "a process that compiles takes minutes");
        assert_eq!(file.skip.len(), 3 * 4 - targets.len(), "{text}");
        assert!(file.backends.iter().all(|backend| backend.engine.limits().threads() == Some(1)), "{text}");
    }

    #[test]
    fn engines_that_compile_nothing_are_measured_in_five_processes_each() {
        let args = args(&["synthetic:gpt2-5m", "torch:synthetic:gpt2-5m", "ollama:a:b"]);
        let targets: Vec<Target> = args.targets.iter().map(|word| Target::parse(word).unwrap()).collect();
        let file = scenario::parse(&text(&targets, &args), Path::new("bench.yaml"), Path::new("")).unwrap();
        assert_eq!((file.sessions.min, file.sessions.max), (5, 5));
    }

    /// Two folders of one name are two models.
    #[test]
    fn models_of_one_name_are_told_apart() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let paths = folders.iter().map(|folder| {
            let model = folder.path().join("same name");
            std::fs::create_dir(&model).unwrap();
            std::fs::write(model.join("config.json"), "{}").unwrap();
            model.to_str().unwrap().to_owned()
        });
        let paths: Vec<String> = paths.collect();
        let targets: Vec<Target> = paths.iter().map(|path| Target::parse(path).unwrap()).collect();
        let names: Vec<String> = distinct_models(&targets).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["same-name", "same-name-2"]);
    }
}
