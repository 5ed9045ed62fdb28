//! The files under `scenarios/`, and what a good file means.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use phasebench::model::Form;
use phasebench::plan::{self, Only};
use phasebench::scenario::{
    self, ArgMax, CompileBackend, CompileMode, CompileSettings, Dynamic, Engine, Isolation, Launch, NamedFile,
    OllamaDevice, OnRecompile, Optimisation, Pace, Prompt, Provider, Resources, RuntimeSource, TorchDevice,
    TorchSource, WorkerSource,
};
use phasebench::schedule;
use phasebench::terms::{Disturbed, Dtype, EarlyStop, FitAxis, Mode, Order, Repetitions, SensorKind, SessionCount};
use phasebench::units::{Bytes, Nanos};

use super::{expand, facts, parse, stem, yaml_files};

const EXAMPLE: &str = include_str!("../data/scenario/everything.yaml");

#[test]
fn every_shipped_file_is_good_and_plans_alike_twice() {
    let files = yaml_files("scenarios");
    assert!(files.len() >= 8, "{} scenario files", files.len());
    for path in files {
        let spec = scenario::read(&path).unwrap();
        assert_eq!(spec.name, stem(&path).replace('_', "-"));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# Question: "), "{}: the first line says what it answers", path.display());
        assert!(text.contains(" Takes "), "{}: the comment says how long it takes", path.display());
        let plan = expand(&spec, &Only::default());
        let skipped_otherwise = plan.skipped.iter().any(|skipped| skipped.rule != "skip");
        assert!(!plan.cells.is_empty() && !skipped_otherwise, "{}", path.display());
        assert_eq!(expand(&spec, &Only::default()), plan);
    }
}

/// `1 to 2 min; up to 4 beside other programs`: from 1 to 2. `None`: no figure, or one of another machine.
fn printed_minutes(time: &str) -> Option<(f64, f64)> {
    if ["there", "without"].iter().any(|word| time.contains(word)) {
        return None;
    }
    let first = time.split(';').next()?;
    let unit = if first.contains(" min") { 1.0 } else { 1.0 / 60.0 };
    let figures: Vec<f64> = first.split(' ').filter_map(|word| Some(word.parse::<f64>().ok()? * unit)).collect();
    Some((*figures.first()?, *figures.last()?))
}

#[test]
fn the_times_of_the_page_are_what_plan_says() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scenarios.md")).unwrap();
    let mut compared = 0;
    for path in yaml_files("scenarios") {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", stem(&path)))).unwrap();
        let time = row.trim_end_matches(" |").rsplit("| ").next().unwrap();
        let Some((low, high)) = printed_minutes(time) else { continue };
        let spec = scenario::read(&path).unwrap();
        // Half of a machine's 24 GiB, which is what the program gives sessions there.
        let plan = plan::expand(&spec, &facts(&spec), Bytes(12 << 30), &Only::default()).unwrap();
        let range = plan::time_range(&plan, &spec, &facts(&spec), &schedule::work(&plan));
        let (least, most) = (range.min.as_secs() / 60.0, range.max.as_secs() / 60.0);
        let told = format!("{}: {time}, plan says {least:.2} to {most:.2} min", stem(&path));
        assert!(least > 0.65 * low && least < 1.6 * low && most > 0.75 * high && most < 1.25 * high, "{told}");
        compared += 1;
    }
    assert!(compared > 15, "{compared}");
}

#[test]
fn tr121_shapes_have_the_published_parameter_counts() {
    let published = [102_714, 5_036_720, 25_016_064, 45_171_200, 51_475_968, 74_824_704, 96_088_320];
    for name in ["tr121_scaling", "tr121_decode_sweep", "tr121_batch8", "tr121_gen512"] {
        let path = yaml_files("scenarios").into_iter().find(|p| stem(p) == name).unwrap();
        let params: Vec<u64> = facts(&scenario::read(&path).unwrap()).iter().map(|f| f.params.unwrap()).collect();
        assert_eq!(params, published, "{name}");
    }
}

#[test]
fn depth_is_varied_at_one_parameter_count() {
    let path = yaml_files("scenarios").into_iter().find(|p| stem(p) == "depth_width").unwrap();
    let spec = scenario::read(&path).unwrap();
    assert_eq!(spec.fit, FitAxis::NLayer);
    for fact in facts(&spec) {
        let off = fact.params.unwrap() as f64 / 25_016_064.0 - 1.0;
        assert!(off.abs() < 0.02, "{}: {:.2} %", fact.name, off * 100.0);
    }
}

