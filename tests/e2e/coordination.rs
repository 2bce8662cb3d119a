//! Several replicas divide the accounts, and no account is ever called by two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::StreamExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use rolectl_controller::reconcile::shard_of;
use rolectl_crds::{AwsAccount, Reason};
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::{until, until_within};
use serde_json::json;

const SHARDS: usize = 4;
const ACCOUNTS: usize = 6;
const ROLES: usize = 5;
/// What is promised.
const TAKEOVER: Duration = Duration::from_secs(30);

/// Each shard's holder, without the random end of its name, and how often it has changed hands.
async fn shards(s: &Scenario<'_>, count: usize) -> Result<BTreeMap<usize, (String, i32)>, String> {
    let api: Api<Lease> = Api::namespaced(s.client.clone(), &s.system());
    let only = ListParams::default().labels(&format!(
        "iam.rolectl.dev/lease=shard,iam.rolectl.dev/shards={count}"
    ));
    let leases = api.list(&only).await.map_err(|e| e.to_string())?;
    let mut all = BTreeMap::new();
    for lease in leases {
        let name = lease.name_any();
        let shard = name
            .split("-shard-")
            .nth(1)
            .and_then(|rest| rest.split('-').next());
        let spec = lease.spec.unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        let holder = holder.rsplit_once('-').map_or("", |(name, _)| name).to_owned();
        all.insert(
            shard.and_then(|n| n.parse().ok()).ok_or(name)?,
            (holder, spec.lease_transitions.unwrap_or_default()),
        );
    }
    Ok(all)
}

/// Waits until exactly these replicas hold all shards, in equal parts.
async fn divided_between(s: &Scenario<'_>, replicas: &[&str]) -> Result<()> {
    until(
        &format!("the shards to be divided between {replicas:?}"),
        || async {
            let all = shards(s, SHARDS).await?;
            let part = |replica: &&str| all.values().filter(|(holder, _)| holder == replica).count();
            let fair = replicas.iter().all(|r| part(r) == SHARDS / replicas.len());
            if all.len() == SHARDS && fair {
                Ok(())
            } else {
                Err(format!("{all:?}"))
            }
        },
    )
    .await
}

fn name(n: usize) -> String {
    format!("app-{n}")
}

async fn describe(s: &Scenario<'_>, text: &str) -> Result<()> {
    for n in 0..ROLES {
        let patch = Patch::Merge(json!({"spec": {"description": text}}));
        s.roles().patch(&name(n), &PatchParams::default(), &patch).await?;
    }
    Ok(())
}

/// Waits until every role is in sync with its newest spec in every account.
async fn all_in_sync(s: &Scenario<'_>, patience: Duration) -> Result<()> {
    for n in 0..ROLES {
        let whole = format!("{ACCOUNTS}/{ACCOUNTS}");
        until_within(
            patience,
            &format!("{} to be in sync everywhere", name(n)),
            || async {
                let role = s.roles().get(&name(n)).await.map_err(|e| e.to_string())?;
                let status = role.status.clone().unwrap_or_default();
                let current = status.observed_generation == role.metadata.generation;
                if current && status.summary.as_ref() == Some(&whole) {
                    Ok(())
                } else {
                    Err(format!("{status:?}"))
                }
            },
        )
        .await?;
    }
    Ok(())
}

/// By the call log: an account goes from one replica to another only when its shard's Lease does.
async fn never_called_by_two(s: &Scenario<'_>) -> Result<BTreeSet<String>> {
    let leases = shards(s, SHARDS).await.map_err(|e| anyhow::anyhow!(e))?;
    let mut callers = BTreeSet::new();
    for (target, (account, _)) in s.targets.iter().enumerate() {
        let calls = s.calls(target, 0).await?.calls;
        let mut apps: Vec<String> = calls
            .into_iter()
            .map(|call| call.app)
            .filter(|app| !app.is_empty())
            .collect();
        callers.extend(apps.iter().cloned());
        apps.dedup();
        let transitions = leases.get(&shard_of(account, SHARDS)).map_or(0, |(_, n)| *n);
        ensure!(
            i32::try_from(apps.len())? <= transitions,
            "{account} was called by {apps:?}, and its Lease changed hands {transitions} times"
        );
    }
    Ok(callers)
}

