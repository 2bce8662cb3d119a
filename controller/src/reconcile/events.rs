//! Kubernetes events: one for each change of a state.

use std::collections::HashMap;

use kube::Resource;
use kube::runtime::events::{Event, EventType};
use rolectl_core::digest::sha256;
use rolectl_crds::Reason;

use super::context::Context;

/// The API server cuts notes at 1 kB; we cut before.
const NOTE: usize = 1000;
/// Nor may an action be longer.
const ACTION: usize = 128;

/// The number of events about the changes of one pass over a role.
const MOST: usize = 10;
/// How many characters of the accounts' names an event has room for.
const NAMES: usize = 300;

/// What was done in which accounts, as actions and notes of events. Accounts in which the same was done have one event
/// together, or a role in a thousand accounts would be a thousand events.
///
/// Actions differ: events that differ in nothing but their note are taken for one that repeats.
pub fn about_changes(done: &[(String, String)]) -> Vec<(String, String)> {
    let mut by_changes: Vec<(&str, Vec<&str>)> = vec![];
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (account, changes) in done {
        let place = *places.entry(changes).or_insert(by_changes.len());
        match by_changes.get_mut(place) {
            Some((_, accounts)) => accounts.push(account),
            None => by_changes.push((changes, vec![account])),
        }
    }
    let left: usize = by_changes
        .iter()
        .skip(MOST)
        .map(|(_, accounts)| accounts.len())
        .sum();
    let mut events: Vec<(String, String)> = by_changes
        .into_iter()
        .take(MOST)
        .map(|(changes, accounts)| {
            let first = accounts.first().copied().unwrap_or_default();
            (
                action("Apply", first),
                format!("{}: {changes}", listed(&accounts)),
            )
        })
        .collect();
    if left > 0 {
        events.push((
            "Apply:others".to_owned(),
            format!("{left} more accounts: changed, each in its own way"),
        ));
    }
    events
}

/// The action of an event about one account. Names are up to 253 characters, and may differ at their ends only.
pub fn action(verb: &str, account: &str) -> String {
    let action = format!("{verb}:{account}");
    if action.len() <= ACTION {
        return action;
    }
    let digest = sha256(account);
    let (head, digest) = (action.chars().take(ACTION - 9), digest.chars().take(8));
    head.chain(['-']).chain(digest).collect()
}

fn listed(accounts: &[&str]) -> String {
    let mut room = NAMES;
    let fits = |account: &&&str| {
        let left = room.checked_sub(account.len() + 2);
        room = left.unwrap_or_default();
        left.is_some()
    };
    let shown: Vec<&str> = accounts.iter().take_while(fits).copied().collect();
    let (names, all) = (shown.join(", "), accounts.len());
    match all - shown.len() {
        _ if all == 1 => names,
        0 => format!("{all} accounts ({names})"),
        more => format!("{all} accounts ({names} and {more} more)"),
    }
}

/// Publishes an event in a task of its own: no role waits for its events. A failure is logged and fails nothing.
pub fn publish<K: Resource<DynamicType = ()>>(
    context: &Context,
    object: &K,
    type_: EventType,
    reason: &str,
    action: &str,
    note: &str,
) {
    let note = note.chars().take(NOTE).collect();
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: action.to_owned(),
        secondary: None,
    };
    // A warning may repeat, and then its event counts; the recorder keeps it in memory for that. What was done is events
    // once, and ten thousand roles are not kept.
    let recorder = match event.type_ {
        EventType::Warning => context.recorder.clone(),
        EventType::Normal => context.new_recorder(),
    };
    let (object, turns) = (object.object_ref(&()), context.event_turns.clone());
    tokio::spawn(async move {
        // Never closed.
        let _turn = turns.acquire().await;
        if let Err(error) = recorder.publish(&event, &object).await {
            tracing::warn!(%error, reason = event.reason, "event not published");
        }
    });
}

/// Publishes a warning when the reason of an object has become one that a user must act on.
pub fn publish_stalled<K: Resource<DynamicType = ()>>(
    context: &Context,
    object: &K,
    before: Option<&str>,
    conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
) {
    let Some(ready) = conditions.first() else { return };
    let stalled = Reason::ALL
        .iter()
        .any(|r| r.is_stalled() && r.as_str() == ready.reason);
    if stalled && before != Some(ready.reason.as_str()) {
        publish(
            context,
            object,
            EventType::Warning,
            &ready.reason,
            "Reconcile",
            &ready.message,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(account: usize, changes: &str) -> (String, String) {
        (format!("a{account}"), changes.to_owned())
    }

    #[test]
    fn accounts_in_which_the_same_was_done_are_told_together() {
        let all = [done(0, "+ x"), done(1, "+ x"), done(2, "- y")];
        let events = about_changes(&all);
        let events: Vec<(&str, &str)> = events.iter().map(|(a, n)| (a.as_str(), n.as_str())).collect();
        assert_eq!(
            events,
            [("Apply:a0", "2 accounts (a0, a1): + x"), ("Apply:a2", "a2: - y")]
        );
        assert_eq!(about_changes(&[]), []);
    }

    #[test]
    fn a_thousand_accounts_are_few_events_and_none_is_passed_over() {
        let same: Vec<_> = (0..1000).map(|n| done(n, "+ x")).collect();
        let events = about_changes(&same);
        assert_eq!(events.len(), 1);
        let note = &events[0].1;
        assert!(
            note.starts_with("1000 accounts (a0, a1,") && note.ends_with(" more): + x"),
            "{note}"
        );
        assert!(note.len() < NAMES + 50);
        let long = format!("{}x", "a".repeat(200));
        let two = about_changes(&[
            (long.clone(), "+ x".to_owned()),
            (long.replace('x', "y"), "+ y".to_owned()),
        ]);
        assert!(two[0].0 != two[1].0 && two[0].0.len() == ACTION, "{two:?}");
        let each: Vec<_> = (0..1000).map(|n| done(n, &format!("+ {n}"))).collect();
        let events = about_changes(&each);
        assert_eq!(events.len(), MOST + 1);
        assert!(events[MOST].1.starts_with("990 more accounts"), "{events:?}");
    }
}
