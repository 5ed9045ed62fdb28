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
    Ok(())
}

#[test]
fn what_is_no_model_is_called_what_it_is() -> Outcome {
    let folder = tempfile::tempdir()?;
    let hub = folder.path().join("models--org--name");
    fs::create_dir_all(hub.join("snapshots/abc"))?;
    let hub = hub.display().to_string();
    for (model, said) in [
        ("/no/such/model", "/no/such/model: there is no such folder"),
        ("~/small", "~/small: `~` is not expanded here: write the home folder out"),
        (hub.as_str(), "is a folder of the hub's cache, the model itself is one of: snapshots/abc"),
    ] {
        let output = kv(&[model])?;
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.starts_with("error: ") && error.contains(said), "{error}");
    }
    let output = kv(&["/no/such/config_4.json"])?;
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: cannot read /no/such/config_4.json: "));
    Ok(())
}

/// A hybrid model, one with windows, and one that does not say which layers have them.
#[test]
fn layers_that_hold_less_than_the_context_are_reckoned_or_refused() -> Outcome {
    let folder = tempfile::tempdir()?;
    let of = |name: &str, keys: &str| -> std::io::Result<String> {
        let file = folder.path().join(name);
        let shape =
            r#""num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096"#;
        fs::write(&file, format!("{{{shape}, {keys}}}"))?;
        Ok(file.display().to_string())
    };
    let of_layer = 2 * 8 * 128 * 2;
    let hybrid = of("hybrid.json", r#""model_type": "jamba", "attn_layer_period": 8, "attn_layer_offset": 4"#)?;
    let found = json(&[&hybrid, "--dtype", "f16"])?;
    assert_eq!(found["caches"][0]["bytes_per_token"].as_u64(), Some(4 * of_layer));
    assert_eq!((&found["layers"]["whole_context"], &found["layers"]["without_cache"]), (&4.into(), &28.into()));
    let printed = String::from_utf8(kv(&[&hybrid])?.stdout)?;
    let said = "of its layers 4 hold the whole context, 28 a state of fixed size, which is not counted; told by \
                `attn_layer_period`";
    assert!(printed.contains(said), "{printed}");

    let windowed = of("windowed.json", r#""sliding_window": 1024, "sliding_window_pattern": 4"#)?;
    let found = json(&[&windowed, "--dtype", "f16", "--context", "512,8192"])?;
    let contexts = &found["caches"][0]["contexts"];
    let mib = |tokens: u64| (of_layer * (8 * tokens + 24 * tokens.min(1024))) as f64 / 1_048_576.0;
    assert_eq!(contexts[0]["mib"].as_f64(), Some(mib(512)));
    assert_eq!(contexts[1]["mib"].as_f64(), Some(mib(8192)));

    let all_windowed = of("all.json", r#""model_type": "mistral", "sliding_window": 64"#)?;
    let found = json(&[&all_windowed, "--memory", "8GiB", "--weights", "4GiB"])?;
    let cache = &found["caches"][0];
    assert_eq!((&cache["longest_context"], &cache["any_context"]), (&().into(), &true.into()), "{cache}");
    let found = json(&[&windowed, "--memory", "8GiB", "--weights", "4GiB"])?;
    let cache = &found["caches"][0];
    assert!(cache["longest_context"].is_u64() && cache["any_context"] == false, "{cache}");

    let none = of("none.json", r#""attn_layer_period": 64, "attn_layer_offset": 40"#)?;
    let printed = String::from_utf8(kv(&[&none])?.stdout)?;
    let said = "no layer keeps a cache that grows with the context; told by `attn_layer_period`";
    assert!(printed.contains(said) && printed.contains("0 B per token"), "{printed}");

    let untold = of("untold.json", r#""sliding_window": 1024"#)?;
    let output = kv(&[&untold])?;
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("`sliding_window`: it does not say which layers have the window"), "{error}");
    Ok(())
}
