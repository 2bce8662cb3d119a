//! The status of an `IamRole`, computed from the state of the role in each account.

use jiff::Timestamp;

use rolectl_crds::{AccountCounts, AccountGroup, AccountStatus, IamRoleStatus, Reason, ShardStatus};

use crate::bounded::{MESSAGE, clip};
use crate::conditions::{Truth, Verdict, conditions};

/// Number of changes that a status shows for one account.
pub const SHOWN_CHANGES: usize = 5;
/// Length of one line of `status.accounts[].changes`, in bytes.
pub const CHANGE: usize = 256;
/// Length of the messages of all accounts together, in bytes. etcd refuses an object of more than 1.5 MiB.
const MESSAGES: usize = 16 * 1024;
/// Size of all entries of `status.accounts` together, in bytes.
const ENTRIES: usize = 32 * 1024;
/// Size of all entries in `status.shards` together, in bytes.
const PARTS: usize = 16 * 1024;
/// Number of entries of a `moreAccounts`. There are few states, and few generations under way.
const GROUPS: usize = 64;
/// Length of the message of a condition, in bytes. The API allows 32 KiB, and up to two conditions have the message.
const CONDITION: usize = 4 * 1024;

/// The input of a status.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    /// The entries of the accounts, in any order.
    pub accounts: Vec<AccountStatus>,
    /// The accounts that other shards have counted and not listed.
    pub groups: Vec<AccountGroup>,
    /// Number of accounts that the selector matches and that do not allow the role's namespace. The status must not show their names
    /// to the tenants of the namespace.
    pub not_allowed: u32,
    /// The message if no account is selected.
    pub no_accounts: &'a str,
    /// Why the rollout has stopped, if it has.
    pub stopped: Option<&'a str>,
}

/// Returns the complete status of a role. The same facts in any order return the same status. Call [`bounded`] before the status is
/// written.
pub fn status(
    prior: Option<&IamRoleStatus>,
    generation: Option<i64>,
    facts: Facts<'_>,
    now: Timestamp,
) -> IamRoleStatus {
    let Facts {
        mut accounts,
        groups,
        not_allowed,
        no_accounts,
        stopped,
    } = facts;
    accounts.sort_by(|a, b| a.name.cmp(&b.name));
    let states: Vec<(Reason, &AccountStatus)> = accounts.iter().map(|a| (state(a, generation), a)).collect();
    let counted: Vec<(Reason, u32)> = groups
        .iter()
        .map(|group| {
            let is_current = group.observed_generation == generation;
            let state = if is_current {
                group.state
            } else {
                Reason::Progressing
            };
            (state, group.count)
        })
        .collect();
    let listed = states.iter().map(|(state, _)| (*state, 1_u32));
    let all = listed.chain(counted.iter().copied());
    let (in_sync, total) = all.fold((0_u32, not_allowed), |(in_sync, total), (state, count)| {
        let more = if state == Reason::InSync { count } else { 0 };
        (in_sync.saturating_add(more), total.saturating_add(count))
    });
    let counts = AccountCounts {
        total,
        in_sync,
        not_allowed,
    };
    let verdict = verdict(&states, &counted, &counts, (no_accounts, stopped));
    IamRoleStatus {
        observed_generation: generation,
        conditions: conditions(prior.map_or(&[][..], |p| &p.conditions), generation, verdict, now),
        summary: Some(format!("{in_sync}/{}", counts.total)),
        counts: Some(counts),
        accounts,
        more_accounts: groups,
        shards: vec![],
    }
}

/// Returns the status in a size that the API server and etcd accept, for every spec and every number of accounts. Accounts that are
/// not in sync have entries first; `moreAccounts` counts the others.
pub fn bounded(full: &IamRoleStatus) -> IamRoleStatus {
    let generation = full.observed_generation;
    let (shown, hidden) = listed(&full.accounts, generation, ENTRIES);
    let mut more_accounts = full.more_accounts.clone();
    count_by_state(&mut more_accounts, &hidden);
    let mut summary = full.summary.clone();
    if !more_accounts.is_empty() {
        summary = summary.map(|summary| format!("{summary} in sync, {} shown", shown.len()));
    }
    IamRoleStatus {
        observed_generation: generation,
        conditions: full.conditions.clone(),
        summary,
        counts: full.counts,
        accounts: shown,
        more_accounts,
        shards: vec![],
    }
}

