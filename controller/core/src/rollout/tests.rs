use std::collections::BTreeSet;

use proptest::prelude::*;
use rolectl_crds::{AwsAccount, IamRole};
use serde_json::{Value, json};

use super::*;

fn spec(value: Value) -> Rollout {
    serde_json::from_value(value).unwrap()
}

fn account(name: &str, wave: u32, state: State) -> Progress {
    Progress {
        name: name.to_owned(),
        wave,
        place: 0,
        state,
    }
}

fn failed() -> State {
    State::Failed {
        has_begun: false,
        message: "no such policy".to_owned(),
    }
}

/// Decides about accounts that are named by letters, one `(wave, state)` each.
fn decide(spec: Value, command: Command, states: &[(u32, State)]) -> (String, Phase) {
    let accounts: Vec<Progress> = ('a'..='z')
        .zip(states)
        .map(|(name, (wave, state))| account(&name.to_string(), *wave, state.clone()))
        .collect();
    let spec = self::spec(spec);
    let rolling = Rolling {
        spec: &spec,
        command,
        accounts: &accounts,
        elsewhere: &[],
        completed: &Completed::new(),
    };
    let decision = rollout(&rolling, Instant::now());
    let mark = |step: &Step| match step {
        Step::Go => 'G',
        Step::Wait(Why::Wave(_)) => 'w',
        Step::Wait(Why::Soak(_)) => 's',
        Step::Wait(Why::Turn) => 't',
        Step::Wait(Why::Stopped) => 'x',
        Step::Wait(Why::Unavailable) => 'u',
    };
    (decision.steps.values().map(mark).collect(), decision.phase)
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn a_wave_begins_once_the_waves_before_it_are_complete_and_nothing_has_failed() {
    use State::{Done, Unavailable, Waiting, Working};
    let none = Command::None;
    let stopped = |text: &str| Phase::Stopped(text.to_owned());
    let one_failure = "the rollout stopped after 1 failure; first in a: no such policy";
    let aborted = "the rollout was aborted: change the spec to begin another one";
    for (spec, command, states, steps, phase) in [
        // Without waves all begin at once.
        (
            json!({}),
            none,
            vec![(0, Waiting), (0, Waiting)],
            "GG",
            Phase::Running,
        ),
        (
            json!({}),
            none,
            vec![(0, Waiting), (1, Waiting)],
            "Gw",
            Phase::Running,
        ),
        (
            json!({}),
            none,
            vec![(0, Working), (1, Waiting)],
            "Gw",
            Phase::Running,
        ),
        (
            json!({}),
            none,
            vec![(0, Done), (1, Waiting)],
            "GG",
            Phase::Running,
        ),
        (json!({}), none, vec![(0, Done), (1, Done)], "GG", Phase::Done),
        // An account that arrives later is waited for, and what has begun continues.
        (
            json!({}),
            none,
            vec![(0, Waiting), (1, Working), (1, Waiting)],
            "GGw",
            Phase::Running,
        ),
        // What has the generation keeps it, and its drift is corrected.
        (
            json!({}),
            none,
            vec![(0, Waiting), (1, Done)],
            "GG",
            Phase::Running,
        ),
        // Failures of the change stop it; those of the account do not.
        (
            json!({}),
            none,
            vec![(0, failed()), (0, Waiting)],
            "Gx",
            stopped(one_failure),
        ),
        (
            json!({}),
            none,
            vec![(0, failed()), (1, Waiting)],
            "Gx",
            stopped(one_failure),
        ),
        (
            json!({"maxFailures": 1}),
            none,
            vec![(0, failed()), (1, Waiting)],
            "GG",
            Phase::Running,
        ),
        (
            json!({}),
            none,
            vec![(0, Unavailable), (1, Waiting)],
            "uG",
            Phase::Running,
        ),
        (
            json!({}),
            none,
            vec![(0, Unavailable), (0, Done)],
            "uG",
            Phase::Done,
        ),
        // An account that would fail counts when its wave is reached.
        (
            json!({}),
            none,
            vec![(1, failed()), (0, Waiting)],
            "wG",
            Phase::Running,
        ),
        (json!({}), none, vec![(0, failed()), (0, Done)], "GG", Phase::Done),
        // Some at once.
        (
            json!({"maxConcurrent": 2}),
            none,
            vec![(0, Waiting), (0, Waiting), (0, Waiting)],
            "GGt",
            Phase::Running,
        ),
        (
            json!({"maxConcurrent": 1}),
            none,
            vec![(0, Waiting), (0, Working)],
            "tG",
            Phase::Running,
        ),
        (
            json!({"maxConcurrent": 1, "maxFailures": 1}),
            none,
            vec![(0, failed()), (0, Waiting), (0, Waiting)],
            "GGt",
            Phase::Running,
        ),
        // People.
        (
            json!({}),
            Command::Resume(Some(1)),
            vec![(0, failed()), (1, Waiting)],
            "GG",
            Phase::Running,
        ),
        (
            json!({}),
            Command::Resume(Some(1)),
            vec![(0, failed()), (0, failed()), (1, Waiting)],
            "GGx",
            stopped("the rollout stopped after 2 failures; first in a: no such policy"),
        ),
        (
            json!({}),
            Command::Resume(None),
            vec![(0, failed()), (0, failed()), (1, Waiting)],
            "GGG",
            Phase::Running,
        ),
        (
            json!({}),
            Command::Abort,
            vec![(0, Done), (0, Working), (0, failed()), (1, Waiting)],
            "GGxx",
            stopped(aborted),
        ),
        (json!({}), Command::Abort, vec![(0, Done)], "G", Phase::Done),
        // The time after a wave.
        (
            json!({"soak": "1h"}),
            none,
            vec![(0, Done), (1, Waiting), (2, Waiting)],
            "Gsw",
            Phase::Running,
        ),
        (
            json!({"soak": "1h"}),
            none,
            vec![(0, Unavailable), (1, Waiting)],
            "uG",
            Phase::Running,
        ),
        (
            json!({"soak": "1h"}),
            none,
            vec![(0, Done), (1, failed()), (1, Waiting)],
            "Gss",
            Phase::Running,
        ),
    ] {
        let shown = format!("{spec} {command:?} {states:?}");
        assert_eq!(
            decide(spec, command, &states),
            (steps.to_owned(), phase),
            "{shown}"
        );
    }
}

#[test]
fn the_time_after_a_wave_begins_when_it_was_first_seen_complete() {
    let spec = spec(json!({"soak": "1h"}));
    let accounts = [account("a", 0, State::Done), account("b", 1, State::Waiting)];
    let (start, hour) = (Instant::now(), Duration::from_hours(1));
    let at = |completed: &Completed, now: Instant| {
        let rolling = Rolling {
            spec: &spec,
            command: Command::None,
            accounts: &accounts,
            elsewhere: &[],
            completed,
        };
        rollout(&rolling, now)
    };
    let first = at(&Completed::new(), start);
    assert_eq!(first.again, Some(start + hour));
    assert_eq!(first.steps["b"], Step::Wait(Why::Soak(0)));
    let later = at(&first.completed, start + hour / 2);
    assert_eq!(later.again, Some(start + hour), "the time is not lengthened");
    let end = at(&later.completed, start + hour);
    assert_eq!((&end.steps["b"], end.again), (&Step::Go, None));
}

#[test]
fn replicas_take_turns_and_wait_for_each_others_waves() {
    let spec = spec(json!({"maxConcurrent": 1}));
    let open = |goes_first, wave, waiting, working| Elsewhere {
        goes_first,
        waves: [(
            wave,
            ShardWave {
                wave,
                waiting,
                working,
                failed: 0,
            },
        )]
        .into(),
        failure: None,
    };
    let targets: BTreeMap<u32, u32> = [(0, 3)].into();
    for (elsewhere, expected) in [
        (open(true, 1, 1, 0), Step::Go),
        (open(true, 0, 1, 0), Step::Wait(Why::Turn)),
        (open(false, 0, 1, 0), Step::Go),
        (open(false, 0, 0, 1), Step::Wait(Why::Turn)),
        // A shard that has reported nothing of this generation is at its beginning.
        (
            Elsewhere::of(true, None, Some(2), &targets),
            Step::Wait(Why::Turn),
        ),
        (
            Elsewhere::of(true, Some(&report_of(&[], Some(1))), Some(2), &targets),
            Step::Wait(Why::Turn),
        ),
        (
            Elsewhere::of(true, Some(&report_of(&[], Some(2))), Some(2), &targets),
            Step::Go,
        ),
    ] {
        let accounts = [account("a", 0, State::Waiting), account("b", 1, State::Waiting)];
        let rolling = Rolling {
            spec: &spec,
            command: Command::None,
            accounts: &accounts,
            elsewhere: std::slice::from_ref(&elsewhere),
            completed: &Completed::new(),
        };
        let decision = rollout(&rolling, Instant::now());
        assert_eq!(decision.steps["a"], expected, "{elsewhere:?}");
        assert_eq!(decision.steps["b"], Step::Wait(Why::Wave(0)), "{elsewhere:?}");
    }
    let failing = report_of(&[account("z", 0, failed()), account("y", 0, failed())], Some(2));
    let elsewhere = Elsewhere::of(false, Some(&failing), Some(2), &targets);
    let accounts = [account("a", 0, State::Waiting)];
    let rolling = Rolling {
        spec: &spec,
        command: Command::None,
        accounts: &accounts,
        elsewhere: &[elsewhere],
        completed: &Completed::new(),
    };
    let stopped = "the rollout stopped after 2 failures; first in y: no such policy";
    assert_eq!(
        rollout(&rolling, Instant::now()).phase,
        Phase::Stopped(stopped.to_owned())
    );
}

#[test]
fn failures_that_come_from_the_account_do_not_count() {
    let of = |is_applied, has_begun, is_unavailable, reason: Option<Reason>| {
        State::of(&Seen {
            is_applied,
            has_begun,
            is_unavailable,
            reported: reason.map(|reason| (reason, "why")),
        })
    };
    let failed = State::Failed {
        has_begun: true,
        message: "why".to_owned(),
    };
    for (reason, state) in [
        (Reason::SessionLocked, State::Unavailable),
        (Reason::Suspended, State::Unavailable),
        (Reason::AccountMismatch, State::Unavailable),
        (Reason::NamespaceNotAllowed, State::Unavailable),
        (Reason::InvalidSpec, failed.clone()),
        (Reason::GuardrailViolated, failed.clone()),
        (Reason::QuotaExceeded, failed.clone()),
        (Reason::AccessDenied, failed),
        // These are tried again by themselves, and the account keeps its turn.
        (Reason::Throttled, State::Working),
        (Reason::AwsUnavailable, State::Working),
        (Reason::AwaitingPrincipal, State::Working),
        (Reason::RollingOut, State::Working),
    ] {
        assert_eq!(of(false, true, false, Some(reason)), state, "{reason}");
        assert_eq!(of(true, true, true, Some(reason)), State::Done, "{reason}");
        assert_eq!(
            of(false, true, true, Some(reason)),
            State::Unavailable,
            "{reason}"
        );
    }
    assert_eq!(of(false, false, false, Some(Reason::RollingOut)), State::Waiting);
    assert_eq!(
        of(false, false, false, Some(Reason::RolloutStopped)),
        State::Waiting
    );
    assert_eq!(of(false, false, false, None), State::Waiting);
    assert!(is_unavailable(Reason::AccessDenied) && is_unavailable(Reason::Throttled));
    assert!(!is_unavailable(Reason::InSync));
}

#[test]
fn a_request_counts_for_the_generation_that_it_names() {
    for (text, command) in [
        ("resume-7", Command::Resume(None)),
        ("resume-7-2", Command::Resume(Some(2))),
        ("abort-7", Command::Abort),
        ("abort-6", Command::None),
        ("resume-7-x", Command::None),
        ("resume-7-1-1", Command::None),
        ("resume--7", Command::None),
        ("abort-7-1", Command::None),
        ("continue-7", Command::None),
        ("", Command::None),
    ] {
        assert_eq!(Command::parse(text, Some(7)), command, "{text}");
        if command != Command::None {
            assert_eq!(command.value(7).as_deref(), Some(text));
        }
    }
    assert_eq!(Command::parse("abort-7", None), Command::None);
}

fn role(spec: &Value) -> IamRole {
    let mut all = json!({"ensure": "Absent", "accounts": {"selector": {}}});
    for (key, value) in spec.as_object().unwrap() {
        all[key] = value.clone();
    }
    serde_json::from_value(
        json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "IamRole",
        "metadata": {"name": "app", "namespace": "team"}, "spec": all}),
    )
    .unwrap()
}

