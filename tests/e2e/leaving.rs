//! How a role goes: deleted, retained, or waiting until it can.

use anyhow::{Context as _, Result, ensure};
use kube::api::{Patch, PatchParams};
use rolectl_crds::{AwsAccount, OWNER_TAG};
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::json;

use crate::hostile::Tenant;

async fn scenario() -> Result<Scenario<'static>> {
    Scenario::shared(crate::world().await?, "leaving", 2).await
}

#[tokio::test]
async fn a_deleted_object_takes_its_role_from_every_account() -> Result<()> {
    let s = scenario().await?;
    let spec = json!({"managedPolicies": ["ReadOnlyAccess"], "permissionsBoundary": "ReadOnlyAccess", "tags": {"a": "1"}});
    s.apply(&s.role("gone", spec)).await?;
    s.role_is("gone", "True", "InSync").await?;
    s.delete("gone").await?;
    for n in 0..2 {
        ensure!(s.in_aws(n, "gone").await?.is_none());
    }
    Ok(())
}

#[tokio::test]
async fn a_retained_role_keeps_everything_but_our_tag() -> Result<()> {
    let s = scenario().await?;
    let spec = json!({"deletionPolicy": "Retain", "managedPolicies": ["ReadOnlyAccess"], "tags": {"a": "1"}, "instanceProfile": {"name": "kept-profile"}});
    s.apply(&s.role("kept", spec)).await?;
    s.role_is("kept", "True", "InSync").await?;
    s.delete("kept").await?;
    let tags = s.tags(0, "kept").await?;
    ensure!(!tags.contains_key(OWNER_TAG) && tags["a"] == "1", "{tags:?}");
    ensure!(s.attached(0, "kept").await?.len() == 1);
    let profile = s
        .hands(0)
        .await?
        .get_instance_profile()
        .instance_profile_name("kept-profile")
        .send()
        .await?;
    let profile = profile.instance_profile.context("no profile")?;
    ensure!(
        profile.roles.len() == 1 && profile.tags.unwrap_or_default().is_empty(),
        "the profile stays, without our tag"
    );
    Ok(())
}

#[tokio::test]
async fn a_retained_role_can_be_taken_up_again() -> Result<()> {
    let s = scenario().await?;
    s.apply(&s.role("again", json!({"deletionPolicy": "Retain"})))
        .await?;
    s.role_is("again", "True", "InSync").await?;
    s.delete("again").await?;
    s.apply(&s.role("again", json!({}))).await?;
    s.role_is("again", "False", "AlreadyExists").await?;
    s.apply(&s.role("again", json!({"adoption": "IfUnowned"})))
        .await?;
    s.role_is("again", "True", "InSync").await?;
    ensure!(s.tags(0, "again").await?[OWNER_TAG] == "test/leaving/again");
    Ok(())
}

