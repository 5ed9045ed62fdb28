//! What scenario files expand to.

use std::collections::BTreeSet;

use phasebench::plan::{self, Only};
use phasebench::record::plan::{Cell, Plan};
use phasebench::scenario::ScenarioFile;
use phasebench::schedule;
use phasebench::terms::{Mode, Procedure};
use phasebench::units::{Bytes, Nanos};

use super::{BUDGET, expand, facts, parse, random};

fn all(text: &str) -> (ScenarioFile, Plan) {
    let spec = parse(text).unwrap_or_else(|error| panic!("{error}"));
    let plan = expand(&spec, &Only::default());
    (spec, plan)
}

/// How many cells one model on one backend has without skips, counted by modes instead of by calls.
fn per_session(spec: &ScenarioFile) -> usize {
    let has = |mode| spec.modes.contains(&mode);
    let decoding = usize::from(has(Mode::KvDecode)) + usize::from(has(Mode::GenerateUncached));
    let prefill_alone = usize::from(has(Mode::Prefill) && !has(Mode::KvDecode));
    spec.scenarios.iter().map(|s| s.gen_tokens.len() * decoding + prefill_alone).sum()
}

#[test]
fn a_plan_has_as_many_cells_as_the_axes_multiply_to() {
    for seed in 0..300 {
        let (spec, plan) = all(&random::scenario_file(seed));
        let size = spec.backends.len() * spec.models.len() * per_session(&spec);
        assert_eq!(plan.cells.len() + plan.skipped.len(), size, "seed {seed}");
        assert_eq!(plan.skipped.len(), spec.skip.len() * per_session(&spec), "seed {seed}");
        assert!(plan.skipped.iter().all(|s| s.rule == "skip" && s.reason == "no"), "seed {seed}");

        let ids: BTreeSet<&str> =
            plan.cells.iter().chain(plan.skipped.iter().map(|s| &s.cell)).map(|c| c.id.0.as_str()).collect();
        assert_eq!(ids.len(), size, "seed {seed}: ids are unique");
        assert!(ids.iter().all(|id| id.len() == 12), "seed {seed}");
        for cell in &plan.cells {
            assert_eq!(plan.sessions.iter().filter(|s| s.key == cell.session).count(), 1, "seed {seed}");
            assert_eq!(cell.gen_tokens == 0, cell.procedure == Procedure::Prefill, "seed {seed}");
        }
        assert_eq!(expand(&spec, &Only::default()), plan, "seed {seed}: the same again");
    }
}

const SMALL: &str = "
version: 1
name: small
gen_tokens: [8, 16]
repetitions: { min: 3, max: 10 }
scenarios:
  - { name: short, prompt: { tokens: 4 } }
  - { name: long, prompt: { tokens: 100 } }
models:
  - { name: tiny, synthetic: { family: gpt2, n_layer: 2, n_embd: 32, n_head: 4, vocab: 300, n_positions: 64 } }
  - { name: other, synthetic: { family: gpt2, n_layer: 2, n_embd: 32, n_head: 4, vocab: 300 } }
backends:
  - { name: cpu, onnx: { threads: 1 } }
  - { name: half, warmups: 3, onnx: { dtype: f16 } }
";

#[test]
fn ids_depend_on_what_a_cell_is_and_on_nothing_else() {
    let (_, plan) = all(SMALL);
    let (_, reseeded) = all(&SMALL.replace("name: small", "name: renamed\nseed: 3\norder: shuffled"));
    let ids = |plan: &Plan| plan.cells.iter().map(|c| c.id.0.clone()).collect::<BTreeSet<_>>();
    assert_eq!(ids(&plan), ids(&reseeded));
    let (_, longer) = all(&SMALL.replace("tokens: 4 }", "tokens: 5 }"));
    let shared = ids(&plan).intersection(&ids(&longer)).count();
    assert_eq!(shared, plan.cells.len() / 3, "only the two cells of `other` and `long` per backend stay");
    // SHA-256 of its key as compact JSON with sorted keys. Written down, so that runs of different versions of this program can be compared cell by cell.
    assert_eq!(plan.cells[0].id.0, "4bd91ebbea29");
}

