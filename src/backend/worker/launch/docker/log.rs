//! The last of what a container writes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::container::LogOutput;
use futures_util::{Stream, StreamExt as _};
use tokio::task::JoinHandle;

/// Most bytes that are kept.
const KEPT: usize = 64 << 10;

/// What was written last, filled while the container runs.
#[derive(Debug, Clone, Default)]
pub struct LastWords(Arc<Mutex<VecDeque<u8>>>);

impl LastWords {
    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        let surplus = (kept.len() + bytes.len()).saturating_sub(KEPT);
        kept.drain(..surplus);
        kept.extend(bytes);
    }

    /// Adds a line of our own.
    pub fn push_line(&self, line: &str) {
        self.push(format!("\nphasebench: {line}\n").as_bytes());
    }

    /// As text. A character that was cut, or is none, shows as a replacement.
    #[must_use]
    pub fn text(&self) -> String {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(kept.make_contiguous()).into_owned()
    }
}

/// Keeps what comes out of a container until that ends or the returned task is aborted.
#[must_use]
pub fn follow<S>(mut output: S, into: LastWords) -> JoinHandle<()>
where
    S: Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send + Unpin + 'static,
{
    tokio::spawn(async move {
        // An error ends it too: what was written until then is what there is.
        while let Some(Ok(output)) = output.next().await {
            into.push(&output.into_bytes());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let words = LastWords::default();
        words.push(&vec![b'a'; 3 * KEPT]);
        assert_eq!(words.text().len(), KEPT);
        words.push(b"the end");
        assert_eq!(words.text().len(), KEPT);
        assert!(words.text().ends_with("aathe end"));
    }
}
