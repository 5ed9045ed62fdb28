//! The tokenizers crate panics on some files and texts, as on a decoder that is not JSON: its panics are errors here.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether this thread is at work for [`guarded`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Makes the program silent about panics that [`guarded`] turns into errors.
static SILENCE: Once = Once::new();

/// What `work` comes to.
///
/// # Errors
/// Its own, or what it panicked with.
pub(super) fn guarded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    SILENCE.call_once(|| {
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.try_with(Cell::get).unwrap_or(false) {
                told(info);
            }
        }));
    });
    GUARDED.set(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(false);
    match done {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(panicked) => Err(format!("the tokenizers library fails on it: {}", words(&*panicked))),
    }
}

/// What a panic says.
fn words(panicked: &(dyn Any + Send)) -> &str {
    let text = panicked.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panicked.downcast_ref::<&str>().copied()).unwrap_or("no reason given")
}
