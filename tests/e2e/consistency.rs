//! Principals that are missing or deleted, and the names of the sessions that writes are made on.

use anyhow::{Result, ensure};
use rolectl_tests::scenario::Scenario;
use serde_json::{Value, json};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"ec2.amazonaws.com"}}]}"#;

fn trusting(s: &Scenario<'_>, role: &str) -> Value {
    let arn = format!("arn:aws:iam::{}:role/{role}", s.targets[0].1);
    json!({"assumeRolePolicy": {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": arn}}}})
}

#[tokio::test]
async fn a_principal_that_is_still_to_come_is_awaited() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "awaited", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", trusting(&s, "later"))).await?;
    let role = s.role_is("app", "False", "AwaitingPrincipal").await?;
    ensure!(
        format!("{:?}", role.status).contains("role/later"),
        "the principal is named"
    );
    s.hands(0)
        .await?
        .create_role()
        .role_name("later")
        .assume_role_policy_document(TRUST)
        .send()
        .await?;
    s.role_is("app", "True", "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn a_principal_that_never_comes_stalls_in_the_end() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "nevercomes", 1).await?;
    s.start_controller_with(&[("ROLECTL_PRINCIPAL_PATIENCE", "3s")])?;
    s.unlock().await?;
    s.apply(&s.role("app", trusting(&s, "never"))).await?;
    s.role_is("app", "False", "AwaitingPrincipal").await?;
    let role = s.role_is("app", "False", "InvalidSpec").await?;
    ensure!(
        format!("{:?}", role.status).contains("Correct spec.assumeRolePolicy"),
        "{:?}",
        role.status
    );
    // It does not go back to waiting by itself, but a corrected spec goes on at once.
    s.apply(&s.role("app", json!({}))).await?;
    s.role_is("app", "True", "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn a_deleted_principal_is_drift_and_is_named_so() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "deleted-principal", 1).await?;
    let iam = s.hands(0).await?;
    iam.create_role()
        .role_name("friend")
        .assume_role_policy_document(TRUST)
        .send()
        .await?;
    s.start_controller()?;
    s.unlock().await?;
    let spec = trusting(&s, "friend");
    s.apply(&s.role("app", spec.clone())).await?;
    s.role_is("app", "True", "InSync").await?;
    iam.delete_role().role_name("friend").send().await?;
    let mut report = spec;
    report["drift"] = json!("Report");
    s.apply(&s.role("app", report)).await?;
    s.look_again("app").await?;
    s.role_tells("app", "trust policy (names deleted principals: AROA")
        .await
}

/// Names of the sessions on which calls with this action were made.
async fn sessions(s: &Scenario<'_>, action: &str) -> Result<Vec<String>> {
    let calls = s.calls(0, 0).await?.calls;
    let of = calls
        .iter()
        .filter(|c| c.action == action && c.principal.contains(":assumed-role/"));
    let mut names: Vec<String> = of
        .filter_map(|c| c.principal.rsplit('/').next().map(str::to_owned))
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

#[tokio::test]
async fn all_calls_in_an_account_are_made_on_a_session_that_names_controller_and_account() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "audit", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({}))).await?;
    s.role_is("app", "True", "InSync").await?;
    for action in ["ListRoles", "CreateRole"] {
        let names = sessions(&s, action).await?;
        ensure!(names == ["rolectl-audit-system-audit-0"], "{action}: {names:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_session_per_role_names_the_object_behind_every_write() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "perrole", 1, |a| {
        a["spec"]["assumeRole"]["sessionPerRole"] = json!(true)
    })
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    for name in ["one", "two"] {
        s.apply(&s.role(name, json!({}))).await?;
        s.role_is(name, "True", "InSync").await?;
    }
    ensure!(sessions(&s, "CreateRole").await? == ["rolectl-perrole-one", "rolectl-perrole-two"]);
    ensure!(sessions(&s, "ListRoles").await? == ["rolectl-perrole-system-perrole-0"]);
    s.delete("one").await?;
    ensure!(sessions(&s, "DeleteRole").await? == ["rolectl-perrole-one"]);
    Ok(())
}
