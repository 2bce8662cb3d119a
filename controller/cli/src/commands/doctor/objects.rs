//! Checks the controller, the `MfaSession`s and the `AwsAccount`s.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::{Client, ResourceExt as _};

use rolectl_crds::{AwsAccount, MfaSession, Phase, Reason};

use super::bounded;
use super::check::{Check, Outcome};
use crate::cluster::{self, Flags};
use crate::failure::Failure;
use crate::liveness;
use crate::objects::ready_condition;
use crate::output::counted;
use crate::times::moment;

pub const CONTROLLER: &str = "controller";
pub const SESSION: &str = "session";
pub const ACCOUNT: &str = "account";
/// Maximum number of objects of one kind that have a line each.
const MAX_LINES: usize = 20;

/// Checks the objects and the controller. Returns the sessions for other checks.
pub async fn checks(client: &Client, flags: &Flags) -> (Vec<Check>, Vec<MfaSession>) {
    let (sessions, accounts) = tokio::join!(
        bounded(SESSION, cluster::sessions(client), late),
        bounded(ACCOUNT, cluster::accounts(client), late)
    );
    let now = Timestamp::now();
    let (listed, listed_accounts) = (
        sessions.as_deref().unwrap_or_default(),
        accounts.as_deref().unwrap_or_default(),
    );
    let controller = bounded(
        CONTROLLER,
        controller(client, flags, listed_accounts, listed),
        |late| vec![late],
    );
    let mut checks = controller.await;
    match &sessions {
        Ok(sessions) => checks.extend(of_sessions(sessions, now)),
        Err(failure) => checks.push(Check::skipped(SESSION, failure.what())),
    }
    match &accounts {
        Ok(accounts) => checks.extend(of_accounts(accounts)),
        Err(failure) => checks.push(Check::skipped(ACCOUNT, failure.what())),
    }
    (checks, sessions.unwrap_or_default())
}

/// Returns the failure of a list that takes too long.
fn late<T>(check: Check) -> Result<T, Failure> {
    Err(Failure::new(check.message, check.next.unwrap_or_default()))
}

async fn controller(
    client: &Client,
    flags: &Flags,
    accounts: &[AwsAccount],
    sessions: &[MfaSession],
) -> Vec<Check> {
    let state = liveness::check(client, &flags.controller_namespace, accounts, sessions).await;
    let running = match (state.running, state.warning(Timestamp::now())) {
        (_, Some(warning)) => Check::failed(
            CONTROLLER,
            warning,
            format!(
                "look at `kubectl -n {} get pods` and the log, or name its namespace with --controller-namespace",
                flags.controller_namespace
            ),
        ),
        (Some(true), None) => Check::ok(CONTROLLER, "one is running"),
        (_, None) => Check::skipped(CONTROLLER, "no Lease and no overdue work shows if one is running"),
    };
    let versions = sessions
        .iter()
        .filter_map(|session| session.status.as_ref()?.controller_version.clone())
        .collect();
    [running]
        .into_iter()
        .chain(judge_versions(env!("CARGO_PKG_VERSION"), &versions))
        .collect()
}

/// Compares the version of this tool with those that controllers have written.
fn judge_versions(ours: &str, controllers: &BTreeSet<String>) -> Option<Check> {
    let others: Vec<&str> = controllers
        .iter()
        .map(String::as_str)
        .filter(|version| *version != ours)
        .collect();
    if controllers.is_empty() {
        return None;
    }
    Some(if others.is_empty() {
        Check::ok(CONTROLLER, format!("version {ours}, as this tool"))
    } else {
        Check::warning(
            CONTROLLER,
            format!("version {}, and this tool is {ours}", others.join(", ")),
            "use the same version of tool and controller",
        )
    })
}

/// Returns the first checks of a kind, and the number of others.
fn bounded_lines(name: &'static str, mut checks: Vec<Check>) -> Vec<Check> {
    let more = checks.len().saturating_sub(MAX_LINES);
    checks.truncate(MAX_LINES);
    if more > 0 {
        checks.push(Check::warning(
            name,
            format!("{more} more have a problem"),
            "see all with `rolectl status`",
        ));
    }
    checks
}

fn of_sessions(sessions: &[MfaSession], now: Timestamp) -> Vec<Check> {
    if sessions.is_empty() {
        return vec![Check::warning(
            SESSION,
            "the cluster has no MfaSession",
            "`rolectl init` writes one to apply",
        )];
    }
    let checks = sessions.iter().map(|session| of_session(session, now));
    let (good, problems): (Vec<Check>, Vec<Check>) = checks.partition(|check| check.result == Outcome::Ok);
    let mut checks = bounded_lines(SESSION, problems);
    let unnamed = good.len().saturating_sub(MAX_LINES);
    checks.extend(good.into_iter().take(MAX_LINES));
    if unnamed > 0 {
        checks.push(Check::ok(SESSION, format!("{unnamed} more are unlocked")));
    }
    checks
}

