//! What a command tells whoever started it, and hears from them.

use std::io::Write;

use anyhow::Context;

use crate::backend::CancelToken;
use crate::exit::Exit;

pub(super) fn cancel_on_signal() -> anyhow::Result<CancelToken> {
    let cancel = CancelToken::default();
    let on_signal = cancel.clone();
    ctrlc::set_handler(move || {
        if on_signal.is_cancelled() {
            // Asked twice: the record is safe at any moment, so do not insist on a clean end.
            std::process::exit(i32::from(Exit::Interrupted.code()));
        }
        on_signal.cancel();
    })
    .context("cannot listen for signals")?;
    Ok(cancel)
}

pub(super) fn warn(message: &str) {
    // A closed standard error must not stop a run.
    let _ = writeln!(std::io::stderr(), "phasebench: {message}");
}
