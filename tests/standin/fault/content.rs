//! The bytes arrive, but a status says no, or the lines are not what they should be.

use serde_json::json;

use super::super::body::{CONTEXT_EXCEEDED, Metrics, context_exceeded, done, done_fields, line};
use super::super::reply::JSON;
use super::{Act, ESCAPE_CODES, Fault, SCRIPT_NAME};

/// The status.
impl Fault {
    /// 302 to another place; `to` goes into `location` as it is.
    pub fn redirect(to: &str) -> Self {
        let head = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        Self::new("redirect", move |_| vec![Act::Raw(head.clone().into())])
    }

    /// 503, as where the queue of requests is full.
    pub fn busy() -> Self {
        Self::error("busy", 503, "server busy, please try again.  maximum pending requests exceeded")
    }

    /// 500 before any line, as where the runner died.
    pub fn runner_stopped() -> Self {
        Self::error("runner stopped", 500, "model runner has unexpectedly stopped")
    }

    /// 404 with the name that was asked for.
    pub fn model_missing() -> Self {
        Self::new("model missing", |asked| {
            let text = format!("model '{}' not found", asked.model);
            vec![Act::Whole(404, JSON, json!({ "error": text }).to_string())]
        })
    }

    /// 400 where the prompt is longer than the context, as up to 0.24.
    pub fn context_exceeded_plain() -> Self {
        Self::error("context exceeded, plain", 400, CONTEXT_EXCEEDED)
    }

    /// 400 where the prompt is longer than the context, as from 0.30: a JSON document inside the error's text.
    pub fn context_exceeded_json() -> Self {
        Self::error("context exceeded, JSON", 400, &context_exceeded(9004, 1024))
    }

    /// 200 and no byte of a body.
    pub fn empty_body() -> Self {
        Self::whole("empty body", 200, JSON, String::new())
    }

    /// 500 with a body that is not JSON and has escape codes as they are.
    pub fn escape_codes_in_plain_error() -> Self {
        Self::whole("escape codes in a plain error", 500, "text/plain", ESCAPE_CODES.to_owned())
    }

    /// 500 with escape codes in the text of the error.
    pub fn escape_codes_in_error() -> Self {
        Self::error("escape codes in an error", 500, ESCAPE_CODES)
    }
}

/// The lines.
impl Fault {
    /// Two good lines, then an error in a line of its own, then an orderly end.
    pub fn error_line(text: &str) -> Self {
        let text = format!("{}\n", json!({ "error": text }));
        Self::ending("error line", move |_| text.clone())
    }

    /// Two good lines, then one that is not JSON, then a healthy end.
    pub fn wrong_json() -> Self {
        Self::after_two("wrong JSON", |asked| {
            vec![Act::Line("{\"model\":\"m\",\"response\":}\n".to_owned()), asked.done(), Act::End]
        })
    }

    /// A healthy reply whose last line comes twice.
    pub fn done_twice() -> Self {
        Self::after_two("done twice", |asked| vec![asked.done(), asked.done(), Act::End])
    }

    /// `done`, but no metrics.
    pub fn no_metrics() -> Self {
        Self::ending("no metrics", |asked| done(&asked.model, "length", &Metrics::default()))
    }

    /// `done`, but every duration is below zero.
    pub fn negative_durations() -> Self {
        Self::ending("negative durations", |asked| {
            let mut last = done_fields(&asked.model, "", "length", &Metrics::of(asked.tokens.max(2)));
            for (_, value) in last.iter_mut().filter(|(name, _)| name.ends_with("_duration")) {
                *value = json!(-1_000_000);
            }
            line(last)
        })
    }

    /// `done`, but the duration of decoding is the number 10^400, which no float holds.
    pub fn huge_number() -> Self {
        Self::ending("huge number", |asked| {
            let metrics = Metrics::of(asked.tokens.max(2));
            let field = |value: &str| format!("\"eval_duration\":{value}");
            let huge = format!("1{}", "0".repeat(400));
            done(&asked.model, "length", &metrics).replace(&field(&metrics.eval_ns.to_string()), &field(&huge))
        })
    }

    /// A reply that ends with `done_reason: length` but with one token less than was asked for.
    pub fn short_length() -> Self {
        Self::ending("short length", |asked| done(&asked.model, "length", &Metrics::of(asked.tokens.saturating_sub(1))))
    }

    /// A healthy reply, but of a model whose name is [`ESCAPE_CODES`].
    pub fn escape_codes_in_name() -> Self {
        Self::new("escape codes in a name", |asked| asked.renamed(ESCAPE_CODES).healthy())
    }

    /// A healthy reply, but of a model whose name is [`SCRIPT_NAME`].
    pub fn script_in_name() -> Self {
        Self::new("script in a name", |asked| asked.renamed(SCRIPT_NAME).healthy())
    }
}
