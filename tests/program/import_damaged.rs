//! Damaged files of other tools: each is refused with its place, and nothing of it is written.

use std::fs;
use std::process::Command;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/import");

/// A file, what is replaced in it by what (once), and the place and words of the error.
struct Damage {
    file: &'static str,
    from: &'static str,
    to: &'static str,
    said: &'static str,
}

const fn damage(file: &'static str, from: &'static str, to: &'static str, said: &'static str) -> Damage {
    Damage { file, from, to, said }
}

const DAMAGES: &[Damage] = &[
    damage(
        "llama-bench/gpt2-25m.json",
        "\"n_gen\": 0,",
        "\"n_gen\": 0, \"n_gen\": 64,",
        ":38:23: key `n_gen` stands twice",
    ),
    damage("llama-bench/gpt2-25m.json", "\"avg_ns\": ", "\"avg_ns\": NaN, \"x\": ", ": `NaN` is no number"),
    damage("llama-bench/gpt2-25m.json", "\"n_prompt\": 32,", "\"n_prompt\": \"32\",", ":/0/n_prompt: is the text `32`"),
    damage("llama-bench/gpt2-25m.json", "\"n_prompt\": 32,", "", ":/0: `n_prompt` is missing"),
    damage(
        "llama-bench/gpt2-25m.json",
        "\"n_prompt\": 32,",
        "\"n_prompt\": 0,",
        ":/0: `n_prompt` and `n_gen` are both 0",
    ),
    damage(
        "llama-bench/gpt2-25m.json",
        "\"build_number\": 11434",
        "\"build_number\": 11433",
        ":/1: is of build b11434 (sdist), /0 of b11433 (sdist)",
    ),
    damage(
        "llama-bench/gpt2-25m.json",
        "\"samples_ns\": [",
        "\"samples_ns\": [ -5,",
        ":/0/samples_ns/0: `-5` is no time that a call takes",
    ),
    damage(
        "llama-bench/gpt2-25m.json",
        "\"n_depth\": 64,",
        "\"n_depth\": 0,",
        ":/3: pp32 of gpt2-25m is there already, at /0",
    ),
    damage("llama-bench/gpt2-25m.jsonl", "\"stddev_ts\": ", "\"stddev_ts\": }", ":1:"),
    damage("llama-bench/gpt2-25m.csv", "stddev_ns,avg_ts", "avg_ts,avg_ts", ":1: column `avg_ts` stands twice"),
    damage("llama-bench/gpt2-25m.csv", "\"3891053\"", "\"fast\"", ":2/avg_ns: `fast` is no number"),
    damage("llama-bench/gpt2-25m.sql", "VALUES ('sdist', ", "VALUES (", ": 42 columns and 41 values"),
    damage("llama-bench/gpt2-25m.md", "pp32 |", "qq32 |", ":3: `qq32` is no test"),
    damage("llama-bench/error-missing-model.json", "[", "[", ": ends too early"),
    damage(
        "vllm/bench-serve-detailed.json",
        "\"completed\": 10",
        "\"completed\": 11",
        ": `completed` is 11 and `failed` 0, and 10 requests went well",
    ),
    damage(
        "vllm/bench-serve-detailed.json",
        "\"output_lens\": [32, ",
        "\"output_lens\": [",
        ":/output_lens: has 9 items",
    ),
    damage("vllm/bench-serve-plain.json", "\"date\": \"2026", "\"date\": \"20x6", ": `date` is `20x61129-150556`"),
    damage("vllm/bench-latency.json", "0.5985358620000625", "Infinity", ": `Infinity` is no number"),
    damage(
        "vllm/bench-throughput.json",
        "\"elapsed_time\": 0.6152923170000122",
        "\"elapsed_time\": 0",
        ":/elapsed_time: `0` is no time",
    ),
    damage(
        "documented/aiperf.jsonl",
        "\"unit\": \"ms\"",
        "\"unit\": \"fortnights\"",
        ":1/metrics/time_to_first_token/unit: is \"fortnights\", no unit",
    ),
    damage(
        "documented/genai-perf.json",
        "\"response_timestamps\": [1718",
        "\"response_timestamps\": [1618",
        "/response_timestamps: do not follow `timestamp`",
    ),
    damage(
        "documented/guidellm.json",
        "\"type_\": \"synchronous\"",
        "\"kind\": \"synchronous\"",
        ":/benchmarks/0/config/strategy: `type_` is missing",
    ),
    damage("documented/go.txt", " ns/op\t  1024 B/op", " furlongs/op", ":5: `furlongs/op` is no unit that is known"),
    damage("documented/go.txt", " ns/op\t  1024 B/op", "\t  1024 B/op", ":5: a value stands without its unit"),
    damage(
        "documented/go.txt",
        "12 allocs/op\nBenchmarkDecode-2",
        "12 allocs/op\ncpu: other\nBenchmarkDecode-2",
        ":7: is of other, what stands before it of AMD EPYC",
    ),
    damage(
        "llama-bench/gpt2-25m.jsonl",
        "\"cpu_info\": \"AMD EPYC\"",
        "\"cpu_info\": \"other\"",
        ":2: is of AMD EPYC, what stands before it of other",
    ),
    damage("llama-bench/gpt2-25m.md", "\nbuild: ", "\n| model | test | t/s |\nbuild: ", ":10: a second table begins"),
    damage("documented/ollama.bench", "step=generate 65", "step=generate 1", ":2: one token was generated"),
    damage("documented/plain.csv", "latency_ms", "latency", ":1: column `latency` has no unit"),
    damage(
        "documented/plain.csv",
        "mine,1.4,tiny-llama,kv_decode",
        "mine,1.5,tiny-llama,kv_decode",
        "/version: version 1.5, 1.4 before",
    ),
    damage("documented/plain.csv", "tiny-llama,prefill", "tiny-llama,prefil", ":3/mode: `prefil` is no mode"),
    damage(
        "documented/sglang.jsonl",
        "\"completed\": 23",
        "\"completed\": 24",
        ":1: `completed` is 24, and 23 requests went well",
    ),
];

