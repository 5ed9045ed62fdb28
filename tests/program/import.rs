//! `phasebench import` through the program itself, on real files of other tools and on files made from their documented formats.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/import");

fn phasebench(arguments: &[&str]) -> std::io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_phasebench")).args(arguments).output()
}

fn good(arguments: &[&str]) -> Result<String, Box<dyn std::error::Error>> {
    let output = phasebench(arguments)?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
    Ok(String::from_utf8(output.stdout)?)
}

fn refused(arguments: &[&str]) -> Result<String, Box<dyn std::error::Error>> {
    let output = phasebench(arguments)?;
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    Ok(String::from_utf8(output.stderr)?)
}

/// Imports files of the test data into a new folder.
fn imported(files: &[&str]) -> Result<(tempfile::TempDir, PathBuf, serde_json::Value), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let run = folder.path().join("run");
    let paths: Vec<String> = files.iter().map(|file| format!("{DATA}/{file}")).collect();
    let out = run.display().to_string();
    let arguments: Vec<&str> =
        ["import"].into_iter().chain(paths.iter().map(String::as_str)).chain(["--out", &out, "--json"]).collect();
    let told = serde_json::from_str(&good(&arguments)?)?;
    Ok((folder, run, told))
}

/// Rows of a table by column.
fn rows(run: &Path, file: &str) -> Result<Vec<BTreeMap<String, String>>, Box<dyn std::error::Error>> {
    let mut reader = csv::Reader::from_path(run.join(file))?;
    let header = reader.headers()?.clone();
    let read =
        |record: csv::StringRecord| header.iter().zip(&record).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    reader.records().map(|record| Ok(read(record?))).collect()
}

/// Files, the format they are taken for, and calls, failures and stated figures over all cells.
const FILES: &[(&str, &str, [u64; 3])] = &[
    ("llama-bench/gpt2-25m.json", "llama-bench", [18, 0, 0]),
    ("llama-bench/gpt2-25m.jsonl", "llama-bench", [18, 0, 0]),
    ("llama-bench/gpt2-25m.csv", "llama-bench", [0, 0, 6]),
    ("llama-bench/gpt2-25m.sql", "llama-bench", [0, 0, 6]),
    ("llama-bench/gpt2-25m.md", "llama-bench", [0, 0, 6]),
    ("llama-bench/two-models-threads.json", "llama-bench", [40, 0, 0]),
    ("vllm/bench-serve-plain.json", "vllm-serve", [10, 0, 1]),
    ("vllm/bench-serve-detailed.json", "vllm-serve", [10, 0, 0]),
    ("vllm/bench-serve-some-failed.json", "vllm-serve", [12, 2, 0]),
    ("vllm/bench-latency.json", "vllm-latency", [6, 0, 0]),
    ("vllm/bench-throughput.json", "vllm-throughput", [1, 0, 0]),
    ("documented/sglang.jsonl", "sglang", [48, 1, 0]),
    ("documented/sglang-summary.jsonl", "sglang", [0, 0, 2]),
    ("documented/guidellm.json", "guidellm", [53, 3, 0]),
    ("documented/aiperf.jsonl", "aiperf", [22, 1, 0]),
    ("documented/genai-perf.json", "genai-perf", [12, 0, 0]),
    ("documented/ollama.bench", "ollama-bench", [18, 0, 0]),
    ("documented/ollama.csv", "ollama-bench", [2, 0, 0]),
    ("documented/go.txt", "go-bench", [10, 0, 0]),
    ("documented/plain.csv", "csv", [80, 1, 0]),
];

