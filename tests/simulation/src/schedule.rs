//! What happens in a run, drawn from a seed: authors, outsiders, operators, administrators and failures.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::aws::fault::Weather;
use crate::spec::Spec;

/// What an outsider does to a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Attaches a managed policy.
    Attach(u8),
    /// Detaches all managed policies.
    Detach,
    /// Puts an inline policy that allows.
    Allow,
    /// Puts an inline policy that only denies.
    Quarantine,
    /// Puts a permissions boundary.
    Bound,
    /// Lets another account assume the role.
    Trust(u8),
    /// Removes the owner tag.
    Untag,
    /// Claims the role for another owner.
    Claim,
    /// Deletes the role.
    Delete,
    /// Deletes the role and makes another one of its name.
    Replace,
    /// Makes a role of this name where there is none.
    Create,
    /// Makes an instance profile of this name where there is none.
    CreateProfile,
    /// Takes the role out of its instance profile.
    Unlink,
}

/// Who does what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// An author applies an object. Objects 0 to 2 have names of their own, object 3 wants the name of object 0.
    Apply(u8, Spec),
    /// An author deletes an object.
    Delete(u8),
    /// An outsider changes the role of an object in an account.
    Outsider(u8, u8, Deed),
    /// An operator locks.
    Lock,
    /// An operator unlocks; work under way on the session before ends if so asked.
    Unlock {
        /// Work on the session before ends.
        replace: bool,
        /// How long the session lasts.
        minutes: u16,
    },
    /// AWS does not accept the session any more.
    Revoke,
    /// An administrator suspends an account, or lets it go on.
    Suspend(u8, bool),
    /// An administrator admits all namespaces, or only that of object 3.
    Admit(u8, bool),
    /// A replica is killed. Another one starts.
    Kill(u8),
    /// A replica is frozen for so many seconds.
    Freeze(u8, u8),
    /// The API server does not answer for so many seconds.
    ApiDown(u8),
    /// Faults become more or fewer.
    Weather(Weather),
    /// Somebody asks for a sweep of an account.
    Sweep(u8),
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
    /// Number of replicas.
    pub replicas: usize,
    /// What happens, in order.
    pub events: Vec<Event>,
    /// Nothing fails, and nobody but the authors changes anything.
    pub is_calm: bool,
}

/// Events of a run are within this time.
const HORIZON_MS: u64 = 240_000;

impl Schedule {
    /// Draws a run.
    pub fn draw(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let is_calm = rng.random_ratio(1, 6);
        let mut specs = [0; 4].map(|_| Spec::draw(&mut rng));
        let count = rng.random_range(4..18);
        let mut times: Vec<u64> = (0..count).map(|_| rng.random_range(0..HORIZON_MS)).collect();
        times.sort_unstable();
        let mut events = vec![Event {
            at: Duration::ZERO,
            act: Act::Unlock {
                replace: false,
                minutes: 720,
            },
        }];
        if is_calm || rng.random_ratio(2, 3) {
            let weather = if is_calm {
                Weather::calm(&mut rng)
            } else {
                Weather::draw(&mut rng)
            };
            events.push(Event {
                at: Duration::ZERO,
                act: Act::Weather(weather),
            });
        }
        if is_calm {
            specs.iter_mut().for_each(|spec| spec.unknown_principal = false);
        }
        for object in 0..2 {
            events.push(Event {
                at: Duration::ZERO,
                act: Act::Apply(object, specs[usize::from(object)]),
            });
        }
        for at in times {
            let act = if is_calm {
                draw_calm_act(&mut rng, &mut specs)
            } else {
                draw_act(&mut rng, &mut specs)
            };
            events.push(Event {
                at: Duration::from_millis(at),
                act,
            });
        }
        Self {
            seed,
            replicas: if is_calm { 1 } else { rng.random_range(1..3) },
            events,
            is_calm,
        }
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
            Act::Apply(object, *spec)
        }
        3 => Act::Delete(object),
        _ => Act::Sweep(rng.random_range(0..2)),
    }
}

fn draw_act(rng: &mut StdRng, specs: &mut [Spec; 4]) -> Act {
    let object = rng.random_range(0..4_u8);
    let account = rng.random_range(0..2_u8);
    match rng.random_range(0..35) {
        0..10 => {
            let spec = &mut specs[usize::from(object)];
            *spec = spec.changed(rng);
            Act::Apply(object, *spec)
        }
        10..13 => Act::Delete(object),
        13..21 => Act::Outsider(object, account, draw_deed(rng)),
        21 => Act::Lock,
        22 | 23 => Act::Unlock {
            replace: rng.random(),
            minutes: [2, 720, 720][rng.random_range(0..3)],
        },
        24 => Act::Revoke,
        25 => Act::Suspend(account, rng.random()),
        26 => Act::Admit(account, rng.random()),
        27 | 28 => Act::Kill(rng.random_range(0..2)),
        29 => Act::Freeze(rng.random_range(0..2), rng.random_range(3..40)),
        30 => Act::ApiDown(rng.random_range(3..40)),
        33 => Act::Sweep(account),
        31 | 32 => Act::Weather(Weather::draw(rng)),
        _ => Act::MakePrincipal,
    }
}

fn draw_deed(rng: &mut StdRng) -> Deed {
    match rng.random_range(0..16) {
        0 | 1 => Deed::Attach(rng.random_range(0..3)),
        2 => Deed::Detach,
        3 => Deed::Allow,
        4 | 5 => Deed::Quarantine,
        6 => Deed::Bound,
        7 => Deed::Trust(rng.random_range(0..3)),
        8 => Deed::Untag,
        9 => Deed::Claim,
        10 => Deed::Delete,
        11 | 12 => Deed::Replace,
        13 => Deed::Create,
        14 => Deed::CreateProfile,
        _ => Deed::Unlink,
    }
}