#[test]
fn boards_are_measured_where_a_backend_asks_for_one() {
    for (engine, asked) in [
        ("onnx: {}", false),
        ("onnx: { provider: openvino }", false),
        ("onnx: { provider: cuda }", true),
        ("onnx: { provider: tensorrt }", true),
        ("torch: {}", false),
        ("torch: { device: cuda }", true),
        ("ollama: {}", false),
        ("ollama: { device: gpu }", true),
        ("worker: { command: [program], device: \"cuda:1\" }", true),
        ("worker: { command: [program] }", false),
    ] {
        let other = format!("  - {{ name: other, {engine} }}\n");
        let (_, plan) = all(&SMALL.replace("  - { name: half, warmups: 3, onnx: { dtype: f16 } }\n", &other));
        let rule = plan.reference.clone().unwrap();
        assert_eq!(rule.boards, asked, "{engine}");
        // A plan without boards is what it was before there were any.
        assert_eq!(serde_json::to_string(&plan).unwrap().contains("boards"), asked, "{engine}");
        assert_eq!(rule.takes(2) > Nanos(800_000_000), asked, "{engine}: {}", rule.takes(2));
    }
}

#[test]
fn a_prompt_beyond_the_context_is_skipped_with_the_numbers() {
    let (_, plan) = all(SMALL);
    assert_eq!((plan.cells.len(), plan.skipped.len()), (12, 4));
    let first = &plan.skipped[0];
    assert_eq!((first.cell.session.model.as_str(), first.cell.scenario.as_str()), ("tiny", "long"));
    assert_eq!(first.rule, "context_exceeded");
    assert_eq!(first.reason, "100 prompt tokens and 8 decode steps exceed the context of 64");
    let (_, fits) = all(&SMALL.replace("tokens: 100", "tokens: 48"));
    assert!(fits.skipped.is_empty(), "48 + 16 = 64 is the whole context");
}

#[test]
fn a_session_that_does_not_fit_into_memory_is_skipped_with_the_numbers() {
    let (spec, _) = all(SMALL);
    let plan = plan::expand(&spec, &facts(&spec), Bytes(1 << 20), &Only::default()).unwrap();
    assert!(plan.cells.is_empty() && plan.sessions.is_empty());
    let memory: Vec<&str> = plan.skipped.iter().filter(|s| s.rule == "memory").map(|s| s.reason.as_str()).collect();
    assert_eq!(memory.len(), 12);
    assert!(memory[0].starts_with("needs about 64") && memory[0].ends_with("allowed: 1.00 MiB (limits.memory)"));
}

#[test]
fn resident_memory_counts_packed_weights_and_the_largest_cache() {
    let (spec, plan) = all(SMALL);
    let facts = facts(&spec);
    let other = plan.sessions.iter().find(|s| s.key.model == "other" && s.key.backend == "cpu").unwrap();
    let weights = facts[1].params.unwrap() * 4;
    // 2 layers × (keys and values) × 32 wide × 4 bytes × 116 tokens, before and after a step.
    let cache = 2 * 2 * 32 * 4 * 116 * 2;
    assert_eq!(other.resident_bytes, Bytes(weights / 5 * 11 + cache + (64 << 20)));
}