#[test]
fn every_format_is_known_by_its_looks_and_gives_a_run_that_holds_together() -> Outcome {
    for (file, format, counts) in FILES {
        let (_folder, run, told) = imported(&[file])?;
        assert_eq!(told["imported"]["format"], *format, "{file}");
        let cells = told["cells"].as_array().ok_or("no cells")?;
        let sum = |key: &str| cells.iter().filter_map(|cell| cell[key].as_u64()).sum::<u64>();
        assert_eq!([sum("calls"), sum("failed"), sum("stated")], *counts, "{file}");
        let path = run.display().to_string();
        let checks = good(&["validate", &path])?;
        assert!(checks.contains("PASS  imported figures refer to files and cells"), "{file}: {checks}");
        good(&["report", &path])?;
        let report = fs::read_to_string(run.join("report.md"))?;
        assert!(report.contains("**Imported** from") && report.contains("## Where these figures come from"), "{file}");
        let again = good(&["validate", &path])?;
        assert!(again.contains(" 0 failed"), "{file}: {again}");
    }
    Ok(())
}

/// Whatever a row is, it says where another tool wrote it, and no fit or aggregate has it.
#[test]
fn imported_rows_are_labelled_and_never_taken_for_ours() -> Outcome {
    let (_folder, run, _) = imported(&["llama-bench/two-models-threads.json"])?;
    good(&["analyze", &run.display().to_string()])?;
    let hash = &phasebench::hash::sha256_file(Path::new(&format!("{DATA}/llama-bench/two-models-threads.json")))?[..12];
    let metrics = rows(&run, "metrics.csv")?;
    assert_eq!(metrics[0]["imported"], format!("llama-bench:two-models-threads.json@{hash}:/0/samples_ns/0"));
    assert!(metrics.iter().all(|row| row["attributed"] == "false" && row["actual"].is_empty()));
    let summary = rows(&run, "analysis/summary_by_model_backend_mode.csv")?;
    assert!(summary.iter().all(|row| row["attribution"] == "imported" && row["n_unattributed"] == "0"));
    assert_eq!(rows(&run, "analysis/aggregate_by_model_backend_mode.csv").map_or(0, |rows| rows.len()), 0);
    let slopes = rows(&run, "analysis/scaling_fits.csv")?;
    assert!(slopes.iter().all(|row| row["n_models"] == "0" || row["slope"].is_empty()), "{slopes:?}");
    Ok(())
}

/// Configuration lines hold for what follows them: benchmarks of one name in several packages are as many cells.
#[test]
fn go_benchmarks_are_told_apart_by_their_package() -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("go.txt").display().to_string();
    let line = |ns: u32| format!("BenchmarkEncode-8\t1000\t{ns} ns/op\n");
    let package = |pkg: &str, ns: u32| format!("pkg: {pkg}\n{}{}PASS\nok  \t{pkg}\t1.2s\n", line(ns), line(ns + 1000));
    let (alpha, beta) = (package("a.org/alpha", 100_000), package("a.org/beta", 9_000_000));
    let other_beta = package("b.org/beta", 5_000_000);
    fs::write(&file, format!("goos: linux\ngoarch: amd64\ncpu: AMD EPYC\n{alpha}{beta}{other_beta}"))?;
    let run = folder.path().join("run");
    good(&["import", &file, "--out", &run.display().to_string()])?;
    good(&["analyze", &run.display().to_string()])?;
    let summary = rows(&run, "analysis/summary_by_model_backend_mode.csv")?;
    let found: Vec<(&str, &str)> = summary.iter().map(|row| (row["model"].as_str(), row["n"].as_str())).collect();
    assert_eq!(found, [("a.org/alpha", "2"), ("a.org/beta", "2"), ("b.org/beta", "2")]);
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(run.join("manifest.json"))?)?;
    let stack = &manifest["stack"];
    assert_eq!(stack["backends"]["go-bench"]["facts"]["goarch"], "amd64");
    assert_eq!(stack["machine"]["cpu_model"], "AMD EPYC");
    // So are those of several files, and runs of their own with nothing in common.
    let mut files = Vec::new();
    let mut runs = Vec::new();
    for (name, text) in [("a", beta), ("b", other_beta)] {
        let file = folder.path().join(format!("{name}.txt")).display().to_string();
        fs::write(&file, text)?;
        let out = folder.path().join(name).display().to_string();
        good(&["import", &file, "--out", &out])?;
        files.push(file);
        runs.push(out);
    }
    let both = folder.path().join("both").display().to_string();
    let told = good(&["import", &files[0], &files[1], "--out", &both, "--json"])?;
    let told: serde_json::Value = serde_json::from_str(&told)?;
    let calls: Vec<Option<u64>> =
        told["cells"].as_array().ok_or("no cells")?.iter().map(|cell| cell["calls"].as_u64()).collect();
    assert_eq!(calls, [Some(2), Some(2)], "{told:#}");
    let output = phasebench(&["compare", &runs[0], &runs[1]])?;
    let compared = String::from_utf8_lossy(&output.stdout);
    assert!(compared.contains("of 2 cells: 2 missing"), "{compared}");
    Ok(())
}

