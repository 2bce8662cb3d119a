//! The engine keeps its rules under every fault, crash and order of events that is drawn here.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use simulation::aws::fault::Fault;
use simulation::matrix::{cases, lives, run_case};
use simulation::run::{Watch, run, shrink};
use simulation::schedule::{Act, Event, Schedule};
use simulation::spec::Spec;

/// Runs all numbers on both cores, and returns what was found, in order.
fn on_all_cores(count: usize, check: impl Fn(usize) -> Option<String> + Sync) -> Vec<String> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count || found.lock().unwrap().len() >= 5 {
                        return;
                    }
                    if let Some(broken) = check(n) {
                        found.lock().unwrap().insert(n, broken);
                    }
                }
            });
        }
    });
    found.into_inner().unwrap().into_values().collect()
}

#[test]
fn ten_thousand_random_schedules_break_no_rule() {
    let broken = on_all_cores(10_000, |seed| {
        let schedule = Schedule::draw(seed as u64);
        run(&schedule, &Watch::default()).violation.map(|_| {
            let smallest = shrink(&schedule);
            let again = run(&smallest, &Watch::default());
            format!(
                "seed {seed}: {}\n{:#?}",
                again.violation.unwrap_or_default(),
                smallest.events
            )
        })
    });
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}

#[test]
fn every_fault_of_every_call_in_every_step_of_a_life_breaks_no_rule() {
    let cases = cases();
    assert!(cases.len() > 5000, "{} cases", cases.len());
    let broken = on_all_cores(cases.len(), |n| {
        let violation = run_case(cases[n]).violation?;
        Some(format!("{:?}: {violation}", cases[n]))
    });
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        let trace = || {
            let watch = Watch {
                traces: true,
                ..Watch::default()
            };
            run(&Schedule::draw(seed), &watch).trace
        };
        let (one, other) = (trace(), trace());
        assert!(one.len() > 10 && one == other, "seed {seed}");
    }
}

#[test]
fn without_faults_no_call_is_made_twice() {
    // A role with two managed policies, one inline policy and an instance profile, from nothing to deleted.
    let calls: BTreeMap<&str, u64> = lives()
        .iter()
        .map(|(name, schedule)| (*name, run(schedule, &Watch::default()).writes))
        .collect();
    // 4 to create, 2 for the profile; 3 to take policies off, 2 for the profile, 1 for the role.
    assert_eq!(calls["created and deleted"], 12);
    // The owner tag, the boundary, 2 policies, 1 inline policy, the description, 2 for the profile.
    assert_eq!(calls["adopted"], 8);
}

/// What once broke a rule, as the fewest events that show it.
#[test]
fn what_once_broke_a_rule_breaks_none() {
    let spec = Spec {
        principals: 1,
        unknown_principal: false,
        managed: 1,
        inline: [0, 0],
        boundary: 0,
        tag: 0,
        hours: 1,
        profile: false,
        accounts: 1,
        adopts: false,
        retains: false,
        absent: false,
    };
    let unlock = Act::Unlock {
        replace: false,
        minutes: 720,
    };
    let at = |seconds, act| Event {
        at: Duration::from_secs(seconds),
        act,
    };
    let life = |events: Vec<Event>| Schedule {
        seed: 1,
        replicas: 1,
        is_calm: false,
        events,
    };
    // The first write: credentials, quotas, roles and details come before it.
    let create = 5;
    for (what, schedule, script) in [
        (
            "AWS made a role and said that it failed, and the second try was throttled: the role was forgotten",
            life(vec![
                at(0, unlock),
                at(0, Act::Apply(0, spec)),
                at(1, Act::Delete(0)),
            ]),
            vec![
                (create, Fault::DoneAndRefused("ServiceFailure")),
                (create + 1, Fault::Refused("Throttling")),
            ],
        ),
        (
            "a sweep waited for an answer for ever",
            life(vec![at(0, unlock), at(0, Act::Apply(0, spec))]),
            vec![(create - 1, Fault::Hangs)],
        ),
    ] {
        let watch = Watch {
            script: script.into_iter().collect(),
            ..Watch::default()
        };
        assert_eq!(run(&schedule, &watch).violation, None, "{what}");
    }
}
