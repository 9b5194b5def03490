//! How long one tenure may call its vendor.
//!
//! A store refuses what comes under an old tenure; a vendor cannot. So whoever dispatches stops by
//! itself before its lease ends at the store, and asks the clock each time before it goes on: a
//! process that was stopped and goes on later runs its tasks before it learns that time has passed.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// A lease as its holder reckons it, on the monotonic clock; clones are the same lease.
#[derive(Clone, Debug)]
pub struct Lease {
    until: Arc<watch::Sender<Until>>,
}

#[derive(Clone, Copy, Debug)]
enum Until {
    Ends(Instant),
    Ended,
}

/// The lease was over before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over;

impl Lease {
    /// A lease that lasts until `until`.
    pub fn until(until: Instant) -> Self {
        Self { until: Arc::new(watch::Sender::new(Until::Ends(until))) }
    }

    /// Makes it last until `until`, unless that is sooner, or it is over: a lease that was over for a
    /// moment may have been another's.
    pub fn renew(&self, until: Instant) {
        self.until.send_if_modified(|state| match state {
            Until::Ends(ends) if Instant::now() < *ends && *ends < until => {
                *ends = until;
                true
            }
            Until::Ends(_) | Until::Ended => false,
        });
    }

    /// Ends it now.
    pub fn end(&self) {
        self.until.send_replace(Until::Ended);
    }

    /// Whether it lasts at this moment.
    pub fn lasts(&self) -> bool {
        self.until.borrow().lasts()
    }

    /// Does `work` while the lease lasts, and drops it where it is when the lease is over.
    pub async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Over> {
        let mut work = pin!(work);
        let mut over = pin!(self.over());
        poll_fn(|context| {
            // No timer may have fired yet, so the clock itself is asked, each time.
            if !self.lasts() {
                return Poll::Ready(Err(Over));
            }
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(done));
            }
            over.as_mut().poll(context).map(|()| Err(Over))
        })
        .await
    }

    async fn over(&self) {
        let mut state = self.until.subscribe();
        loop {
            let seen = *state.borrow_and_update();
            let ends = match seen {
                Until::Ends(ends) if seen.lasts() => ends,
                Until::Ends(_) | Until::Ended => return,
            };
            tokio::select! {
                () = sleep_until(ends) => {}
                changed = state.changed() => changed.expect("the lease itself holds the sender"),
            }
        }
    }
}

impl Until {
    fn lasts(self) -> bool {
        match self {
            Self::Ends(ends) => Instant::now() < ends,
            Self::Ended => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use tokio::time::{advance, sleep};

    use super::*;

    const TERM: Duration = Duration::from_secs(13);

    fn lease() -> Lease {
        Lease::until(Instant::now() + TERM)
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_dropped_when_the_lease_ends_and_not_before() {
        let (lease, began) = (lease(), Instant::now());
        assert_eq!(lease.within(sleep(TERM * 9 / 10)).await, Ok(()));
        assert_eq!(lease.within(sleep(TERM)).await, Err(Over));
        assert!(began.elapsed() <= TERM + Duration::from_millis(2), "{:?}", began.elapsed());
        assert_eq!(lease.within(std::future::ready(())).await, Err(Over), "nothing begins after the end");
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_carries_work_on_and_a_lease_that_is_over_stays_so() {
        let lease = lease();
        let working = tokio::spawn({
            let lease = lease.clone();
            async move { lease.within(sleep(TERM * 3)).await }
        });
        for _ in 0..4 {
            sleep(TERM * 3 / 4).await;
            lease.renew(Instant::now() + TERM);
            lease.renew(Instant::now());
        }
        assert_eq!(working.await.unwrap(), Ok(()));
        sleep(TERM).await;
        lease.renew(Instant::now() + TERM);
        assert!(!lease.lasts(), "it was over before it was renewed");
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_reaches_work_that_waits() {
        let lease = lease();
        let began = Instant::now();
        let work = async {
            sleep(Duration::from_secs(1)).await;
            lease.end();
            sleep(TERM / 2).await;
        };
        assert_eq!(lease.within(work).await, Err(Over));
        assert!(began.elapsed() < Duration::from_secs(2));
        lease.renew(Instant::now() + TERM);
        assert!(!lease.lasts());
    }

    /// A stopped process that goes on polls whatever was woken last, and its timers come later.
    #[tokio::test(start_paused = true)]
    async fn who_wakes_after_the_end_does_nothing_though_no_timer_has_fired() {
        let (lease, polls) = (lease(), Cell::new(0));
        let mut work = pin!(lease.within(poll_fn(|_| {
            polls.set(polls.get() + 1);
            Poll::<()>::Pending
        })));
        let mut context = Context::from_waker(Waker::noop());
        assert!(work.as_mut().poll(&mut context).is_pending());
        assert_eq!(polls.get(), 1);
        advance(TERM).await;
        assert_eq!(work.as_mut().poll(&mut context), Poll::Ready(Err(Over)));
        assert_eq!(polls.get(), 1);
    }
}
