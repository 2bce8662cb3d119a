//! The API server, with its past: a cache shows the objects as they were some time ago.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::objects::{AccountSetup, Objects};

/// No cache is further behind than this, outages of the API server left out.
pub const LONGEST_CACHE_LAG: Duration = Duration::from_mins(1);
/// No outage lasts longer than this.
const LONGEST_OUTAGE: Duration = Duration::from_mins(1);

/// The Lease. Only its holder may call AWS.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// The replica that holds it.
    pub holder: usize,
    /// When it was renewed last.
    pub renewed: Instant,
}

/// The API server.
#[derive(Debug)]
pub struct Cluster {
    past: Mutex<VecDeque<(Instant, Arc<Objects>)>>,
    outage: Mutex<Option<(Instant, Instant)>>,
    /// How far the cache of each replica is behind.
    lags: Mutex<BTreeMap<usize, Duration>>,
    version: watch::Sender<u64>,
    lease: Mutex<Option<Lease>>,
}

impl Cluster {
    /// A cluster with two accounts.
    pub fn new(setups: [AccountSetup; 2]) -> Arc<Self> {
        let objects = Objects::new(setups);
        Arc::new(Self {
            past: Mutex::new(VecDeque::from([(Instant::now(), Arc::new(objects))])),
            outage: Mutex::default(),
            lags: Mutex::default(),
            version: watch::Sender::new(0),
            lease: Mutex::default(),
        })
    }

    /// The objects now.
    pub fn now(&self) -> Arc<Objects> {
        let past = self.past.lock();
        let (_, objects) = past.back().expect("there is always one");
        objects.clone()
    }

    /// Changes the objects.
    pub fn change<T>(&self, change: impl FnOnce(&mut Objects) -> T) -> T {
        let mut past = self.past.lock();
        let (_, last) = past.back_mut().expect("there is always one");
        let before = last.version;
        let mut objects = (**last).clone();
        let result = change(&mut objects);
        let version = objects.version;
        if version == before {
            *last = Arc::new(objects);
        } else {
            let now = Instant::now();
            past.push_back((now, Arc::new(objects)));
            let oldest = LONGEST_CACHE_LAG + LONGEST_OUTAGE;
            while past.get(1).is_some_and(|(at, _)| *at + oldest < now) {
                past.pop_front();
            }
            self.version.send_replace(version);
        }
        result
    }

    /// The newest objects that existed at this time.
    fn at(&self, then: Option<Instant>) -> Arc<Objects> {
        let past = self.past.lock();
        let known = past
            .iter()
            .rev()
            .find(|(at, _)| then.is_some_and(|then| *at <= then));
        let (_, objects) = known.or(past.front()).expect("there is always one");
        objects.clone()
    }

    /// Returns true if something was so at any time within `time` before now.
    pub fn was(&self, time: Duration, so: impl Fn(&Objects) -> bool) -> bool {
        let past = self.past.lock();
        let start = Instant::now().checked_sub(time);
        let mut ends = None;
        for (began, objects) in past.iter().rev() {
            // Older than the time in question: it ended before.
            if ends.is_some_and(|ended| start.is_some_and(|start| ended < start)) {
                return false;
            }
            if so(objects) {
                return true;
            }
            ends = Some(*began);
        }
        false
    }

    /// The Lease.
    pub fn lease(&self) -> Option<Lease> {
        *self.lease.lock()
    }

    /// The replica takes or renews the Lease, unless another one has renewed it within `expiry`. Returns true if it holds it.
    pub fn renew_lease(&self, replica: usize, expiry: Duration) -> bool {
        let (mut lease, now) = (self.lease.lock(), Instant::now());
        let is_free = lease.is_none_or(|lease| lease.holder == replica || lease.renewed + expiry < now);
        if is_free {
            *lease = Some(Lease {
                holder: replica,
                renewed: now,
            });
        }
        is_free
    }

    /// The API server does not answer for this time.
    pub fn go_down(&self, time: Duration) {
        let now = Instant::now();
        *self.outage.lock() = Some((now, now + time.min(LONGEST_OUTAGE)));
    }

    /// The API server answers.
    pub fn come_up(&self) {
        *self.outage.lock() = None;
    }

    /// Returns true if the API server answers.
    pub fn is_up(&self) -> bool {
        let outage = *self.outage.lock();
        outage.is_none_or(|(_, until)| until <= Instant::now())
    }

    /// Registers a replica whose cache shows the objects as they were `lag` ago.
    pub fn connect(&self, replica: usize, lag: Duration) {
        self.lags.lock().insert(replica, lag);
    }

    fn lag_of(&self, replica: usize) -> Duration {
        self.lags.lock().get(&replica).copied().unwrap_or_default()
    }

    /// The objects as the cache of this replica shows them.
    pub fn seen_by(&self, replica: usize) -> Arc<Objects> {
        let now = Instant::now();
        let then = now.checked_sub(self.lag_of(replica));
        let outage = *self.outage.lock();
        // Nothing arrives during an outage.
        let then = match outage.filter(|(_, until)| *until > now) {
            Some((since, _)) => then.map(|then| then.min(since)),
            None => then,
        };
        self.at(then)
    }

    /// Receives the version after every change.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}