/// Returns what one of `shards` shards reports of its accounts, in a size that leaves room for the others.
pub fn part_of_shard(
    name: &str,
    generation: Option<i64>,
    accounts: &[AccountStatus],
    shards: usize,
) -> ShardStatus {
    let (shown, hidden) = listed(accounts, generation, PARTS / shards.max(1));
    let mut more_accounts = vec![];
    count_by_state(&mut more_accounts, &hidden);
    ShardStatus {
        name: name.to_owned(),
        observed_generation: generation,
        removed: false,
        accounts: shown,
        more_accounts,
        rollout: None,
    }
}

/// Divides entries into those that fit into `room` bytes, by name, and the others. Accounts that are not in sync come first.
fn listed(
    accounts: &[AccountStatus],
    generation: Option<i64>,
    mut room: usize,
) -> (Vec<AccountStatus>, Vec<AccountStatus>) {
    let mut entries = accounts.to_vec();
    entries.sort_by_cached_key(|entry| (u8::MAX - weight(state(entry, generation)), entry.name.clone()));
    let (mut shown, mut hidden): (Vec<AccountStatus>, Vec<AccountStatus>) = (vec![], vec![]);
    let mut message_room = MESSAGES;
    for mut entry in entries {
        entry.message = entry.message.map(|message| clip(&message, MESSAGE).into_owned());
        entry.changes.truncate(SHOWN_CHANGES + 1);
        for change in &mut entry.changes {
            *change = clip(change, CHANGE).into_owned();
        }
        let length = entry.message.as_ref().map_or(0, String::len);
        match message_room.checked_sub(length) {
            Some(left) => message_room = left,
            None => entry.message = None,
        }
        let size = serde_json::to_string(&entry).map_or(usize::MAX, |text| text.len() + 1);
        match room.checked_sub(size).filter(|_| hidden.is_empty()) {
            Some(left) => {
                room = left;
                shown.push(entry);
            }
            None => hidden.push(entry),
        }
    }
    shown.sort_by(|a, b| a.name.cmp(&b.name));
    (shown, hidden)
}

/// Adds the accounts to the numbers by state and generations.
fn count_by_state(groups: &mut Vec<AccountGroup>, accounts: &[AccountStatus]) {
    for entry in accounts {
        let is_same = |group: &&mut AccountGroup| {
            group.state == entry.state
                && group.observed_generation == entry.observed_generation
                && group.last_applied_generation == entry.last_applied_generation
        };
        match groups.iter_mut().find(is_same) {
            Some(group) => group.count = group.count.saturating_add(1),
            None => groups.push(AccountGroup {
                state: entry.state,
                observed_generation: entry.observed_generation,
                last_applied_generation: entry.last_applied_generation,
                count: 1,
            }),
        }
    }
    groups.sort_by_key(|group| {
        (
            group.state.as_str(),
            group.observed_generation,
            group.last_applied_generation,
        )
    });
    groups.truncate(GROUPS);
}

/// Returns the status of a role for which no account was called: the spec is invalid, or the role is suspended. The entries of the
/// accounts stay as in `prior`.
pub fn without_accounts(
    prior: Option<&IamRoleStatus>,
    generation: Option<i64>,
    reason: Reason,
    message: &str,
    now: Timestamp,
) -> IamRoleStatus {
    let verdict = Verdict {
        ready: truth(reason),
        reason,
        message: clip(message, CONDITION).into_owned(),
    };
    let prior_conditions = prior.map_or(&[][..], |p| &p.conditions);
    IamRoleStatus {
        observed_generation: generation,
        conditions: conditions(prior_conditions, generation, verdict, now),
        ..prior.cloned().unwrap_or_default()
    }
}

/// Returns the state of an entry for this generation. An entry of another generation is still in progress.
fn state(account: &AccountStatus, generation: Option<i64>) -> Reason {
    if account.observed_generation == generation {
        account.state
    } else {
        Reason::Progressing
    }
}

