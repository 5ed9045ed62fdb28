//! Random scenario files that are good, from a seed.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The text of a scenario file with random axes, modes and skips. Everything fits into context and memory.
pub fn scenario_file(seed: u64) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let steps = |random: &mut ChaCha8Rng| {
        let mut steps: Vec<u32> = (0..random.random_range(1..4)).map(|_| random.random_range(1..100)).collect();
        steps.sort_unstable();
        steps.dedup();
        format!("{steps:?}")
    };
    let mut modes = ["prefill", "kv_decode", "generate_uncached"].to_vec();
    modes.retain(|_| random.random_bool(0.6));
    if modes.is_empty() {
        modes.push("prefill");
    }
    let mut text = format!("version: 1\nname: random\nseed: {seed}\nmodes: [{}]\n", modes.join(", "));
    text += &format!("gen_tokens: {}\nscenarios:\n", steps(&mut random));
    let scenarios = random.random_range(1..5);
    for i in 0..scenarios {
        let own = if random.random_bool(0.3) { format!(", gen_tokens: {}", steps(&mut random)) } else { String::new() };
        let (tokens, batch) = (random.random_range(1..200), random.random_range(1..5));
        text += &format!("  - {{ name: s{i}, prompt: {{ tokens: {tokens} }}, batch: {batch}{own} }}\n");
    }
    text += "models:\n";
    let models = random.random_range(1..5);
    for i in 0..models {
        let layers = random.random_range(1..6);
        text += &format!(
            "  - {{ name: m{i}, synthetic: {{ family: gpt2, n_layer: {layers}, n_embd: 32, n_head: 4, vocab: 300 }} }}\n"
        );
    }
    text += "backends:\n";
    let backends = random.random_range(1..4);
    for i in 0..backends {
        text += &format!("  - {{ name: b{i}, onnx: {{ threads: {} }} }}\n", i + 1);
    }
    // One rule per model at most, so that no rule is covered by an earlier one.
    let rules: Vec<String> = (0..models)
        .filter_map(|model| {
            let backend = random.random_range(0..backends);
            random.random_bool(0.3).then(|| format!("  - {{ model: m{model}, backend: b{backend}, reason: no }}\n"))
        })
        .collect();
    if !rules.is_empty() {
        text += "skip:\n";
        text += &rules.concat();
    }
    text
}
