//! The formats that can be imported, by name and by what a file of each looks like.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::error::ImportError;
use super::sheet::Sheet;
use super::source::Source;
use super::{aiperf, genai_perf, go_bench, guidellm, json, llama_bench, ollama_bench, plain_csv, sglang, vllm};

/// A tool's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `llama-bench` of llama.cpp: JSON, JSONL, CSV, SQL, Markdown.
    LlamaBench,
    /// `vllm bench serve`.
    VllmServe,
    /// `vllm bench latency`.
    VllmLatency,
    /// `vllm bench throughput`.
    VllmThroughput,
    /// SGLang's `bench_serving`.
    Sglang,
    /// guidellm.
    Guidellm,
    /// AIPerf.
    Aiperf,
    /// genai-perf.
    GenaiPerf,
    /// Ollama's own benchmark.
    OllamaBench,
    /// Go benchmark lines.
    GoBench,
    /// Plain CSV.
    Csv,
}

/// Every format with its name on the command line and its tool for people.
const FORMATS: [(Format, &str, &str); 11] = [
    (Format::LlamaBench, "llama-bench", "llama-bench"),
    (Format::VllmServe, "vllm-serve", "vllm bench serve"),
    (Format::VllmLatency, "vllm-latency", "vllm bench latency"),
    (Format::VllmThroughput, "vllm-throughput", "vllm bench throughput"),
    (Format::Sglang, "sglang", "SGLang bench_serving"),
    (Format::Guidellm, "guidellm", "guidellm"),
    (Format::Aiperf, "aiperf", "AIPerf"),
    (Format::GenaiPerf, "genai-perf", "genai-perf"),
    (Format::OllamaBench, "ollama-bench", "Ollama's cmd/bench"),
    (Format::GoBench, "go-bench", "Go benchmark lines"),
    (Format::Csv, "csv", "plain CSV"),
];

impl Format {
    /// Names of all, as the command line takes them.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        FORMATS.iter().map(|(_, name, _)| *name).collect()
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// Its tool for people.
    #[must_use]
    pub fn tool(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        let found = FORMATS.iter().find(|(format, ..)| *format == self);
        found.map_or(("", ""), |(_, name, tool)| (name, tool))
    }

    /// The format of a file, from what is in it.
    pub(super) fn of(source: &Source) -> Result<Self, ImportError> {
        let text = source.text.trim_start();
        let unknown = || {
            let allowed = format!("a file of {}; --format says which", Self::names().join(", "));
            source.error("", "is of no format that is known by its looks", allowed)
        };
        if text.starts_with(['{', '[']) {
            return Self::of_json(source)?.ok_or_else(unknown);
        }
        let first = text.lines().find(|line| !line.starts_with('#')).unwrap_or_default();
        let begins = |beginning: &str| source.text.lines().any(|line| line.starts_with(beginning));
        if begins(ollama_bench::BEGINNING) || first.starts_with(ollama_bench::HEADER) {
            return Ok(Self::OllamaBench);
        }
        if begins("Benchmark") {
            return Ok(Self::GoBench);
        }
        if text.contains("llama_bench") || first.contains("samples") || first.contains("avg_ts") || begins("| model ") {
            return Ok(Self::LlamaBench);
        }
        if first.contains(',') || first.contains("latency") { Ok(Self::Csv) } else { Err(unknown()) }
    }

    fn of_json(source: &Source) -> Result<Option<Self>, ImportError> {
        let value = match first_of_lines(source) {
            Some(first) => first,
            None => json::whole(source)?,
        };
        let item = value.as_array().map_or(Some(&value), |items| items.first());
        let Some(item) = item else { return Ok(None) };
        let has = |keys: &[&str]| keys.iter().all(|key| item.get(key).is_some());
        Ok(if has(&["build_number", "n_prompt"]) {
            Some(Self::LlamaBench)
        } else if has(&["endpoint_type", "completed"]) || has(&["tokenizer_id", "completed"]) {
            Some(Self::VllmServe)
        } else if has(&["avg_latency", "latencies"]) {
            Some(Self::VllmLatency)
        } else if has(&["elapsed_time", "total_num_tokens"]) {
            Some(Self::VllmThroughput)
        } else if has(&["backend", "completed"]) {
            Some(Self::Sglang)
        } else if has(&["metadata", "metrics"]) || has(&["metadata", "error"]) {
            Some(Self::Aiperf)
        } else if has(&["experiments"]) {
            Some(Self::GenaiPerf)
        } else if guidellm::is(item) || has(&["benchmarks"]) {
            Some(Self::Guidellm)
        } else {
            None
        })
    }

    /// What a file says, one sheet per session.
    pub(super) fn sheets(self, source: &Source) -> Result<Vec<Sheet>, ImportError> {
        match self {
            Self::LlamaBench => llama_bench::sheets(source),
            Self::VllmServe => vllm::serve(source),
            Self::VllmLatency => vllm::latency(source),
            Self::VllmThroughput => vllm::throughput(source),
            Self::Sglang => sglang::sheets(source),
            Self::Guidellm => guidellm::sheets(source),
            Self::Aiperf => aiperf::sheets(source),
            Self::GenaiPerf => genai_perf::sheets(source),
            Self::OllamaBench => ollama_bench::sheets(source),
            Self::GoBench => go_bench::sheets(source),
            Self::Csv => plain_csv::sheets(source),
        }
    }
}

/// The first value of a file that has one per line. `None`: it is one value over several lines, or not JSON at all.
fn first_of_lines(source: &Source) -> Option<Value> {
    let first = source.text.lines().find(|line| !line.trim().is_empty())?;
    serde_json::from_str::<Value>(first).ok().filter(Value::is_object)
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = FORMATS.iter().find(|(_, name, _)| *name == text);
        found.map(|(format, ..)| *format).ok_or_else(|| format!("allowed: {}", Self::names().join(", ")))
    }
}