/// Returns the content of `Ready`: the reason of the account with the highest [`weight`], and a message about all accounts that are not
/// in sync.
fn verdict(
    accounts: &[(Reason, &AccountStatus)],
    counted: &[(Reason, u32)],
    counts: &AccountCounts,
    (no_accounts, stopped): (&str, Option<&str>),
) -> Verdict {
    let not_allowed = counts.not_allowed;
    let states = accounts.iter().map(|(state, _)| *state);
    let states = states.chain(counted.iter().map(|(state, _)| *state));
    let states = states.chain((not_allowed > 0).then_some(Reason::NamespaceNotAllowed));
    let worst = states
        .max_by_key(|state| weight(*state))
        .unwrap_or(Reason::NoAccounts);
    let message = match worst {
        Reason::NoAccounts => no_accounts.to_owned(),
        Reason::InSync => in_sync(accounts, counts.total),
        _ => {
            let mut other: Vec<&(Reason, &AccountStatus)> = accounts
                .iter()
                .filter(|(state, _)| *state != Reason::InSync)
                // One message tells why all of these were not changed.
                .filter(|(state, _)| *state != Reason::RolloutStopped || stopped.is_none())
                .collect();
            // The sort is stable, so accounts of the same weight stay in the order of their names.
            other.sort_by_key(|(state, _)| u8::MAX - weight(*state));
            let mut lines: Vec<String> = other
                .iter()
                .take(10)
                .map(|(state, a)| {
                    let message = a.message.as_deref().unwrap_or(state.as_str());
                    format!("{}: {}", a.name, clip(message, MESSAGE))
                })
                .collect();
            let is_shown = |state: Reason| {
                state != Reason::InSync && (state != Reason::RolloutStopped || stopped.is_none())
            };
            let elsewhere = counted.iter().filter(|(state, _)| is_shown(*state));
            let elsewhere: usize = elsewhere.map(|(_, count)| *count as usize).sum();
            let more = other.len() - lines.len() + elsewhere;
            if more > 0 {
                lines.push(format!("and {}", accounts_counted(more)));
            }
            if not_allowed > 0 {
                let count = accounts_counted(not_allowed as usize);
                let verb = if not_allowed == 1 { "does" } else { "do" };
                let and = if lines.is_empty() { "" } else { "and " };
                lines.push(format!(
                    "{and}{count} that {verb} not allow this namespace: ask the owners, or correct spec.accounts"
                ));
            }
            if worst == Reason::RolloutStopped
                && let Some(stopped) = stopped
            {
                lines.insert(0, stopped.to_owned());
            }
            lines.join("; ")
        }
    };
    Verdict {
        ready: truth(worst),
        reason: worst,
        message: clip(&message, CONDITION).into_owned(),
    }
}

/// Returns the message of a role that is in sync, with the first few notes of accounts, for example about a policy that stays on the
/// role although the spec does not list it.
fn in_sync(accounts: &[(Reason, &AccountStatus)], total: u32) -> String {
    const SHOWN: usize = 3;
    let mut message = format!("in sync in {}", accounts_counted(total as usize));
    let notes: Vec<String> = accounts
        .iter()
        .filter_map(|(_, a)| Some(format!("; {}: {}", a.name, clip(a.message.as_deref()?, MESSAGE))))
        .collect();
    message.extend(notes.iter().take(SHOWN).cloned());
    let more = notes.len().checked_sub(SHOWN).filter(|more| *more > 0);
    message.extend(more.map(|more| format!("; and {more} more")));
    message
}

fn accounts_counted(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} account{plural}")
}

/// Returns the status of `Ready` for a reason. `None` means that the status stays as it was.
pub const fn truth(reason: Reason) -> Option<Truth> {
    match reason {
        Reason::InSync | Reason::Unlocked | Reason::Expiring => Some(Truth::True),
        Reason::SessionLocked | Reason::AwaitingApproval | Reason::RemovalsParked => Some(Truth::Unknown),
        Reason::Suspended => None,
        _ => Some(Truth::False),
    }
}

