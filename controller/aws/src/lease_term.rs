//! Until when this process may call AWS in an account.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a change may wait for AWS's answer. A claim to an account is given up for lost only later than this after
/// its holder has stopped calling, so that no change of the old holder meets the new one.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// How long after the renewal of a Lease began its holder may begin calls.
pub const TERM: Duration = Duration::from_secs(9);
/// How long a Lease must not have been renewed before another replica takes it.
pub const EXPIRY: Duration = Duration::from_secs(18);
const _: () = assert!(TERM.as_secs() + ANSWER_TIMEOUT.as_secs() < EXPIRY.as_secs());

/// The right to call AWS in some accounts. It ends by itself, so that a process which cannot reach Kubernetes, or which
/// was stopped and resumes later, does not write where another has taken over.
#[derive(Clone, Debug)]
pub struct LeaseTerm(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug)]
struct State {
    until: Until,
    /// Rises whenever the right is gained again: somebody else may have had it in between.
    term: u64,
}

#[derive(Clone, Copy, Debug)]
enum Until {
    Ever,
    Then(Instant),
    Ended,
}

impl State {
    fn lasts(&self) -> bool {
        match self.until {
            Until::Ever => true,
            Until::Then(until) => Instant::now() < until,
            Until::Ended => false,
        }
    }
}

impl LeaseTerm {
    /// Of a process that is alone.
    pub fn forever() -> Self {
        Self::new(Until::Ever)
    }

    /// Of one that has yet to claim something.
    pub fn none() -> Self {
        Self::new(Until::Ended)
    }

    fn new(until: Until) -> Self {
        Self(Arc::new(Mutex::new(State { until, term: 0 })))
    }

    /// Lasts until then.
    pub fn extend(&self, until: Instant) {
        let mut state = self.0.lock();
        if !state.lasts() {
            state.term += 1;
        }
        state.until = Until::Then(until);
    }

    /// Ends at once.
    pub fn end(&self) {
        self.0.lock().until = Until::Ended;
    }

    /// The number of the present term, while it lasts.
    pub fn term(&self) -> Option<u64> {
        let state = self.0.lock();
        state.lasts().then_some(state.term)
    }

    /// Returns true if a call may begin now.
    pub fn lasts(&self) -> bool {
        self.term().is_some()
    }

    /// How long it lasts, if nothing extends it.
    pub fn left(&self) -> Duration {
        match self.0.lock().until {
            Until::Ever => Duration::MAX,
            Until::Then(until) => until.saturating_duration_since(Instant::now()),
            Until::Ended => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_and_gained_again_is_another_term() {
        let lease_term = LeaseTerm::none();
        assert_eq!(lease_term.term(), None);
        let soon = Instant::now() + Duration::from_mins(1);
        lease_term.extend(soon);
        let first = lease_term.term();
        lease_term.extend(soon);
        assert!(first.is_some() && lease_term.term() == first, "renewed in time");
        lease_term.extend(Instant::now());
        assert!(
            !lease_term.lasts() && lease_term.left().is_zero(),
            "it runs out by itself"
        );
        lease_term.extend(soon);
        assert!(lease_term.term() > first);
        lease_term.end();
        assert_eq!(lease_term.term(), None);
    }
}
