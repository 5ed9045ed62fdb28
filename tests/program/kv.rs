//! `phasebench kv` through the program itself.

use std::fs;
use std::process::{Command, Output};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const LLAMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/same-weights/tiny-llama");

fn kv(arguments: &[&str]) -> std::io::Result<Output> {
    Command::new(env!("CARGO_BIN_EXE_phasebench")).arg("kv").args(arguments).output()
}

fn json(arguments: &[&str]) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let output = kv(&[arguments, &["--json"]].concat())?;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Two layers with two key-value heads of 16: 2 × 2 × 2 × 16 elements a token.
#[test]
fn a_folder_is_reckoned_from_its_weights() -> Outcome {
    let found = json(&[LLAMA, "--dtype", "f32", "--context", "64,1000", "--batch", "3", "--memory", "2MiB"])?;
    assert_eq!((&found["n_kv_head"], &found["n_positions"]), (&2.into(), &256.into()));
    let (params, weights) = (found["params"].as_u64().ok_or("no params")?, found["weights_bytes"].as_u64());
    assert_eq!(weights, Some(4 * params));
    let cache = &found["caches"][0];
    assert_eq!(cache["bytes_per_token"], 2 * 2 * 2 * 16 * 4);
    assert_eq!(cache["contexts"][0]["mib"].as_f64(), Some((3 * 64 * 512) as f64 / 1_048_576.0));
    assert_eq!(cache["contexts"][1]["mib"].as_f64(), Some((3 * 256 * 512) as f64 / 1_048_576.0), "held at its longest");
    assert_eq!(cache["contexts"][1]["beyond_longest"], true);
    assert_eq!(cache["crossover_tokens"].as_u64(), Some(4 * params / 512));
    let room = (2 << 20) - 4 * params;
    assert_eq!(cache["longest_context"].as_u64(), Some((room / (3 * 512)).min(256)));
    assert_eq!(cache["contexts"][0]["largest_batch"].as_u64(), Some(room / (64 * 512)));
    assert_eq!(found["caches"][1]["bytes_per_token"], 2 * 2 * 2 * 16);
    assert_eq!(found["multi_head_of_equal_size"]["times_as_large"], 2.0);
    Ok(())
}

#[test]
fn a_family_that_nothing_here_runs_is_reckoned_from_its_configuration() -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("config.json");
    let text = r#"{"model_type": "mistral", "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "hidden_size": 4096}"#;
    fs::write(&file, text)?;
    let path = file.display().to_string();
    let found = json(&[&path, "--memory", "8GiB"])?;
    assert_eq!((&found["params"], &found["caches"][0]["longest_context"]), (&().into(), &().into()));
    let found = json(&[&path, "--memory", "8GiB", "--weights", "4GiB"])?;
    assert_eq!(found["caches"][0]["longest_context"].as_u64(), Some((4 << 30) / 131_072));
    let printed = String::from_utf8(kv(&[&path])?.stdout)?;
    assert!(printed.contains("give --weights SIZE") && printed.contains("128 KiB per token"), "{printed}");
    let output = kv(&["/no/such/model"])?;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: cannot read /no/such/model: "));
    Ok(())
}
