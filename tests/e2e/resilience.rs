//! Kills, shutdowns and outages leave nothing half-made.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use http::StatusCode;
use rolectl_crds::Reason;
use rolectl_tests::double::Calls;
use rolectl_tests::scenario::{Scenario, World};
use rolectl_tests::slow_api::SlowApi;
use rolectl_tests::wait::until;
use serde_json::{Value, json};

use crate::approvals::approve;

const ROLES: usize = 50;

fn many(s: &Scenario<'_>) -> Value {
    let roles: Vec<_> = (0..ROLES)
        .map(|n| {
            s.role(
                &format!("app-{n:02}"),
                json!({"managedPolicies": ["ReadOnlyAccess", "AdministratorAccess"]}),
            )
        })
        .collect();
    json!({"apiVersion": "v1", "kind": "List", "items": roles})
}

async fn all_correct(s: &Scenario<'_>) -> Result<()> {
    for n in 0..ROLES {
        s.role_is(&format!("app-{n:02}"), "True", "InSync").await?;
    }
    let owned = s.owned_roles(0).await?;
    ensure!(owned.len() == ROLES, "{} roles are ours", owned.len());
    for name in owned {
        let attached = s.attached(0, &name).await?;
        ensure!(attached.len() == 2, "{name} has {attached:?}");
    }
    Ok(())
}

fn slow(a: &mut Value) {
    a["spec"]["requestsPerSecond"] = json!(10);
    a["spec"]["burst"] = json!(1);
}

#[tokio::test]
async fn a_controller_killed_midway_leaves_fifty_correct_roles_and_no_orphan_once_it_runs_again() -> Result<()>
{
    let s = Scenario::with(crate::world().await?, "kill", 1, slow).await?;
    s.start_controller()?;
    s.unlock().await?;
    // However long it takes until it is killed: AWS creates 20 roles, and answers nothing more.
    let stuck = json!([{"action": "CreateRole", "rate": 0, "burst": 20, "latency_ms": 600_000}]);
    s.world.double.faults(&s.targets[0].1, stuck).await?;
    s.apply(&many(&s)).await?;
    s.begun(10).await?;
    s.end_controller("KILL").await?;
    s.world.double.faults(&s.targets[0].1, json!([])).await?;
    let half = s.owned_roles(0).await?.len();
    ensure!(half < ROLES, "killed too late to show anything");
    s.start_controller()?;
    all_correct(&s).await?;
    // And none is left behind when the objects go while nobody runs.
    s.end_controller("KILL").await?;
    s.world
        .plane
        .kubectl(&["delete", "iamroles", "--all", "-n", "kill", "--wait=false"])
        .await?;
    s.start_controller()?;
    for n in 0..ROLES {
        s.role_is(&format!("app-{n:02}"), "Unknown", "RemovalsParked")
            .await?;
    }
    approve(&s, &["--all"]).await?;
    s.owns(0, 0).await
}

#[tokio::test]
async fn sigterm_ends_in_ten_seconds_and_the_next_start_goes_on() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "term", 1, slow).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&many(&s)).await?;
    s.begun(10).await?;
    let start = Instant::now();
    let status = s.end_controller("TERM").await?;
    ensure!(
        status.success() && start.elapsed() < Duration::from_secs(10),
        "{status} after {:?}",
        start.elapsed()
    );
    // Every role that was begun is known to its object: the finalizer is on it, and the owner's tag on the role.
    let roles = s.roles().list(&kube::api::ListParams::default()).await?;
    for name in s.owned_roles(0).await? {
        let object = roles
            .iter()
            .find(|r| r.metadata.name.as_ref() == Some(&name))
            .unwrap();
        ensure!(
            object
                .metadata
                .finalizers
                .iter()
                .flatten()
                .any(|f| f == rolectl_crds::FINALIZER),
            "{name}"
        );
    }
    s.start_controller()?;
    all_correct(&s).await
}

#[tokio::test]
async fn a_lost_answer_is_not_a_lost_role() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "lost", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    // AWS does it, and says that it failed.
    s.world.double.faults(&s.targets[0].1, json!([
        {"action": "CreateRole", "times": 1, "code": "ServiceFailure", "status": 500, "after": true},
        {"action": "AttachRolePolicy", "times": 1, "code": "ServiceFailure", "status": 500, "after": true},
    ])).await?;
    s.apply(&s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    ensure!(s.owned_roles(0).await? == ["app"]);
    Ok(())
}