/// What two machines measured is not two sessions of one cell.
#[test]
fn files_of_two_machines_are_refused() -> Outcome {
    let folder = tempfile::tempdir()?;
    let text = fs::read_to_string(format!("{DATA}/llama-bench/gpt2-25m.jsonl"))?;
    let [one, two] = ["AMD EPYC", "other"].map(|cpu| (folder.path().join(format!("{cpu}.jsonl")), cpu));
    for (path, cpu) in [&one, &two] {
        fs::write(path, text.replace("\"AMD EPYC\"", &format!("\"{cpu}\"")))?;
    }
    let (one, two) = (one.0.display().to_string(), two.0.display().to_string());
    let said = refused(&["import", &one, &two, "--out", &folder.path().join("run").display().to_string()])?;
    assert!(said.contains("is of other, what stands before it of AMD EPYC\n  allowed: one machine"), "{said}");
    Ok(())
}

/// Lines that were asked for other lengths are other cells, also where no request's own length is told.
#[test]
fn sglang_lines_of_other_lengths_are_other_cells() -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("sglang.jsonl").display().to_string();
    let line = |tokens: u32, ttft: f64| {
        serde_json::json!({
            "backend": "sglang", "dataset_name": "random", "request_rate": "inf", "max_concurrency": 1,
            "random_input_len": tokens, "random_output_len": 32, "completed": 20,
            "mean_ttft_ms": ttft, "std_ttft_ms": 1.0,
        })
    };
    let lines = [line(128, 40.0), line(128, 41.0), line(1024, 300.0)].map(|line| format!("{line}\n"));
    fs::write(&file, lines.concat())?;
    let out = folder.path().join("run").display().to_string();
    let told: serde_json::Value = serde_json::from_str(&good(&["import", &file, "--out", &out, "--json"])?)?;
    let stated: Vec<Option<u64>> =
        told["cells"].as_array().ok_or("no cells")?.iter().map(|cell| cell["stated"].as_u64()).collect();
    assert_eq!(stated, [Some(2), Some(1)], "{told:#}");
    // Imported by themselves they have the names that they have together.
    let names = ["random 128→32 asked, 1 at once", "random 1024→32 asked, 1 at once"];
    for (line, name) in lines[1..].iter().zip(names) {
        let alone = folder.path().join("alone.jsonl").display().to_string();
        fs::write(&alone, line)?;
        let out = folder.path().join(name).display().to_string();
        let of_one: serde_json::Value = serde_json::from_str(&good(&["import", &alone, "--out", &out, "--json"])?)?;
        assert_eq!(of_one["cells"][0]["scenario"], name, "{of_one:#}");
        let cells = told["cells"].as_array().ok_or("no cells")?;
        assert!(cells.iter().any(|cell| cell["cell_id"] == of_one["cells"][0]["cell_id"]), "{told:#}");
    }
    Ok(())
}

