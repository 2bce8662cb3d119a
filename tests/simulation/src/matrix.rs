//! Every step of a role's life × every call × every fault: one run for each, with that one fault.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::aws::fault::{ALL, Fault};
use crate::run::{Outcome, Watch, run};
use crate::schedule::{Act, Deed, Event, Schedule};
use crate::spec::Spec;

const WHOLE: Spec = Spec {
    principals: 0b001,
    unknown_principal: false,
    managed: 0b011,
    inline: [1, 0],
    boundary: 1,
    tag: 1,
    hours: 1,
    profile: true,
    accounts: 0b01,
    adopts: false,
    retains: false,
    absent: false,
};

/// A life of a role, by name.
pub fn lives() -> Vec<(&'static str, Schedule)> {
    let unlock = Act::Unlock {
        replace: false,
        minutes: 720,
    };
    let life = |acts: &[Act]| {
        let acts = [unlock].into_iter().chain(acts.iter().copied());
        let events = acts.enumerate().map(|(n, act)| Event {
            at: Duration::from_secs(20 * n as u64),
            act,
        });
        Schedule {
            seed: 1,
            replicas: 1,
            is_calm: false,
            events: events.collect(),
        }
    };
    let apply = |spec: Spec| Act::Apply(0, spec);
    let replaced = Spec {
        principals: 0b010,
        managed: 0b110,
        inline: [2, 1],
        boundary: 2,
        tag: 2,
        hours: 2,
        ..WHOLE
    };
    vec![
        ("created and deleted", life(&[apply(WHOLE), Act::Delete(0)])),
        ("changed in every part", life(&[apply(WHOLE), apply(replaced)])),
        (
            "narrowed",
            life(&[
                apply(Spec {
                    principals: 0b011,
                    ..WHOLE
                }),
                apply(Spec {
                    managed: 0b001,
                    inline: [0, 0],
                    ..WHOLE
                }),
            ]),
        ),
        (
            "boundary removed",
            life(&[
                apply(WHOLE),
                apply(Spec {
                    boundary: 0,
                    managed: 0b001,
                    ..WHOLE
                }),
            ]),
        ),
        (
            "moved to another account",
            life(&[
                apply(WHOLE),
                apply(Spec {
                    accounts: 0b10,
                    ..WHOLE
                }),
            ]),
        ),
        (
            "made absent",
            life(&[
                apply(WHOLE),
                apply(Spec {
                    absent: true,
                    ..WHOLE
                }),
            ]),
        ),
        (
            "retained",
            life(&[
                apply(Spec {
                    retains: true,
                    ..WHOLE
                }),
                Act::Delete(0),
            ]),
        ),
        (
            "adopted",
            life(&[
                Act::Outsider(0, 0, Deed::Create),
                apply(Spec {
                    adopts: true,
                    ..WHOLE
                }),
            ]),
        ),
        (
            "drifted",
            life(&[apply(WHOLE), Act::Outsider(0, 0, Deed::Detach), Act::Kill(0)]),
        ),
        (
            "locked and unlocked",
            life(&[apply(WHOLE), Act::Lock, apply(replaced), unlock]),
        ),
    ]
}

/// One run of the table.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Number of the life.
    pub life: usize,
    /// Number of the call.
    pub call: u64,
    /// What goes wrong with it.
    pub fault: Fault,
    /// What goes wrong with the call after it, if anything does.
    pub then: Option<Fault>,
}

/// All cases: every call of every life with every fault, and after a call that was made and has no answer, every other fault.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for (life, (_, schedule)) in lives().iter().enumerate() {
        let calls = run(schedule, &Watch::default()).calls;
        for call in 1..=calls {
            for fault in ALL {
                cases.push(Case {
                    life,
                    call,
                    fault,
                    then: None,
                });
            }
            for then in ALL {
                let fault = Fault::DoneAndRefused("ServiceFailure");
                cases.push(Case {
                    life,
                    call,
                    fault,
                    then: Some(then),
                });
            }
        }
    }
    cases
}

/// Runs one case.
pub fn run_case(case: Case) -> Outcome {
    let lives = lives();
    let Some((_, schedule)) = lives.get(case.life) else {
        return Outcome::default();
    };
    let mut script = BTreeMap::from([(case.call, case.fault)]);
    script.extend(case.then.map(|then| (case.call + 1, then)));
    run(
        schedule,
        &Watch {
            script,
            ..Watch::default()
        },
    )
}
