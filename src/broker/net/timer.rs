//! A connection's one timer: armed for the earliest deadline that it was told, and not armed anew when the
//! deadline has moved to later; it finds that out when it fires.

use fairlead_engine::Clock;
use fairlead_kernel::Time;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Sleep, sleep_until};

/// See the module's text.
#[derive(Debug, Default)]
pub struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    armed_for: Time,
}

impl Timer {
    /// Ready when `deadline`, or an earlier one that was given before, has passed; else the task is woken then.
    pub fn poll_at(&mut self, context: &mut Context<'_>, deadline: Option<Time>, clock: &Clock) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        match &mut self.sleep {
            Some(sleep) if self.armed_for <= deadline => {
                if sleep.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                // Whatever was due is looked for once more; the next call arms the timer anew.
                self.armed_for = Time(u64::MAX);
                Poll::Ready(())
            }
            Some(sleep) => {
                self.armed_for = deadline;
                sleep.as_mut().reset(clock.instant(deadline).into());
                sleep.as_mut().poll(context)
            }
            None => {
                self.armed_for = deadline;
                let sleep = self.sleep.insert(Box::pin(sleep_until(clock.instant(deadline).into())));
                sleep.as_mut().poll(context)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn an_earlier_deadline_counts_and_a_later_one_is_found_out() {
        let clock = Clock::from_machine();
        let mut timer = Timer::default();
        let at = |ms| Some(clock.started().after(Duration::from_millis(ms)));
        let is_ready = async |timer: &mut Timer, deadline| {
            poll_fn(|context| Poll::Ready(timer.poll_at(context, deadline, &clock).is_ready())).await
        };
        assert!(!is_ready(&mut timer, None).await);
        assert!(!is_ready(&mut timer, at(60_000)).await);
        assert!(!is_ready(&mut timer, at(30_000)).await);
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(is_ready(&mut timer, at(90_000)).await);
        assert!(!is_ready(&mut timer, at(90_000)).await);
        poll_fn(|context| timer.poll_at(context, at(90_000), &clock)).await;
    }
}
