//! The states of an account. Transitions are methods that take the time; nothing here makes a call.
//!
//! ```text
//!              session opens                sweep ends
//!  Parked    ----------------> Unswept ---------------------> Swept { next }
//!     ^                          |  ^                           |       |
//!     | session locked,          |  | retry                     | due,  | sweep fails
//!     | suspended                v  |                           | asked v
//!     +------------------------ Failing { attempts, next, why } <-------+
//! ```

use std::time::Duration;

use rolectl_crds::Reason;
use tokio::time::Instant;

use super::pause::backoff;

/// How soon a failed sweep is tried again, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(2));
/// How often users can have an account swept.
const REQUEST_PAUSE: Duration = Duration::from_secs(10);

/// The state of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountState {
    /// No call may be made.
    Parked,
    /// A session is open, and no sweep has succeeded on it.
    Unswept,
    /// The last sweep failed.
    Failing {
        /// Failures in a row.
        attempts: u32,
        /// When the next sweep begins.
        next: Instant,
        /// The roles of the account are not acted on, because of this. `None`: a passing failure, and what earlier sweeps showed is
        /// still used.
        why: Option<(Reason, String)>,
        /// The session that it failed on.
        session: u64,
    },
    /// The last sweep succeeded.
    Swept {
        /// When the next one begins.
        next: Instant,
        /// The session that it was made on.
        session: u64,
    },
}

/// The state of an account, and who asked for a sweep of it.
#[derive(Debug)]
pub struct Sweeps {
    /// The state.
    pub state: AccountState,
    is_wanted: bool,
    /// When the last sweep that a user asked for is, or was, due.
    requested: Option<Instant>,
}

impl Default for Sweeps {
    fn default() -> Self {
        Self {
            state: AccountState::Unswept,
            is_wanted: false,
            requested: None,
        }
    }
}

impl Sweeps {
    /// No call may be made any more. Returns true if that is new.
    pub fn park(&mut self) -> bool {
        self.is_wanted = false;
        let before = std::mem::replace(&mut self.state, AccountState::Parked);
        before != AccountState::Parked
    }

    /// The session of this number is open.
    pub fn open(&mut self, session: u64) {
        match &mut self.state {
            AccountState::Parked => self.state = AccountState::Unswept,
            // A session that follows another at once: the snapshot stays in use, and is read again.
            AccountState::Swept { session: before, .. } | AccountState::Failing { session: before, .. }
                if *before != session =>
            {
                *before = session;
                self.is_wanted = true;
            }
            _ => {}
        }
    }

    /// The account is another one, or its spec has changed: what earlier sweeps found does not count.
    pub fn reset(&mut self) {
        if self.state != AccountState::Parked {
            self.state = AccountState::Unswept;
        }
    }

    /// A sweep is wanted as soon as possible.
    pub const fn want(&mut self) {
        self.is_wanted = true;
    }

    /// A user asks for a sweep. Too soon after the last request the sweep is put off and not dropped.
    pub fn request(&mut self, now: Instant) {
        let earliest = self.requested.map(|last| last + REQUEST_PAUSE);
        match earliest.filter(|earliest| *earliest > now) {
            None => {
                self.requested = Some(now);
                self.is_wanted = true;
            }
            Some(earliest) => {
                // A sweep that is put off already serves this request, too.
                let put_off = self.requested.filter(|at| *at > now);
                let at = put_off.unwrap_or(earliest);
                self.requested = Some(at);
                match &mut self.state {
                    AccountState::Swept { next, .. } | AccountState::Failing { next, .. } => {
                        *next = (*next).min(at);
                    }
                    AccountState::Parked | AccountState::Unswept => {}
                }
            }
        }
    }

