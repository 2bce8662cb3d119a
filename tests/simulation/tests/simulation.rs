//! The engine keeps its invariants under every fault, crash and order of events that is drawn here.

use std::collections::BTreeMap;
use std::time::Duration;

use rolectl_crds::Adoption;
use simulation::aws::fault::{Fault, FaultProfile};
use simulation::aws::iam::LONGEST_LAG;
use simulation::matrix::{cases, scenarios};
use simulation::out_of_band::OutOfBandChange;
use simulation::parallel::check_all;
use simulation::run::{RunOptions, run, violation};
use simulation::schedule::{Act, Event, Schedule};
use simulation::shrink::shrink;
use simulation::spec::Spec;

/// How many violations a test shows before it ends.
const SHOWN: usize = 3;

/// A role with one principal and one managed policy.
const PLAIN: Spec = Spec {
    principals: 1,
    unknown_principal: false,
    managed: 1,
    inline: [0, 0],
    boundary: 0,
    tag: 0,
    hours: 1,
    profile: false,
    accounts: 1,
    adoption: Adoption::Never,
    retains: false,
    absent: false,
    reports_drift: false,
    is_additive: false,
    is_suspended: false,
};

fn assert_none(found: BTreeMap<u64, String>) {
    let found: Vec<String> = found.into_values().collect();
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

#[test]
fn ten_thousand_random_schedules_break_no_invariant() {
    let (found, _) = check_all(10_000, SHOWN, |seed| {
        let schedule = Schedule::draw(seed);
        let broken = violation(&schedule)?;
        let smallest = shrink(&schedule);
        Some(format!("seed {seed}: {broken}\nsmallest: {smallest:#?}"))
    });
    assert_none(found);
}

#[test]
fn every_fault_of_every_call_in_every_scenario_breaks_no_invariant() {
    let cases = cases();
    assert!(cases.len() > 10_000, "{} cases", cases.len());
    let (found, _) = check_all(cases.len() as u64, SHOWN, |n| {
        let case = &cases[usize::try_from(n).ok()?];
        let broken = case.violation()?;
        Some(format!(
            "{} with {:?}: {broken}\n{:#?}",
            case.scenario, case.script, case.schedule
        ))
    });
    assert_none(found);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        let trace = || {
            let options = RunOptions {
                traces: true,
                ..RunOptions::default()
            };
            run(&Schedule::draw(seed), &options).trace
        };
        let (one, other) = (trace(), trace());
        assert!(one.len() > 10 && one == other, "seed {seed}");
    }
}

#[test]
fn without_faults_no_call_is_made_twice() {
    // A role with two managed policies, one inline policy and an instance profile.
    let writes: BTreeMap<&str, u64> = scenarios(Duration::ZERO)
        .iter()
        .map(|(name, schedule)| (*name, run(schedule, &RunOptions::default()).writes))
        .collect();
    // 4 to create, 2 for the profile; 3 to take policies off, 2 for the profile, 1 for the role.
    assert_eq!(writes["created and deleted"], 12);
    // The owner tag, the boundary, 2 policies, 1 inline policy, the description, 2 for the profile.
    assert_eq!(writes["adopted"], 8);
}

/// What once broke an invariant, as the fewest events that show it.
#[test]
fn what_once_broke_an_invariant_breaks_none() {
    let at = |seconds, act| Event {
        at: Duration::from_secs(seconds),
        act,
    };
    let unlock = at(
        0,
        Act::Unlock {
            replace: false,
            minutes: 720,
        },
    );
    let apply = at(
        0,
        Act::Apply {
            object: 0,
            spec: PLAIN,
        },
    );
    let delete = |seconds| at(seconds, Act::Delete { object: 0 });
    // The first write: credentials, quotas, roles and details come before it.
    let create = 5;
    for (what, events, script) in [
        (
            "AWS made a role and answered an error, and the second attempt was throttled: the role was forgotten",
            vec![unlock, apply, delete(1)],
            vec![
                (create, Fault::AppliedThenError("ServiceFailure")),
                (create + 1, Fault::Refused("Throttling")),
            ],
        ),
        (
            "a sweep waited for an answer without a limit",
            vec![unlock, apply],
            vec![(create - 1, Fault::Hangs)],
        ),
        (
            "what a Deny from outside covered was added without an approval, and would have counted once the Deny was gone",
            vec![
                unlock,
                apply,
                at(
                    60,
                    Act::AskForApprovals {
                        account: 0,
                        asks: true,
                    },
                ),
                at(
                    70,
                    Act::ChangeOutside {
                        object: 0,
                        account: 0,
                        change: OutOfBandChange::Quarantine,
                    },
                ),
                // The author adds it long after everybody has seen the Deny.
                at(
                    900,
                    Act::Apply {
                        object: 0,
                        spec: Spec {
                            inline: [1, 0],
                            ..PLAIN
                        },
                    },
                ),
            ],
            vec![],
        ),
    ] {
        let options = RunOptions {
            script: script.into_iter().collect(),
            ..RunOptions::default()
        };
        let outcome = run(&Schedule::plain(events), &options);
        assert_eq!(outcome.violation, None, "{what}");
    }
}

/// A replica stands still while it makes a role, loses its Lease, and gets it back before AWS shows the role everywhere.
#[test]
fn a_role_made_right_before_its_lease_was_lost_is_not_forgotten() {
    let at = |milliseconds, act| Event {
        at: Duration::from_millis(milliseconds),
        act,
    };
    let (found, _) = check_all(2_000, SHOWN, |seed| {
        let faults = FaultProfile {
            lag: LONGEST_LAG,
            ..FaultProfile::without_faults()
        };
        let unlock = Act::Unlock {
            replace: false,
            minutes: 720,
        };
        let freeze = Act::Freeze {
            replica: 0,
            seconds: 9,
        };
        let events = vec![
            at(0, Act::Faults(faults)),
            at(0, unlock),
            at(
                0,
                Act::Apply {
                    object: 0,
                    spec: PLAIN,
                },
            ),
            at(130, freeze),
            // The replica notices the loss, and stops its actors.
            at(9_000, Act::ApiOutage { seconds: 1 }),
            at(10_000, Act::Delete { object: 0 }),
        ];
        let schedule = Schedule {
            seed,
            ..Schedule::plain(events)
        };
        let options = RunOptions {
            script: BTreeMap::from([(6 + seed % 5, Fault::HangsApplied)]),
            ..RunOptions::default()
        };
        let broken = run(&schedule, &options).violation?;
        Some(format!("seed {seed}: {broken}"))
    });
    assert_none(found);
}
