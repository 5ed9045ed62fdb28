//! What the keys of a scenario file say about each other: names, references, contradictions.
//!
//! Works on the tree, so that one broken value does not hide what is wrong elsewhere.

use std::time::Duration;

use super::node::Node;
use super::problem::Problem;
use super::quantity;
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
    telemetry(root, problems);
    skips(root, problems);
    for backend in items(root, "backends") {
        onnx(backend, problems);
        server(backend, problems);
        torch(backend, problems);
        worker(backend, problems);
        faults(root, backend, problems);
    }
    clocks(items(root, "backends"), problems);
    shared_server(root, problems);
}

fn items<'a>(root: &'a Node, key: &str) -> &'a [Node] {
    root.get(key).map_or(&[], Node::items)
}

fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.get(key).and_then(Node::text)
}

fn names<'a>(root: &'a Node, axis: &str) -> Vec<&'a str> {
    items(root, axis).iter().filter_map(|item| text(item, "name")).collect()
}

fn duplicates(items: &[Node], problems: &mut Vec<Problem>) {
    for (i, item) in items.iter().enumerate() {
        let (Some(node), Some(name)) = (item.get("name"), text(item, "name")) else {
            continue;
        };
        let first = items[..i].iter().find(|other| text(other, "name") == Some(name));
        if let Some(first) = first.and_then(|first| first.get("name")) {
            problems.push(
                Problem::new(node.at, format!("the name `{name}` is taken"))
                    .help("first", format!("line {}", first.at.line)),
            );
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
    let rules = items(root, "skip");
    for (i, rule) in rules.iter().enumerate() {
        let mut selected = false;
        for (selector, axis) in SELECTORS {
            selected |= rule.get(selector).is_some();
            reference(root, rule, selector, axis, problems);
        }
        if !selected && text(rule, "reason").is_some() {
            let message = "a skip rule without model, backend or scenario would skip everything";
            problems.push(Problem::new(rule.at, message));
        }
        if let Some(earlier) = rules[..i].iter().find(|earlier| covers(earlier, rule)) {
            problems.push(
                Problem::new(rule.at, "this rule skips nothing that an earlier one has not")
                    .help("first", format!("line {}", earlier.at.line)),
            );
        }
    }
}

/// Whether every combination of `rule` is one of `earlier`.
fn covers(earlier: &Node, rule: &Node) -> bool {
    let mut selects = false;
    SELECTORS.iter().all(|(selector, _)| match text(earlier, selector) {
        None => earlier.get(selector).is_none(),
        Some(name) => {
            selects = true;
            text(rule, selector) == Some(name)
        }
    }) && selects
}

fn reference(root: &Node, node: &Node, key: &str, axis: &str, problems: &mut Vec<Problem>) {
    let (Some(at), Some(name)) = (node.get(key).map(|n| n.at), text(node, key)) else {
        return;
    };
    let known = names(root, axis);
    if !known.contains(&name) {
        problems.push(Problem::new(at, format!("there is no {key} `{name}`")).known(name, &known));
    }
}

fn onnx(backend: &Node, problems: &mut Vec<Problem>) {
    let Some(onnx) = backend.get("onnx") else {
        return;
    };
    if let Some(device) = onnx.get("device")
        && text(onnx, "provider") == Some("cpu")
    {
        problems.push(
            Problem::new(device.at, "`device` is an index of a GPU, but the provider is cpu")
                .help("try", "provider: cuda, or remove `device`"),
        );
    }
}

fn server(backend: &Node, problems: &mut Vec<Problem>) {
    let Some(url) = backend.get("ollama").and_then(|ollama| ollama.get("url")) else {
        return;
    };
    if url.text().is_some_and(|text| !text.starts_with("http://")) {
        let message = "`url` must begin with http://: the server is on this machine and speaks plain HTTP";
        problems.push(Problem::new(url.at, message).help("try", "\"http://127.0.0.1:11434\""));
    }
}

fn torch(backend: &Node, problems: &mut Vec<Problem>) {
    let Some(torch) = backend.get("torch") else {
        return;
    };
    if let Some(gpu) = torch.get("gpu")
        && text(torch, "device") == Some("cpu")
    {
        problems.push(
            Problem::new(gpu.at, "`gpu` is an index of a GPU, but the device is cpu")
                .help("try", "device: cuda, or remove `gpu`"),
        );
    }
    let limited = |key| torch.get("resources").and_then(|resources| resources.get(key));
    if let Some(limit) = ["memory", "cpus", "pids"].into_iter().find_map(limited)
        && text(torch, "launch") == Some("process")
    {
        problems.push(
            Problem::new(limit.at, "only a container is held to `resources`, but the launch is process")
                .help("try", "launch: docker, or remove `resources`"),
        );
    }
    if let Some(compile) = torch.get("compile") {
        policy(compile, text(torch, "device"), problems);
    }
}

/// What a compile policy says that cannot be.
fn policy(compile: &Node, device: Option<&str>, problems: &mut Vec<Problem>) {
    let off = |key| compile.get(key).and_then(Node::flag) == Some(false);
    if off("prefill") && off("decode") {
        problems.push(
            Problem::new(compile.at, "neither prefill nor decode is compiled")
                .help("try", "remove `compile` for an eager model"),
        );
    }
    if let Some(backend) = compile.get("backend")
        && backend.text() == Some("cudagraphs")
        && device == Some("cpu")
    {
        problems.push(Problem::new(backend.at, "`cudagraphs` needs a GPU").help("try", "backend: inductor"));
    }
    if let Some(buckets) = compile.get("buckets") {
        let lengths: Vec<u64> = buckets.items().iter().filter_map(Node::whole).collect();
        if !lengths.is_sorted() {
            problems.push(Problem::new(buckets.at, "`buckets` must ascend"));
        }
    }
}

fn worker(backend: &Node, problems: &mut Vec<Problem>) {
    let Some(worker) = backend.get("worker") else {
        return;
    };
    if let Some(address) = worker.get("address")
        && let Some(text) = address.text()
        && !text.starts_with("unix:/")
        && !text.starts_with("tcp:127.0.0.1:")
    {
        let message = "`address` must be a Unix socket or a port of this machine's loopback";
        problems.push(
            Problem::new(address.at, message).help("allowed", "unix:/path/to/socket or tcp:127.0.0.1:PORT".to_owned()),
        );
    }
    for option in worker.get("options").map_or(&[][..], Node::items) {
        if option.text().is_some_and(|text| !text.contains('=')) {
            problems.push(Problem::new(option.at, "an option is `key=value`"));
        }
    }
}

/// A server holds a model once, with one set of load-time options: two backends on it cannot be resident together.
fn shared_server(root: &Node, problems: &mut Vec<Problem>) {
    if text(root, "order") != Some("interleaved") {
        return;
    }
    let url = |backend: &Node| Some(backend.get("ollama")?.get("url")?.text()?.to_owned());
    let backends = items(root, "backends");
    for (i, backend) in backends.iter().enumerate() {
        let first = backends[..i].iter().find(|other| url(backend).is_some() && url(other) == url(backend));
        if let (Some(first), Some(at)) = (first, backend.get("ollama").map(|node| node.at)) {
            let name = text(first, "name").unwrap_or_default();
            let message = format!("`{name}` uses this server too, and a server holds a model only once");
            problems.push(Problem::new(at, message).help("try", "order: blocked, or another server"));
        }
    }
}

fn faults(root: &Node, backend: &Node, problems: &mut Vec<Problem>) {
    let faults = backend.get("simulated").and_then(|s| s.get("faults"));
    for fault in faults.map_or(&[][..], Node::items) {
        reference(root, fault, "model", "models", problems);
        reference(root, fault, "scenario", "scenarios", problems);
        if text(fault, "kind") == Some("load")
            && let Some(scenario) = fault.get("scenario")
        {
            let message = "a model is loaded for all scenarios alike";
            problems.push(Problem::new(scenario.at, message).help("try", "without `scenario`"));
        }
    }
}

/// One run has one clock: what a virtual one says cannot be set beside what a real one says.
fn clocks(backends: &[Node], problems: &mut Vec<Problem>) {
    let pace = |backend: &Node| {
        let simulated = backend.get("simulated")?;
        text(simulated, "pace").map(|pace| (simulated.at, pace == "virtual"))
    };
    let real = backends.iter().find(|b| {
        let engine = ["onnx", "ollama", "torch", "worker"].iter().any(|engine| b.get(engine).is_some());
        engine || pace(b).is_some_and(|(_, is_virtual)| !is_virtual)
    });
    let Some(real) = real else {
        return;
    };
    let beside = text(real, "name").unwrap_or("another backend");
    for (at, is_virtual) in backends.iter().filter_map(pace) {
        if is_virtual {
            let message = format!("a virtual clock cannot run beside the real one of `{beside}`");
            problems.push(Problem::new(at, message).help("try", "pace: real"));
        }
    }
}
