use std::collections::BTreeSet;

use rolectl_crds::{AwsAccount, IamRole, Reason};
use serde_json::{Value, json};

use super::*;

fn spec(value: Value) -> Rollout {
    serde_json::from_value(value).unwrap()
}

fn account(name: &str, wave: u32, state: State) -> Progress {
    Progress {
        name: name.to_owned(),
        wave: of_account(wave),
        state,
    }
}

/// A wave of a role without waves of its own.
const fn of_account(wave: u32) -> Wave {
    Wave {
        account: wave,
        role: 0,
    }
}

fn failed() -> State {
    failed_until(Retry::Due)
}

fn failed_until(retry: Retry) -> State {
    State::Failed {
        has_begun: false,
        message: "no such policy".to_owned(),
        retry,
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
        Step::Wait(Why::Soak(..)) => 's',
        Step::Wait(Why::Retry) => 'r',
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
    let later = Retry::At(Instant::now() + Duration::from_hours(1));
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
        // What failed is tried again within the limit. While it pauses, it takes nobody's place.
        (
            json!({"maxConcurrent": 1, "maxFailures": 1}),
            none,
            vec![(0, failed()), (0, Waiting), (0, Waiting)],
            "Gtt",
            Phase::Running,
        ),
        (
            json!({"maxConcurrent": 1, "maxFailures": 1}),
            none,
            vec![(0, failed_until(later)), (0, Waiting), (0, Waiting)],
            "rGt",
            Phase::Running,
        ),
        (
            json!({"maxConcurrent": 1, "maxFailures": 1}),
            none,
            vec![(0, failed()), (0, Working), (0, Waiting)],
            "rGt",
            Phase::Running,
        ),
        (
            json!({"maxConcurrent": 1, "maxFailures": 1}),
            none,
            vec![(0, failed_until(Retry::UnderWay)), (0, Waiting)],
            "Gt",
            Phase::Running,
        ),
        (
            json!({"maxConcurrent": 1, "maxFailures": 2}),
            none,
            vec![(0, failed()), (0, failed())],
            "Gr",
            Phase::Done,
        ),
        (
            json!({"maxFailures": 1}),
            none,
            vec![(0, failed_until(later)), (0, Waiting)],
            "GG",
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
    assert_eq!(
        first.steps["b"],
        Step::Wait(Why::Soak(of_account(0), start + hour))
    );
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
            of_account(wave),
            ShardWave {
                wave,
                waiting,
                working,
                ..ShardWave::default()
            },
        )]
        .into(),
        failed: 0,
        failure: None,
    };
    let targets: BTreeMap<Wave, u32> = [(of_account(0), 3)].into();
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
            Elsewhere::of(
                true,
                Some(&report_of(&[], &BTreeMap::new(), Some(1), false)),
                Some(2),
                &targets,
            ),
            Step::Wait(Why::Turn),
        ),
        (
            Elsewhere::of(
                true,
                Some(&report_of(&[], &BTreeMap::new(), Some(2), false)),
                Some(2),
                &targets,
            ),
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
        assert_eq!(
            decision.steps["b"],
            Step::Wait(Why::Wave(of_account(0))),
            "{elsewhere:?}"
        );
    }
    let failing = report_of(
        &[account("z", 0, failed()), account("y", 0, failed())],
        &BTreeMap::new(),
        Some(2),
        false,
    );
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
            retry: Retry::Due,
        })
    };
    let failed = State::Failed {
        has_begun: true,
        message: "why".to_owned(),
        retry: Retry::Due,
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
fn the_waves_of_a_role_order_accounts_of_the_same_wave_of_their_owner() {
    let of_accounts = role(&json!({"rollout": {}}));
    let of_role = role(
        &json!({"rollout": {"waves": [{"names": ["b"]}, {"selector": {"matchLabels": {"tier": "dev"}}}]}}),
    );
    for (name, tier, wave, without, with) in [
        ("a", "dev", 5, "5", "5.2"),
        ("b", "dev", 0, "0", "0.1"),
        ("b", "dev", 9, "9", "9.1"),
        ("c", "prod", 1, "1", "1.3"),
    ] {
        let account = aws_account(name, tier, wave);
        assert_eq!(wave_of(&of_accounts, &account).to_string(), without, "{name}");
        assert_eq!(wave_of(&of_role, &account).to_string(), with, "{name}");
    }
    let order: Vec<Wave> = [(0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]
        .into_iter()
        .map(|(account, role)| Wave { account, role })
        .collect();
    assert!(order.is_sorted());
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

#[test]
fn a_failure_counts_until_the_account_has_the_change_and_each_attempt_takes_a_turn() {
    let (now, second) = (Instant::now(), Duration::from_secs(1));
    let mut memory = Memory::default();
    let see = |memory: &mut Memory, is_answered, reported: Option<Reason>, at: Instant| {
        let sight = Sight {
            is_applied: reported == Some(Reason::InSync),
            is_answered,
            reported: reported.map(|reason| (reason, "why")),
            ..Sight::default()
        };
        memory.see("a", sight, at, |attempts| second * attempts)
    };
    let turn = |memory: &mut Memory| memory.decided(["a".to_owned()].into(), Completed::new());
    let no_turn = |memory: &mut Memory| memory.decided(BTreeSet::new(), Completed::new());
    let failed = |retry| State::Failed {
        has_begun: true,
        message: "why".to_owned(),
        retry,
    };
    assert_eq!(
        see(&mut memory, true, Some(Reason::RollingOut), now),
        State::Waiting
    );
    turn(&mut memory);
    assert_eq!(
        see(&mut memory, false, Some(Reason::RollingOut), now),
        State::Working
    );
    let first = failed(Retry::At(now + second));
    assert_eq!(see(&mut memory, true, Some(Reason::InvalidSpec), now), first);
    assert_eq!(
        see(&mut memory, true, Some(Reason::InvalidSpec), now + second),
        first,
        "counted once"
    );
    // It waits without a turn, and says so.
    no_turn(&mut memory);
    assert_eq!(see(&mut memory, false, Some(Reason::InvalidSpec), now), first);
    assert_eq!(see(&mut memory, true, Some(Reason::RollingOut), now), first);
    assert_eq!(memory.failure("a"), Some((Reason::InvalidSpec, "why")));
    // The next attempt.
    turn(&mut memory);
    for passing in [Reason::RollingOut, Reason::Throttled, Reason::Progressing] {
        assert_eq!(
            see(&mut memory, false, Some(passing), now),
            failed(Retry::UnderWay)
        );
    }
    assert_eq!(
        see(&mut memory, true, Some(Reason::Throttled), now),
        failed(Retry::UnderWay)
    );
    assert_eq!(
        see(&mut memory, true, Some(Reason::InvalidSpec), now),
        failed(Retry::At(now + 2 * second))
    );
    no_turn(&mut memory);
    memory.retry_now("a");
    assert_eq!(
        see(&mut memory, true, Some(Reason::RollingOut), now),
        failed(Retry::Due)
    );
    // A refusal that is no longer reported has no cause any more.
    turn(&mut memory);
    see(&mut memory, true, Some(Reason::GuardrailViolated), now);
    no_turn(&mut memory);
    assert_eq!(
        see(&mut memory, true, Some(Reason::GuardrailViolated), now),
        failed(Retry::At(now + 3 * second))
    );
    assert_eq!(
        see(&mut memory, true, Some(Reason::RollingOut), now),
        failed(Retry::Due)
    );
    turn(&mut memory);
    assert_eq!(see(&mut memory, true, Some(Reason::InSync), now), State::Done);
    assert_eq!(see(&mut memory, true, Some(Reason::Drifted), now), State::Done);
    assert_eq!(memory.failure("a"), None);
}

#[test]
fn the_report_of_a_shard_is_bounded_and_keeps_what_the_limits_count() {
    let many: Vec<Progress> = (0..1000)
        .map(|wave| account(&format!("{wave:04}"), wave, State::Working))
        .chain((1000..2000).map(|wave| account(&format!("{wave:04}"), wave, failed_until(Retry::UnderWay))))
        .collect();
    let go = many
        .iter()
        .map(|account| (account.name.clone(), Step::Go))
        .collect();
    let report = report_of(&many, &go, Some(1), false);
    assert_eq!(report.waves.len(), 128);
    assert!(report.waves.is_sorted_by_key(Wave::of));
    let sum = |number: fn(&ShardWave) -> u32| report.waves.iter().map(number).sum::<u32>();
    assert_eq!(
        (sum(|it| it.working), sum(|it| it.failed), sum(|it| it.retrying)),
        (1000, 1000, 1000)
    );
    assert_eq!(
        report.waves[0],
        ShardWave {
            working: 1,
            ..of_account(0).empty()
        }
    );
}

#[test]
fn a_wave_that_only_another_shard_has_is_soaked_after_too() {
    let spec = spec(json!({"soak": "1h"}));
    let targets: BTreeMap<Wave, u32> = [(of_account(0), 1)].into();
    let complete = report_of(&[], &BTreeMap::new(), Some(2), false);
    let elsewhere = Elsewhere::of(true, Some(&complete), Some(2), &targets);
    let accounts = [account("b", 1, State::Waiting)];
    let rolling = Rolling {
        spec: &spec,
        command: Command::None,
        accounts: &accounts,
        elsewhere: &[elsewhere],
        completed: &Completed::new(),
    };
    let now = Instant::now();
    let end = now + Duration::from_hours(1);
    assert_eq!(
        rollout(&rolling, now).steps["b"],
        Step::Wait(Why::Soak(of_account(0), end))
    );
}
