//! A thread that looks at something again and again, until it is dropped.

use crate::error::{Error, Result};
use std::{
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

/// Looks at one thing. Dropping it waits for the last look.
#[derive(Debug)]
pub(crate) struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Calls `look` now and whenever the time that it returned has passed; `None` is the last look.
    pub(crate) fn start(name: &str, mut look: impl FnMut() -> Option<Duration> + Send + 'static) -> Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            while let Some(pause) = look() {
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
        };
        let thread =
            thread::Builder::new().name(name.into()).spawn(run).map_err(Error::io("start to watch a limit"))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            // No look panics; there is nothing to undo if one did.
        }
    }
}

/// How long what is `left` lasts at the highest `rate` a second, within bounds: the closer to the limit, the closer the looks.
pub(crate) fn pause(left: u64, rate: u64) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(2);
    const LONGEST: Duration = Duration::from_millis(40);
    Duration::from_millis(left.saturating_mul(1000) / rate).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_come_closer_as_the_limit_does() {
        let pauses = [u64::MAX, 1 << 30, 1 << 23, 0].map(|left| pause(left, 1 << 30).as_millis());
        assert_eq!(pauses, [40, 40, 7, 2]);
    }

    #[test]
    fn nobody_looks_any_more_once_it_is_dropped() {
        let (looks, looked) = mpsc::channel();
        let ticker = Ticker::start("test", move || looks.send(()).ok().map(|()| Duration::from_millis(1))).unwrap();
        looked.recv().unwrap();
        looked.recv().unwrap();
        drop(ticker);
        assert!(looked.iter().count() < usize::MAX, "the sender is gone, or this would not end");
    }
}
