//! What was done in each account, told as the status of the `IamRole`.

use jiff::Timestamp;
use rolectl_crds::{AccountStatus, IamRoleStatus, Reason};

use crate::conditions::{Truth, Verdict, conditions};

/// How many changes a status shows for one account.
pub const SHOWN_CHANGES: usize = 5;

/// The status that follows from the accounts' own. Deterministic: the same facts give the same status.
pub fn status(
    prior: Option<&IamRoleStatus>,
    generation: Option<i64>,
    mut accounts: Vec<AccountStatus>,
    now: Timestamp,
) -> IamRoleStatus {
    accounts.sort_by(|a, b| a.name.cmp(&b.name));
    let states: Vec<(Reason, &AccountStatus)> = accounts.iter().map(|a| (state(a, generation), a)).collect();
    let in_sync = states
        .iter()
        .filter(|(state, _)| *state == Reason::InSync)
        .count();
    let verdict = verdict(&states);
    IamRoleStatus {
        observed_generation: generation,
        conditions: conditions(prior.map_or(&[][..], |p| &p.conditions), generation, verdict, now),
        summary: Some(format!("{in_sync}/{}", accounts.len())),
        accounts,
    }
}

/// A status for a role that no account was asked about: the spec itself is at fault, or the role is suspended.
pub fn without_accounts(
    prior: Option<&IamRoleStatus>,
    generation: Option<i64>,
    reason: Reason,
    message: String,
    now: Timestamp,
) -> IamRoleStatus {
    let verdict = Verdict {
        ready: truth(reason),
        reason,
        message,
    };
    let prior_conditions = prior.map_or(&[][..], |p| &p.conditions);
    IamRoleStatus {
        observed_generation: generation,
        conditions: conditions(prior_conditions, generation, verdict, now),
        ..prior.cloned().unwrap_or_default()
    }
}

/// What an entry counts for: of another generation, nothing is known yet for this one.
fn state(account: &AccountStatus, generation: Option<i64>) -> Reason {
    if account.observed_generation == generation {
        account.state
    } else {
        Reason::Progressing
    }
}

/// The most pressing state speaks for the role, the message for all of them.
fn verdict(accounts: &[(Reason, &AccountStatus)]) -> Verdict {
    let Some(worst) = accounts
        .iter()
        .map(|(state, _)| *state)
        .max_by_key(|state| weight(*state))
    else {
        return Verdict {
            ready: Some(Truth::True),
            reason: Reason::InSync,
            message: "no account matches spec.accounts".to_owned(),
        };
    };
    let message = if worst == Reason::InSync {
        in_sync(accounts)
    } else {
        let lines: Vec<String> = accounts
            .iter()
            .filter(|(state, _)| *state != Reason::InSync)
            .take(10)
            .map(|(state, a)| format!("{}: {}", a.name, a.message.as_deref().unwrap_or(state.as_str())))
            .collect();
        lines.join("; ")
    };
    Verdict {
        ready: truth(worst),
        reason: worst,
        message,
    }
}

/// In how many accounts the role is in sync, and in which of them something is left on it that the spec does not list.
fn in_sync(accounts: &[(Reason, &AccountStatus)]) -> String {
    const SHOWN: usize = 3;
    let mut message = match accounts.len() {
        1 => "in sync in 1 account".to_owned(),
        n => format!("in sync in {n} accounts"),
    };
    let noted: Vec<String> = accounts
        .iter()
        .filter_map(|(_, a)| Some(format!("; {}: {}", a.name, a.message.as_deref()?)))
        .collect();
    message.extend(noted.iter().take(SHOWN).cloned());
    let more = noted.len().checked_sub(SHOWN).filter(|more| *more > 0);
    message.extend(more.map(|more| format!("; and {more} more")));
    message
}

/// What a reason says of `Ready`. `None`: as it was.
pub const fn truth(reason: Reason) -> Option<Truth> {
    match reason {
        Reason::InSync | Reason::Unlocked | Reason::Expiring => Some(Truth::True),
        Reason::SessionLocked => Some(Truth::Unknown),
        Reason::Suspended => None,
        _ => Some(Truth::False),
    }
}

/// Stalled before reconciling, so that what needs a person is never hidden by what mends itself.
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

    #[test]
    fn an_entry_of_another_generation_is_no_news_of_this_one() {
        let old = AccountStatus {
            observed_generation: Some(1),
            ..AccountStatus::new("a".into(), Reason::InSync)
        };
        let new = AccountStatus {
            observed_generation: Some(2),
            ..AccountStatus::new("b".into(), Reason::InSync)
        };
        let status = status(None, Some(2), vec![old, new], Timestamp::UNIX_EPOCH);
        assert_eq!(status.summary.as_deref(), Some("1/2"));
        let ready = &status.conditions[0];
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_str()),
            ("False", "Progressing")
        );
    }

    #[test]
    fn the_most_pressing_account_speaks_for_the_role_and_none_is_hidden() {
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
                "a: Progressing here; b: AccessDenied here",
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
            let status = status(None, Some(1), accounts, Timestamp::UNIX_EPOCH);
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
        let one = status(None, Some(1), vec![a.clone(), b.clone()], Timestamp::UNIX_EPOCH);
        let two = status(
            Some(&one),
            Some(1),
            vec![b, a],
            Timestamp::from_second(9).unwrap(),
        );
        assert_eq!(one, two);
    }
}
