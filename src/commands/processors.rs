//! Whether a scenario asks for more threads than there are processors for them.

use crate::manifest;
use crate::record::manifest::Machine;
use crate::scenario::ScenarioFile;

/// Tells of every backend that asks for more threads than this process may use processors.
pub fn warn(file: &ScenarioFile) {
    if file.backends.iter().any(|backend| backend.engine.limits().threads().is_some()) {
        beyond(file, &manifest::machine::collect()).iter().for_each(|message| crate::terminal::warn(message));
    }
}

fn beyond(file: &ScenarioFile, machine: &Machine) -> Vec<String> {
    let usable = machine.usable_processors();
    let asking = file.backends.iter().filter_map(|backend| {
        let threads = backend.engine.limits().threads().filter(|&threads| f64::from(threads) > usable)?;
        let name = &backend.name;
        let threads = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
        Some(format!("backend `{name}` asks for {threads}, and this process may use {}", machine.usable()))
    });
    asking.collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn both_numbers_are_told() {
        let text = "version: 1\nname: n\nseed: 1\nrepetitions: { fixed: 1 }\ngen_tokens: [1]\nmodes: [prefill]\nscenarios:\n  - { name: s, prompt: { tokens: 4 } }\nmodels:\n  - { name: m, synthetic: { family: gpt2, n_layer: 1, n_embd: 8, n_head: 1 } }\nbackends:\n  - { name: many, onnx: { provider: cpu, threads: 64 } }\n  - { name: few, onnx: { provider: cpu, threads: 1 } }\n  - { name: own, onnx: { provider: cpu } }\n";
        let file = crate::scenario::parse(text, Path::new("s.yaml"), Path::new("")).unwrap();
        let mut machine: Machine =
            serde_json::from_str(r#"{ "arch": "x86_64", "logical_cores": 2, "governors": {} }"#).unwrap();
        assert_eq!(
            beyond(&file, &machine),
            ["backend `many` asks for 64 threads, and this process may use 2 processors"]
        );
        machine.cpu_quota_cores = Some(0.5);
        let told = beyond(&file, &machine);
        let held = "and this process may use 0.5 of 2 processors (granted by a control group)";
        assert_eq!(
            told,
            [format!("backend `many` asks for 64 threads, {held}"), format!("backend `few` asks for 1 thread, {held}")]
        );
    }
}
