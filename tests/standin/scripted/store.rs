//! Models and their files: everything but generating.

use std::io;

use phasebench::hash::sha256_hex;
use serde_json::{Map, Value, json};

use super::super::http::Request;
use super::super::reply::Reply;
use super::super::shared::lock;
use super::model::Model;
use super::{Scripted, full_name, gguf};

/// When every model was last changed.
const MODIFIED_AT: &str = "2026-01-01T00:00:00Z";
/// When a model that is kept for ever leaves.
const EXPIRES_AT: &str = "2318-01-01T00:00:00Z";

/// An uploaded file.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    size: u64,
    /// `None`: it is not a GGUF file.
    info: Option<Map<String, Value>>,
}

impl Scripted {
    pub(super) fn tags(&self, reply: &mut Reply) -> io::Result<()> {
        let list = lock(&self.state).models.values().map(|model| self.tag(model)).collect::<Vec<_>>();
        reply.json(200, &json!({ "models": list }))
    }

    fn tag(&self, model: &Model) -> Value {
        json!({
            "name": model.name,
            "model": model.name,
            "modified_at": MODIFIED_AT,
            "size": model.size,
            "digest": model.digest,
            "details": model.details(self.is_new()),
            "capabilities": ["completion"],
        })
    }

    pub(super) fn ps(&self, reply: &mut Reply) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.loaded.retain_mut(|loaded| match &mut loaded.leaving {
            Some(0) => false,
            Some(polls) => {
                *polls -= 1;
                true
            }
            None => true,
        });
        let list: Vec<Value> = state
            .loaded
            .iter()
            .filter_map(|loaded| {
                let model = state.models.get(&loaded.name)?;
                // What is loaded is larger than its file: the context needs memory too.
                let size = model.size + 1024 * loaded.context;
                #[expect(
                    clippy::cast_precision_loss,
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a share of a size"
                )]
                let vram = (size as f64 * loaded.vram_share) as u64;
                Some(json!({
                    "name": model.name,
                    "model": model.name,
                    "size": size,
                    "digest": model.digest,
                    "details": model.details(false),
                    "expires_at": EXPIRES_AT,
                    "size_vram": vram,
                    "context_length": loaded.context,
                }))
            })
            .collect();
        drop(state);
        reply.json(200, &json!({ "models": list }))
    }

    pub(super) fn show(&self, request: &Request, reply: &mut Reply) -> io::Result<()> {
        let name = named(request);
        let found = lock(&self.state).models.get(&full_name(&name)).cloned();
        match found {
            Some(model) => reply.json(
                200,
                &json!({
                    "modelfile": format!("FROM {}\n", model.name),
                    "template": "{{ .Prompt }}",
                    "details": model.details(false),
                    "model_info": model.info,
                    "capabilities": ["completion"],
                    "modified_at": MODIFIED_AT,
                }),
            ),
            None => reply.error(404, &missing(&if self.is_new() { full_name(&name) } else { name })),
        }
    }

    pub(super) fn delete(&self, request: &Request, reply: &mut Reply) -> io::Result<()> {
        let name = named(request);
        let mut state = lock(&self.state);
        let full = full_name(&name);
        state.loaded.retain(|loaded| loaded.name != full);
        let known = state.models.remove(&full).is_some();
        drop(state);
        if known { reply.body(200, "", b"") } else { reply.error(404, &missing(&name)) }
    }

    pub(super) fn blob(&self, digest: &str, request: &Request, reply: &mut Reply) -> io::Result<()> {
        let known = lock(&self.state).blobs.contains_key(digest);
        if request.method == "HEAD" {
            return reply.body(if known { 200 } else { 404 }, "", b"");
        }
        if known {
            return reply.body(200, "", b"");
        }
        let real = format!("sha256:{}", sha256_hex(&request.body));
        if real != digest {
            return reply.error(400, &format!("digest mismatch, expected \"{digest}\", got \"{real}\""));
        }
        let blob = Blob { size: request.body.len() as u64, info: gguf::info(&request.body) };
        lock(&self.state).blobs.insert(real, blob);
        reply.body(201, "", b"")
    }

    pub(super) fn create(&self, request: &Request, reply: &mut Reply) -> io::Result<()> {
        let asked = request.json().unwrap_or_default();
        let file = asked["files"].as_object().and_then(|files| files.values().next()).and_then(Value::as_str);
        let digest = file.unwrap_or_default();
        let Some(blob) = lock(&self.state).blobs.get(digest).cloned() else {
            return reply.error(400, &format!("invalid digest \"{digest}\""));
        };
        let Some(info) = blob.info else {
            return reply.error(400, "unsupported content type: unknown");
        };
        let name = full_name(asked["model"].as_str().unwrap_or_default());
        let model = Model { name, size: blob.size, digest: digest.trim_start_matches("sha256:").to_owned(), info };
        let layer = if self.is_new() { "creating new" } else { "using existing" };
        let lines = ["parsing GGUF".to_owned(), format!("{layer} layer {digest}"), "writing manifest".to_owned()];
        lock(&self.state).models.insert(model.name.clone(), model);
        statuses(reply, lines)
    }

    pub(super) fn pull(&self, request: &Request, reply: &mut Reply) -> io::Result<()> {
        const MISSING: &str = "pull model manifest: file does not exist";
        let name = full_name(&named(request));
        let streams = request.json().is_ok_and(|body| body["stream"] != false);
        let Some(model) = self.script.registry.iter().find(|model| model.name == name).cloned() else {
            if !streams {
                return reply.error(500, MISSING);
            }
            reply.stream_head();
            reply.line("{\"status\":\"pulling manifest\"}\n")?;
            reply.line(&format!("{}\n", json!({ "error": MISSING })))?;
            return reply.end();
        };
        let lines = ["pulling manifest".to_owned(), format!("pulling {}", &model.digest[..12])];
        lock(&self.state).models.insert(name, model);
        if !streams {
            return reply.json(200, &json!({ "status": "success" }));
        }
        statuses(reply, lines)
    }
}

/// A stream of these states, then success.
fn statuses(reply: &mut Reply, lines: impl IntoIterator<Item = String>) -> io::Result<()> {
    reply.stream_head();
    for status in lines.into_iter().chain(["success".to_owned()]) {
        reply.line(&format!("{}\n", json!({ "status": status })))?;
    }
    reply.end()
}

/// The model that a request is about, as it says; older clients say `name`, and the real server takes that too.
fn named(request: &Request) -> String {
    let body = request.json().unwrap_or_default();
    body["model"].as_str().or(body["name"].as_str()).unwrap_or_default().to_owned()
}

/// The error where a model is not there.
pub(super) fn missing(name: &str) -> String {
    format!("model '{name}' not found")
}
