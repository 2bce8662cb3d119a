//! How many calls things cost, by the double's log.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::json;

const SWEEP: [(&str, usize); 2] = [("GetAccountAuthorizationDetails", 1), ("ListRoles", 1)];

#[tokio::test]
async fn a_role_with_two_managed_and_one_inline_policies_costs_four_calls_and_a_sweep_two() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "calls", 1, |a| {
        a["spec"]["driftInterval"] = json!("1h")
    })
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    let start = s.calls(0, 0).await?.total;
    s.apply(&s.role("app", json!({
        "description": "d", "tags": {"a": "b"}, "permissionsBoundary": "PowerUserAccess",
        "managedPolicies": ["ReadOnlyAccess", "AdministratorAccess"],
        "inlinePolicies": {"in": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}},
    }))).await?;
    s.role_is("app", "True", "InSync").await?;
    let calls = s.calls(0, start).await?;
    ensure!(
        calls.by_action()
            == BTreeMap::from([("AttachRolePolicy", 2), ("CreateRole", 1), ("PutRolePolicy", 1)]),
        "{calls:?}"
    );

    // More roles, and a sweep that finds nothing to do.
    for n in 0..20 {
        s.apply(&s.role(&format!("more-{n}"), json!({}))).await?;
    }
    for n in 0..20 {
        s.role_is(&format!("more-{n}"), "True", "InSync").await?;
    }
    let start = s.calls(0, 0).await?.total;
    let versions = versions(&s).await?;
    s.world
        .plane
        .kubectl(&[
            "annotate",
            "iamrole",
            "app",
            "-n",
            "calls",
            "iam.rolectl.dev/reconcile=1",
        ])
        .await?;
    let calls = until("the sweep", || async {
        let calls = s.calls(0, start).await.map_err(|e| e.to_string())?;
        if calls.total >= 2 {
            Ok(calls)
        } else {
            Err(format!("{calls:?}"))
        }
    })
    .await?;
    ensure!(calls.by_action() == BTreeMap::from(SWEEP), "{calls:?}");
    s.account_is(0, "InSync").await?;
    // A pass that changes nothing writes nothing to the API server either (but for the annotation itself).
    let now = self::versions(&s).await?;
    let changed: Vec<_> = now
        .iter()
        .filter(|(name, version)| *name != "app" && versions.get(*name) != Some(version))
        .collect();
    ensure!(changed.is_empty(), "{changed:?}");
    Ok(())
}

async fn versions(s: &Scenario<'_>) -> Result<BTreeMap<String, String>> {
    let roles = s.roles().list(&kube::api::ListParams::default()).await?;
    Ok(roles
        .into_iter()
        .map(|r| {
            (
                r.metadata.name.unwrap_or_default(),
                r.metadata.resource_version.unwrap_or_default(),
            )
        })
        .collect())
}

#[tokio::test]
async fn a_burst_of_new_roles_costs_one_sweep() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "burst", 1, |a| {
        a["spec"]["driftInterval"] = json!("1h")
    })
    .await?;
    let roles: Vec<_> = (0..40).map(|n| s.role(&format!("app-{n}"), json!({}))).collect();
    s.apply(&json!({"apiVersion": "v1", "kind": "List", "items": roles}))
        .await?;
    let start = s.calls(0, 0).await?.total;
    s.start_controller()?;
    s.unlock().await?;
    for n in 0..40 {
        s.role_is(&format!("app-{n}"), "True", "InSync").await?;
    }
    let calls = s.calls(0, start).await?;
    ensure!(
        calls.by_action()
            == BTreeMap::from([("CreateRole", 40), ("GetAccountSummary", 1), SWEEP[0], SWEEP[1]]),
        "{calls:?}"
    );
    Ok(())
}

#[tokio::test]
async fn throttling_slows_down_and_nothing_is_lost() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "throttle", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    s.world
        .double
        .faults(
            &s.targets[0].1,
            json!([{"action": "AttachRolePolicy", "times": 6, "code": "Throttling", "status": 400}]),
        )
        .await?;
    for n in 0..5 {
        s.apply(&s.role(
            &format!("app-{n}"),
            json!({"managedPolicies": ["ReadOnlyAccess"]}),
        ))
        .await?;
    }
    for n in 0..5 {
        s.role_is(&format!("app-{n}"), "True", "InSync").await?;
    }
    Ok(())
}

#[tokio::test]
async fn reads_that_trail_writes_are_not_taken_for_drift() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "lag", 1, |a| {
        a["spec"]["driftInterval"] = json!("10s")
    })
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    s.world.double.lag(&s.targets[0].1, 4000).await?;
    let start = s.calls(0, 0).await?.total;
    s.apply(&s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    s.world
        .plane
        .kubectl(&[
            "annotate",
            "iamrole",
            "app",
            "-n",
            "lag",
            "iam.rolectl.dev/reconcile=1",
        ])
        .await?;
    until("some sweeps over old reads", || async {
        let n = s
            .calls(0, start)
            .await
            .map_err(|e| e.to_string())?
            .by_action()
            .get("ListRoles")
            .copied()
            .unwrap_or_default();
        if n >= 3 { Ok(()) } else { Err(n.to_string()) }
    })
    .await?;
    let calls = s.calls(0, start).await?;
    let writes: Vec<_> = calls
        .by_action()
        .into_iter()
        .filter(|(a, _)| !SWEEP.iter().any(|(read, _)| read == a))
        .collect();
    ensure!(
        writes == [("AttachRolePolicy", 1), ("CreateRole", 1)],
        "{writes:?}"
    );
    Ok(())
}