/// Returns how urgent a reason is. Stalled comes before reconciling, so that an account that resolves itself never hides one that
/// needs a person.
const fn weight(reason: Reason) -> u8 {
    if matches!(reason, Reason::RolloutStopped) {
        // Its message has the failure that stopped the rollout.
        6
    } else if reason.is_stalled() {
        5
    } else if reason.is_reconciling() {
        4
    } else {
        match reason {
            Reason::AwaitingApproval | Reason::RemovalsParked | Reason::SessionLocked => 3,
            Reason::Drifted => 2,
            Reason::Suspended => 1,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, state: Reason) -> AccountStatus {
        AccountStatus {
            message: (state != Reason::InSync).then(|| format!("{state} here")),
            observed_generation: Some(1),
            ..AccountStatus::new(name.into(), state)
        }
    }

    fn of(accounts: Vec<AccountStatus>) -> Facts<'static> {
        Facts {
            accounts,
            ..Facts::default()
        }
    }

    fn size(status: &IamRoleStatus) -> usize {
        serde_json::to_string(status).unwrap().len()
    }

    #[test]
    fn a_role_without_accounts_is_stalled_until_a_user_corrects_it() {
        let facts = Facts {
            no_accounts: "no AwsAccount matches",
            ..Facts::default()
        };
        let status = status(None, Some(1), facts, Timestamp::UNIX_EPOCH);
        let shown: Vec<(&str, &str, &str)> = status
            .conditions
            .iter()
            .map(|c| (c.type_.as_str(), c.status.as_str(), c.reason.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                ("Ready", "False", "NoAccounts"),
                ("Stalled", "True", "NoAccounts")
            ]
        );
        assert_eq!(status.conditions[0].message, "no AwsAccount matches");
        assert_eq!(status.summary.as_deref(), Some("0/0"));
    }

    #[test]
    fn accounts_that_do_not_allow_the_namespace_are_only_counted() {
        for (accounts, not_allowed, message) in [
            (
                vec![account("a", Reason::InSync)],
                1,
                "1 account that does not allow this namespace: ask the owners, or correct spec.accounts",
            ),
            (
                vec![account("a", Reason::Drifted)],
                3,
                "a: Drifted here; and 3 accounts that do not allow this namespace: ask the owners, or correct spec.accounts",
            ),
        ] {
            let facts = Facts {
                accounts,
                groups: vec![],
                not_allowed,
                ..Facts::default()
            };
            let status = status(None, Some(1), facts, Timestamp::UNIX_EPOCH);
            let ready = &status.conditions[0];
            assert_eq!(
                (ready.reason.as_str(), ready.message.as_str()),
                ("NamespaceNotAllowed", message)
            );
            assert_eq!(status.counts.unwrap().total, 1 + not_allowed);
            assert_eq!(status.accounts.len(), 1);
        }
    }

    #[test]
    fn a_rollout_that_has_stopped_names_the_failure_and_not_each_account_that_waits() {
        let accounts = vec![
            account("a", Reason::InvalidSpec),
            account("b", Reason::RolloutStopped),
            account("c", Reason::RolloutStopped),
            account("d", Reason::InSync),
        ];
        let facts = Facts {
            accounts,
            stopped: Some("the rollout stopped after 1 failure; first in a"),
            ..Facts::default()
        };
        let status = status(None, Some(1), facts, Timestamp::UNIX_EPOCH);
        let ready = &status.conditions[0];
        assert_eq!(
            (ready.reason.as_str(), ready.message.as_str()),
            (
                "RolloutStopped",
                "the rollout stopped after 1 failure; first in a; a: InvalidSpec here"
            )
        );
    }

    #[test]
    fn a_role_that_ten_thousand_accounts_deny_has_a_bounded_status() {
        let long = "AssumeRole: AccessDenied: not authorized to perform sts:AssumeRole ".repeat(100);
        for (state, message) in [(Reason::AccessDenied, Some(long)), (Reason::InSync, None)] {
            let accounts = (0..10_000).map(|n| AccountStatus {
                account_id: Some(format!("{n:012}")),
                arn: Some(format!("arn:aws:iam::{n:012}:role/some/path/application")),
                role_id: Some(format!("AROA{n:017}")),
                message: message.clone(),
                changes: vec!["+ managed policy ".repeat(20); 8],
                observed_generation: Some(1),
                last_applied_generation: Some(1),
                ..AccountStatus::new(format!("account-{n:05}"), state)
            });
            let full = status(None, Some(1), of(accounts.collect()), Timestamp::UNIX_EPOCH);
            let small = bounded(&full);
            assert!(size(&small) < 44 * 1024, "{} bytes", size(&small));
            let entries = serde_json::to_string(&small.accounts).unwrap().len();
            assert!(
                (16_000..=ENTRIES + 2).contains(&entries),
                "{entries} bytes of entries"
            );
            let shown = small.accounts.len();
            let counted: u32 = small.more_accounts.iter().map(|group| group.count).sum();
            assert_eq!(u32::try_from(shown).unwrap() + counted, 10_000);
            let in_sync = if state == Reason::InSync { 10_000 } else { 0 };
            assert_eq!(
                small.summary,
                Some(format!("{in_sync}/10000 in sync, {shown} shown"))
            );
            let ready = &small.conditions[0];
            assert!(ready.message.len() <= CONDITION && ready.reason == state.as_str());
            assert_eq!(small, bounded(&full), "deterministic");
        }
    }

    #[test]
    fn a_status_is_the_same_whether_one_shard_has_all_accounts_or_several_report_parts() {
        let all: Vec<AccountStatus> = (0..3000)
            .map(|n| {
                let state = if n % 700 == 0 {
                    Reason::AccessDenied
                } else {
                    Reason::InSync
                };
                account(&format!("a{n:04}"), state)
            })
            .collect();
        let alone = bounded(&status(None, Some(1), of(all.clone()), Timestamp::UNIX_EPOCH));
        let parts: Vec<ShardStatus> = all
            .chunks(1000)
            .map(|accounts| part_of_shard("s", Some(1), accounts, 3))
            .collect();
        let size_of_parts = serde_json::to_string(&parts).unwrap().len();
        assert!(size_of_parts < PARTS + 1024, "{size_of_parts} bytes");
        let facts = Facts {
            accounts: parts.iter().flat_map(|part| part.accounts.clone()).collect(),
            groups: parts.iter().flat_map(|part| part.more_accounts.clone()).collect(),
            ..Facts::default()
        };
        let composed = bounded(&status(None, Some(1), facts, Timestamp::UNIX_EPOCH));
        assert_eq!(composed.counts, alone.counts);
        assert_eq!(composed.conditions[0].reason, alone.conditions[0].reason);
        assert_eq!(composed.conditions[0].message, alone.conditions[0].message);
        let denied = |status: &IamRoleStatus| {
            let entries = status.accounts.iter();
            entries
                .filter(|entry| entry.state == Reason::AccessDenied)
                .count()
        };
        assert_eq!((denied(&composed), denied(&alone)), (5, 5));
    }

    #[test]
    fn accounts_that_are_not_in_sync_are_shown_first() {
        let in_sync = (0..1000).map(|n| account(&format!("a{n:04}"), Reason::InSync));
        let all = in_sync.chain([account("z", Reason::AccessDenied)]).collect();
        let small = bounded(&status(None, Some(1), of(all), Timestamp::UNIX_EPOCH));
        assert!(small.accounts.iter().any(|entry| entry.name == "z"));
        assert!(small.accounts.len() < 1000);
    }

    #[test]
    fn a_small_status_is_not_changed() {
        let all = vec![account("a", Reason::InSync), account("b", Reason::Drifted)];
        let full = status(None, Some(1), of(all), Timestamp::UNIX_EPOCH);
        assert_eq!(bounded(&full), full);
    }

    #[test]
    fn an_entry_of_another_generation_counts_as_in_progress() {
        let old = AccountStatus {
            observed_generation: Some(1),
            ..AccountStatus::new("a".into(), Reason::InSync)
        };
        let new = AccountStatus {
            observed_generation: Some(2),
            ..AccountStatus::new("b".into(), Reason::InSync)
        };
        let status = status(None, Some(2), of(vec![old, new]), Timestamp::UNIX_EPOCH);
        assert_eq!(status.summary.as_deref(), Some("1/2"));
        let ready = &status.conditions[0];
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_str()),
            ("False", "Progressing")
        );
    }

    #[test]
    fn the_most_urgent_account_determines_the_reason_and_the_message_names_all() {
        for (states, ready, reason, summary, message) in [
            (
                vec![Reason::InSync, Reason::InSync],
                "True",
                "InSync",
                "2/2",
                "in sync in 2 accounts",
            ),
            (
                vec![Reason::InSync, Reason::Progressing],
                "False",
                "Progressing",
                "1/2",
                "b: Progressing here",
            ),
            (
                vec![Reason::Progressing, Reason::AccessDenied],
                "False",
                "AccessDenied",
                "0/2",
                "b: AccessDenied here; a: Progressing here",
            ),
            (
                vec![Reason::SessionLocked, Reason::InSync],
                "Unknown",
                "SessionLocked",
                "1/2",
                "a: SessionLocked here",
            ),
            (
                vec![Reason::Drifted, Reason::InSync],
                "False",
                "Drifted",
                "1/2",
                "a: Drifted here",
            ),
        ] {
            let accounts = states
                .iter()
                .zip(["a", "b"])
                .map(|(s, n)| account(n, *s))
                .collect();
            let status = status(None, Some(1), of(accounts), Timestamp::UNIX_EPOCH);
            let c = &status.conditions[0];
            assert_eq!(
                (c.status.as_str(), c.reason.as_str(), c.message.as_str()),
                (ready, reason, message)
            );
            assert_eq!(status.summary.as_deref(), Some(summary));
        }
    }

    #[test]
    fn the_same_facts_in_any_order_give_the_same_status() {
        let (a, b) = (account("a", Reason::InSync), account("b", Reason::Drifted));
        let one = status(
            None,
            Some(1),
            of(vec![a.clone(), b.clone()]),
            Timestamp::UNIX_EPOCH,
        );
        let two = status(
            Some(&one),
            Some(1),
            of(vec![b, a]),
            Timestamp::from_second(9).unwrap(),
        );
        assert_eq!(one, two);
    }
}
