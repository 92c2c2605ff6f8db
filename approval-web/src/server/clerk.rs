//! The one thread that touches the store, away from the one that serves. It is there before the first request: a thread that
//! cannot be had is an error of the start, and none later.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::Error;

type Work = Box<dyn FnOnce() + Send>;

/// Does one piece of work after the other, as the store does.
#[derive(Debug)]
pub(super) struct Clerk {
    todo: mpsc::Sender<Work>,
}

impl Clerk {
    /// Starts the thread; it ends when this is dropped.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start() -> io::Result<Self> {
        let (todo, pieces) = mpsc::channel::<Work>();
        let work = move || pieces.into_iter().for_each(|piece| piece());
        thread::Builder::new().name("holdpoint-store".into()).spawn(work)?;
        Ok(Self { todo })
    }

    /// Has something done and waits for what comes of it. It is done also when nobody waits any more.
    ///
    /// # Errors
    /// What `work` returns, or [`Error::ServerAway`] when the thread is gone.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (tell, told) = oneshot::channel();
        // Whoever asked may be gone.
        let piece = move || drop(tell.send(work()));
        self.todo.send(Box::new(piece)).ok();
        told.await.unwrap_or_else(|_| Err(Error::ServerAway { why: "it has failed inside, or is stopping".into() }))
    }

    /// Waits until all that was asked for is done, or the time is over.
    pub(super) fn finish(&self, within: Duration) {
        let (tell, told) = mpsc::channel::<()>();
        self.todo.send(Box::new(move || drop(tell))).ok();
        // Disconnected, when the piece is reached or the thread has ended; or out of time.
        told.recv_timeout(within).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::Clerk;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn what_was_asked_for_is_done_in_order_although_nobody_waits() {
        let clerk = Clerk::start().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (tell, told) = mpsc::channel();
        for number in 0..100 {
            let tell = tell.clone();
            let asked = clerk.run(move || {
                tell.send(number).unwrap();
                Ok(number)
            });
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    done = asked => assert_eq!(done.unwrap(), number),
                    () = std::future::ready(()) => {}
                }
            });
        }
        clerk.finish(Duration::from_secs(60));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    }
}