#[test]
fn every_key_is_understood() {
    let spec = parse(EXAMPLE).unwrap();
    assert_eq!((spec.name.as_str(), spec.seed, spec.order), ("everything", 7, Order::Shuffled));
    assert_eq!((spec.reference.every, spec.reference.share), (Duration::from_secs(60), 0.01));
    let telemetry = spec.telemetry.as_ref().unwrap();
    assert_eq!((telemetry.period, telemetry.idle), (Duration::from_millis(5), Duration::ZERO));
    assert_eq!((telemetry.looped, telemetry.calibrate), (Duration::from_secs(2), false));
    assert_eq!(telemetry.sensors, Some(vec![SensorKind::Rapl, SensorKind::Nvml]));
    assert_eq!(spec.repetitions, Repetitions::Adaptive { min: 4, max: 9, until_relative_ci: 0.1 });
    assert_eq!(spec.sessions, SessionCount { min: 2, max: 4 });
    assert_eq!(spec.early_stop, EarlyStop { retries: 5, min_steps: 4, scale: false });
    let wait_quiet_ns = Nanos(3_000_000_000);
    assert_eq!(spec.disturbed, Disturbed { retry: 2, foreign_cpu: 0.2, wait_quiet_ns });
    assert_eq!(spec.modes, [Mode::Prefill, Mode::KvDecode, Mode::GenerateUncached], "in the order of Mode::ALL");
    assert_eq!(spec.fit, FitAxis::NEmbd);
    assert_eq!(spec.timeout, Duration::from_secs(90));
    assert_eq!(spec.limits.degraded_rate.to_bits(), 0.25_f64.to_bits());
    assert_eq!(spec.limits.memory, Some(Bytes(3 << 30)));
    let named = |of: &Option<NamedFile>| of.as_ref().map(|named| (named.path.clone(), named.at.line));
    assert_eq!(named(&spec.workload), Some((PathBuf::from("folder/requests/ours.yaml"), 17)));
    assert_eq!(named(&spec.claims), Some((PathBuf::from("folder/ours-claims.yaml"), 18)));

    let scenario = |name: &str| spec.scenarios.iter().find(|s| s.name == name).unwrap();
    assert_eq!(scenario("filler").prompt, Prompt::Tokens(8));
    assert_eq!((scenario("filler").batch, scenario("filler").gen_tokens.as_slice()), (2, [3, 5].as_slice()));
    assert_eq!(scenario("one").prompt, Prompt::Text("Once upon a time".to_owned()));
    assert_eq!(scenario("one").gen_tokens, [16, 32], "the file's");
    let texts = |texts: &[&str], pad_to| Prompt::Texts { texts: texts.iter().map(|&t| t.to_owned()).collect(), pad_to };
    assert_eq!(scenario("padded").prompt, texts(&["Once"], Some(32)));
    assert_eq!(scenario("several").prompt, texts(&["a", "b", "c"], None));
    assert_eq!(scenario("several").batch, 3, "as many as there are texts");
    assert_eq!(scenario("cut").prompt, Prompt::File { path: PathBuf::from("folder/corpus.txt"), tokens: 512 });

    assert_eq!(spec.models[1].form, Form::Folder(PathBuf::from("folder/models/some")));
    let Form::Synthetic(recipe) = &spec.models[0].form else { panic!("not synthetic") };
    assert_eq!((recipe.n_kv_head, recipe.n_inner, recipe.vocab), (Some(2), Some(96), 400));
    assert_eq!((recipe.n_positions, recipe.seed), (128, 3));

    let Engine::Onnx(onnx) = &spec.backends[0].engine else { panic!("not onnx") };
    assert_eq!((onnx.provider, onnx.device, onnx.threads), (Provider::Cuda, 1, Some(2)));
    assert_eq!((onnx.optimisation, onnx.dtype, onnx.arg_max), (Optimisation::Basic, Dtype::F16, ArgMax::Inside));
    assert_eq!((spec.backends[0].warmups, spec.backends[1].warmups), (5, 2), "its own, and the file's");
    let of = |n: usize| {
        let Engine::Onnx(onnx) = &spec.backends[n].engine else { panic!("not onnx") };
        (onnx.source.clone(), onnx.isolation)
    };
    let python = RuntimeSource::Python(PathBuf::from("folder/venv/bin/python"));
    let library = RuntimeSource::Library(PathBuf::from("folder/build/libonnxruntime.so"));
    let version = RuntimeSource::Version("1.30.0".to_owned());
    let named = [python, library, version].map(|source| (source, Isolation::Process));
    assert_eq!([1, 2, 3].map(of), named, "each in a process of its own");
    let Engine::Onnx(openvino) = &spec.backends[1].engine else { panic!("not onnx") };
    assert_eq!(openvino.provider, Provider::Openvino);
    assert_eq!(openvino.provider_options, [("precision".to_owned(), "FP32".to_owned())]);
    let Engine::Simulated(script) = &spec.backends[4].engine else { panic!("not simulated") };
    assert_eq!((script.pace, script.max_resident, script.power_w), (Pace::Real, Some(2), Some(40.0)));
    assert_eq!((script.faults.len(), script.faults[0].every), (1, 7));
    assert_eq!(spec.models[2].form, Form::Served("gemma3:270m".to_owned()));
    let Engine::Ollama(server) = &spec.backends[5].engine else { panic!("not ollama") };
    assert_eq!((server.url.as_str(), server.device), ("http://127.0.0.1:9000", OllamaDevice::Gpu));
    assert_eq!((server.num_ctx, server.num_batch, server.threads), (1024, 256, Some(3)));
    assert_eq!((server.dtype, server.max_resident), (Dtype::F16, Some(4)));
    assert_eq!(server.temperature.to_bits(), 0.5_f64.to_bits());
    assert_eq!(onnx.isolation, Isolation::Process);
    let Engine::Torch(torch) = &spec.backends[6].engine else { panic!("not torch") };
    assert_eq!((torch.launch, torch.device, torch.dtype), (Launch::Docker, TorchDevice::Cuda(1), Dtype::F16));
    assert_eq!(torch.source, TorchSource::Image("team/serving:1".to_owned()));
    let resources = Resources { memory: Some(Bytes(6 << 30)), cpus: Some(2), pids: Some(256) };
    assert_eq!((torch.threads, torch.resources), (Some(4), resources));
    let compile = CompileSettings {
        prefill: false,
        decode: true,
        backend: CompileBackend::AotEager,
        mode: CompileMode::ReduceOverhead,
        dynamic: Dynamic::Auto,
        buckets: vec![32, 64],
        fullgraph: false,
        on_recompile: OnRecompile::Record,
        recompile_limit: Some(3),
    };
    assert_eq!(torch.compile, Some(compile));
    let Engine::Worker(worker) = &spec.backends[7].engine else { panic!("not a worker") };
    let (address, token_env) = ("tcp:127.0.0.1:7000".to_owned(), Some("TOKEN".to_owned()));
    assert_eq!(worker.source, WorkerSource::Address { address, token_env });
    assert_eq!((worker.device.as_str(), worker.threads), ("cuda:0", Some(1)));
    assert_eq!(worker.options, [("graph".to_owned(), "on".to_owned())]);
    let Engine::Worker(worker) = &spec.backends[8].engine else { panic!("not a worker") };
    assert_eq!(worker.source, WorkerSource::Command(vec!["python3".to_owned(), "my_worker.py".to_owned()]));
    let sources = [9, 10].map(|at| match &spec.backends[at].engine {
        Engine::Torch(torch) => torch.source.clone(),
        other => panic!("{other:?}"),
    });
    // A path begins where the file lies.
    let python = Path::new("folder").join("serving/bin/python");
    assert_eq!(sources, [TorchSource::Python(python), TorchSource::Version("2.6.0".to_owned())]);
    assert_eq!(spec.skip[0].reason, "too slow");
}

