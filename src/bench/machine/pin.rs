//! Binding processes to one core while they are measured.

use super::process::Process;
use crate::error::Error;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A process tree bound to a core; given back its former cores when this is dropped.
#[derive(Debug)]
pub struct Pinned {
    root: Process,
    former: CpuSet,
}

impl Pinned {
    /// Binds all threads of `root` and of its descendants to `core`. Threads started later inherit it.
    pub fn new(root: Process, core: usize) -> Result<Self, Error> {
        let former = of_thread(root.threads()?.first().copied())?;
        bind_tree(root, &only(core))?;
        Ok(Self { root, former })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // The process may have ended: then there is nothing to give back.
        let _ = bind_tree(self.root, &self.former);
    }
}

/// Runs `start` with this thread bound to `core`; a program started by it begins there and counts one processor.
pub fn started_on<T>(core: usize, start: impl FnOnce() -> T) -> Result<T, Error> {
    let former = of_thread(None)?;
    bind(None, &only(core))?;
    let started = start();
    bind(None, &former)?;
    Ok(started)
}

/// The numbers of the cores that this thread may use.
pub fn affinity() -> Result<Vec<usize>, Error> {
    let set = of_thread(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

fn of_thread(thread: Option<i32>) -> Result<CpuSet, Error> {
    sched_getaffinity(thread.and_then(Pid::from_raw)).map_err(Error::system("read a thread's cores"))
}

fn bind(thread: Option<i32>, set: &CpuSet) -> Result<(), Error> {
    sched_setaffinity(thread.and_then(Pid::from_raw), set).map_err(Error::system("bind a thread to a core"))
}

fn bind_tree(root: Process, set: &CpuSet) -> Result<(), Error> {
    let mut bound = 0;
    let mut last = Ok(());
    for process in root.tree()? {
        for thread in process.threads().unwrap_or_default() {
            // Threads end while they are listed: it counts as bound if any was.
            match bind(Some(thread), set) {
                Ok(()) => bound += 1,
                Err(error) => last = Err(error),
            }
        }
    }
    if bound > 0 { Ok(()) } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_starts_on_the_core_and_is_bound_and_released() {
        let all = of_thread(None).unwrap();
        let mut child =
            started_on(0, || std::process::Command::new("sleep").arg("100").spawn().unwrap()).unwrap();
        assert_eq!(of_thread(None).unwrap(), all, "this thread has its cores back");
        let pid = child.id().cast_signed();
        assert_eq!(of_thread(Some(pid)).unwrap(), only(0));
        bind(Some(pid), &all).unwrap();
        let pinned = Pinned::new(Process::new(pid), 0).unwrap();
        assert_eq!(of_thread(Some(pid)).unwrap(), only(0));
        drop(pinned);
        assert_eq!(of_thread(Some(pid)).unwrap(), all);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