#[test]
fn only_keeps_what_it_names() {
    let (spec, plan) = all(SMALL);
    let only = |text: &str| Only::parse(&text.split(',').collect::<Vec<_>>(), &spec);
    let kept = expand(&spec, &only("backend=cpu,model=other").unwrap());
    assert!(kept.cells.iter().all(|c| c.session.backend == "cpu" && c.session.model == "other"));
    assert_eq!((kept.cells.len(), kept.sessions.len()), (4, 1));
    assert_eq!(kept.cells.len() + kept.skipped.len(), plan.cells.len() + plan.skipped.len());
    assert_eq!(kept.skipped[0].reason, "not selected by --only backend=cpu,model=other");
    let both = expand(&spec, &only("model=other, model=tiny").unwrap());
    assert_eq!(both.cells.len(), plan.cells.len(), "a key given twice keeps either value");
    for (text, message) in [
        ("model", "--only: `model` is not key=value, known keys: backend, model, scenario"),
        ("", "--only: `` is not key=value, known keys: backend, model, scenario"),
        ("engine=onnx", "--only: unknown key `engine`, known: backend, model, scenario"),
        ("model=othr", "--only: there is no model `othr`, known: tiny, other; nearest: other"),
        ("scenario=xyz", "--only: there is no scenario `xyz`, known: short, long"),
    ] {
        assert_eq!(only(text).unwrap_err().to_string(), message);
    }
}

#[test]
fn calls_and_time_are_counted_from_fewest_to_most() {
    let (spec, plan) = all(SMALL);
    let work = schedule::work(&plan);
    let (least, most) = (work.0.counts(), work.1.counts());
    // Per backend 6 cells; one warmup each on `cpu`, three on `half`. No cell is narrow enough before 8 calls.
    assert_eq!((least.warmup, least.timed, most.timed), (6 + 18, 12 * 8, 12 * 10));
    assert_eq!((least.loads, least.rewarm, most.warmup), (4, 0, 6 + 18));
    let time = plan::time_range(&plan, &spec, &facts(&spec), &work);
    assert!(Nanos(0) < time.min && time.min < time.max, "{time:?}");
    let (unwarmed, bare) =
        all(&SMALL.replace("warmups: 3", "warmups: 0").replace("gen_tokens", "warmups: 0\ngen_tokens"));
    let work = schedule::work(&bare);
    assert_eq!(work.0.counts().warmup, 4, "a session's first call is cold, so never a timed one");
    assert!(plan::time_range(&bare, &unwarmed, &facts(&unwarmed), &work).min < time.min);
}

#[test]
fn the_hash_is_of_the_written_plan() {
    let (_, plan) = all(SMALL);
    let json = plan::to_json(&plan).unwrap();
    let read: Plan = serde_json::from_slice(&json).unwrap();
    assert_eq!(read, plan);
    assert_eq!(plan::plan_sha256(&read).unwrap(), plan::plan_sha256(&plan).unwrap());
    let mut other = plan.clone();
    other.memory_budget_bytes = Bytes(BUDGET.0 + 1);
    assert_ne!(plan::plan_sha256(&other).unwrap(), plan::plan_sha256(&plan).unwrap());
}

