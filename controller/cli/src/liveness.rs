//! Determines if a controller is running, because a status keeps its last values when its controller stops.
//!
//! Replicas that share the accounts renew Leases every few seconds. A controller without Leases (`--shards 0`), and one whose
//! Leases the user may not read, is judged by its sweeps. "Not running" is reported only where something that a running
//! controller must have done has not happened.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::ListParams;
use kube::{Api, Client};
use schemars::JsonSchema;
use serde::Serialize;

use rolectl_crds::{AwsAccount, ConditionType, MfaSession, Phase};
use rolectl_kube::LEASE_LABEL;

use crate::times::from_now;

/// Age at which a Lease is stale. Another replica can acquire it after 18 seconds.
const STALE: SignedDuration = SignedDuration::from_secs(20);
/// Delay after which an overdue sweep, or an overdue change of an expired session, counts as late.
const LATE: SignedDuration = SignedDuration::from_mins(5);
/// Number of times that a stale Lease is read again. A renewal proves a running controller independently of the clocks.
const REREADS: usize = 4;
/// Time between two reads of a stale Lease.
const REREAD_INTERVAL: Duration = Duration::from_secs(2);
/// Maximum time for one list request.
const PATIENCE: Duration = Duration::from_secs(5);

/// The state of the controller, as its Leases and statuses show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Liveness {
    /// True if a controller is running. `None` if that is unknown.
    pub running: Option<bool>,
    /// When a controller last renewed a Lease or wrote a status that can be seen.
    #[schemars(with = "Option<String>")]
    pub last_seen: Option<Timestamp>,
}

impl Liveness {
    /// Returns the warning for a controller that is not running.
    pub fn warning(self, now: Timestamp) -> Option<String> {
        let seen = self.last_seen.map_or_else(
            || "never seen".to_owned(),
            |at| format!("last seen {}", from_now(at.duration_since(now))),
        );
        (self.running == Some(false)).then(|| format!("no controller is running ({seen})"))
    }
}

/// Determines from the Leases in the controller's `namespace`, and from the statuses of these objects, if a controller is running.
pub async fn check(
    client: &Client,
    namespace: &str,
    accounts: &[AwsAccount],
    sessions: &[MfaSession],
) -> Liveness {
    let leases = leases(client, namespace).await;
    let state = judge(&leases, accounts, sessions, Timestamp::now());
    if state.running == Some(false) && !leases.is_empty() {
        for _ in 0..REREADS {
            tokio::time::sleep(REREAD_INTERVAL).await;
            let again = self::leases(client, namespace).await;
            if is_renewed(&leases, &again) {
                return Liveness {
                    running: Some(true),
                    last_seen: Some(Timestamp::now()),
                };
            }
        }
    }
    state
}

/// Returns the controller's Leases. Returns none where the user may not read them; then the sweeps decide.
async fn leases(client: &Client, namespace: &str) -> Vec<Lease> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let ours = ListParams::default().labels(LEASE_LABEL);
    let listed = tokio::time::timeout(PATIENCE, api.list(&ours)).await;
    listed
        .ok()
        .and_then(Result::ok)
        .map(|list| list.items)
        .unwrap_or_default()
}

/// Returns true if a Lease was renewed between two reads.
fn is_renewed(before: &[Lease], now: &[Lease]) -> bool {
    let version = |lease: &Lease| {
        (
            lease.metadata.uid.clone(),
            lease.metadata.resource_version.clone(),
        )
    };
    now.iter()
        .filter(|lease| renewed(lease).is_some())
        .any(|lease| !before.iter().any(|old| version(old) == version(lease)))
}

/// Returns the time of the last renewal. Returns `None` for a Lease without a holder.
fn renewed(lease: &Lease) -> Option<Timestamp> {
    let spec = lease.spec.as_ref()?;
    spec.holder_identity
        .as_ref()
        .filter(|holder| !holder.is_empty())?;
    spec.renew_time.as_ref().map(|time| time.0)
}

/// Returns the time at which a controller last wrote the Lease. A controller that stops clears the holder and the time, so that
/// only the managed fields contain it.
fn written(lease: &Lease) -> Option<Timestamp> {
    let records = lease.metadata.managed_fields.iter().flatten();
    let recorded = records.filter_map(|record| Some(record.time.as_ref()?.0)).max();
    renewed(lease).or(recorded)
}

/// Returns the latest time in these statuses, at which a controller certainly wrote one.
fn reported(accounts: &[AwsAccount], sessions: &[MfaSession]) -> Option<Timestamp> {
    let accounts = accounts.iter().filter_map(|account| account.status.as_ref());
    let sessions = sessions.iter().filter_map(|session| session.status.as_ref());
    let of_accounts = accounts.map(|status| latest(status.last_sweep_time.as_ref(), &status.conditions));
    let of_sessions = sessions.map(|status| latest(status.unlocked_at.as_ref(), &status.conditions));
    of_accounts.chain(of_sessions).flatten().max()
}