    /// When the next sweep begins. `None`: not before the state changes.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        match &self.state {
            AccountState::Parked => None,
            _ if self.is_wanted => Some(now),
            AccountState::Unswept => Some(now),
            AccountState::Failing { next, .. } | AccountState::Swept { next, .. } => Some(*next),
        }
    }

    /// A sweep begins. A sweep that is wanted from now on is another one.
    pub const fn begin(&mut self) {
        self.is_wanted = false;
    }

    /// A sweep succeeded; the next one is due at `next`. Returns true if the roles were not acted on before.
    pub fn swept(&mut self, session: u64, next: Instant) -> bool {
        let before = std::mem::replace(&mut self.state, AccountState::Swept { next, session });
        match before {
            AccountState::Failing { why, .. } => why.is_some(),
            AccountState::Unswept => true,
            AccountState::Parked | AccountState::Swept { .. } => false,
        }
    }

    /// A sweep failed. `why` is given where the roles cannot be acted on. Returns true if they could until now, or could not for
    /// another reason.
    pub fn failed(&mut self, session: u64, why: Option<(Reason, String)>, now: Instant, spread: f64) -> bool {
        let (attempts, before) = match &self.state {
            AccountState::Failing { attempts, why, .. } => (*attempts, why.clone()),
            _ => (0, None),
        };
        let attempts = attempts.saturating_add(1);
        let reason = |why: &Option<(Reason, String)>| why.as_ref().map(|(reason, _)| *reason);
        let is_new = why.is_some() && reason(&before) != reason(&why);
        self.state = AccountState::Failing {
            attempts,
            next: now + backoff(attempts, BACKOFF, spread),
            why: why.or(before),
            session,
        };
        is_new
    }

    /// Why the roles are not acted on.
    pub const fn failure(&self) -> Option<&(Reason, String)> {
        match &self.state {
            AccountState::Failing { why, .. } => why.as_ref(),
            _ => None,
        }
    }

    /// Failures in a row.
    pub const fn failures(&self) -> u32 {
        match &self.state {
            AccountState::Failing { attempts, .. } => *attempts,
            _ => 0,
        }
    }

    /// Returns true if a sweep will begin within `time`.
    pub fn comes_within(&self, now: Instant, time: Duration) -> bool {
        self.next(now).is_some_and(|next| next <= now + time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_mins(5);

    fn denied() -> (Reason, String) {
        (Reason::AccessDenied, "denied".to_owned())
    }

    #[test]
    fn an_account_goes_through_its_states() {
        let now = Instant::now();
        let mut sweeps = Sweeps::default();
        assert_eq!(
            sweeps.next(now),
            Some(now),
            "an account that was never swept is due"
        );
        assert!(sweeps.park(), "parked");
        assert!(!sweeps.park(), "nothing new");
        assert_eq!(sweeps.next(now), None);
        sweeps.want();
        assert_eq!(sweeps.next(now), None, "no call may be made while it is parked");
        sweeps.open(1);
        assert_eq!(sweeps.state, AccountState::Unswept);
        sweeps.begin();
        assert!(sweeps.swept(1, now + LATER), "its roles were not acted on before");
        assert_eq!(sweeps.next(now), Some(now + LATER));
        assert!(
            sweeps.failed(1, Some(denied()), now, 0.0),
            "its roles must learn of it"
        );
        assert!(!sweeps.failed(1, Some(denied()), now, 0.0), "they know");
        assert_eq!(sweeps.failures(), 2);
        assert_eq!(sweeps.next(now), Some(now + 2 * BACKOFF.0));
        assert!(sweeps.swept(1, now + LATER), "they can be acted on again");
        assert!(!sweeps.swept(1, now + LATER));
    }

    #[test]
    fn a_passing_failure_after_a_sweep_does_not_concern_the_roles() {
        let now = Instant::now();
        let mut sweeps = Sweeps::default();
        sweeps.swept(1, now + LATER);
        assert!(!sweeps.failed(1, None, now, 0.0));
        assert_eq!(sweeps.failure(), None);
        assert!(!sweeps.swept(1, now + LATER));
    }

    #[test]
    fn an_account_is_swept_again_when_another_session_replaces_the_one_that_it_was_swept_on() {
        let now = Instant::now();
        let mut sweeps = Sweeps::default();
        sweeps.swept(1, now + LATER);
        sweeps.open(1);
        assert_eq!(sweeps.next(now), Some(now + LATER));
        sweeps.open(2);
        assert_eq!(sweeps.next(now), Some(now));
    }

    #[test]
    fn users_can_have_an_account_swept_once_in_ten_seconds() {
        let start = Instant::now();
        let mut sweeps = Sweeps::default();
        sweeps.swept(1, start + LATER);
        sweeps.request(start);
        assert_eq!(
            sweeps.next(start),
            Some(start),
            "the first request is served at once"
        );
        sweeps.begin();
        sweeps.swept(1, start + LATER);
        for second in 1..10 {
            let now = start + Duration::from_secs(second);
            sweeps.request(now);
            assert_eq!(
                sweeps.next(now),
                Some(start + REQUEST_PAUSE),
                "put off, not dropped"
            );
        }
        // The sweep that was put off has been made.
        sweeps.begin();
        sweeps.swept(1, start + LATER);
        let now = start + Duration::from_secs(11);
        sweeps.request(now);
        assert_eq!(sweeps.next(now), Some(start + 2 * REQUEST_PAUSE));
        sweeps.request(start + Duration::from_mins(1));
        assert_eq!(sweeps.next(now), Some(now));
    }
}
