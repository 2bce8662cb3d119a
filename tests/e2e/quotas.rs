//! Quotas are looked at before anything is written.

use anyhow::{Result, ensure};
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::{Value, json};

async fn limited(name: &str, quotas: Value) -> Result<Scenario<'static>> {
    let s = Scenario::new(crate::world().await?, name, 1).await?;
    s.world.double.quotas(&s.targets[0].1, quotas).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    Ok(s)
}

/// The role stalls with these words before any write of it was tried.
async fn refused(s: &Scenario<'_>, role: &Value, says: &str) -> Result<()> {
    s.apply(role).await?;
    let name = role["metadata"]["name"].as_str().unwrap_or_default();
    let stalled = s.role_is(name, "False", "QuotaExceeded").await?;
    ensure!(
        format!("{:?}", stalled.status).contains(says),
        "{:?}",
        stalled.status
    );
    let calls = s.calls(0, 0).await?;
    ensure!(
        !calls
            .calls
            .iter()
            .any(|c| c.action == "CreateRole" && c.status >= 400),
        "{calls:?}"
    );
    Ok(())
}

fn reads(size: usize) -> Value {
    json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{}", "x".repeat(size))}})
}

#[tokio::test]
async fn the_quotas_of_an_account_stand_in_its_status() -> Result<()> {
    let s = limited(
        "quota-status",
        json!({"RolesQuota": 1234, "AttachedPoliciesPerRoleQuota": 7}),
    )
    .await?;
    let quotas = s
        .account_is(0, "InSync")
        .await?
        .status
        .unwrap_or_default()
        .quotas
        .unwrap_or_default();
    ensure!(
        quotas.roles == 1234 && quotas.attached_policies_per_role == 7,
        "{quotas:?}"
    );
    ensure!(
        quotas.assume_role_policy_size == 2048 && quotas.role_policy_size == 10240,
        "{quotas:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_role_with_more_policies_than_the_quota_is_not_even_begun() -> Result<()> {
    let s = limited("quota-policies", json!({"AttachedPoliciesPerRoleQuota": 2})).await?;
    let role = |names: &[&str]| s.role("app", json!({"managedPolicies": names}));
    let three = role(&["ReadOnlyAccess", "PowerUserAccess", "ViewOnlyAccess"]);
    refused(
        &s,
        &three,
        "AttachedPoliciesPerRoleQuota of the account is 2 policies, the role wants 3",
    )
    .await?;
    ensure!(s.owned_roles(0).await?.is_empty());
    s.apply(&role(&["ReadOnlyAccess", "ViewOnlyAccess"])).await?;
    s.role_is("app", "True", "InSync").await?;
    // At the quota a policy is swapped all the same.
    s.apply(&role(&["ReadOnlyAccess", "PowerUserAccess"])).await?;
    s.role_is("app", "True", "InSync").await?;
    let calls = s.calls(0, 0).await?;
    ensure!(
        !calls
            .calls
            .iter()
            .any(|c| c.action == "AttachRolePolicy" && c.status >= 400),
        "no attempt failed"
    );
    Ok(())
}

#[tokio::test]
async fn a_raised_quota_is_noticed_with_the_next_sweep() -> Result<()> {
    let s = limited("quota-raised", json!({"AttachedPoliciesPerRoleQuota": 1})).await?;
    let role = s.role(
        "app",
        json!({"managedPolicies": ["ReadOnlyAccess", "PowerUserAccess"]}),
    );
    refused(&s, &role, "AttachedPoliciesPerRoleQuota").await?;
    s.world
        .double
        .quotas(&s.targets[0].1, json!({"AttachedPoliciesPerRoleQuota": 2}))
        .await?;
    s.look_again("app").await?;
    s.role_is("app", "True", "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn a_trust_policy_longer_than_the_quota_is_refused_by_its_length() -> Result<()> {
    let s = limited("quota-trust", json!({"AssumeRolePolicySizeQuota": 300})).await?;
    let principals: Vec<String> = (0..10)
        .map(|n| format!("arn:aws:iam::11111111111{n}:role/some-role"))
        .collect();
    let trust = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": principals}}});
    refused(
        &s,
        &s.role("app", json!({"assumeRolePolicy": trust})),
        "AssumeRolePolicySizeQuota of the account is 300 characters",
    )
    .await
}

#[tokio::test]
async fn inline_policies_are_counted_together() -> Result<()> {
    let s = limited("quota-inline", json!({})).await?;
    let role = s.role(
        "app",
        json!({"inlinePolicies": {"a": reads(6000), "b": reads(6000)}}),
    );
    refused(
        &s,
        &role,
        "RolePolicySizeQuota of the account is 10240 characters",
    )
    .await
}

#[tokio::test]
async fn full_inline_policies_are_swapped_by_making_room_first() -> Result<()> {
    let s = limited("quota-swap", json!({})).await?;
    s.apply(&s.role("app", json!({"inlinePolicies": {"old": reads(9000)}})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    s.apply(&s.role("app", json!({"inlinePolicies": {"new": reads(9000)}})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    let calls = s.calls(0, 0).await?;
    ensure!(
        !calls
            .calls
            .iter()
            .any(|c| c.action == "PutRolePolicy" && c.status >= 400),
        "no attempt failed"
    );
    Ok(())
}

#[tokio::test]
async fn tags_that_stay_count_against_the_fifty() -> Result<()> {
    let s = limited("quota-tags", json!({})).await?;
    let some = |prefix: &str, n: usize| {
        (0..n)
            .map(|i| (format!("{prefix}{i}"), json!("1")))
            .collect::<serde_json::Map<_, _>>()
    };
    s.apply(&s.role("app", json!({"tags": some("a", 49)}))).await?;
    s.role_is("app", "True", "InSync").await?;
    let more = s.role("app", json!({"exclusive": {"tags": false}, "tags": some("b", 1)}));
    s.apply(&more).await?;
    let stalled = s.role_is("app", "False", "QuotaExceeded").await?;
    ensure!(format!("{:?}", stalled.status).contains("the role wants 51"));
    // Exclusive again, all of them are swapped.
    s.apply(&s.role("app", json!({"tags": some("b", 49)}))).await?;
    s.role_is("app", "True", "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn roles_past_the_accounts_quota_wait_until_there_is_room() -> Result<()> {
    // Three are there already: the role that rolectl works through, and two of AWS's own, which the double counts.
    let s = limited("quota-roles", json!({"RolesQuota": 5})).await?;
    for n in 0..4 {
        s.apply(&s.role(&format!("app-{n}"), json!({}))).await?;
    }
    let reasons = async || {
        let roles = s.roles().list(&kube::api::ListParams::default()).await?;
        let ready = roles
            .into_iter()
            .filter_map(|r| r.status?.conditions.into_iter().find(|c| c.type_ == "Ready"));
        anyhow::Ok(ready.map(|c| (c.reason, c.message)).collect::<Vec<_>>())
    };
    until("two made and two told of the quota", || async {
        let all = reasons().await.map_err(|e| e.to_string())?;
        let full = all
            .iter()
            .filter(|(r, m)| r == "QuotaExceeded" && m.contains("RolesQuota of the account is 5 roles"));
        if all.iter().filter(|(r, _)| r == "InSync").count() == 2 && full.count() == 2 {
            Ok(())
        } else {
            Err(format!("{all:?}"))
        }
    })
    .await?;
    let calls = s.calls(0, 0).await?;
    ensure!(
        !calls
            .calls
            .iter()
            .any(|c| c.action == "CreateRole" && c.status >= 400),
        "AWS never had to say so"
    );
    s.world
        .double
        .quotas(&s.targets[0].1, json!({"RolesQuota": 7}))
        .await?;
    for n in 0..4 {
        s.look_again(&format!("app-{n}")).await?;
    }
    for n in 0..4 {
        s.role_is(&format!("app-{n}"), "True", "InSync").await?;
    }
    Ok(())
}