/// Returns the latest of a time and the transition times of conditions.
fn latest(time: Option<&Time>, conditions: &[Condition]) -> Option<Timestamp> {
    let times = conditions.iter().map(|condition| &condition.last_transition_time);
    times.chain(time).map(|time| time.0).max()
}

/// Determines the state of the controller at the time `now`.
fn judge(leases: &[Lease], accounts: &[AwsAccount], sessions: &[MfaSession], now: Timestamp) -> Liveness {
    let is_stale = |at: Timestamp| now.duration_since(at) >= STALE;
    let claimed = leases.iter().filter_map(written).max();
    let reported = reported(accounts, sessions);
    let is_held = leases.iter().filter_map(renewed).any(|at| !is_stale(at));
    // A status newer than the Leases is from a controller without Leases or in another namespace.
    let is_abandoned = claimed.is_some_and(|at| {
        is_stale(at) && reported.is_none_or(|reported| reported.duration_since(at) < STALE)
    });
    let running = if is_held {
        Some(true)
    } else if is_abandoned || is_overdue(accounts, sessions, now) {
        Some(false)
    } else {
        None
    };
    Liveness {
        running,
        last_seen: claimed.max(reported),
    }
}

/// Returns true if every due sweep is late, or if no sweep is due and the phase of an expired session is still open.
fn is_overdue(accounts: &[AwsAccount], sessions: &[MfaSession], now: Timestamp) -> bool {
    let ended = sessions.iter().filter_map(|session| {
        let status = session.status.as_ref()?;
        let open = matches!(status.phase, Phase::Unlocked | Phase::Expiring);
        status.expires_at.as_ref().filter(|_| open).map(|end| end.0)
    });
    let due: Vec<Timestamp> = accounts
        .iter()
        .filter_map(|account| sweep_deadline(account, sessions, now))
        .collect();
    let is_late = |at: &Timestamp| now.duration_since(*at) > LATE;
    // One sweep in time proves a running controller.
    (!due.is_empty() && due.iter().all(is_late))
        || ended.into_iter().any(|end| is_late(&end) && due.is_empty())
}

