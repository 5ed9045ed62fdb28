//! The JSON lines of `/api/generate`.

use serde_json::{Map, Value, json};

/// What every line says of the moment it was made.
const CREATED_AT: &str = "2026-01-01T00:00:00.000000000Z";

/// The error where a prompt is longer than the context, up to 0.24.
pub const CONTEXT_EXCEEDED: &str = "the input length exceeds the context length";

/// The metrics of a reply's last line. Unit of the times: nanoseconds.
///
/// A zero is left out of the line, as the real server leaves it out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    /// From the request to the last line.
    pub total_ns: u64,
    /// Until the model was at hand.
    pub load_ns: u64,
    /// Tokens of the prompt.
    pub prompt_count: u64,
    /// Evaluating the prompt.
    pub prompt_ns: u64,
    /// Tokens generated, the one that ended the text included.
    pub eval_count: u64,
    /// From the first token to the last.
    pub eval_ns: u64,
}

impl Metrics {
    /// A reply of `tokens` tokens to a prompt of 5 that took a millisecond each.
    #[must_use]
    pub fn of(tokens: u64) -> Self {
        let (load_ns, prompt_ns, eval_ns) = (1_000_000, 5_000_000, 1_000_000 * tokens.saturating_sub(1));
        let total_ns = load_ns + prompt_ns + eval_ns;
        Self { total_ns, load_ns, prompt_count: 5, prompt_ns, eval_count: tokens, eval_ns }
    }
}

/// The fields that every line of a reply begins with.
#[must_use]
pub fn fields(model: &str, response: &str, done: bool) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("model".to_owned(), json!(model));
    line.insert("created_at".to_owned(), json!(CREATED_AT));
    line.insert("response".to_owned(), json!(response));
    line.insert("done".to_owned(), json!(done));
    line
}

/// The fields of a last line; `response` is empty in a stream.
#[must_use]
pub fn done_fields(model: &str, response: &str, reason: &str, metrics: &Metrics) -> Map<String, Value> {
    let mut line = fields(model, response, true);
    line.insert("done_reason".to_owned(), json!(reason));
    let numbers = [
        ("total_duration", metrics.total_ns),
        ("load_duration", metrics.load_ns),
        ("prompt_eval_count", metrics.prompt_count),
        ("prompt_eval_duration", metrics.prompt_ns),
        ("eval_count", metrics.eval_count),
        ("eval_duration", metrics.eval_ns),
    ];
    for (name, value) in numbers.into_iter().filter(|(_, value)| *value != 0) {
        line.insert(name.to_owned(), json!(value));
    }
    line
}

/// A line of a stream, its end included.
#[must_use]
pub fn line(fields: Map<String, Value>) -> String {
    format!("{}\n", Value::Object(fields))
}

/// A line with some text.
#[must_use]
pub fn token(model: &str, text: &str) -> String {
    line(fields(model, text, false))
}

/// The last line of a stream.
#[must_use]
pub fn done(model: &str, reason: &str, metrics: &Metrics) -> String {
    line(done_fields(model, "", reason, metrics))
}

/// The error where a prompt is longer than the context, from 0.30: a JSON document as text.
#[must_use]
pub fn context_exceeded(prompt_tokens: u64, context: u64) -> String {
    let message = format!(
        "request ({prompt_tokens} tokens) exceeds the available context size ({context} tokens), try increasing it"
    );
    let error = json!({
        "code": 400,
        "message": message,
        "type": "exceed_context_size_error",
        "n_prompt_tokens": prompt_tokens,
        "n_ctx": context,
    });
    json!({ "error": error }).to_string()
}
