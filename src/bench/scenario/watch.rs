//! Work that is bounded in time, can be interrupted, and is looked at while it runs.

use crate::error::Error;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often work is looked at.
const EVERY: Duration = Duration::from_millis(100);

/// Awaits `work`, and ends it on Ctrl-C.
pub async fn interruptible<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::select! {
        result = work => result,
        _ = tokio::signal::ctrl_c() => Err(Error::Interrupted),
    }
}

/// Awaits `work` for so long at most. `target` is the broker's name, for the error.
pub async fn within<T>(
    patience: Duration,
    target: &str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let late = |_| Error::TooLong { target: target.to_owned(), seconds: patience.as_secs() };
    timeout(patience, work).await.map_err(late)?
}

/// Awaits `work` and calls `look` ten times a second meanwhile, and once at the end.
pub async fn watched<T>(
    work: impl Future<Output = Result<T, Error>>,
    mut look: impl FnMut() -> Result<(), Error>,
) -> Result<T, Error> {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => {
                let value = result?;
                look()?;
                return Ok(value);
            }
            _ = ticks.tick() => look()?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn work_is_looked_at_until_it_ends() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let looks = Cell::new(0);
        let ready = tokio::sync::Notify::new();
        let work = async {
            ready.notified().await;
            Ok(7)
        };
        let look = || {
            looks.set(looks.get() + 1);
            if looks.get() == 3 {
                ready.notify_one();
            }
            Ok(())
        };
        assert_eq!(runtime.block_on(watched(work, look)).unwrap(), 7);
        assert!(looks.get() >= 4, "the end is looked at too");
    }
}