fn aws_account(name: &str, tier: &str, wave: u32) -> AwsAccount {
    serde_json::from_value(
        json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
        "metadata": {"name": name, "labels": {"tier": tier}},
        "spec": {"accountId": "222222222222", "wave": wave}}),
    )
    .unwrap()
}

#[test]
fn the_waves_of_a_role_come_before_those_of_the_accounts() {
    let of_accounts = role(&json!({"rollout": {}}));
    let of_role = role(
        &json!({"rollout": {"waves": [{"names": ["b"]}, {"selector": {"matchLabels": {"tier": "dev"}}}]}}),
    );
    for (name, tier, wave, without, with) in [
        ("a", "dev", 5, 5, 2),
        ("b", "dev", 0, 0, 1),
        ("c", "prod", 1, 1, 3),
    ] {
        let account = aws_account(name, tier, wave);
        assert_eq!(wave_of(&of_accounts, &account), without, "{name}");
        assert_eq!(wave_of(&of_role, &account), with, "{name}");
    }
    let (first, later) = (aws_account("a", "dev", 0), aws_account("a", "dev", 1));
    for (spec, in_first, in_later) in [
        (json!({}), false, true),
        (json!({"rollout": {}}), true, true),
        (json!({"rollout": {}, "drift": "Report"}), false, false),
    ] {
        let role = role(&spec);
        assert_eq!(needs_turn(&role, &first), in_first, "{spec}");
        assert_eq!(needs_turn(&role, &later), in_later, "{spec}");
    }
    let misspelled = json!({"rollout": {"waves": [{"names": ["a"]},
        {"selector": {"matchExpressions": [{"key": "tier", "operator": "Is", "values": ["x"]}]}}]}});
    let problem = wave_error(&role(&misspelled)).unwrap();
    assert!(
        problem.starts_with("spec.rollout.waves[1].selector: operator Is is unknown"),
        "{problem}"
    );
    assert_eq!(wave_error(&of_role), None);
}

