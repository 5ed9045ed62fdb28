//! The scripted server's store: what it lists, takes in and gives away.

use phasebench::hash::sha256_hex;
use serde_json::{Value, json};

use crate::standin::Server;
use crate::standin::replay::Exchange;
use crate::standin::scripted::Script;
use crate::standin::scripted::model::Model;
use crate::standin_test::client::{Answer, ask};
use crate::standin_test::scripts::{get, hasty, post, start, tiny};

/// A small GGUF file: two layers, 30 parameters, a vocabulary.
fn gguf() -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let pair = |key: &str, kind: u32, value: &[u8]| [&text(key), kind.to_le_bytes().as_slice(), value].concat();
    let tensor = |name: &str, dimensions: &[u64]| {
        let count = u32::try_from(dimensions.len()).unwrap().to_le_bytes();
        let dimensions: Vec<u8> = dimensions.iter().flat_map(|items| items.to_le_bytes()).collect();
        [&text(name), count.as_slice(), &dimensions, &[0; 12]].concat()
    };
    let vocabulary = [8_u32.to_le_bytes().as_slice(), &2_u64.to_le_bytes(), &text("a"), &text("b")].concat();
    let parts = [
        [b"GGUF".as_slice(), &3_u32.to_le_bytes(), &2_u64.to_le_bytes(), &5_u64.to_le_bytes()].concat(),
        pair("general.architecture", 8, &text("llama")),
        pair("general.file_type", 4, &0_u32.to_le_bytes()),
        pair("llama.block_count", 4, &2_u32.to_le_bytes()),
        pair("llama.attention.layer_norm_rms_epsilon", 6, &1e-5_f32.to_le_bytes()),
        pair("tokenizer.ggml.tokens", 9, &vocabulary),
        tensor("a.weight", &[4, 6]),
        tensor("a.bias", &[6]),
    ];
    parts.concat()
}

fn blob(server: &Server, method: &str, digest: &str, body: &[u8]) -> Answer {
    ask(server.address(), method, &format!("/api/blobs/sha256:{digest}"), body)
}

#[test]
fn the_lists_have_the_recorded_fields() {
    let (_, server) = start(hasty());
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let recorded = |name| -> Value {
        let exchange = Exchange::recorded("v0.33.0-rc2", name).unwrap();
        serde_json::from_str(&exchange.response.lines[0].text).unwrap()
    };
    post(&server, "/api/generate", &json!({ "model": "tiny", "keep_alive": -1 }));
    assert_eq!(get(&server, "/api/version"), recorded("version"));
    for (path, name) in [("/api/tags", "tags"), ("/api/ps", "ps-loaded")] {
        let (ours, theirs) = (&get(&server, path)["models"][0], &recorded(name)["models"][0]);
        assert_eq!(keys(ours), keys(theirs), "{path}");
        assert_eq!(keys(&ours["details"]), keys(&theirs["details"]), "{path}");
    }
    let (ours, theirs) =
        (post(&server, "/api/show", &json!({ "model": "tiny" })).json(), recorded("show-tiny-llama-bpe"));
    assert_eq!(ours["details"], theirs["details"]);
    for (key, value) in ours["model_info"].as_object().unwrap() {
        // Our tiny model has as many heads for keys as for queries.
        assert!(*value == theirs["model_info"][key] || key == "llama.attention.head_count_kv", "{key}");
    }
}

#[test]
fn a_missing_model_is_said_as_recorded() {
    for version in ["v0.24.0", "v0.33.0-rc2"] {
        let (_, server) = start(Script { version: version[1..].to_owned(), ..hasty() });
        for (path, name) in [("/api/show", "show-missing"), ("/api/generate", "error-missing-model")] {
            let exchange = Exchange::recorded(version, name).unwrap();
            let answer = post(&server, path, &exchange.request.body.unwrap());
            let (status, text) = (exchange.response.status, &exchange.response.lines[0].text);
            assert_eq!((answer.status(), &answer.text()), (Some(status), text), "{version} {path}");
        }
    }
}

#[test]
fn a_file_is_taken_in_checked_and_made_a_model() {
    let (model, server) = start(hasty());
    let file = gguf();
    let digest = sha256_hex(&file);
    assert_eq!(blob(&server, "HEAD", &digest, b"").status(), Some(404));
    let create = json!({ "model": "mine", "files": { "mine.gguf": format!("sha256:{digest}") } });
    assert_eq!(post(&server, "/api/create", &create).status(), Some(400));

    let wrong = blob(&server, "POST", &digest, &file[1..]);
    assert!(wrong.json()["error"].as_str().unwrap().starts_with("digest mismatch"));
    assert_eq!(wrong.status(), Some(400));
    let found = ["POST", "POST", "HEAD"].map(|method| blob(&server, method, &digest, &file).status());
    assert_eq!(found, [Some(201), Some(200), Some(200)]);

    let lines = post(&server, "/api/create", &create).lines();
    assert_eq!(lines.last().unwrap().as_ref().unwrap(), &json!({ "status": "success" }));
    let shown = post(&server, "/api/show", &json!({ "model": "mine:latest" })).json();
    let expected = json!({
        "general.architecture": "llama", "general.file_type": 0, "general.parameter_count": 30,
        "llama.attention.layer_norm_rms_epsilon": 0.00001, "llama.block_count": 2, "tokenizer.ggml.tokens": null,
    });
    assert_eq!(shown["model_info"], expected);
    assert_eq!(
        (&shown["details"]["parameter_size"], &shown["details"]["quantization_level"]),
        (&json!("30"), &json!("unknown"))
    );
    assert_eq!(post(&server, "/api/generate", &json!({ "model": "mine" })).json()["done_reason"], "load");

    let delete = || ask(server.address(), "DELETE", "/api/delete", b"{\"model\":\"mine\"}").status();
    assert_eq!([delete(), delete()], [Some(200), Some(404)]);
    assert!(model.loaded().is_empty() && model.models().len() == 1);
}

#[test]
fn a_file_that_is_no_model_is_refused() {
    let (_, server) = start(hasty());
    // The last cuts the file inside its head.
    for file in [b"not a model".to_vec(), gguf()[..60].to_vec()] {
        let digest = sha256_hex(&file);
        assert_eq!(blob(&server, "POST", &digest, &file).status(), Some(201));
        let create = json!({ "model": "mine", "files": { "mine.gguf": format!("sha256:{digest}") } });
        assert_eq!(post(&server, "/api/create", &create).status(), Some(400));
    }
}

#[test]
fn a_pull_ends_with_the_model_or_an_error() {
    let (model, server) = start(Script { registry: vec![Model { name: "far:1b".to_owned(), ..tiny() }], ..hasty() });
    let last = |name: &str| {
        let lines = post(&server, "/api/pull", &json!({ "model": name })).lines();
        lines.last().unwrap().clone().unwrap()
    };
    assert_eq!(last("far:1b"), json!({ "status": "success" }));
    assert!(last("nowhere")["error"].as_str().unwrap().contains("does not exist"));
    let names: Vec<String> = model.models().into_iter().collect();
    assert_eq!(names, ["far:1b", "tiny:latest"]);
}