/// Watches the roles: which were called Ready before every account had them as their newest spec wants it.
fn called_ready_too_early(s: &Scenario<'_>) -> Arc<Mutex<BTreeSet<String>>> {
    let early = Arc::<Mutex<BTreeSet<String>>>::default();
    let (mut events, seen) = (
        watcher(s.roles(), watcher::Config::default()).boxed(),
        early.clone(),
    );
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let Ok(Event::Apply(role) | Event::InitApply(role)) = event else {
                continue;
            };
            let status = role.status.clone().unwrap_or_default();
            let generation = role.metadata.generation;
            let ready = status
                .conditions
                .iter()
                .any(|c| c.type_ == "Ready" && c.status == "True");
            let current =
                status.observed_generation == generation && role.metadata.deletion_timestamp.is_none();
            let everywhere = status.accounts.len() == ACCOUNTS
                && status
                    .accounts
                    .iter()
                    .all(|a| a.state == Reason::InSync && a.last_applied_generation == generation);
            if ready
                && current
                && !everywhere
                && let Ok(mut early) = seen.lock()
            {
                early.insert(format!("{}: {:?}", role.name_any(), status.accounts));
            }
        }
    });
    early
}

#[tokio::test]
async fn replicas_divide_the_accounts_and_take_over_from_one_that_is_killed_or_frozen() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "replicas", ACCOUNTS).await?;
    let count = SHARDS.to_string();
    let first = s.start_replica("first", &count)?;
    divided_between(&s, &["first"]).await?;
    let second = s.start_replica("second", &count)?;
    divided_between(&s, &["first", "second"]).await?;
    s.unlock().await?;
    let early = called_ready_too_early(&s);
    for n in 0..ROLES {
        s.apply(&s.role(&name(n), json!({"managedPolicies": ["ReadOnlyAccess"]})))
            .await?;
    }
    all_in_sync(&s, TAKEOVER).await?;
    let callers = never_called_by_two(&s).await?;
    ensure!(callers.len() == 2, "only {callers:?} worked");

    // Killed in the middle of work.
    describe(&s, "while one is killed").await?;
    first.signal("KILL")?;
    let killed = Instant::now();
    all_in_sync(&s, TAKEOVER).await?;
    ensure!(
        killed.elapsed() < TAKEOVER,
        "took over after {:?}",
        killed.elapsed()
    );
    divided_between(&s, &["second"]).await?;
    never_called_by_two(&s).await?;

    // Frozen, with work before it, and thawed once another has done it: it must not go on where it stopped.
    let _third = s.start_replica("third", &count)?;
    divided_between(&s, &["second", "third"]).await?;
    all_in_sync(&s, TAKEOVER).await?;
    second.signal("STOP")?;
    describe(&s, "while one is frozen").await?;
    let frozen = Instant::now();
    all_in_sync(&s, TAKEOVER).await?;
    ensure!(
        frozen.elapsed() < TAKEOVER,
        "took over after {:?}",
        frozen.elapsed()
    );
    second.signal("CONT")?;
    divided_between(&s, &["second", "third"]).await?;
    describe(&s, "after one was thawed").await?;
    all_in_sync(&s, TAKEOVER).await?;
    never_called_by_two(&s).await?;

    let early = early.lock().map_err(|e| anyhow::anyhow!("{e}"))?.clone();
    ensure!(early.is_empty(), "called Ready too early: {early:?}");

    // A deletion ends when every replica is through with its accounts, and leaves nothing.
    for n in 0..ROLES {
        s.delete(&name(n)).await?;
    }
    for target in 0..ACCOUNTS {
        ensure!(s.owned_roles(target).await?.is_empty(), "a role was left behind");
    }

    // One that ends in peace gives its part back at once.
    second.signal("TERM")?;
    ensure!(second.wait().await?.success(), "did not end well");
    let left = Instant::now();
    divided_between(&s, &["third"]).await?;
    ensure!(
        left.elapsed() < Duration::from_secs(10),
        "took over after {:?}",
        left.elapsed()
    );
    never_called_by_two(&s).await?;
    Ok(())
}

#[tokio::test]
async fn a_replica_that_counts_the_shards_otherwise_claims_nothing() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "at-odds", 1).await?;
    let right = s.start_replica("right", "4")?;
    divided_between(&s, &["right"]).await?;
    let _wrong = s.start_replica("wrong", "2")?;
    until("the other to tell why it claims nothing", || async {
        let log = std::fs::read_to_string(s.dir.join("wrong.log")).map_err(|e| e.to_string())?;
        if log.contains("another number of shards") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .await?;
    divided_between(&s, &["right"]).await?;
    right.signal("TERM")?;
    right.wait().await?;
    until("the other to claim all once it is alone", || async {
        let all = shards(&s, 2).await?;
        let claimed = all.values().filter(|(holder, _)| holder == "wrong").count();
        if claimed == 2 {
            Ok(())
        } else {
            Err(format!("{all:?}"))
        }
    })
    .await
}

#[tokio::test]
async fn a_role_goes_when_the_accounts_of_two_replicas_are_gone_before_it() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "both-gone", ACCOUNTS).await?;
    let count = SHARDS.to_string();
    let _replicas = [s.start_replica("one", &count)?, s.start_replica("two", &count)?];
    divided_between(&s, &["one", "two"]).await?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({"deletionPolicy": "Retain"})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    let accounts: Api<AwsAccount> = Api::all(s.client.clone());
    for (account, _) in &s.targets {
        // By force, as somebody in a hurry does.
        let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        accounts.delete(account, &DeleteParams::default()).await?;
        accounts.patch(account, &PatchParams::default(), &patch).await?;
    }
    s.role_is("app", "False", "AccountNotFound").await?;
    s.delete("app").await
}

