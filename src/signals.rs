//! Ctrl-C and SIGTERM, heard within a second whatever is being done.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::backend::{CancelToken, Deadline};
use crate::exit::Exit;

/// How long work has to end by itself after a signal.
const PATIENCE: Duration = Duration::from_millis(400);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(20);

/// The system lets nobody listen for signals.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for signals")]
pub struct SignalError(#[from] ctrlc::Error);

/// A token that the first signal cancels. The second one ends the process: records are safe at any moment, so a clean
/// end is not insisted on.
///
/// Whoever asks again is given the same one: several runs of one command end together.
///
/// # Errors
/// The system refuses.
pub fn cancelled_by_signals() -> Result<CancelToken, SignalError> {
    static HEARD: OnceLock<CancelToken> = OnceLock::new();
    if let Some(cancel) = HEARD.get() {
        return Ok(cancel.clone());
    }
    let cancel = CancelToken::default();
    let on_signal = cancel.clone();
    ctrlc::set_handler(move || {
        if on_signal.is_cancelled() {
            end_at_once();
        }
        on_signal.cancel();
    })?;
    Ok(HEARD.get_or_init(|| cancel).clone())
}

/// Ends the process as a signal asks for.
pub fn end_at_once() -> ! {
    std::process::exit(i32::from(Exit::Interrupted.code()))
}

/// Work that may not look at its token for long, such as making a model, uploading one, or loading one.
#[derive(Debug)]
#[must_use = "work is guarded while this lives"]
pub struct Guarded {
    over: Arc<Mutex<bool>>,
    cancel: CancelToken,
}

impl Guarded {
    /// Guards what is done while the value lives: if it goes on for half a second after `cancel`, `late` is called on
    /// a thread of its own, and may end the process. Whoever drops the value meanwhile waits for it.
    pub fn new(cancel: &CancelToken, late: impl FnOnce() + Send + 'static) -> Self {
        let over = Arc::new(Mutex::new(false));
        let guarded = Self { over: over.clone(), cancel: cancel.clone() };
        let cancel = cancel.clone();
        thread::spawn(move || watch(&over, &cancel, late));
        guarded
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.cancel.wake();
    }
}

fn watch(over: &Mutex<bool>, cancel: &CancelToken, late: impl FnOnce()) {
    const HOUR: Deadline = Deadline(Duration::from_secs(3600));
    let is_over = || *over.lock().unwrap_or_else(PoisonError::into_inner);
    while !cancel.is_cancelled() {
        if is_over() {
            return;
        }
        cancel.wait(HOUR, is_over);
    }
    let mut waited = Duration::ZERO;
    while waited < PATIENCE {
        if is_over() {
            return;
        }
        thread::sleep(LOOK);
        waited += LOOK;
    }
    let over = over.lock().unwrap_or_else(PoisonError::into_inner);
    if !*over {
        late();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn only_work_that_goes_on_after_a_signal_is_late() {
        let (tell, told) = mpsc::channel();
        let (cancel, finished) = (CancelToken::default(), tell.clone());
        drop(Guarded::new(&cancel, move || finished.send("finished before").unwrap_or_default()));
        let ended = tell.clone();
        let ends = Guarded::new(&cancel, move || ended.send("ended in time").unwrap_or_default());
        let _goes_on = Guarded::new(&cancel, move || tell.send("late").unwrap_or_default());
        cancel.cancel();
        drop(ends);
        assert_eq!(told.iter().collect::<Vec<_>>(), ["late"]);
    }
}
