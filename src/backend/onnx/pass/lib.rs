//! One forward pass through ONNX Runtime and the choice of the next token: what this program does inside timed windows. A
//! crate of its own, so that it is optimised where the rest need not be.

pub mod argmax;
pub mod batch;
pub mod forward;
pub mod graph;

/// The runtime's words, without the place in its source that it puts before them.
#[must_use]
pub fn error_text(error: &ort::Error) -> String {
    without_place(error.message()).to_owned()
}

/// `<file and function> [ONNXRuntimeError] : <number> : <code> : <words>` → `<words>`
fn without_place(message: &str) -> &str {
    let words = message.split_once("[ONNXRuntimeError] : ").and_then(|(_, rest)| rest.splitn(3, " : ").nth(2));
    words.unwrap_or(message).trim()
}

#[cfg(test)]
mod tests {
    use super::without_place;

    #[test]
    fn messages_begin_where_they_say_something() {
        let long = "/src/bridge.cc:2043 Get() [ONNXRuntimeError] : 1 : FAIL : cannot load x.so : no such file\n";
        assert_eq!(without_place(long), "cannot load x.so : no such file");
        for short in ["Exiting due to terminate flag being set to true.", "[ONNXRuntimeError] : 1"] {
            assert_eq!(without_place(short), short);
        }
    }
}
