//! The one thread that talks to workers and starts them; everybody else waits for it.
//!
//! It lives as long as anything that was begun on it: what it starts is told of its parent's death by the kernel, and
//! for that the parent is this thread.

use std::cell::RefCell;
use std::future::Future;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::backend::cancel::{CancelToken, Deadline, Waited};

/// How long one thing may take to be cleaned up at the end.
const CLEANED_WITHIN: Duration = Duration::from_secs(30);

thread_local! {
    /// What is being cleaned up on this thread.
    static CLEANING: RefCell<Vec<JoinHandle<()>>> = const { RefCell::new(Vec::new()) };
}

/// Does something that must not be left undone, whoever gives up meanwhile: the thread does not end before it. Does
/// nothing where no runtime is.
pub fn clean_up(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        let task = runtime.spawn(work);
        CLEANING.with_borrow_mut(|cleaning| {
            cleaning.retain(|task| !task.is_finished());
            cleaning.push(task);
        });
    }
}

/// Waits for all that is being cleaned up on this thread.
pub async fn cleaned() {
    while let Some(task) = CLEANING.with_borrow_mut(Vec::pop) {
        drop(tokio::time::timeout(CLEANED_WITHIN, task).await);
    }
}

/// The thread.
pub struct Io {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Io {
    /// Starts it.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("worker-io".to_owned()).spawn(move || {
            // Ends when told to, and when nobody is left who could tell.
            drop(runtime.block_on(stopped));
            runtime.block_on(async {
                // What was given up just now is dropped first, and leaves what there is to clean up.
                tokio::task::yield_now().await;
                cleaned().await;
            });
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Begins some work on the thread. `cancel` is woken when it is done.
    pub fn begin<T: Send + 'static>(
        &self,
        cancel: &CancelToken,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Pending<T> {
        let (tell, result) = channel();
        let wake = Wake(cancel.clone());
        let task = self.handle.spawn(async move {
            // Dropped in reverse order: whoever is woken finds a result, or that none will come.
            let _wake = wake;
            let tell = tell;
            // Whoever waited may have given up.
            drop(tell.send(work.await));
        });
        Pending { result, task }
    }

    /// Does some work that ends by itself, and waits for it. `None`: the thread is gone.
    pub fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let pending = self.begin(&CancelToken::default(), work);
        pending.result.recv().ok()
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Wakes whoever waits, also where the work ends without a result.
struct Wake(CancelToken);

impl Drop for Wake {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// Work under way. Dropped: it is not wanted any more.
pub struct Pending<T> {
    result: Receiver<T>,
    task: JoinHandle<()>,
}

impl<T> Pending<T> {
    /// Waits for the result, the deadline or a cancel.
    ///
    /// # Errors
    /// What came before the result; [`Waited::Done`] where the work ended without one.
    pub fn wait(&self, by: Deadline, cancel: &CancelToken) -> Result<T, Waited> {
        let mut result = Err(TryRecvError::Empty);
        let waited = cancel.wait(by, || {
            result = self.result.try_recv();
            !matches!(result, Err(TryRecvError::Empty))
        });
        result.map_err(|_| waited)
    }

    /// Waits a little longer, whoever has cancelled.
    #[must_use]
    pub fn linger(&self, grace: Duration) -> Option<T> {
        self.result.recv_timeout(grace).ok()
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const LONG: Deadline = Deadline(Duration::from_secs(60));

    #[test]
    fn work_is_done_or_given_up() {
        let io = Io::start().unwrap();
        let cancel = CancelToken::default();
        assert_eq!(io.begin(&cancel, async { 7 }).wait(LONG, &cancel), Ok(7));
        assert_eq!(io.wait(async { 8 }), Some(8));
        let never = io.begin(&cancel, std::future::pending::<()>());
        assert_eq!(never.wait(Deadline(Duration::ZERO), &cancel), Err(Waited::TimedOut));
        cancel.cancel();
        assert_eq!(never.wait(LONG, &cancel), Err(Waited::Cancelled));
        let (tell, told) = oneshot::channel();
        let late = io.begin(&cancel, told);
        assert_eq!(late.wait(LONG, &cancel), Err(Waited::Cancelled));
        tell.send(9).unwrap();
        assert_eq!(late.linger(LONG.0).unwrap(), Ok(9));
    }

    #[test]
    fn the_thread_ends_after_what_it_cleans_up() {
        let io = Io::start().unwrap();
        let (tell, told) = channel();
        io.wait(async move {
            clean_up(async move {
                // Anything the runtime has to come back to.
                tokio::time::sleep(Duration::from_millis(20)).await;
                let also = tell.clone();
                clean_up(async move { also.send("what that left").unwrap() });
                tell.send("what was begun").unwrap();
            });
        });
        drop(io);
        assert_eq!(told.iter().collect::<Vec<_>>(), ["what was begun", "what that left"]);
    }
}
