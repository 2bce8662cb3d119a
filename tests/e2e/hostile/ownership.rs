//! Nothing that a status claims makes a role ours, and nothing that it claims hides one.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_iam::Client;
use kube::api::{Patch, PatchParams};
use rolectl_crds::FINALIZER;
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::{Value, json};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"ec2.amazonaws.com"}}]}"#;

/// A role of somebody else, without any tag. Returns its unique id.
async fn victim(iam: &Client, name: &str) -> Result<String> {
    let request = iam
        .create_role()
        .role_name(name)
        .assume_role_policy_document(TRUST);
    let made = request.send().await?;
    Ok(made.role.context("no role")?.role_id)
}

async fn is_untouched(iam: &Client, name: &str, id: &str) -> Result<()> {
    let role = iam.get_role().role_name(name).send().await?;
    let role = role.role.context("no role")?;
    let document = role.assume_role_policy_document.unwrap_or_default();
    ensure!(
        role.role_id == id
            && document.contains("ec2.amazonaws.com")
            && role.tags.unwrap_or_default().is_empty(),
        "{name} was touched"
    );
    Ok(())
}

/// Writes a status as nobody but the controller should. The test does it as an administrator.
async fn forge(s: &Scenario<'_>, role: &str, accounts: Value) -> Result<()> {
    let held = Patch::Merge(json!({"metadata": {"finalizers": [FINALIZER]}}));
    s.roles().patch(role, &PatchParams::default(), &held).await?;
    let status = Patch::Merge(json!({"status": {"observedGeneration": 1, "accounts": accounts}}));
    s.roles()
        .patch_status(role, &PatchParams::default(), &status)
        .await?;
    Ok(())
}

async fn delete_soon(s: &Scenario<'_>, role: &str) -> Result<()> {
    let delete = ["delete", "iamrole", role, "-n", &s.name, "--wait=false"];
    s.world.plane.kubectl(&delete).await.map(|_| ())
}

async fn is_gone(s: &Scenario<'_>, role: &str) -> Result<()> {
    until(&format!("IamRole {role} to go"), || async {
        match s.roles().get_opt(role).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_forged_status_gives_no_role_away_and_hides_none() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "forged-status", 2).await?;
    s.change_account(1, json!({"allowedNamespaces": {"from": "None", "names": null}}))
        .await?;
    let (open, closed) = (s.hands(0).await?, s.hands(1).await?);
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("made", json!({"accounts": {"names": ["forged-status-0"]}})))
        .await?;
    s.role_is("made", "True", "InSync").await?;
    s.end_controller("TERM").await?;

    let mut ids = vec![];
    for name in ["kept", "deleted"] {
        let here = victim(&open, name).await?;
        let there = victim(&closed, name).await?;
        s.apply(&s.role(name, json!({}))).await?;
        let entry = |account: &str, id: &str| {
            json!({"name": account, "state": "InSync", "roleId": id, "observedGeneration": 1, "lastAppliedGeneration": 1,
            "instanceProfiles": [name]})
        };
        forge(
            &s,
            name,
            json!([entry("forged-status-0", &here), entry("forged-status-1", &there)]),
        )
        .await?;
        ids.push((name, here, there));
    }
    delete_soon(&s, "deleted").await?;
    // It hides nothing either: the role that this entry denies is ours by its tag.
    delete_soon(&s, "made").await?;
    forge(
        &s,
        "made",
        json!([{"name": "forged-status-0", "state": "Removed"}]),
    )
    .await?;
    s.start_controller()?;

    is_gone(&s, "deleted").await?;
    is_gone(&s, "made").await?;
    ensure!(s.in_aws(0, "made").await?.is_none(), "the role was orphaned");
    s.role_tells("kept", "carries no owner tag: take it with adoption: IfUnowned")
        .await?;
    for (name, here, there) in &ids {
        is_untouched(&open, name, here).await?;
        is_untouched(&closed, name, there).await?;
    }
    Ok(())
}