#[test]
fn defaults_are_those_of_the_schema() {
    let spec = parse(
        "version: 1\nname: least\nscenarios: [{ name: s, prompt: { tokens: 8 } }]\n\
         models: [{ name: m, huggingface: m }]\nbackends: [{ name: b, simulated: {} }]\n",
    )
    .unwrap();
    assert_eq!((spec.seed, spec.order, spec.fit), (42, Order::Blocked, FitAxis::Params));
    assert_eq!(spec.repetitions, Repetitions::Adaptive { min: 3, max: 30, until_relative_ci: 0.02 });
    assert_eq!(spec.sessions, SessionCount::ONE);
    assert_eq!(spec.early_stop, EarlyStop { retries: 3, min_steps: 8, scale: true });
    let wait_quiet_ns = Nanos(10_000_000_000);
    assert_eq!(spec.disturbed, Disturbed { retry: 1, foreign_cpu: 0.1, wait_quiet_ns });
    assert_eq!(spec.modes, [Mode::Prefill, Mode::KvDecode]);
    assert_eq!(spec.timeout, Duration::from_secs(120));
    assert_eq!((spec.scenarios[0].batch, spec.scenarios[0].gen_tokens.as_slice()), (1, [64].as_slice()));
    assert_eq!(spec.backends[0].warmups, 1);
    assert_eq!((spec.limits.degraded_rate.to_bits(), spec.limits.memory), (0.05_f64.to_bits(), None));
    let Engine::Simulated(script) = &spec.backends[0].engine else { panic!("not simulated") };
    assert_eq!(script.load.base, Duration::from_millis(50));
    assert_eq!((script.pace, script.power_w, script.max_resident), (Pace::Virtual, None, None));

    let documented = &phasebench::scenario::schema()["properties"];
    assert_eq!(documented["seed"]["default"], 42);
    assert_eq!(documented["gen_tokens"]["default"], serde_json::json!([64]));
    assert_eq!(documented["timeout"]["default"], "120s");
}

