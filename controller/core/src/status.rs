//! The status of an `IamRole`, computed from the state of the role in each account.

use jiff::Timestamp;

use rolectl_crds::{AccountCounts, AccountGroup, AccountStatus, IamRoleStatus, Reason};

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
/// Length of all names in `status.moreAccounts` together, in bytes.
const NAMES: usize = 512 * 1024;
/// Length of the message of a condition, in bytes. The API allows 32 KiB, and up to two conditions have the message.
const CONDITION: usize = 4 * 1024;

/// The input of a status.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    /// The entries of the accounts, in any order.
    pub accounts: Vec<AccountStatus>,
    /// Number of accounts that the selector matches and that do not allow the role's namespace. The status must not show their names
    /// to the tenants of the namespace.
    pub not_allowed: u32,
    /// The message if no account is selected.
    pub no_accounts: &'a str,
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
        not_allowed,
        no_accounts,
    } = facts;
    accounts.sort_by(|a, b| a.name.cmp(&b.name));
    let states: Vec<(Reason, &AccountStatus)> = accounts.iter().map(|a| (state(a, generation), a)).collect();
    let in_sync = states
        .iter()
        .filter(|(state, _)| *state == Reason::InSync)
        .count();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let counts = AccountCounts {
        total: count(accounts.len()).saturating_add(not_allowed),
        in_sync: count(in_sync),
        not_allowed,
    };
    let verdict = verdict(&states, not_allowed, no_accounts);
    IamRoleStatus {
        observed_generation: generation,
        conditions: conditions(prior.map_or(&[][..], |p| &p.conditions), generation, verdict, now),
        summary: Some(format!("{in_sync}/{}", counts.total)),
        counts: Some(counts),
        accounts,
        more_accounts: vec![],
    }
}

/// Returns the status in a size that the API server and etcd accept, for every spec and every number of accounts. Accounts that are
/// not in sync have entries first. `moreAccounts` has the names of the accounts without an entry, so that replicas which share the
/// status, and the controller after a restart, find every account.
pub fn bounded(full: &IamRoleStatus) -> IamRoleStatus {
    let generation = full.observed_generation;
    let mut entries: Vec<AccountStatus> = full.accounts.clone();
    entries.sort_by_cached_key(|entry| (u8::MAX - weight(state(entry, generation)), entry.name.clone()));
    let (mut shown, mut hidden): (Vec<AccountStatus>, Vec<AccountStatus>) = (vec![], vec![]);
    let (mut room, mut message_room) = (ENTRIES, MESSAGES);
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
    let mut summary = full.summary.clone();
    if !hidden.is_empty() {
        summary = summary.map(|summary| format!("{summary} in sync, {} shown", shown.len()));
    }
    shown.sort_by(|a, b| a.name.cmp(&b.name));
    IamRoleStatus {
        observed_generation: generation,
        conditions: full.conditions.clone(),
        summary,
        counts: full.counts,
        accounts: shown,
        more_accounts: groups(hidden),
    }
}

/// Groups the names of the accounts by state and generations. Names beyond the limit are dropped.
fn groups(mut hidden: Vec<AccountStatus>) -> Vec<AccountGroup> {
    hidden.sort_by(|a, b| a.name.cmp(&b.name));
    let mut groups: Vec<AccountGroup> = vec![];
    let mut room = NAMES;
    for entry in hidden {
        let Some(left) = room.checked_sub(entry.name.len() + 3) else {
            break;
        };
        room = left;
        let is_same = |group: &&mut AccountGroup| {
            group.state == entry.state
                && group.observed_generation == entry.observed_generation
                && group.last_applied_generation == entry.last_applied_generation
        };
        match groups.iter_mut().find(is_same) {
            Some(group) => group.names.push(entry.name),
            None => groups.push(AccountGroup {
                state: entry.state,
                observed_generation: entry.observed_generation,
                last_applied_generation: entry.last_applied_generation,
                names: vec![entry.name],
            }),
        }
    }
    groups
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
fn verdict(accounts: &[(Reason, &AccountStatus)], not_allowed: u32, no_accounts: &str) -> Verdict {
    let states = accounts.iter().map(|(state, _)| *state);
    let states = states.chain((not_allowed > 0).then_some(Reason::NamespaceNotAllowed));
    let worst = states
        .max_by_key(|state| weight(*state))
        .unwrap_or(Reason::NoAccounts);
    let message = match worst {
        Reason::NoAccounts => no_accounts.to_owned(),
        Reason::InSync => in_sync(accounts),
        _ => {
            let mut other: Vec<&(Reason, &AccountStatus)> = accounts
                .iter()
                .filter(|(state, _)| *state != Reason::InSync)
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
            let more = other.len() - lines.len();
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
fn in_sync(accounts: &[(Reason, &AccountStatus)]) -> String {
    const SHOWN: usize = 3;
    let mut message = format!("in sync in {}", accounts_counted(accounts.len()));
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
        Reason::SessionLocked => Some(Truth::Unknown),
        Reason::Suspended => None,
        _ => Some(Truth::False),
    }
}

/// Returns how urgent a reason is. Stalled comes before reconciling, so that an account that resolves itself never hides one that
/// needs a person.
const fn weight(reason: Reason) -> u8 {
    if reason.is_stalled() {
        5
    } else if reason.is_reconciling() {
        4
    } else {
        match reason {
            Reason::SessionLocked => 3,
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
                not_allowed,
                no_accounts: "",
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
            // Names of 10,000 accounts are 160 KB of it.
            assert!(size(&small) < 240 * 1024, "{} bytes", size(&small));
            let entries = serde_json::to_string(&small.accounts).unwrap().len();
            assert!(
                (16_000..=ENTRIES + 2).contains(&entries),
                "{entries} bytes of entries"
            );
            let shown = small.accounts.len();
            let named: usize = small.more_accounts.iter().map(|group| group.names.len()).sum();
            assert_eq!(shown + named, 10_000);
            let in_sync = if state == Reason::InSync { 10_000 } else { 0 };
            assert_eq!(
                small.summary,
                Some(format!("{in_sync}/10000 in sync, {shown} shown"))
            );
            let ready = &small.conditions[0];
            assert!(ready.message.len() <= CONDITION && ready.reason == state.as_str());
            assert_eq!(small, bounded(&full), "deterministic");
            let mut expanded = small.clone();
            expanded.expand();
            assert_eq!(expanded.accounts.len(), 10_000);
            assert!(expanded.accounts.iter().all(|entry| entry.state == state));
            assert_eq!(expanded.collapse(), small);
        }
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
        assert_eq!(full.collapse(), full);
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
