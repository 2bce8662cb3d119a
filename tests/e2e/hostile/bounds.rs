//! Nothing that a tenant declares is without bound, and nothing outlasts the right to it.

use anyhow::{Result, ensure};
use kube::api::{ListParams, Patch, PatchParams};
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::{Value, json};

/// Actions that change something in AWS.
const WRITES: [&str; 4] = ["CreateRole", "AttachRolePolicy", "PutRolePolicy", "TagRole"];

/// How long after a right was taken away a call may still be answered: the watch brings the change, and one call may be under
/// way.
const UNDER_WAY_MS: i64 = 1500;

/// Waits until every role has one of these reasons.
async fn all_are(s: &Scenario<'_>, reasons: &[&str]) -> Result<()> {
    until(&format!("all roles to be {reasons:?}"), || async {
        let roles = s.roles().list(&ListParams::default()).await;
        let roles = roles.map_err(|e| e.to_string())?;
        let other = roles.iter().find_map(|role| {
            let conditions = role.status.iter().flat_map(|s| &s.conditions);
            let reason = conditions
                .clone()
                .find(|c| c.type_ == "Ready")
                .map(|c| c.reason.clone());
            let current =
                role.status.as_ref().and_then(|s| s.observed_generation) == role.metadata.generation;
            let is = current && reason.as_deref().is_some_and(|reason| reasons.contains(&reason));
            (!is).then(|| format!("{:?}: {reason:?}", role.metadata.name))
        });
        other.map_or(Ok(()), Err)
    })
    .await
}

async fn suspend_all(s: &Scenario<'_>, suspend: bool) -> Result<()> {
    for role in s.roles().list(&ListParams::default()).await? {
        let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
        let name = role.metadata.name.unwrap_or_default();
        s.roles().patch(&name, &PatchParams::default(), &patch).await?;
    }
    Ok(())
}

#[tokio::test]
async fn calls_that_are_queued_when_a_right_is_taken_away_are_not_made() -> Result<()> {
    let slow = |a: &mut Value| {
        a["spec"]["requestsPerSecond"] = json!(4);
        a["spec"]["burst"] = json!(1);
    };
    let s = Scenario::with(crate::world().await?, "taken-away", 1, slow).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    // 150 calls, which take 40 seconds.
    let roles: Vec<Value> = (0..50)
        .map(|n| {
            let policies = json!({"managedPolicies": ["ReadOnlyAccess", "AdministratorAccess"]});
            s.role(&format!("app-{n:02}"), policies)
        })
        .collect();
    s.apply(&json!({"apiVersion": "v1", "kind": "List", "items": roles}))
        .await?;
    let none = json!({"allowedNamespaces": {"from": "None", "names": null}});
    let again = json!({"allowedNamespaces": {"from": "Names", "names": [s.name]}});
    let (suspended, resumed) = (json!({"suspend": true}), json!({"suspend": false}));
    let guardrail = json!({"guardrails": {"deniedManagedPolicies": ["AdministratorAccess"]}});
    let lifted = json!({"guardrails": null});
    let mut begun = 0;
    for (taken, given, reason) in [
        (Some(none), Some(again), "NamespaceNotAllowed"),
        (Some(suspended), Some(resumed), "Suspended"),
        (Some(guardrail), Some(lifted), "GuardrailViolated"),
        (None, None, "Suspended"),
    ] {
        begun += 2;
        s.begun(begun).await?;
        match taken {
            Some(spec) => s.change_account(0, spec).await?,
            None => suspend_all(&s, true).await?,
        }
        let now = jiff::Timestamp::now().as_millisecond();
        all_are(&s, &[reason]).await?;
        let calls = s.calls(0, 0).await?;
        let late = calls
            .calls
            .iter()
            .filter(|call| WRITES.contains(&call.action.as_str()) && call.at > now + UNDER_WAY_MS);
        let late: Vec<String> = late
            .map(|call| format!("{} +{} ms", call.action, call.at - now))
            .collect();
        ensure!(late.is_empty(), "{reason}: {late:?}");
        begun = calls.by_action().get("CreateRole").copied().unwrap_or_default();
        ensure!(begun < roles.len(), "all was done before anything was taken away");
        match given {
            Some(spec) => s.change_account(0, spec).await?,
            None => suspend_all(&s, false).await?,
        }
    }
    // What was half made is completed.
    s.change_account(0, json!({"requestsPerSecond": 200, "burst": 200}))
        .await?;
    all_are(&s, &["InSync"]).await?;
    for role in s.owned_roles(0).await? {
        ensure!(s.attached(0, &role).await?.len() == 2, "{role}");
    }
    Ok(())
}
