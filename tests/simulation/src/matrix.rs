//! Every call of every scenario × every fault: one run for each, with that one fault.

use std::collections::BTreeMap;
use std::time::Duration;

use rolectl_crds::Adoption;

use crate::aws::fault::{ALL, Fault, FaultProfile};
use crate::journal::Violation;
use crate::out_of_band::OutOfBandChange;
use crate::run::{RunOptions, run};
use crate::schedule::{Act, Event, Schedule};
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
    adoption: Adoption::Never,
    retains: false,
    absent: false,
    reports_drift: false,
    is_additive: false,
    is_suspended: false,
};

/// Scenarios of one role, by name. Events are 20 seconds apart, except where a scenario gives its own times. Reads trail writes by up to
/// `lag`.
pub fn scenarios(lag: Duration) -> Vec<(&'static str, Schedule)> {
    let unlock = Act::Unlock {
        replace: false,
        minutes: 720,
    };
    let faults = Act::Faults(FaultProfile {
        lag,
        ..FaultProfile::without_faults()
    });
    let life = |acts: &[Act]| {
        let acts = [faults, unlock].into_iter().chain(acts.iter().copied());
        let events = acts.enumerate().map(|(n, act)| Event {
            at: Duration::from_secs(20 * n.saturating_sub(1) as u64),
            act,
        });
        Schedule::plain(events.collect())
    };
    let apply = |spec: Spec| Act::Apply { object: 0, spec };
    let delete = Act::Delete { object: 0 };
    let outside = |change| Act::ChangeOutside {
        object: 0,
        account: 0,
        change,
    };
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
        ("created and deleted", life(&[apply(WHOLE), delete])),
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
                delete,
            ]),
        ),
        (
            "adopted",
            life(&[
                outside(OutOfBandChange::Create),
                apply(Spec {
                    adoption: Adoption::IfUnowned,
                    ..WHOLE
                }),
            ]),
        ),
        (
            "drifted",
            life(&[
                apply(WHOLE),
                outside(OutOfBandChange::Detach),
                Act::Crash { replica: 0 },
            ]),
        ),
        (
            "profile removed",
            life(&[
                apply(WHOLE),
                apply(Spec {
                    profile: false,
                    ..WHOLE
                }),
            ]),
        ),
        (
            "deleted while it is created",
            at_times(life(&[apply(WHOLE), delete]), &[150]),
        ),
        (
            "deleted soon after it was created and its account has changed",
            at_times(
                life(&[
                    apply(WHOLE),
                    Act::Admit {
                        account: 0,
                        all: false,
                    },
                    delete,
                ]),
                &[400, 450],
            ),
        ),
        (
            "account changed",
            life(&[
                apply(WHOLE),
                Act::Suspend {
                    account: 0,
                    suspend: true,
                },
                apply(replaced),
                Act::Suspend {
                    account: 0,
                    suspend: false,
                },
            ]),
        ),
        (
            "locked and unlocked",
            life(&[apply(WHOLE), Act::Lock, apply(replaced), unlock]),
        ),
    ]
}

/// Moves the last events to these times, in milliseconds after the role is applied.
fn at_times(mut schedule: Schedule, times: &[u64]) -> Schedule {
    let applied = Duration::from_secs(20);
    for (event, time) in schedule.events.iter_mut().rev().zip(times.iter().rev()) {
        event.at = applied + Duration::from_millis(*time);
    }
    schedule
}

/// One run of the table.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name of the scenario.
    pub scenario: &'static str,
    /// The scenario.
    pub schedule: Schedule,
    /// What goes wrong, by the number of the call.
    pub script: BTreeMap<u64, Fault>,
}

/// Reads are late by up to so much in the cases.
const LAGS: [Duration; 2] = [Duration::ZERO, Duration::from_secs(6)];

/// All cases. Each call of each scenario fails once with each fault; and each call is applied but answered with ServiceFailure, while the
/// next call fails with each fault.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for (scenario, schedule) in LAGS.into_iter().flat_map(scenarios) {
        let calls = run(&schedule, &RunOptions::default()).calls;
        for call in 1..=calls {
            let one = ALL.map(|fault| BTreeMap::from([(call, fault)]));
            let applied = Fault::AppliedThenError("ServiceFailure");
            let two = ALL.map(|fault| BTreeMap::from([(call, applied), (call + 1, fault)]));
            cases.extend(one.into_iter().chain(two).map(|script| Case {
                scenario,
                schedule: schedule.clone(),
                script,
            }));
        }
    }
    cases
}

impl Case {
    /// Runs the case. Returns the invariant that it breaks.
    pub fn violation(&self) -> Option<Violation> {
        let options = RunOptions {
            script: self.script.clone(),
            ..RunOptions::default()
        };
        run(&self.schedule, &options).violation
    }
}