/// Every line has the options of every dataset; its cell is named after those that hold for its own.
#[test]
fn a_cell_of_sglang_is_named_after_what_its_line_asks_for() -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("sglang.jsonl").display().to_string();
    let line = |dataset: &str, new: Option<u32>, ratio: f64| {
        let line = serde_json::json!({
            "backend": "sglang", "dataset_name": dataset, "request_rate": 4.0, "max_concurrency": 2,
            "sharegpt_output_len": new, "random_input_len": 1024, "random_output_len": 64, "random_range_ratio": ratio,
            "completed": 20, "mean_ttft_ms": 40.0, "std_ttft_ms": 1.0,
        });
        format!("{line}\n")
    };
    let lines = [
        line("sharegpt", None, 0.0),
        line("sharegpt", Some(256), 0.0),
        line("random-ids", None, 0.5),
        line("random-ids", None, 1.0),
    ];
    fs::write(&file, lines.concat())?;
    let out = folder.path().join("run").display().to_string();
    let told: serde_json::Value = serde_json::from_str(&good(&["import", &file, "--out", &out, "--json"])?)?;
    let cells = told["cells"].as_array().ok_or("no cells")?;
    let names: Vec<Option<&str>> = cells.iter().map(|cell| cell["scenario"].as_str()).collect();
    let wanted = [
        "sharegpt, lengths not told, 2 at once, 4 requests/s",
        "sharegpt 256 new tokens asked, 2 at once, 4 requests/s",
        "random-ids 1024→64 (range ratio 0.5) asked, 2 at once, 4 requests/s",
        "random-ids 1024→64 (range ratio 1) asked, 2 at once, 4 requests/s",
    ];
    assert_eq!(names, wanted.map(Some));
    assert!(cells.iter().all(|cell| cell["backend"] == "sglang-bench-serving"), "{told:#}");
    Ok(())
}

/// Its mean lies far from its samples' in one file, its standard deviations in both directions in another.
#[test]
fn what_samples_contradict_is_said() -> Outcome {
    let (_folder, _, told) = imported(&["llama-bench/quiet-gpt2-25m-t2.json"])?;
    let notes = told["imported"]["notes"].to_string();
    assert!(notes.contains("/1 (tg64): a standard deviation of 4233884142.000000 ns is stated"), "{notes}");
    assert!(notes.contains("1.943 times as much") && notes.contains("0.127 times as much"), "{notes}");
    let (_folder, _, told) = imported(&["llama-bench/quiet-llama-s-t1.json"])?;
    assert_eq!(told["imported"]["notes"].as_array().map(Vec::len), Some(0));
    Ok(())
}

#[test]
fn several_files_are_several_sessions() -> Outcome {
    let folder = tempfile::tempdir()?;
    let text = fs::read_to_string(format!("{DATA}/llama-bench/quiet-gpt2-25m-t1.json"))?;
    let mut files = Vec::new();
    for session in 0..3 {
        let path = folder.path().join(format!("{session}.json"));
        fs::write(&path, format!("{}\n{text}", " ".repeat(session)))?;
        files.push(path.display().to_string());
    }
    let run = folder.path().join("run");
    let out = run.display().to_string();
    good(&["import", &files[0], &files[1], &files[2], "--out", &out])?;
    good(&["analyze", &out])?;
    let metrics = rows(&run, "metrics.csv")?;
    for session in ["0", "1", "2"] {
        assert_eq!(metrics.iter().filter(|row| row["session_index"] == session).count(), 4 * 8);
    }
    let summary = rows(&run, "analysis/summary_by_model_backend_mode.csv")?;
    assert!(summary.iter().all(|row| row["n"] == "24"));
    // The same bytes twice are no second session; another build is another run.
    let twice = refused(&["import", &files[0], &files[0], "--out", "/nowhere"])?;
    assert!(twice.contains("0.json: is byte for byte 0.json"), "{twice}");
    fs::write(&files[1], text.replace("11434", "10488"))?;
    let mixed = refused(&["import", &files[0], &files[1], "--out", "/nowhere"])?;
    assert!(mixed.contains("1.json: is of version b10488 (sdist), 0.json of b11434 (sdist)"), "{mixed}");
    Ok(())
}

