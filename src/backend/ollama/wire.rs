//! The lines of a reply: every metric optional, nothing assumed.

use serde_json::{Map, Value};

use crate::backend::http::refusal;
use crate::backend::text::clean;
use crate::units::Nanos;

/// The metrics of a line that says `done: true`. A metric that is not there is `None`: zero means absent on this wire,
/// and absent never means zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Why it ended: `length`, `stop`, `load`, `unload`. `None`: not said.
    pub done_reason: Option<String>,
    /// From the request's arrival to the last token.
    pub total: Option<Nanos>,
    /// From the request's arrival to a runner being there; not zero when warm.
    pub load: Option<Nanos>,
    /// The prefill, by the clock of the server's version.
    pub prompt_eval: Option<Nanos>,
    /// The decode loop, by the clock of the server's version.
    pub eval: Option<Nanos>,
    /// Prompt tokens.
    pub prompt_eval_count: Option<u32>,
    /// Of these, taken from a cache; only later versions say.
    pub prompt_eval_cached_count: Option<u32>,
    /// New tokens.
    pub eval_count: Option<u32>,
}

/// What a stream of lines came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stream {
    /// The metrics of the first final line. `None`: there was none.
    pub metrics: Option<Metrics>,
    /// Final lines.
    pub final_lines: u32,
    /// Lines with a piece of text. Not tokens.
    pub pieces: u32,
    /// The text of all pieces.
    pub text: String,
    /// An error line, with the server's words made harmless.
    pub error: Option<String>,
    /// The first line that is no reply: what is wrong with it.
    pub malformed: Option<String>,
    /// Log-probabilities as they came, one per token that the server could show.
    pub logprobs: Vec<Value>,
}

/// Reads the lines of a generate reply. Lines after an error or a malformed one are not read.
pub fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Stream {
    let mut stream = Stream::default();
    for (number, line) in lines.enumerate() {
        if let Err(why) = line_into(line, &mut stream) {
            stream.malformed = Some(format!("line {}: {why}", number + 1));
            break;
        }
        if stream.error.is_some() {
            break;
        }
    }
    stream
}

fn line_into(line: &[u8], stream: &mut Stream) -> Result<(), String> {
    let value: Value = serde_json::from_slice(line).map_err(|e| format!("no JSON that can be read: {e}"))?;
    let Value::Object(fields) = value else { return Err("no JSON object".to_owned()) };
    if let Some(error) = fields.get("error") {
        stream.error = Some(refusal::error_text(error));
        return Ok(());
    }
    if let Some(Value::Array(logprobs)) = fields.get("logprobs") {
        stream.logprobs.extend(logprobs.iter().cloned());
    }
    let piece = fields.get("response").and_then(Value::as_str).unwrap_or_default();
    stream.text.push_str(piece);
    stream.pieces += u32::from(!piece.is_empty());
    if fields.get("done").and_then(Value::as_bool) == Some(true) {
        let metrics = metrics(&fields)?;
        stream.final_lines += 1;
        stream.metrics.get_or_insert(metrics);
    }
    Ok(())
}

fn metrics(fields: &Map<String, Value>) -> Result<Metrics, String> {
    let duration = |key: &str| Ok::<_, String>(number(fields, key)?.map(Nanos));
    let count = |key: &str| {
        let count = number(fields, key)?;
        count.map(|n| u32::try_from(n).map_err(|_| format!("`{key}` is {n}"))).transpose()
    };
    Ok(Metrics {
        done_reason: fields.get("done_reason").and_then(Value::as_str).map(clean).filter(|reason| !reason.is_empty()),
        total: duration("total_duration")?,
        load: duration("load_duration")?,
        prompt_eval: duration("prompt_eval_duration")?,
        eval: duration("eval_duration")?,
        prompt_eval_count: count("prompt_eval_count")?,
        prompt_eval_cached_count: count("prompt_eval_cached_count")?,
        eval_count: count("eval_count")?,
    })
}

/// A whole number that is not negative. Absent, `null` and 0 are `None`.
fn number(fields: &Map<String, Value>, key: &str) -> Result<Option<u64>, String> {
    match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(0) => Ok(None),
            Some(number) => Ok(Some(number)),
            None => Err(format!("`{key}` is {}", clean(&value.to_string()))),
        },
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn stream(text: &str) -> Stream {
        read(text.as_bytes().split(|&b| b == b'\n').filter(|line| !line.is_empty()))
    }

    #[test]
    fn absent_and_zero_are_the_same_and_none() {
        let found = stream(r#"{"done":true,"eval_count":1,"eval_duration":0,"load_duration":null}"#).metrics.unwrap();
        assert_eq!((found.eval_count, found.eval, found.load, found.total), (Some(1), None, None, None));
    }

    #[test]
    fn impossible_numbers_are_named() {
        for (line, why) in [
            (r#"{"done":true,"eval_duration":-5}"#, "`eval_duration` is -5"),
            (r#"{"done":true,"eval_count":1.5}"#, "`eval_count` is 1.5"),
            (r#"{"done":true,"eval_count":99999999999}"#, "`eval_count` is 99999999999"),
            (r#"{"done":true,"total_duration":"\u001b[31mten"}"#, "`total_duration` is \"\\u001b[31mten\""),
            ("[1]", "no JSON object"),
        ] {
            assert_eq!(stream(line).malformed.unwrap(), format!("line 1: {why}"));
        }
        let huge = format!(r#"{{"done":true,"eval_duration":1{}}}"#, "0".repeat(400));
        assert!(stream(&huge).malformed.unwrap().contains("out of range"));
    }

    #[test]
    fn an_error_line_ends_the_stream() {
        let found = stream("{\"response\":\"a\",\"done\":false}\n{\"error\":\"unexpected EOF\"}\n{\"done\":true}");
        assert_eq!((found.pieces, found.error.as_deref(), found.metrics), (1, Some("unexpected EOF"), None));
    }

    #[test]
    fn a_second_final_line_is_counted() {
        let found = stream("{\"done\":true,\"eval_count\":3}\n{\"done\":true,\"eval_count\":4}");
        assert_eq!((found.final_lines, found.metrics.unwrap().eval_count), (2, Some(3)));
    }
}
