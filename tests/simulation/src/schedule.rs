//! What happens in a run, drawn from a seed: authors, people outside, operators, administrators and failures.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::aws::fault::FaultProfile;
use crate::aws::iam::Limits;
use crate::kubernetes::cluster::LONGEST_CACHE_LAG;
use crate::kubernetes::objects::AccountSetup;
use crate::out_of_band::OutOfBandChange;
use crate::spec::Spec;

/// Who does what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// An author applies an object. Objects 0 to 2 have names of their own, object 3 wants the name of object 0.
    Apply {
        /// Number of the object.
        object: u8,
        /// Its spec.
        spec: Spec,
    },
    /// An author deletes an object.
    Delete {
        /// Number of the object.
        object: u8,
    },
    /// Somebody outside changes the role of an object.
    ChangeOutside {
        /// Number of the object.
        object: u8,
        /// Number of the account.
        account: u8,
        /// The change.
        change: OutOfBandChange,
    },
    /// An operator locks.
    Lock,
    /// An operator unlocks.
    Unlock {
        /// Cancels the calls in flight on the session that this one replaces, as `rolectl unlock --replace` does.
        replace: bool,
        /// How long the session lasts.
        minutes: u16,
    },
    /// AWS does not accept the session any more.
    Revoke,
    /// An administrator suspends an account, or resumes it.
    Suspend {
        /// Number of the account.
        account: u8,
        /// Suspends it.
        suspend: bool,
    },
    /// An administrator asks for approvals of what widens, which no operator gives, or for none.
    AskForApprovals {
        /// Number of the account.
        account: u8,
        /// Asks for them.
        asks: bool,
    },
    /// An administrator admits all namespaces, or only that of objects 2 and 3.
    Admit {
        /// Number of the account.
        account: u8,
        /// Admits all.
        all: bool,
    },
    /// A replica crashes. Another one starts.
    Crash {
        /// Which of those that run.
        replica: u8,
    },
    /// A replica is frozen.
    Freeze {
        /// Which of those that run.
        replica: u8,
        /// For so long.
        seconds: u8,
    },
    /// The API server does not answer.
    ApiOutage {
        /// For so long.
        seconds: u8,
    },
    /// Faults become more or fewer.
    Faults(FaultProfile),
    /// Somebody asks for a sweep.
    Sweep {
        /// Number of the account.
        account: u8,
    },
    /// The principal that AWS did not know is made.
    MakePrincipal,
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, from the beginning.
    pub at: Duration,
    /// What.
    pub act: Act,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Where everything else that is drawn comes from.
    pub seed: u64,
    /// How far the caches of the replicas are behind, one for each replica.
    pub cache_lags: Vec<Duration>,
    /// The accounts.
    pub accounts: [AccountSetup; 2],
    /// Quotas of each account.
    pub limits: Limits,
    /// What happens, in order.
    pub events: Vec<Event>,
    /// What authors do after the faults have ended and everything is as declared. The time is from then on.
    pub afterwards: Vec<Event>,
    /// Nothing fails, and nobody but the authors changes anything.
    pub is_calm: bool,
}

/// Quotas that nobody reaches.
pub const AMPLE: Limits = Limits {
    roles: 20,
    attached: 10,
};

/// Events of a run are within this time.
const HORIZON_MS: u64 = 240_000;

impl Schedule {
    /// One replica with a cache that is never behind, ample quotas, and these events.
    pub fn plain(events: Vec<Event>) -> Self {
        Self {
            seed: 1,
            cache_lags: vec![Duration::ZERO],
            accounts: [AccountSetup::default(); 2],
            limits: AMPLE,
            events,
            afterwards: vec![],
            is_calm: false,
        }
    }

    /// Draws a run.
    pub fn draw(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let is_calm = rng.random_ratio(1, 6);
        let mut specs = [0; 4].map(|_| Spec::draw(&mut rng));
        let at_once = |act| Event {
            at: Duration::ZERO,
            act,
        };
        let mut events = vec![at_once(Act::Unlock {
            replace: false,
            minutes: 720,
        })];
        if is_calm {
            specs.iter_mut().for_each(|spec| spec.unknown_principal = false);
            events.push(at_once(Act::Faults(FaultProfile::calm(&mut rng))));
        } else if rng.random_ratio(2, 3) {
            events.push(at_once(Act::Faults(FaultProfile::draw(&mut rng))));
        }
        for object in 0..2 {
            let spec = specs[usize::from(object)];
            events.push(at_once(Act::Apply { object, spec }));
        }
        let count = rng.random_range(4..18);
        let mut times: Vec<u64> = (0..count).map(|_| rng.random_range(0..HORIZON_MS)).collect();
        times.sort_unstable();
        for at in times {
            let act = if is_calm {
                draw_calm_act(&mut rng, &mut specs)
            } else {
                draw_act(&mut rng, &mut specs)
            };
            let at = Duration::from_millis(at);
            events.push(Event { at, act });
        }
        let afterwards = (0..rng.random_range(0..4)).map(|n| Event {
            at: Duration::from_secs(5 * n),
            act: draw_calm_act(&mut rng, &mut specs),
        });
        let afterwards = afterwards.collect();
        let replicas = if is_calm { 1 } else { rng.random_range(1..3) };
        Self {
            seed,
            cache_lags: (0..replicas).map(|_| draw_cache_lag(&mut rng, is_calm)).collect(),
            accounts: [false, true].map(|is_second| draw_account(&mut rng, is_second, is_calm)),
            limits: if is_calm { AMPLE } else { draw_limits(&mut rng) },
            events,
            afterwards,
            is_calm,
        }
    }
}