/// What comes of a change in an account of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Succeeds,
    Fails,
    /// It cannot be used for this many rounds, and succeeds then.
    Away(u32),
}

#[derive(Clone, Debug)]
struct Simulated {
    wave: u32,
    fate: Fate,
    /// Rounds that the change takes.
    takes: u32,
    /// The round in which the account is added.
    arrives: u32,
}

fn simulated() -> impl Strategy<Value = Simulated> {
    let fate = prop_oneof![
        6 => Just(Fate::Succeeds),
        1 => Just(Fate::Fails),
        2 => (1..8_u32).prop_map(Fate::Away),
    ];
    (
        0..4_u32,
        fate,
        1..5_u32,
        prop_oneof![4 => Just(0), 1 => 0..12_u32],
    )
        .prop_map(|(wave, fate, takes, arrives)| Simulated {
            wave,
            fate,
            takes,
            arrives,
        })
}

proptest! {
    #[test]
    fn a_rollout_keeps_its_limits_and_ends(
        accounts in proptest::collection::vec(simulated(), 1..12),
        most in proptest::option::of(1..4_u32),
        tolerated in 0..3_u32,
        soak in 0..4_u64,
        restarts in proptest::collection::btree_set(0..40_u32, 0..4),
    ) {
        let round_takes = Duration::from_mins(1);
        let spec = Rollout {
            max_concurrent: most,
            max_failures: tolerated,
            soak: Some((round_takes * u32::try_from(soak).unwrap()).into()),
            ..Rollout::default()
        };
        let start = Instant::now();
        let mut begun: BTreeMap<usize, u32> = BTreeMap::new();
        let mut done: BTreeMap<usize, u32> = BTreeMap::new();
        let mut failed: BTreeSet<usize> = BTreeSet::new();
        let mut told: BTreeSet<usize> = BTreeSet::new();
        let mut completed = Completed::new();
        let mut last = None;
        for round in 0..400_u32 {
            let now = start + round_takes * round;
            if restarts.contains(&round) {
                // Only what a status has is left: who is done, and who has failed.
                told.clear();
                begun.retain(|index, _| done.contains_key(index) || failed.contains(index));
                completed.clear();
            }
            for (index, account) in accounts.iter().enumerate() {
                let is_over = begun.get(&index).is_some_and(|since| since + account.takes <= round);
                if is_over && !done.contains_key(&index) {
                    match account.fate {
                        Fate::Fails => drop(failed.insert(index)),
                        _ => drop(done.insert(index, round)),
                    }
                }
            }
            let here = accounts.iter().enumerate().filter(|(_, account)| account.arrives <= round);
            let progress: Vec<Progress> = here
                .clone()
                .map(|(index, account)| {
                    let is_away = matches!(account.fate, Fate::Away(until) if round < until);
                    let state = if done.contains_key(&index) {
                        State::Done
                    } else if failed.contains(&index) {
                        State::Failed { has_begun: told.contains(&index), message: "no such policy".to_owned() }
                    } else if is_away {
                        State::Unavailable
                    } else if told.contains(&index) {
                        State::Working
                    } else {
                        State::Waiting
                    };
                    Progress { name: format!("{index:02}"), wave: account.wave, place: 0, state }
                })
                .collect();
            let rolling = Rolling {
                spec: &spec,
                command: Command::None,
                accounts: &progress,
                elsewhere: &[],
                completed: &completed,
            };
            let decision = rollout(&rolling, now);
            let mut reversed = progress.clone();
            reversed.reverse();
            let again = rollout(&Rolling { accounts: &reversed, ..rolling }, now);
            prop_assert_eq!(&decision, &again, "the order of the input does not matter");
            completed = decision.completed.clone();
            let before = told.clone();
            for (index, account) in here.clone() {
                let step = &decision.steps[&format!("{index:02}")];
                if *step != Step::Go {
                    told.remove(&index);
                    continue;
                }
                let is_new = told.insert(index) && !done.contains_key(&index) && !failed.contains(&index);
                if !is_new {
                    continue;
                }
                begun.insert(index, round);
                // After a restart a failure in a later wave counts again once that wave is reached.
                let counts = |other: &&usize| before.contains(*other) || accounts[**other].wave <= account.wave;
                let failures = failed.iter().filter(counts).count();
                prop_assert!(failures <= tolerated as usize, "{} begins after {} failures", index, failures);
                for (other, before) in here.clone().filter(|(_, other)| other.wave < account.wave) {
                    let is_away = matches!(before.fate, Fate::Away(until) if round < until);
                    prop_assert!(
                        is_away || done.contains_key(&other) || failed.contains(&other),
                        "{} begins before {} of an earlier wave", index, other
                    );
                    if let Some(at) = done.get(&other) {
                        prop_assert!(u64::from(round - at) >= soak, "{} begins too soon after {}", index, other);
                    }
                }
            }
            let working = told
                .iter()
                .filter(|index| !done.contains_key(index) && !failed.contains(index))
                .count();
            if let Some(most) = most {
                prop_assert!(working <= most as usize, "{} at once", working);
            }
            last = Some(decision.phase);
        }
        let failures = accounts.iter().filter(|account| account.fate == Fate::Fails).count();
        if failures <= tolerated as usize {
            prop_assert_eq!(last, Some(Phase::Done));
            prop_assert_eq!(done.len() + failures, accounts.len());
        } else {
            prop_assert!(last.is_some_and(|phase| phase != Phase::Running), "it ends or stops");
        }
    }
}