#[test]
fn what_a_server_cannot_do_is_skipped_by_rule() {
    let (_, plan) =
        all("version: 1\nname: s\nmodes: [prefill, kv_decode, generate_uncached]\ngen_tokens: [8]\nscenarios:\n\
         - { name: one, prompt: { tokens: 1 } }\n\
         - { name: three, prompt: { tokens: 3 } }\n\
         - { name: good, prompt: { tokens: 16 } }\n\
         - { name: rows, prompt: { tokens: 16 }, batch: 2 }\n\
         - { name: long, prompt: { tokens: 56 } }\n\
         models:\n\
         - { name: own, synthetic: { family: gpt2, n_layer: 1, n_embd: 4, n_head: 1, vocab: 300 } }\n\
         - { name: served, ollama: \"some:1b\" }\n\
         backends:\n\
         - { name: ort, onnx: { provider: cpu } }\n\
         - { name: server, ollama: { num_ctx: 64 } }\n");
    let rules = |backend: &str, model: &str| -> Vec<(String, String)> {
        let here = |cell: &Cell| {
            cell.session.backend == backend && cell.session.model == model && cell.procedure != Procedure::Uncached
        };
        let skipped = plan.skipped.iter().filter(|s| here(&s.cell));
        skipped.map(|s| (s.cell.scenario.clone(), s.rule.clone())).collect()
    };
    let named = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(scenario, rule)| ((*scenario).to_owned(), (*rule).to_owned())).collect()
    };
    let own = [("one", "prompt_too_short"), ("rows", "batch_unsupported"), ("long", "context_exceeded")];
    assert_eq!(rules("server", "own"), named(&own));
    let served = [&own[..1], &[("three", "prompt_too_short")], &own[1..]].concat();
    assert_eq!(rules("server", "served"), named(&served));
    assert!(rules("ort", "own").is_empty());
    assert!(rules("ort", "served").iter().all(|(_, rule)| rule == "no_source"));
    let uncached = plan.skipped.iter().filter(|s| s.cell.procedure == Procedure::Uncached);
    assert!(uncached.filter(|s| s.cell.session.backend == "server").all(|s| s.rule == "mode_unsupported"));
    // 56 tokens and 8 steps fit into 64, but not with the token that the server returns last.
    let good = plan.cells.iter().filter(|c| c.session.backend == "server" && c.scenario == "good").count();
    assert_eq!(good, 2);
}

#[test]
fn compiled_torch_is_not_asked_to_work_without_a_cache() {
    let (_, plan) = all("version: 1\nname: s\nmodes: [prefill, kv_decode, generate_uncached]\ngen_tokens: [8]\n\
         scenarios: [{ name: s, prompt: { tokens: 8 } }]\n\
         models: [{ name: m, synthetic: { family: gpt2, n_layer: 1, n_embd: 4, n_head: 1, vocab: 300 } }]\n\
         backends:\n\
         - { name: eager, torch: {} }\n\
         - { name: compiled, torch: { compile: {} } }\n");
    let skipped: Vec<_> =
        plan.skipped.iter().map(|s| (s.cell.session.backend.as_str(), s.cell.procedure, s.rule.as_str())).collect();
    assert_eq!(skipped, [("compiled", Procedure::Uncached, "mode_unsupported")]);
    assert_eq!(plan.cells.len(), 3);
}

#[test]
fn prompts_are_held_against_buckets_before_anything_runs() {
    let (_, plan) = all("version: 1\nname: s\nmodes: [kv_decode]\ngen_tokens: [8]\n\
         scenarios:\n\
         - { name: fits, prompt: { tokens: 64 } }\n\
         - { name: long, prompt: { tokens: 65 } }\n\
         models: [{ name: m, synthetic: { family: gpt2, n_layer: 1, n_embd: 4, n_head: 1, vocab: 300 } }]\n\
         backends:\n\
         - { name: padded, torch: { compile: { buckets: [16, 64] } } }\n\
         - { name: vast, torch: { compile: { buckets: [16, 100000] } } }\n\
         - { name: free, torch: { compile: {} } }\n");
    let skipped: Vec<_> = plan
        .skipped
        .iter()
        .map(|s| (s.cell.session.backend.as_str(), s.cell.scenario.as_str(), s.rule.as_str(), s.reason.as_str()))
        .collect();
    let vast = "a bucket of 100000 tokens exceeds the context of 1024";
    assert_eq!(
        skipped,
        [
            ("padded", "long", "prompt_too_long", "65 prompt tokens exceed the largest bucket, 64"),
            ("vast", "fits", "context_exceeded", vast),
            ("vast", "long", "context_exceeded", vast),
        ]
    );
    assert_eq!(plan.cells.len(), 3);
}

#[test]
fn facts_are_needed_for_every_model() {
    let (spec, _) = all(SMALL);
    let error = plan::expand(&spec, &facts(&spec)[..1], BUDGET, &Only::default()).unwrap_err();
    assert_eq!(error.to_string(), "nothing is known about model `other`");
}