#[tokio::test]
async fn an_account_that_does_not_answer_does_not_keep_the_news_of_another_back() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "slow", 2).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    s.account_is(1, "InSync").await?;
    // Longer than a test waits for anything.
    s.world
        .double
        .faults(
            &s.targets[1].1,
            json!([{"action": "CreateRole", "latency_ms": 300_000}]),
        )
        .await?;
    s.apply(&s.role("app", json!({}))).await?;
    let role = s.role_is("app", "False", "Progressing").await?;
    let accounts = role.status.unwrap_or_default().accounts;
    let state = |n: usize| {
        accounts
            .iter()
            .find(|a| a.name == s.targets[n].0)
            .map(|a| a.state)
    };
    ensure!(
        state(0) == Some(Reason::InSync) && state(1) == Some(Reason::Progressing),
        "{accounts:?}"
    );
    Ok(())
}

/// In a world of its own, because it takes the API server away.
#[tokio::test]
async fn an_api_server_that_comes_back_finds_the_controller_at_work() -> Result<()> {
    crate::world().await?;
    let world = World::start("e2e-outage").await?;
    let s = Scenario::new(&world, "outage", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("before", json!({}))).await?;
    s.role_is("before", "True", "InSync").await?;
    world.plane.stop_apiserver()?;
    let iam = s.hands(0).await?;
    iam.update_role()
        .role_name("before")
        .description("by hand")
        .max_session_duration(3600)
        .send()
        .await?;
    world.plane.start_apiserver()?;
    world.plane.ready().await?;
    s.apply(&s.role("after", json!({}))).await?;
    s.role_is("after", "True", "InSync").await?;
    s.world
        .plane
        .kubectl(&[
            "annotate",
            "iamrole",
            "before",
            "-n",
            "outage",
            "iam.rolectl.dev/reconcile=1",
        ])
        .await?;
    until("the drift to be mended", || async {
        let role = iam
            .get_role()
            .role_name("before")
            .send()
            .await
            .map_err(|e| format!("{e:?}"))?
            .role
            .unwrap();
        if role.description.unwrap_or_default().is_empty() {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    })
    .await
}

#[tokio::test]
async fn what_the_harness_started_ends_when_it_is_told_or_dropped() -> Result<()> {
    use std::os::unix::process::ExitStatusExt as _;

    use rolectl_tests::process::{Process, Spawn};

    let world = crate::world().await?;
    let log = world.dir.join("supervised.log");
    let spawn = || Spawn {
        name: "sleeper",
        program: std::path::Path::new("sleep"),
        args: vec!["1000".to_owned()],
        env: vec![],
        log: &log,
        remove_at_end: None,
        pipe: false,
    };
    let (killed, _) = Process::spawn(spawn())?;
    killed.signal("KILL")?;
    let status = killed.wait().await?;
    ensure!(
        status.code() == Some(137) || status.signal() == Some(9),
        "{status}"
    );
    let (dropped, _) = Process::spawn(spawn())?;
    let start = Instant::now();
    dropped.stop();
    ensure!(dropped.ended().is_some() && start.elapsed() < Duration::from_secs(10));
    Ok(())
}

#[tokio::test]
async fn writes_of_statuses_that_get_no_answer_hold_back_no_work_in_aws() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "slow-api", 2).await?;
    let api = SlowApi::start(&s.world.plane, &s.dir).await?;
    let kubeconfig = api.kubeconfig.display().to_string();
    s.start_controller_with(&[("KUBECONFIG", &kubeconfig)])?;
    s.unlock().await?;
    s.apply(&s.role("before", json!({}))).await?;
    s.role_is("before", "True", "InSync").await?;
    api.hangs(true);
    let roles: Vec<_> = (0..8)
        .map(|n| s.role(&format!("app-{n:02}"), json!({})))
        .collect();
    s.apply(&json!({"apiVersion": "v1", "kind": "List", "items": roles}))
        .await?;
    until("a status that is kept", || async {
        if api.kept().0 > 0 { Ok(()) } else { Err(()) }
    })
    .await?;
    s.apply(&s.role("late", json!({}))).await?;
    for account in [0, 1] {
        until("all roles in AWS", || async {
            let owned = s.owned_roles(account).await.map_err(|e| e.to_string())?;
            if owned.len() == 10 {
                Ok(())
            } else {
                Err(format!("{} roles", owned.len()))
            }
        })
        .await?;
    }
    let (kept, given_up) = api.kept();
    ensure!(
        kept > 0 && given_up == 0,
        "the roles were made while {kept} writes had no answer, and not after {given_up} of them were given up"
    );
    api.hangs(false);
    s.role_is("late", "True", "InSync").await?;
    Ok(())
}