fn one_of<T: Copy>(rng: &mut StdRng, all: &[T]) -> T {
    all[rng.random_range(0..all.len())]
}

fn draw_cache_lag(rng: &mut StdRng, is_calm: bool) -> Duration {
    if is_calm {
        return Duration::ZERO;
    }
    let short = [0, 0, 0, 50, 1000, 5000].map(Duration::from_millis);
    let all: Vec<Duration> = short.into_iter().chain([LONGEST_CACHE_LAG]).collect();
    one_of(rng, &all)
}

fn draw_account(rng: &mut StdRng, is_second: bool, is_calm: bool) -> AccountSetup {
    AccountSetup {
        is_direct: is_second && rng.random_ratio(1, 5),
        session_per_role: rng.random_ratio(1, 4),
        adopts_always: rng.random_ratio(1, 3),
        max_roles: if is_calm {
            0
        } else {
            one_of(rng, &[0, 0, 0, 0, 0, 2])
        },
    }
}

fn draw_limits(rng: &mut StdRng) -> Limits {
    Limits {
        roles: one_of(rng, &[20, 20, 20, 20, 2]),
        attached: one_of(rng, &[10, 10, 10, 10, 2]),
    }
}

/// Draws what authors do, each with names of their own.
fn draw_calm_act(rng: &mut StdRng, specs: &mut [Spec; 4]) -> Act {
    let object = rng.random_range(0..3_u8);
    match rng.random_range(0..6) {
        0..3 => {
            let spec = &mut specs[usize::from(object)];
            *spec = Spec {
                unknown_principal: false,
                ..spec.changed(rng)
            };
            Act::Apply { object, spec: *spec }
        }
        3 => Act::Delete { object },
        _ => Act::Sweep {
            account: rng.random_range(0..2),
        },
    }
}

fn draw_act(rng: &mut StdRng, specs: &mut [Spec; 4]) -> Act {
    let object = rng.random_range(0..4_u8);
    let account = rng.random_range(0..2_u8);
    match rng.random_range(0..37) {
        0..10 => {
            let spec = &mut specs[usize::from(object)];
            *spec = spec.changed(rng);
            Act::Apply { object, spec: *spec }
        }
        10..13 => Act::Delete { object },
        13..21 => Act::ChangeOutside {
            object,
            account,
            change: draw_change(rng),
        },
        21 => Act::Lock,
        22 | 23 => Act::Unlock {
            replace: rng.random(),
            minutes: one_of(rng, &[2, 720, 720]),
        },
        24 => Act::Revoke,
        25 => Act::Suspend {
            account,
            suspend: rng.random(),
        },
        26 => Act::Admit {
            account,
            all: rng.random(),
        },
        27 | 28 => Act::Crash {
            replica: rng.random_range(0..2),
        },
        29 => Act::Freeze {
            replica: rng.random_range(0..2),
            seconds: rng.random_range(3..40),
        },
        30 => Act::ApiOutage {
            seconds: rng.random_range(3..40),
        },
        31 | 32 => Act::Faults(FaultProfile::draw(rng)),
        33 => Act::Sweep { account },
        34 | 35 => Act::AskForApprovals {
            account,
            asks: rng.random_ratio(2, 3),
        },
        _ => Act::MakePrincipal,
    }
}

fn draw_change(rng: &mut StdRng) -> OutOfBandChange {
    match rng.random_range(0..16) {
        0 | 1 => OutOfBandChange::Attach(rng.random_range(0..3)),
        2 => OutOfBandChange::Detach,
        3 => OutOfBandChange::Allow,
        4 | 5 => OutOfBandChange::Quarantine,
        6 => OutOfBandChange::Bound,
        7 => OutOfBandChange::Trust(rng.random_range(0..3)),
        8 => OutOfBandChange::Untag,
        9 => OutOfBandChange::Claim,
        10 => OutOfBandChange::Delete,
        11 | 12 => OutOfBandChange::Replace,
        13 => OutOfBandChange::Create,
        14 => OutOfBandChange::CreateProfile,
        _ => OutOfBandChange::Unlink,
    }
}