#[tokio::test]
async fn a_lease_that_is_deleted_by_hand_does_not_change_hands_at_once() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "no-lease", 1).await?;
    let count = SHARDS.to_string();
    let _replicas = [s.start_replica("one", &count)?, s.start_replica("two", &count)?];
    divided_between(&s, &["one", "two"]).await?;
    let api: Api<Lease> = Api::namespaced(s.client.clone(), &s.system());
    let lease = api
        .list(&ListParams::default().labels("iam.rolectl.dev/lease=shard"))
        .await?;
    let lease = lease
        .items
        .first()
        .map(|lease| lease.name_any())
        .unwrap_or_default();
    api.delete(&lease, &DeleteParams::default()).await?;
    let deleted = Instant::now();
    until("the Lease to be made again", || async {
        let found = api.get_opt(&lease).await.map_err(|e| e.to_string())?;
        found.map(|_| ()).ok_or_else(|| "it is not there".to_owned())
    })
    .await?;
    ensure!(
        deleted.elapsed() > Duration::from_secs(17),
        "its holder may still have been at work"
    );
    divided_between(&s, &["one", "two"]).await
}

#[tokio::test]
async fn controllers_for_different_sessions_share_a_role_and_neither_undoes_the_others_word() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "by-session", 2).await?;
    // Both sessions are one in AWS, and two to the controllers.
    s.apply(&json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "MfaSession", "metadata": {"name": "by-session-b"},
        "spec": {"accountId": s.main, "secretName": s.secret()}}))
        .await?;
    s.change_account(1, json!({"sessionRef": "by-session-b"})).await?;
    s.unlock().await?;
    s.apply(&s.role("both", json!({}))).await?;
    s.apply(&s.role("second", json!({"accounts": {"names": ["by-session-1"]}})))
        .await?;
    let start = |session: &str| s.start_another(session, &[("ROLECTL_SESSIONS", session)]);
    let _first = start("by-session")?;
    until("the first account to be told of", || async {
        let role = s.roles().get("both").await.map_err(|e| e.to_string())?;
        let entries = role.status.map(|status| status.accounts).unwrap_or_default();
        let first = entries.iter().find(|entry| entry.name == "by-session-0");
        let told = first.is_some_and(|entry| entry.state == Reason::InSync);
        told.then_some(()).ok_or_else(|| format!("{entries:?}"))
    })
    .await?;
    ensure!(
        s.owned_roles(1).await?.is_empty(),
        "it has written where it has no business"
    );
    s.role_is("both", "False", "Progressing").await?;
    let second = start("by-session-b")?;
    for role in ["both", "second"] {
        s.role_is(role, "True", "InSync").await?;
    }
    // Both look again, and neither has anything to say.
    let before = s.roles().get("both").await?.status;
    let accounts: Api<AwsAccount> = Api::all(s.client.clone());
    let swept = async || {
        let mut times = vec![];
        for (name, _) in &s.targets {
            times.push(
                accounts
                    .get(name)
                    .await?
                    .status
                    .and_then(|status| status.last_sweep_time),
            );
        }
        kube::Result::Ok(times)
    };
    let last = swept().await?;
    until("both accounts to be swept again", || async {
        s.look_again("both").await.map_err(|e| e.to_string())?;
        let now = swept().await.map_err(|e: kube::Error| e.to_string())?;
        let again = now.iter().zip(&last).all(|(now, last)| now != last);
        again.then_some(()).ok_or_else(|| format!("{now:?}"))
    })
    .await?;
    ensure!(
        s.roles().get("both").await?.status == before,
        "the status has changed"
    );
    // Deleted where the other is away, it waits for it.
    drop(second);
    let delete = ["delete", "iamrole", "both", "-n", "by-session", "--wait=false"];
    s.world.plane.kubectl(&delete).await?;
    until("the first account to be left", || async {
        let left = s.owned_roles(0).await.map_err(|e| e.to_string())?;
        left.is_empty().then_some(()).ok_or_else(|| format!("{left:?}"))
    })
    .await?;
    ensure!(s.owned_roles(1).await?.contains(&"both".to_owned()));
    ensure!(s.roles().get_opt("both").await?.is_some(), "it was let go");
    let _second = start("by-session-b")?;
    s.delete("both").await?;
    ensure!(s.owned_roles(1).await? == ["second"]);
    Ok(())
}
