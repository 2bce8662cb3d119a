//! What a rollout does with several shards, with tolerated failures, with accounts that arrive later, and with `narrowAtOnce: false`.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use kube::Api;
use kube::api::{Patch, PatchParams};
use rolectl_controller::reconcile::shard_of;
use rolectl_crds::{AwsAccount, Reason};
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::json;

use crate::rollout::{CUSTOM, READ_ONLY, accounts_are, accounts_in_waves, admin, make_custom, trust};

async fn is_narrow(s: &Scenario<'_>, target: usize) -> Result<bool> {
    let role = s.in_aws(target, "app").await?.context("no role")?;
    let document = role.assume_role_policy_document.unwrap_or_default();
    Ok(document.contains("PrincipalTag"))
}

#[tokio::test]
async fn what_narrows_waits_its_turn_with_narrow_at_once_false() -> Result<()> {
    let s = accounts_in_waves("no-narrow", 2).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    let stuck = json!([{"action": "UpdateAssumeRolePolicy", "code": "Throttling", "status": 400}]);
    s.world.double.faults(&s.targets[0].1, stuck).await?;
    let change = json!({"managedPolicies": ["ReadOnlyAccess"], "assumeRolePolicy": trust(true),
        "rollout": {"narrowAtOnce": false}});
    s.apply(&s.role("app", change)).await?;
    accounts_are(&s, &[("1", Reason::RollingOut, "waits for wave 0")]).await?;
    ensure!(!is_narrow(&s, 1).await?, "it waits for its turn");
    s.world.double.faults(&s.targets[0].1, json!([])).await?;
    s.role_is("app", "True", "InSync").await?;
    ensure!(is_narrow(&s, 0).await? && is_narrow(&s, 1).await?);
    Ok(())
}

#[tokio::test]
async fn one_tolerated_failure_does_not_stop_a_rollout_and_the_second_does() -> Result<()> {
    let s = accounts_in_waves("tolerant", 4).await?;
    for target in [1, 3] {
        make_custom(&s, target).await?;
    }
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    let change = |description: &str| {
        json!({"managedPolicies": ["ReadOnlyAccess", CUSTOM], "description": description,
            "rollout": {"maxFailures": 1, "maxConcurrent": 1}})
    };
    s.apply(&s.role("app", change("one"))).await?;
    let role = s.role_is("app", "False", "RolloutStopped").await?;
    let told = format!("{:?}", role.status.as_ref().map(|status| &status.conditions));
    ensure!(
        told.contains("the rollout stopped after 2 failures; first in tolerant-0: "),
        "{told}"
    );
    accounts_are(
        &s,
        &[
            ("0", Reason::InvalidSpec, "custom"),
            ("1", Reason::InSync, ""),
            ("2", Reason::InvalidSpec, "custom"),
            ("3", Reason::RolloutStopped, "not changed"),
        ],
    )
    .await?;
    ensure!(s.attached(3, "app").await? == [READ_ONLY]);

    // Corrected in one of the two, and tried again by itself, it continues.
    make_custom(&s, 2).await?;
    accounts_are(
        &s,
        &[
            ("0", Reason::InvalidSpec, "custom"),
            ("2", Reason::InSync, ""),
            ("3", Reason::InSync, ""),
        ],
    )
    .await?;
    s.hands(2)
        .await?
        .detach_role_policy()
        .role_name("app")
        .policy_arn(format!("arn:aws:iam::{}:policy/custom", s.targets[2].1))
        .send()
        .await?;

    // Stopped again, resumed, and aborted with the next spec.
    let mut strict = change("two");
    strict["rollout"] = json!({});
    s.apply(&s.role("app", strict.clone())).await?;
    s.role_is("app", "False", "RolloutStopped").await?;
    let told = admin(&s, &["rollout", "resume", "role/app"], 0).await?;
    ensure!(told.contains("continues despite 1 failure"), "{told}");
    accounts_are(&s, &[("3", Reason::InSync, "")]).await?;
    strict["description"] = json!("three");
    s.apply(&s.role("app", strict)).await?;
    s.role_is("app", "False", "RolloutStopped").await?;
    admin(&s, &["rollout", "abort", "role/app"], 0).await?;
    s.role_tells("app", "the rollout was aborted").await?;
    accounts_are(&s, &[("3", Reason::RolloutStopped, "not changed")]).await?;
    Ok(())
}