#[test]
fn damaged_files_are_refused_with_their_place_and_leave_nothing() {
    assert!(DAMAGES.len() >= 20);
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for Damage { file, from, to, said } in DAMAGES {
        let name = file.rsplit('/').next().unwrap();
        let text = fs::read_to_string(format!("{DATA}/{file}")).unwrap();
        assert!(text.contains(from), "{file}: no {from}");
        let path = folder.path().join(name);
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let out = folder.path().join("run");
        let mut command = Command::new(env!("CARGO_BIN_EXE_phasebench"));
        let format = if *file == "llama-bench/error-missing-model.json" { "llama-bench" } else { format_of(file) };
        command.arg("import").arg(&path).args(["--format", format]).arg("--out").arg(&out);
        let output = command.output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        let at = format!("error: {}", path.display());
        if output.status.code() != Some(2)
            || !words.starts_with(&at)
            || !words.contains(said)
            || !words.contains("\n  allowed: ")
        {
            wrong.push(format!("{file}: {from} → {to}: wanted `{said}`, exit {:?}: {words}", output.status.code()));
        }
        assert!(!out.exists(), "{file}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{file}: something was left");
        fs::remove_file(&path).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn format_of(file: &str) -> &'static str {
    let formats = [
        ("llama-bench/", "llama-bench"),
        ("bench-serve", "vllm-serve"),
        ("bench-latency", "vllm-latency"),
        ("bench-throughput", "vllm-throughput"),
        ("aiperf", "aiperf"),
        ("genai-perf", "genai-perf"),
        ("guidellm", "guidellm"),
        ("go.txt", "go-bench"),
        ("ollama", "ollama-bench"),
        ("sglang", "sglang"),
    ];
    formats.into_iter().find(|(part, _)| file.contains(part)).map_or("csv", |(_, format)| format)
}