fn of_session(session: &MfaSession, now: Timestamp) -> Check {
    let name = session.name_any();
    let unlock = format!("run `rolectl unlock --session {name}`");
    let Some(status) = &session.status else {
        return Check::warning(
            SESSION,
            format!("{name}: no controller has reported yet"),
            "check that the controller runs and serves this session",
        );
    };
    let end = status
        .expires_at
        .as_ref()
        .map_or_else(String::new, |end| format!(" until {}", moment(end.0, now)));
    let message = format!("{name} is {}", status.phase.as_str());
    match status.phase {
        Phase::Locked | Phase::Expired => Check::warning(SESSION, message, unlock),
        Phase::Expiring => Check::warning(SESSION, format!("{message}{end}"), unlock),
        Phase::Unlocked | Phase::Other(_) => Check::ok(SESSION, format!("{message}{end}")),
    }
}

fn of_accounts(accounts: &[AwsAccount]) -> Vec<Check> {
    if accounts.is_empty() {
        return vec![Check::warning(
            ACCOUNT,
            "the cluster has no AwsAccount",
            "apply one: `rolectl bootstrap` prints it",
        )];
    }
    let problems: Vec<Check> = accounts.iter().filter_map(problem_of_account).collect();
    let ready = accounts.len() - problems.len();
    let mut checks = vec![];
    if ready > 0 {
        let verb = if ready == 1 { "is" } else { "are" };
        checks.push(Check::ok(
            ACCOUNT,
            format!("{} {verb} Ready", counted(ready, "AwsAccount")),
        ));
    }
    checks.extend(bounded_lines(ACCOUNT, problems));
    checks
}

/// Returns the check of an account that is not Ready. One that waits for a session is not failed: the session has a line of its own.
fn problem_of_account(account: &AwsAccount) -> Option<Check> {
    let name = account.name_any();
    let status = account.status.as_ref();
    let Some(ready) = status.and_then(|status| ready_condition(&status.conditions)) else {
        return Some(Check::warning(
            ACCOUNT,
            format!("{name}: no controller has reported yet"),
            "check that the controller runs and serves its session",
        ));
    };
    let reason = Reason::named(&ready.reason);
    let cure = reason.map_or("see `rolectl status`", Reason::cure);
    let message = format!("{name}: {}: {}", ready.reason, ready.message);
    match ready.status.as_str() {
        "True" => None,
        "False" => Some(Check::failed(ACCOUNT, message, cure)),
        _ => Some(Check::warning(ACCOUNT, message, cure)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::Outcome;
    use super::*;

    fn account(status: &str, reason: &str) -> AwsAccount {
        serde_json::from_value(
            json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
            "metadata": {"name": "prod"}, "spec": {"accountId": "222222222222"},
            "status": {"conditions": [{"type": "Ready", "status": status, "reason": reason, "message": "why",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}),
        )
        .unwrap()
    }

    #[test]
    fn an_account_that_is_not_ready_has_the_cure_of_its_reason() {
        let checks = of_accounts(&[account("True", "InSync"), account("False", "AccessDenied")]);
        assert_eq!(checks[0].message, "1 AwsAccount is Ready");
        assert_eq!(checks[1].message, "prod: AccessDenied: why");
        assert_eq!(checks[1].next.as_deref(), Some(Reason::AccessDenied.cure()));
        let waits = of_accounts(&[account("Unknown", "SessionLocked")]);
        assert_eq!(waits[0].result, Outcome::Warning);
    }

    #[test]
    fn a_thousand_accounts_with_a_problem_are_few_lines() {
        let all = vec![account("False", "AccessDenied"); 1000];
        let checks = of_accounts(&all);
        assert_eq!(checks.len(), MAX_LINES + 1);
        assert_eq!(checks[MAX_LINES].message, "980 more have a problem");
    }

    #[test]
    fn another_version_of_the_controller_is_a_warning() {
        let of = |versions: &[&str]| {
            let versions = versions.iter().map(|version| (*version).to_owned()).collect();
            judge_versions("0.1.0", &versions).map(|check| check.result)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["0.1.0"]), Some(Outcome::Ok));
        assert_eq!(of(&["0.1.0", "0.2.0"]), Some(Outcome::Warning));
    }
}