/// When each account was written first and last, by any replica.
async fn writes(s: &Scenario<'_>, target: usize) -> Result<(i64, i64)> {
    let calls = s.calls(target, 0).await?.calls;
    let writes = calls.iter().filter(|call| {
        let is_write = ["CreateRole", "AttachRolePolicy"].contains(&call.action.as_str());
        is_write && call.status == 200 && ["one", "two"].contains(&call.app.as_str())
    });
    let times: Vec<i64> = writes.map(|call| call.at).collect();
    let (first, last) = (times.iter().min(), times.iter().max());
    Ok((*first.context("no write")?, *last.context("no write")?))
}

#[tokio::test]
async fn the_order_of_the_waves_is_kept_over_shards() -> Result<()> {
    const ACCOUNTS: usize = 6;
    let s = accounts_in_waves("rolled-apart", ACCOUNTS).await?;
    let shards: BTreeSet<usize> = s.targets.iter().map(|(name, _)| shard_of(name, 2)).collect();
    ensure!(shards.len() == 2, "the accounts are in both shards");
    let _replicas = [s.start_replica("one", "2")?, s.start_replica("two", "2")?];
    s.unlock().await?;
    for target in 0..ACCOUNTS {
        s.account_is(target, "InSync").await?;
    }
    s.apply(&s.role(
        "app",
        json!({"managedPolicies": ["ReadOnlyAccess"], "rollout": {"maxConcurrent": 2}}),
    ))
    .await?;
    s.role_is("app", "True", "InSync").await?;
    let mut last = 0;
    for target in 0..ACCOUNTS {
        let (begin, end) = writes(&s, target).await?;
        ensure!(last <= begin, "{target} begins at {begin}, before {last}");
        last = end;
    }
    Ok(())
}

#[tokio::test]
async fn an_account_that_arrives_later_waits_for_its_turn() -> Result<()> {
    let s = accounts_in_waves("arrives", 3).await?;
    let accounts: Api<AwsAccount> = Api::all(s.client.clone());
    let join = |target: usize| {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"part": "arrives"}}}));
        let (accounts, name) = (accounts.clone(), s.targets[target].0.clone());
        async move { accounts.patch(&name, &PatchParams::default(), &patch).await }
    };
    join(0).await?;
    join(1).await?;
    s.start_controller()?;
    s.unlock().await?;
    let selector = json!({"selector": {"matchLabels": {"part": "arrives"}}});
    let role = |description: &str| s.role("app", json!({"accounts": selector, "description": description}));
    s.apply(&role("one")).await?;
    s.role_is("app", "True", "InSync").await?;
    let stuck = json!([{"action": "UpdateRoleDescription", "code": "Throttling", "status": 400},
        {"action": "UpdateRole", "code": "Throttling", "status": 400}]);
    s.world.double.faults(&s.targets[0].1, stuck).await?;
    s.apply(&role("two")).await?;
    accounts_are(&s, &[("1", Reason::RollingOut, "waits for wave 0")]).await?;
    join(2).await?;
    accounts_are(&s, &[("2", Reason::RollingOut, "waits for wave 0")]).await?;
    ensure!(s.owned_roles(2).await?.is_empty(), "it waits");
    s.world.double.faults(&s.targets[0].1, json!([])).await?;
    s.role_is("app", "True", "InSync").await?;
    until("the role to be in the account", || async {
        let owned = s.owned_roles(2).await.map_err(|e| e.to_string())?;
        (owned == ["app"])
            .then_some(())
            .ok_or_else(|| format!("{owned:?}"))
    })
    .await
}