#[test]
fn a_line_of_sglang_and_a_session_of_plain_csv_are_sessions() -> Outcome {
    for (file, per_session) in [("documented/sglang.jsonl", 24), ("documented/plain.csv", 40)] {
        let (_folder, run, _) = imported(&[file])?;
        let record = fs::read_to_string(run.join("measurements.jsonl"))?;
        for session in 0..2 {
            let of_session =
                record.lines().filter(|line| line.contains(&format!("\"session_index\":{session},"))).count();
            assert_eq!(of_session, per_session, "{file}");
        }
    }
    Ok(())
}

/// A stated mean has an interval only where its standard deviation and number of calls are stated as well.
#[test]
fn a_file_without_samples_has_the_interval_that_it_states() -> Outcome {
    let (_folder, run, _) = imported(&["documented/sglang-summary.jsonl"])?;
    good(&["analyze", &run.display().to_string()])?;
    let stated = rows(&run, "analysis/stated_figures.csv")?;
    let number = |name: &str| stated[0][name].parse::<f64>();
    // t of 199 degrees of freedom; the file's deviation is a population's.
    let half = 1.971_956_544 * 41.25 * (200.0_f64 / 199.0).sqrt() / 200.0_f64.sqrt();
    assert!((number("ci_low_ms")? - (174.09 - half)).abs() < 1e-6, "{stated:?}");
    assert!((number("ci_high_ms")? - (174.09 + half)).abs() < 1e-6);
    let (_folder, run, _) = imported(&["llama-bench/gpt2-25m.md"])?;
    good(&["analyze", &run.display().to_string()])?;
    let stated = rows(&run, "analysis/stated_figures.csv")?;
    assert!(stated.iter().all(|row| row["ci_low_ms"].is_empty() && row["statistic"] == "harmonic_mean"));
    Ok(())
}

/// N tokens of Ollama's own clock took N − 1 steps.
#[test]
fn the_step_that_ollama_counts_too_much_is_taken_back() -> Outcome {
    let (_folder, run, _) = imported(&["documented/ollama.csv"])?;
    good(&["analyze", &run.display().to_string()])?;
    let metrics = rows(&run, "metrics.csv")?;
    let decode = metrics.iter().find(|row| row["mode"] == "kv_decode").ok_or("no decode")?;
    assert_eq!(decode["ms_per_token"].parse::<f64>()?, 10.0 / 511.0);
    Ok(())
}

#[test]
fn an_imported_run_is_not_resumed_and_nothing_is_written_over() -> Outcome {
    let (_folder, run, _) = imported(&["documented/go.txt"])?;
    let path = run.display().to_string();
    let output = phasebench(&["run", "--resume", &path])?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{words}");
    assert!(words.contains("was imported from another tool's files"), "{words}");
    let before = fs::read(run.join("measurements.jsonl"))?;
    let output = phasebench(&["import", &format!("{DATA}/documented/plain.csv"), "--out", &path])?;
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(fs::read(run.join("measurements.jsonl"))?, before);
    Ok(())
}

/// 100,000 samples; the limit of 2 seconds is for the release build, which `scripts/bench` times: here it is only shown.
#[test]
fn a_hundred_thousand_samples_are_imported() -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("many.csv");
    let mut text = String::from("mode,model,latency_us\n");
    for i in 0..100_000_u32 {
        text.push_str(&format!("prefill,m,{}.5\n", 1000 + i % 977));
    }
    fs::write(&file, text)?;
    let out = folder.path().join("run").display().to_string();
    let begin = Instant::now();
    let told = good(&["import", &file.display().to_string(), "--out", &out])?;
    println!("100,000 samples in {:.2} s", begin.elapsed().as_secs_f64());
    assert!(told.contains("100000 calls, 0 failed"), "{told}");
    Ok(())
}