#[tokio::test]
async fn an_account_that_leaves_the_list_loses_the_role_and_the_others_keep_it() -> Result<()> {
    let s = scenario().await?;
    s.apply(&s.role("left", json!({}))).await?;
    s.role_is("left", "True", "InSync").await?;
    s.apply(&s.role("left", json!({"accounts": {"names": ["leaving-0"]}})))
        .await?;
    until("the role to leave the second account", || async {
        match s.in_aws(1, "left").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let status = s
        .role_is("left", "True", "InSync")
        .await?
        .status
        .unwrap_or_default();
    ensure!(status.summary.as_deref() == Some("1/1") && s.in_aws(0, "left").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn an_account_that_loses_its_label_loses_the_role() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "unlabelled", 2).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role(
        "app",
        json!({"accounts": {"selector": {"matchLabels": {"scenario": "unlabelled"}}}}),
    ))
    .await?;
    s.role_is("app", "True", "InSync").await?;
    s.world
        .plane
        .kubectl(&["label", "awsaccount", "unlabelled-1", "scenario-"])
        .await?;
    until("the role to leave", || async {
        match s.in_aws(1, "app").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    ensure!(s.in_aws(0, "app").await?.is_some());
    // And gains it with the label again.
    s.world
        .plane
        .kubectl(&["label", "awsaccount", "unlabelled-1", "scenario=unlabelled"])
        .await?;
    until("the role to come back", || async {
        match s.in_aws(1, "app").await {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_deletion_without_a_session_waits_says_so_and_goes_on_at_unlock() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "waiting", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({}))).await?;
    s.role_is("app", "True", "InSync").await?;
    s.lock().await?;
    s.role_is("app", "Unknown", "SessionLocked").await?;
    s.world
        .plane
        .kubectl(&["delete", "iamrole", "app", "-n", "waiting", "--wait=false"])
        .await?;
    s.role_tells("app", "deletion waits: ").await?;
    ensure!(s.in_aws(0, "app").await?.is_some());
    s.unlock().await?;
    s.world
        .plane
        .kubectl(&[
            "wait",
            "--for=delete",
            "iamrole/app",
            "-n",
            "waiting",
            "--timeout=60s",
        ])
        .await?;
    ensure!(s.in_aws(0, "app").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn an_object_whose_role_never_was_ours_goes_at_once_while_locked() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "unmade", 1).await?;
    s.start_controller()?;
    s.apply(&s.role("app", json!({}))).await?;
    s.role_is("app", "Unknown", "SessionLocked").await?;
    s.delete("app").await?;
    ensure!(!s.calls(0, 0).await?.by_action().contains_key("DeleteRole"));
    Ok(())
}

#[tokio::test]
async fn an_account_object_that_is_deleted_waits_and_says_for_which_roles() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "needed", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({}))).await?;
    s.role_is("app", "True", "InSync").await?;
    s.world
        .plane
        .kubectl(&["delete", "awsaccount", "needed-0", "--wait=false"])
        .await?;
    let account: AwsAccount = s.account_is(0, "InUse").await?;
    let ready = account
        .status
        .unwrap_or_default()
        .conditions
        .into_iter()
        .find(|c| c.type_ == "Ready")
        .context("no Ready")?;
    ensure!(
        ready.message.contains("needed/app") && ready.message.contains("Take the account out"),
        "{}",
        ready.message
    );
    s.apply(&s.role("app", json!({"accounts": {"names": ["nowhere"]}})))
        .await?;
    s.world
        .plane
        .kubectl(&["wait", "--for=delete", "awsaccount/needed-0", "--timeout=60s"])
        .await?;
    ensure!(s.in_aws(0, "app").await?.is_none(), "the role went first");
    Ok(())
}

#[tokio::test]
async fn a_profile_goes_also_when_aws_says_that_the_role_is_gone() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "roleless", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({"instanceProfile": {"name": "policy-profile"}})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    let iam = s.hands(0).await?;
    iam.remove_role_from_instance_profile()
        .instance_profile_name("policy-profile")
        .role_name("app")
        .send()
        .await?;
    iam.delete_role().role_name("app").send().await?;
    let gone = json!([{"action": "RemoveRoleFromInstanceProfile", "code": "NoSuchEntity", "status": 404,
        "message": "The role with name app cannot be found."}]);
    s.world.double.faults(&s.targets[0].1, gone).await?;
    s.delete("app").await?;
    let profile = iam
        .get_instance_profile()
        .instance_profile_name("policy-profile")
        .send()
        .await;
    ensure!(profile.is_err(), "the profile is gone");
    Ok(())
}

