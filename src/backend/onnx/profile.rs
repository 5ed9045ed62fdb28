//! Where a graph's nodes run, from the runtime's own profile of one call: the proof of versions that keep no record of where
//! they assigned nodes.
//!
//! Profiling begins with a session and would burden its calls, so a second session is made, set and loaded the same, which
//! makes this one call and is gone.

use std::fs;
use std::path::Path;

use ort::session::builder::SessionBuilder;
use ort::session::{RunOptions, Session};
use serde::Deserialize;

use super::batch::Batch;
use super::error_text;
use super::forward::{ForwardError, LoadedGraph, Pass};
use super::raw::Node;
use crate::clock::Clock;

/// Of a profile's events those that name a provider are executed nodes.
#[derive(Debug, Deserialize)]
struct Event {
    name: String,
    #[serde(default)]
    args: Arguments,
}

#[derive(Debug, Default, Deserialize)]
struct Arguments {
    provider: Option<String>,
    op_name: Option<String>,
}

/// How the name of an executed node's event ends.
const EXECUTED: &str = "_kernel_time";

/// Nodes that one call of a session executes, each with its provider. `builder` is set as the session is, and `wrap` makes of
/// its session what the session is made to.
///
/// # Errors
/// The runtime's or the system's words.
pub(super) fn nodes(
    builder: SessionBuilder,
    graph: &Path,
    clock: &dyn Clock,
    wrap: impl FnOnce(Session) -> Result<LoadedGraph, String>,
) -> Result<Vec<Node>, String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let profiled = builder.with_profiling(folder.path().join("profile")).map_err(|e| error_text(&e.into()));
    let session = profiled?.commit_from_file(graph).map_err(|e| error_text(&e))?;
    let mut graph = wrap(session)?;
    one_call(&mut graph, clock).map_err(|e| e.to_string())?;
    let file = graph.end_profiling().map_err(|e| error_text(&e))?;
    let text = fs::read(&file).map_err(|e| format!("{file}: {e}"))?;
    executed(&text).map_err(|e| format!("{file}: {e}"))
}

/// The first token of the vocabulary, on an empty cache.
fn one_call(graph: &mut LoadedGraph, clock: &dyn Clock) -> Result<(), ForwardError> {
    let batch = Batch::new(&[vec![0]], 1, 0);
    let past = graph.empty_cache(1)?;
    let options = RunOptions::new()?;
    graph.forward(&Pass { view: batch.view(), past: &past, options: &options, clock }, &mut Vec::new())?;
    Ok(())
}

fn executed(profile: &[u8]) -> Result<Vec<Node>, serde_json::Error> {
    let events: Vec<Event> = serde_json::from_slice(profile)?;
    let node = |event: Event| {
        let name = event.name.strip_suffix(EXECUTED)?.to_owned();
        Some(Node { provider: event.args.provider?, name, operator: event.args.op_name.unwrap_or_default() })
    };
    Ok(events.into_iter().filter_map(node).collect())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn executed_nodes_are_those_that_name_a_provider() {
        let profile = br#"[
            {"cat": "Session", "name": "model_loading_uri", "args": {}},
            {"cat": "Node", "name": "h.0/MatMul_fence_before", "args": {"op_name": "MatMul"}},
            {"cat": "Node", "name": "h.0/MatMul_kernel_time",
             "args": {"op_name": "MatMul", "provider": "CPUExecutionProvider", "thread_scheduling_stats": {"a": 1}}},
            {"cat": "Session", "name": "model_run"}
        ]"#;
        let found = executed(profile).unwrap();
        let expected = Node {
            provider: "CPUExecutionProvider".to_owned(),
            name: "h.0/MatMul".to_owned(),
            operator: "MatMul".to_owned(),
        };
        assert_eq!(found, [expected]);
        assert!(executed(b"[{").is_err());
    }
}