fn created(calls: &Calls) -> usize {
    calls
        .calls
        .iter()
        .filter(|call| call.action == "CreateRole")
        .count()
}

#[tokio::test]
async fn writes_of_statuses_that_are_refused_make_no_role_late_and_cost_no_call() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "refusing-api", 1).await?;
    let api = SlowApi::start(&s.world.plane, &s.dir).await?;
    let kubeconfig = api.kubeconfig.display().to_string();
    s.start_controller_with(&[("KUBECONFIG", &kubeconfig)])?;
    s.unlock().await?;
    s.apply(&s.role("before", json!({}))).await?;
    s.role_is("before", "True", "InSync").await?;
    let before = s.calls(0, 0).await?.total;
    api.refuses(Some(StatusCode::SERVICE_UNAVAILABLE));
    let roles: Vec<_> = (0..12)
        .map(|n| s.role(&format!("app-{n:02}"), json!({})))
        .collect();
    s.apply(&json!({"apiVersion": "v1", "kind": "List", "items": roles}))
        .await?;
    until("all roles in AWS", || async {
        let owned = s.owned_roles(0).await.map_err(|e| e.to_string())?;
        if owned.len() == 13 {
            Ok(())
        } else {
            Err(format!("{} roles", owned.len()))
        }
    })
    .await?;
    let refused = api.kept().0;
    ensure!(refused >= 12, "each role's status was refused: {refused}");
    let calls = s.calls(0, before).await?;
    ensure!(created(&calls) == 12, "{calls:?}");
    api.refuses(None);
    for n in 0..12 {
        s.role_is(&format!("app-{n:02}"), "True", "InSync").await?;
    }
    let calls = s.calls(0, before).await?;
    ensure!(created(&calls) == 12, "no role was made twice: {calls:?}");
    Ok(())
}

#[tokio::test]
async fn a_status_that_meets_a_conflict_is_written_again() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "conflicting-api", 1).await?;
    let api = SlowApi::start(&s.world.plane, &s.dir).await?;
    let kubeconfig = api.kubeconfig.display().to_string();
    s.start_controller_with(&[("KUBECONFIG", &kubeconfig)])?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    api.refuses(Some(StatusCode::CONFLICT));
    s.apply(&s.role("app", json!({}))).await?;
    until("a status that meets a conflict", || async {
        if api.kept().0 > 0 { Ok(()) } else { Err(()) }
    })
    .await?;
    api.refuses(None);
    s.role_is("app", "True", "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn an_account_that_is_slow_holds_back_no_change_in_another_one() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "slow-account", 2).await?;
    s.change_account(1, json!({"requestsPerSecond": 1, "burst": 1}))
        .await?;
    s.start_controller()?;
    s.unlock().await?;
    let roles: Vec<_> = (0..12)
        .map(|n| s.role(&format!("app-{n:02}"), json!({})))
        .collect();
    s.apply(&json!({"apiVersion": "v1", "kind": "List", "items": roles}))
        .await?;
    until("all roles in the fast account", || async {
        let owned = s.owned_roles(0).await.map_err(|e| e.to_string())?;
        if owned.len() == 12 {
            Ok(())
        } else {
            Err(format!("{} roles", owned.len()))
        }
    })
    .await?;
    until("the slow account to be at work on its roles", || async {
        let owned = s.owned_roles(1).await.map_err(|e| e.to_string())?;
        if owned.is_empty() {
            Err("no role yet".to_owned())
        } else {
            Ok(())
        }
    })
    .await?;
    // Somebody closes a role while the slow account still has to make it.
    let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "sts:AssumeRole"});
    let closed = json!({"Version": "2012-10-17", "Statement": [deny]});
    s.apply(&s.role("app-11", json!({"assumeRolePolicy": closed})))
        .await?;
    let began = Instant::now();
    let iam = s.hands(0).await?;
    until("the closed trust policy in the fast account", || async {
        let role = iam
            .get_role()
            .role_name("app-11")
            .send()
            .await
            .map_err(|e| e.to_string())?
            .role;
        let trust = role
            .and_then(|role| role.assume_role_policy_document)
            .unwrap_or_default();
        if trust.contains("Deny") {
            Ok(())
        } else {
            Err(trust)
        }
    })
    .await?;
    let took = began.elapsed();
    let slow = s.owned_roles(1).await?.len();
    ensure!(slow < 12, "the slow account had all its roles by then: {took:?}");
    Ok(())
}
