//! Work that makes more work, done by as many threads as it pays for.

use std::{
    convert::Infallible,
    panic,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ScopedJoinHandle},
};

use super::processors;

/// As many things to do as are worth another thread: to start one takes about as long as three directories.
const PAYS: usize = 48;
/// More of them would only wait for each other in the kernel.
const MOST: usize = 4;
/// How many are taken at once.
const BATCH: usize = 8;

/// Does `work` on `first` and on all that doing it adds, in no order, and gives what each thread has gathered.
///
/// # Errors
/// The first error; it ends the work of all.
pub(crate) fn work_off<T, G, E>(
    first: T,
    work: impl Fn(T, &mut Vec<T>, &mut G) -> Result<(), E> + Sync,
) -> Result<Vec<G>, E>
where
    T: Send,
    G: Default + Send,
    E: Send,
{
    let mut gathered = G::default();
    let mut todo = vec![first];
    let mut done = 0;
    while let Some(item) = todo.pop() {
        work(item, &mut todo, &mut gathered)?;
        done += 1;
        if todo.len() > 1 && todo.len() + done >= PAYS {
            return Crew::new(todo).work_off(gathered, &work);
        }
    }
    Ok(vec![gathered])
}

/// Does `work` on each of `items`, and gives the results in no order.
pub(crate) fn each<'a, T: Sync, R: Send>(items: &'a [T], work: impl Fn(&'a T) -> R + Sync) -> Vec<R> {
    /// Apiece; what is done on one item is short against what a directory takes.
    const PART: usize = 16;
    let some = |part: &'a [T], todo: &mut Vec<&'a [T]>, results: &mut Vec<R>| {
        match part.len() > PART {
            true => todo.extend(part.chunks(PART)),
            false => results.extend(part.iter().map(&work)),
        }
        Ok::<(), Infallible>(())
    };
    let Ok(results) = work_off(items, some);
    results.into_iter().flatten().collect()
}

/// Threads that share what is to do.
struct Crew<T, E> {
    shared: Mutex<Shared<T, E>>,
    changed: Condvar,
}

struct Shared<T, E> {
    todo: Vec<T>,
    /// Who may still find more to do.
    busy: usize,
    failed: Option<E>,
}

impl<T: Send, E: Send> Crew<T, E> {
    fn new(todo: Vec<T>) -> Self {
        Self { shared: Mutex::new(Shared { todo, busy: 0, failed: None }), changed: Condvar::new() }
    }

    fn work_off<G: Default + Send>(
        self,
        mut gathered: G,
        work: &(impl Fn(T, &mut Vec<T>, &mut G) -> Result<(), E> + Sync),
    ) -> Result<Vec<G>, E> {
        let mut all = thread::scope(|scope| {
            let help = || {
                let mut gathered = G::default();
                self.help(&mut gathered, work);
                gathered
            };
            // One that cannot be started is not waited for.
            let start = |_| thread::Builder::new().name("survey".into()).spawn_scoped(scope, help).ok();
            let helpers: Vec<ScopedJoinHandle<'_, G>> = (1..processors(MOST)).filter_map(start).collect();
            self.help(&mut gathered, work);
            let join = |helper: ScopedJoinHandle<'_, G>| helper.join().unwrap_or_else(|why| panic::resume_unwind(why));
            helpers.into_iter().map(join).collect::<Vec<G>>()
        });
        all.push(gathered);
        match self.shared.into_inner().unwrap_or_else(PoisonError::into_inner).failed {
            Some(error) => Err(error),
            None => Ok(all),
        }
    }

    fn help<G>(&self, gathered: &mut G, work: &impl Fn(T, &mut Vec<T>, &mut G) -> Result<(), E>) {
        let mut own = Vec::with_capacity(2 * BATCH);
        while let Some(_busy) = self.take(&mut own) {
            while let Some(item) = own.pop() {
                if let Err(error) = work(item, &mut own, gathered) {
                    self.lock().failed.get_or_insert(error);
                    return;
                }
                if own.len() > BATCH {
                    self.lock().todo.extend(own.drain(BATCH / 2..));
                    self.changed.notify_all();
                }
            }
        }
    }

    /// Waits for something to do; `None` when nothing is left that could add to it.
    fn take(&self, own: &mut Vec<T>) -> Option<Busy<'_, T, E>> {
        let idle = |shared: &mut Shared<T, E>| shared.todo.is_empty() && shared.busy > 0 && shared.failed.is_none();
        let mut shared = self.changed.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        if shared.todo.is_empty() || shared.failed.is_some() {
            return None;
        }
        let rest = shared.todo.len().saturating_sub(BATCH);
        own.extend(shared.todo.drain(rest..));
        shared.busy += 1;
        Some(Busy(self))
    }

    fn lock(&self) -> MutexGuard<'_, Shared<T, E>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody at work. Whoever waits for him must not wait for ever, even if he panics.
struct Busy<'a, T: Send, E: Send>(&'a Crew<T, E>);

impl<T: Send, E: Send> Drop for Busy<'_, T, E> {
    fn drop(&mut self) {
        self.0.lock().busy -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of numbers: each has the two that follow its double.
    fn sum(most: u64, wrong: Option<u64>) -> Result<u64, u64> {
        let work = |number: u64, todo: &mut Vec<u64>, gathered: &mut Vec<u64>| {
            gathered.push(number);
            todo.extend([2 * number, 2 * number + 1].into_iter().filter(|next| *next <= most));
            if wrong == Some(number) { Err(number) } else { Ok(()) }
        };
        work_off(1, work).map(|all: Vec<Vec<u64>>| all.iter().flatten().sum())
    }

    #[test]
    fn everything_is_done_once() {
        for most in [1, 2, 40, 60, 1_000, 50_000] {
            assert_eq!(sum(most, None), Ok(most * (most + 1) / 2));
        }
    }

    #[test]
    fn each_item_is_done_once() {
        let items: Vec<u64> = (0..5_000).collect();
        let mut results = each(&items, |item| item + 1);
        results.sort_unstable();
        assert_eq!(results, (1..=5_000).collect::<Vec<u64>>());
    }

    #[test]
    fn an_error_ends_it() {
        for wrong in [1, 70, 999] {
            assert_eq!(sum(1_000, Some(wrong)), Err(wrong));
        }
    }

    #[test]
    #[should_panic(expected = "seven hundred")]
    fn a_panic_is_passed_on() {
        let work = |number: u64, todo: &mut Vec<u64>, _: &mut ()| {
            assert_ne!(number, 700, "seven hundred");
            todo.extend([2 * number, 2 * number + 1].into_iter().filter(|next| *next <= 1_000));
            Ok::<(), ()>(())
        };
        let _all = work_off(1, work);
    }
}