/// Sessions of one tool on both sides: what is 30 % slower is said to be, and what was measured here is no side for them.
#[test]
fn imported_runs_are_compared_with_each_other_and_with_nothing_else() -> Outcome {
    let folder = tempfile::tempdir()?;
    let run = |name: &str, factor: f64| -> Result<String, Box<dyn std::error::Error>> {
        let mut text = String::from("mode,model,scenario,session,latency_ms\n");
        for session in 0..6 {
            for call in 0..8 {
                let wobble = 1.0 + 0.002 * f64::from((session * 5 + call * 3) % 7);
                text.push_str(&format!("ttft,m,s,{session},{:.6}\n", 40.0 * wobble));
                text.push_str(&format!("kv_decode,m,s,{session},{:.6}\n", 100.0 * factor * wobble));
            }
        }
        let file = folder.path().join(format!("{name}.csv"));
        fs::write(&file, text)?;
        let out = folder.path().join(name).display().to_string();
        good(&["import", &file.display().to_string(), "--out", &out])?;
        Ok(out)
    };
    let (old, new) = (run("old", 1.0)?, run("new", 1.3)?);
    let output = phasebench(&["compare", &old, &new, "--drift", "1", "--json"])?;
    let told = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(5), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("\"slower\"") && told.contains("ttft"), "{told}");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/results/example");
    let output = phasebench(&["compare", example, &new])?;
    assert_eq!(output.status.code(), Some(8), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

/// AIPerf's file tells the most requests that were under way together, and not how many were asked for.
#[test]
fn the_peak_that_aiperf_saw_is_no_part_of_a_cell() -> Outcome {
    let folder = tempfile::tempdir()?;
    let run = |name: &str, peak: u64, factor: f64| -> Result<String, Box<dyn std::error::Error>> {
        let mut files = Vec::new();
        for session in 0..3_u32 {
            let mut text = String::new();
            for request in 0..24_u32 {
                // As many begin together as the peak says, and all end before the next ones begin.
                let begin = 1_000_000_000 * (1 + u64::from(request) / peak);
                let wobble = factor * (1.0 + 0.002 * f64::from((session * 5 + request * 3) % 7));
                let line = serde_json::json!({
                    "metadata": { "request_start_ns": begin, "request_end_ns": begin + 500_000_000,
                        "benchmark_phase": "profiling" },
                    "metrics": {
                        "input_sequence_length": { "value": 128, "unit": "tokens" },
                        "output_sequence_length": { "value": 32, "unit": "tokens" },
                        "time_to_first_token": { "value": 40.0 * wobble, "unit": "ms" },
                        "request_latency": { "value": 400.0 * wobble, "unit": "ms" },
                    },
                    "error": null,
                });
                text.push_str(&format!("{line}\n"));
            }
            let file = folder.path().join(format!("{name}-{session}.jsonl"));
            fs::write(&file, text)?;
            files.push(file.display().to_string());
        }
        let out = folder.path().join(name).display().to_string();
        let arguments: Vec<&str> =
            ["import"].into_iter().chain(files.iter().map(String::as_str)).chain(["--out", &out, "--json"]).collect();
        let told = good(&arguments)?;
        let seen = format!("up to {peak} requests at once");
        assert_eq!(told.contains(&seen), peak > 1, "{told}");
        Ok(out)
    };
    let (seven, eight, one) = (run("seven", 7, 1.0)?, run("eight", 8, 1.3)?, run("one", 1, 1.3)?);
    let output = phasebench(&["compare", &seven, &eight, "--drift", "0.5", "--json"])?;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let verdicts: Vec<_> = told["comparisons"][0]["cells"].as_array().ok_or("no cells")?.iter().collect();
    assert_eq!(output.status.code(), Some(5), "{told:#}");
    assert!(verdicts.iter().all(|cell| cell["verdict"] == "slower"), "{told:#}");
    assert_eq!(verdicts[0]["scenario"], "128→32 tokens, several at once");
    let output = phasebench(&["compare", &seven, &one])?;
    assert_eq!(output.status.code(), Some(8), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

/// Files that state a mean, a standard deviation and a number of calls: one a side shows the interval that follows, several a side
/// are sessions. What is stated without them is nothing for one file alone.
#[test]
fn what_is_stated_without_samples_is_compared_as_far_as_it_goes() -> Outcome {
    let folder = tempfile::tempdir()?;
    let import = |name: &str, texts: &[String], ending: &str| -> Result<String, Box<dyn std::error::Error>> {
        let mut files = Vec::new();
        for (session, text) in texts.iter().enumerate() {
            let file = folder.path().join(format!("{name}-{session}.{ending}"));
            fs::write(&file, text)?;
            files.push(file.display().to_string());
        }
        let out = folder.path().join(name).display().to_string();
        let arguments: Vec<&str> =
            ["import"].into_iter().chain(files.iter().map(String::as_str)).chain(["--out", &out]).collect();
        good(&arguments)?;
        Ok(out)
    };
    let compared = |a: &str, b: &str| -> Result<(Option<i32>, serde_json::Value), Box<dyn std::error::Error>> {
        let output = phasebench(&["compare", a, b, "--drift", "0.1", "--json"])?;
        let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        Ok((output.status.code(), told["comparisons"][0].clone()))
    };
    let sglang = |ttft: f64| {
        format!(
            "{{\"backend\": \"sglang\", \"dataset_name\": \"sharegpt\", \"request_rate\": 4.0, \"max_concurrency\": null, \
             \"completed\": 200, \"mean_ttft_ms\": {ttft}, \"std_ttft_ms\": 8.0}}\n"
        )
    };
    let (old, new) = (import("old", &[sglang(40.0)], "jsonl")?, import("new", &[sglang(50.0)], "jsonl")?);
    let (code, told) = compared(&old, &new)?;
    let cell = &told["cells"][0];
    let number = |key: &str| cell[key].as_f64().ok_or(key.to_owned());
    assert_eq!((code, &cell["verdict"], &cell["basis"]), (Some(8), &"undecided".into(), &"one_session".into()));
    assert!((number("ratio")? - 1.25).abs() < 1e-12 && cell["calls_a"] == 200, "{cell:#}");
    // Standard errors of the logarithms: 8 ÷ (mean × √200), as a sample's deviation, with the drift of 0.1 % of either side.
    let of_mean = |mean: f64| 8.0 * (200.0_f64 / 199.0).sqrt() / (mean * 200.0_f64.sqrt());
    let error = (of_mean(40.0).powi(2) + of_mean(50.0).powi(2) + 2.0 * 0.000_999_5_f64.powi(2)).sqrt();
    let half = (number("ratio_high")? / number("ratio_low")?).ln() / 2.0;
    assert!((half / error - 1.966).abs() < 0.004, "{} standard errors", half / error);
    assert!(told["notes"].to_string().contains("Without samples: of 1 cell"), "{told:#}");
    // Five files a side differ as sessions do.
    let five = |ttft: f64| [0.0, 0.1, -0.1, 0.2, -0.2].map(|by| sglang(ttft + by)).to_vec();
    let (old, new) = (import("old5", &five(40.0), "jsonl")?, import("new5", &five(50.0), "jsonl")?);
    let (code, told) = compared(&old, &new)?;
    assert_eq!((code, &told["cells"][0]["verdict"]), (Some(5), &"slower".into()), "{told:#}");

    let markdown = fs::read_to_string(format!("{DATA}/llama-bench/gpt2-25m.md"))?;
    let decoding = |rate: u32| markdown.replace(" 624.00 ", &format!(" {rate}.00 "));
    let (old, new) = (import("md", &[decoding(624)], "md")?, import("md-new", &[decoding(934)], "md")?);
    let (code, told) = compared(&old, &new)?;
    let reason = told["cells"][0]["reason"].as_str().ok_or("no reason")?;
    assert!(code == Some(8) && reason.contains("stated without samples, and without a standard deviation"), "{told:#}");
    let four = |rate: u32| [0, 1, 2, 3].map(|more| decoding(rate + more)).to_vec();
    let (old, new) = (import("md4", &four(624), "md")?, import("md4-new", &four(934), "md")?);
    let (code, told) = compared(&old, &new)?;
    let decode = told["cells"].as_array().and_then(|cells| cells.iter().find(|cell| cell["scenario"] == "tg64"));
    assert_eq!((code, &decode.ok_or("no tg64")?["verdict"]), (Some(0), &"faster".into()), "{told:#}");
    Ok(())
}