#[tokio::test]
async fn an_object_that_goes_past_its_finalizer_takes_its_role_along() -> Result<()> {
    let s = scenario().await?;
    s.apply(&s.role("raced", json!({}))).await?;
    s.role_is("raced", "True", "InSync").await?;
    s.world
        .plane
        .erase("iam.rolectl.dev/iamroles", &s.name, "raced")
        .await?;
    for n in 0..2 {
        until("the role to be removed", || async {
            match s.in_aws(n, "raced").await {
                Ok(None) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_role_that_no_status_mentions_goes_with_its_object() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "wordless", 2).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({"accounts": {"names": ["wordless-0"]}})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    s.end_controller("TERM").await?;
    // As after a kill between the first call to AWS and the first status.
    let status = Patch::Merge(json!({"status": {"accounts": []}}));
    s.roles()
        .patch_status("app", &PatchParams::default(), &status)
        .await?;
    s.apply(&s.role("app", json!({"accounts": {"names": ["wordless-1"]}})))
        .await?;
    s.world
        .plane
        .kubectl(&["delete", "iamrole", "app", "-n", "wordless", "--wait=false"])
        .await?;
    // The account that has the role is the last to be read.
    let slow = json!([{"action": "ListRoles", "times": 1, "latency_ms": 4000}]);
    s.world.double.faults(&s.targets[0].1, slow).await?;
    s.start_controller()?;
    until("the object to go", || async {
        match s.roles().get_opt("app").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    ensure!(s.in_aws(0, "app").await?.is_none(), "the role was orphaned");
    Ok(())
}

#[tokio::test]
async fn a_deletion_waits_for_a_closed_account_until_its_owner_has_it_forgotten() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "closed", 2).await?;
    let tenant = Tenant::of(&s).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({}))).await?;
    s.role_is("app", "True", "InSync").await?;
    // Nobody can assume a role there any more.
    s.change_account(1, json!({"assumeRole": {"name": "closed"}}))
        .await?;
    s.account_is(1, "AccessDenied").await?;
    let forget = [
        "forget",
        "role/app",
        "-n",
        "closed",
        "--account",
        "closed-1",
        "--yes",
    ];
    let output = s.rolectl_as("admin", &forget, &[]).await?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(1) && error.contains("IamRole closed/app is not being deleted"),
        "{error}"
    );
    let app = s.role_is("app", "False", "AccessDenied").await?;
    s.world
        .plane
        .kubectl(&["delete", "iamrole", "app", "-n", "closed", "--wait=false"])
        .await?;
    s.role_tells("app", "deletion waits: ").await?;
    let is_left = async || Ok::<_, String>(s.in_aws(0, "app").await.map_err(|e| e.to_string())?.is_some());
    until("the role to go where it can", || async {
        if is_left().await? {
            Err("it is there".to_owned())
        } else {
            Ok(())
        }
    })
    .await?;

    // Whoever may delete the object may not leave its role behind.
    let output = s.rolectl_as(&tenant.user, &forget, &[]).await?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(1) && error.contains("does not let you"),
        "{error}"
    );
    // An entry for an object that was there before has no effect.
    let entry = |uid: &str| json!([{"namespace": "closed", "name": "app", "uid": uid}]).to_string();
    let annotation = format!("iam.rolectl.dev/forget={}", entry("another"));
    s.world
        .plane
        .kubectl(&["annotate", "awsaccount", "closed-1", &annotation])
        .await?;
    s.look_again("app").await?;
    s.role_tells("app", "deletion waits: ").await?;

    let output = s.rolectl_as("admin", &forget, &[]).await?;
    let shown = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(output.status.success(), "{shown}");
    ensure!(
        shown.contains("IamRole closed/app: AwsAccount closed-1 forgotten"),
        "{shown}"
    );
    s.world
        .plane
        .kubectl(&[
            "wait",
            "--for=delete",
            "iamrole/app",
            "-n",
            "closed",
            "--timeout=60s",
        ])
        .await?;
    let account = s
        .world
        .plane
        .kubectl(&["get", "awsaccount", "closed-1", "-o", "yaml"])
        .await?;
    let uid = app.metadata.uid.unwrap_or_default();
    ensure!(
        account.contains(&uid) && !account.contains("another"),
        "{account}"
    );
    ensure!(s.in_aws(1, "app").await?.is_some(), "nothing was deleted there");
    until("the event", || async {
        let reasons = s
            .event_reasons("closed", "app")
            .await
            .map_err(|e| e.to_string())?;
        if reasons.iter().any(|reason| reason == "Forgotten") {
            Ok(())
        } else {
            Err(format!("{reasons:?}"))
        }
    })
    .await
}