/// A reader who copies a page's file and plans it gets a plan, not an error about a folder that is not there.
#[test]
fn files_printed_on_pages_plan() {
    for page in ["README.md", "docs/scenarios.md"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
        let file = text.split_once("```yaml\n").unwrap().1.split_once("```").unwrap().0;
        let plan = expand(&parse(file).unwrap(), &Only::default());
        assert!(!plan.cells.is_empty(), "{page}");
    }
}

/// The mistakes that the README names, made in its file, are told as it prints them.
#[test]
fn problems_are_told_as_the_readme_prints_them() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let file = readme.split_once("```yaml\n").unwrap().1.split_once("```").unwrap().0;
    let mut lines: Vec<String> = file.lines().map(str::to_owned).collect();
    for (number, right, wrong) in
        [(3, "interleaved", "interleavd"), (8, "n_head: 8", "n_head: 5"), (10, "threads: 2", "thread: 2")]
    {
        let line = &mut lines[number - 1];
        assert!(line.contains(right), "line {number}: {line}");
        *line = line.replace(right, wrong);
        assert!(readme.contains(&format!("`{}` in line {number}", wrong)), "{wrong}");
    }
    let told = scenario::parse(&lines.join("\n"), Path::new("mine.yaml"), Path::new("")).unwrap_err().to_string();
    let printed = readme.split_once("```\nerror: ").unwrap().1.split_once("```").unwrap().0;
    assert_eq!(told.trim_end(), format!("error: {}", printed.trim_end()));
}

/// What asks about a shift has both ends of it: every model and prompt at both.
#[test]
fn shifts_can_be_answered_by_their_own_file() {
    let plan = |name: &str| {
        let path = yaml_files("scenarios").into_iter().find(|p| stem(p) == name).unwrap();
        expand(&scenario::read(&path).unwrap(), &Only::default())
    };
    let cells = |plan: &phasebench::record::plan::Plan, at: fn(&phasebench::record::plan::Cell) -> bool| {
        let mut cells: Vec<_> =
            plan.cells.iter().filter(|c| at(c)).map(|c| (c.session.model.clone(), c.prompt_tokens)).collect();
        cells.sort();
        cells
    };
    let batch = plan("tr121_batch8");
    assert_eq!(cells(&batch, |c| c.batch == 1).len(), 21);
    assert_eq!(cells(&batch, |c| c.batch == 1), cells(&batch, |c| c.batch == 8));
    let length = plan("tr121_gen512");
    assert_eq!(cells(&length, |c| c.gen_tokens == 64).len(), 7);
    assert_eq!(cells(&length, |c| c.gen_tokens == 64), cells(&length, |c| c.gen_tokens == 512));
}