/// Returns the time at which the next sweep of the account is due. Returns `None` if none is due: the session is not open, the
/// account is suspended or being deleted, or its last sweep failed.
fn sweep_deadline(account: &AwsAccount, sessions: &[MfaSession], now: Timestamp) -> Option<Timestamp> {
    let status = account.status.as_ref()?;
    let is_ready = |c: &Condition| c.type_ == ConditionType::Ready.as_str() && c.status == "True";
    if account.spec.suspend
        || account.metadata.deletion_timestamp.is_some()
        || !status.conditions.iter().any(is_ready)
    {
        return None;
    }
    let session = sessions
        .iter()
        .find(|session| session.metadata.name.as_ref() == Some(&account.spec.session_ref))?;
    let session = session.status.as_ref()?;
    let is_open = matches!(session.phase, Phase::Unlocked | Phase::Expiring)
        && session.expires_at.as_ref().is_some_and(|end| end.0 > now);
    let interval: Duration = account.spec.drift_interval.into();
    let took = Duration::from_millis(status.last_sweep_duration_ms.unwrap_or_default());
    let wait = SignedDuration::try_from(interval.saturating_mul(2).saturating_add(took)).ok()?;
    let deadline = status.last_sweep_time.as_ref()?.0.checked_add(wait).ok()?;
    is_open.then(|| deadline.max(session.unlocked_at.as_ref().map_or(deadline, |at| at.0)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// 1970-01-01T02:00:00Z.
    fn now() -> Timestamp {
        Timestamp::from_second(7200).unwrap()
    }

    fn ago(minutes: i64) -> String {
        Timestamp::from_second(7200 - minutes * 60).unwrap().to_string()
    }

    fn lease(minutes: i64) -> Lease {
        lease_of(minutes * 60)
    }

    fn lease_of(seconds: i64) -> Lease {
        let time = Timestamp::from_second(7200 - seconds).unwrap().to_string();
        let time = time.replace('Z', ".000000Z");
        serde_json::from_value(
            json!({"metadata": {"name": "rolectl-shard-0-of-1", "uid": "u", "resourceVersion": "1"},
            "spec": {"holderIdentity": "a", "renewTime": time}}),
        )
        .unwrap()
    }

    fn released(minutes: i64) -> Lease {
        serde_json::from_value(
            json!({"metadata": {"name": "rolectl-shard-0-of-1", "managedFields": [
            {"manager": "rolectl-controller", "operation": "Update", "time": ago(minutes)}]}, "spec": {}}),
        )
        .unwrap()
    }

    fn account_that(ready: &str, minutes: i64, suspend: bool) -> AwsAccount {
        serde_json::from_value(json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
            "metadata": {"name": "prod"}, "spec": {"accountId": "222222222222", "driftInterval": "10m", "suspend": suspend},
            "status": {"lastSweepTime": ago(minutes), "conditions": [
                {"type": "Ready", "status": ready, "reason": "X", "message": "", "lastTransitionTime": ago(110)}]}}))
        .unwrap()
    }

    fn account(minutes: i64) -> AwsAccount {
        account_that("True", minutes, false)
    }

    fn session(phase: &str, ends_in: i64) -> MfaSession {
        serde_json::from_value(
            json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "MfaSession",
            "metadata": {"name": "default"}, "spec": {"accountId": "111111111111"},
            "status": {"phase": phase, "expiresAt": ago(-ends_in), "unlockedAt": ago(100)}}),
        )
        .unwrap()
    }

    type Case = (
        &'static str,
        Vec<Lease>,
        Vec<AwsAccount>,
        Vec<MfaSession>,
        Option<bool>,
    );

    fn check(cases: Vec<Case>) {
        for (what, leases, accounts, sessions, running) in cases {
            let judged = judge(&leases, &accounts, &sessions, now());
            assert_eq!(judged.running, running, "{what}: {judged:?}");
            assert_eq!(judged.warning(now()).is_some(), running == Some(false), "{what}");
        }
    }

    #[test]
    fn leases_that_nobody_renews_are_those_of_a_dead_controller() {
        let (open, locked) = (|| vec![session("Unlocked", 60)], || vec![session("Locked", 60)]);
        let (yes, no) = (Some(true), Some(false));
        let one = |minutes| vec![account(minutes)];
        check(vec![
            ("renewed", vec![lease(0)], one(60), open(), yes),
            (
                "one of two is renewed",
                vec![lease(14), lease(0)],
                vec![],
                locked(),
                yes,
            ),
            ("not renewed", vec![lease(14)], one(15), locked(), no),
            (
                "it died right after a sweep",
                vec![lease_of(14 * 60 + 3)],
                one(14),
                locked(),
                no,
            ),
            (
                "it gave its Lease back",
                vec![released(14)],
                one(15),
                locked(),
                no,
            ),
            (
                "it gave its Lease back just now",
                vec![released(0)],
                one(15),
                locked(),
                None,
            ),
            (
                "an earlier one's, a sweep since",
                vec![lease(90)],
                one(3),
                open(),
                None,
            ),
            (
                "an earlier one's, nothing is due",
                vec![lease(90)],
                one(60),
                locked(),
                None,
            ),
            (
                "an earlier one's, sweeps are late",
                vec![lease(90)],
                one(60),
                open(),
                no,
            ),
        ]);
        let dead = judge(&[lease(14)], &[], &[], now());
        assert_eq!(
            dead.warning(now()).as_deref(),
            Some("no controller is running (last seen 14m ago)")
        );
    }

    #[test]
    fn without_leases_what_is_overdue_shows_a_dead_controller() {
        let open = || vec![session("Unlocked", 60)];
        let ends_in = |phase, minutes| vec![session(phase, minutes)];
        let (no, one) = (Some(false), |minutes| vec![account(minutes)]);
        check(vec![
            ("swept in time", vec![], one(19), open(), None),
            ("a little late", vec![], one(24), open(), None),
            ("late", vec![], one(26), open(), no),
            (
                "one of two in time",
                vec![],
                vec![account(60), account(4)],
                open(),
                None,
            ),
            (
                "the last sweep failed",
                vec![],
                vec![account_that("False", 60, false)],
                open(),
                None,
            ),
            (
                "suspended",
                vec![],
                vec![account_that("True", 60, true)],
                open(),
                None,
            ),
            ("locked", vec![], one(60), ends_in("Locked", 60), None),
            (
                "ended, and nobody noticed",
                vec![],
                one(60),
                ends_in("Unlocked", -6),
                no,
            ),
            ("ended just now", vec![], one(60), ends_in("Unlocked", -4), None),
            (
                "ended, and its phase shows it",
                vec![],
                one(60),
                ends_in("Expired", -6),
                None,
            ),
            (
                "a phase of a newer version",
                vec![],
                one(60),
                ends_in("Renewing", -6),
                None,
            ),
            ("nothing has a status", vec![], vec![], vec![], None),
        ]);
    }

    #[test]
    fn a_renewal_is_seen_whatever_the_clocks_say() {
        let version = |version: &str| {
            let mut lease = lease(60);
            lease.metadata.resource_version = Some(version.to_owned());
            [lease]
        };
        assert!(!is_renewed(&version("1"), &version("1")));
        assert!(is_renewed(&version("1"), &version("2")));
        assert!(is_renewed(&[], &version("1")));
        assert!(!is_renewed(&version("1"), &[]));
        assert!(!is_renewed(&version("1"), &[released(0)]));
    }
}
