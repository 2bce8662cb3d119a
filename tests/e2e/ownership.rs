//! What is not ours is never touched.

use anyhow::{Result, ensure};
use rolectl_crds::OWNER_TAG;
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::{Value, json};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"ec2.amazonaws.com"}}]}"#;

async fn by_hand(iam: &aws_sdk_iam::Client, name: &str, owner: Option<&str>) -> Result<String> {
    let tag = owner
        .map(|o| aws_sdk_iam::types::Tag::builder().key(OWNER_TAG).value(o).build())
        .transpose()?;
    let made = iam
        .create_role()
        .role_name(name)
        .assume_role_policy_document(TRUST)
        .set_tags(tag.map(|t| vec![t]))
        .send()
        .await?;
    Ok(made.role.unwrap().role_id)
}

async fn untouched(iam: &aws_sdk_iam::Client, name: &str) -> Result<()> {
    let role = iam.get_role().role_name(name).send().await?.role.unwrap();
    ensure!(
        role.assume_role_policy_document
            .as_deref()
            .is_some_and(|d| d.contains("ec2.amazonaws.com")),
        "{name} was changed"
    );
    Ok(())
}

#[tokio::test]
async fn roles_of_others_are_left_alone_until_adoption_says_otherwise() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "owners", 1).await?;
    let iam = s.hands(0).await?;
    by_hand(&iam, "unowned", None).await?;
    by_hand(&iam, "foreign", Some("other/ns/foreign")).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("unowned", json!({}))).await?;
    s.apply(&s.role("foreign", json!({"adoption": "IfUnowned"})))
        .await?;
    s.role_is("unowned", "False", "AlreadyExists").await?;
    let refused = s.role_is("foreign", "False", "OwnedByOther").await?;
    ensure!(
        format!("{:?}", refused.status).contains("other/ns/foreign"),
        "the owner is named"
    );
    // Deleting an object whose role never was ours deletes nothing in AWS.
    s.world
        .plane
        .kubectl(&["delete", "iamrole", "unowned", "-n", "owners", "--timeout=30s"])
        .await?;
    untouched(&iam, "unowned").await?;
    untouched(&iam, "foreign").await?;
    s.apply(&s.role("unowned", json!({"adoption": "IfUnowned"})))
        .await?;
    s.role_is("unowned", "True", "InSync").await?;
    s.apply(&s.role("foreign", json!({"adoption": "Always"}))).await?;
    s.role_is("foreign", "True", "InSync").await?;
    ensure!(s.owned_roles(0).await? == ["foreign", "unowned"]);
    Ok(())
}

#[tokio::test]
async fn of_two_objects_for_one_role_the_older_wins_and_the_younger_waits() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "twice", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("first", json!({"roleName": "App", "description": "first"})))
        .await?;
    s.role_is("first", "True", "InSync").await?;
    // IAM's names are unique without case.
    s.apply(&s.role("second", json!({"roleName": "app", "description": "second"})))
        .await?;
    let second = s.role_is("second", "False", "Duplicate").await?;
    ensure!(
        format!("{:?}", second.status).contains("twice/first"),
        "the other is named"
    );
    s.world
        .plane
        .kubectl(&["delete", "iamrole", "first", "-n", "twice", "--timeout=30s"])
        .await?;
    s.role_is("second", "True", "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_the_account_does_not_allow_gets_nothing() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "allowed", 1, |a| {
        a["spec"]["allowedNamespaces"] = json!({"from": "None"})
    })
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({}))).await?;
    s.role_is("app", "False", "NamespaceNotAllowed").await?;
    s.world
        .plane
        .kubectl(&["label", "namespace", "allowed", "team=x"])
        .await?;
    let patch = json!({"spec": {"allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "x"}}}}}).to_string();
    s.world
        .plane
        .kubectl(&["patch", "awsaccount", "allowed-0", "--type=merge", "-p", &patch])
        .await?;
    s.role_is("app", "True", "InSync").await?;
    // Nothing but the label changes.
    let label = async |label: &str| {
        s.world
            .plane
            .kubectl(&["label", "namespace", "allowed", label])
            .await
    };
    label("team-").await?;
    s.role_is("app", "False", "NamespaceNotAllowed").await?;
    label("team=x").await?;
    s.role_is("app", "True", "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn retain_leaves_the_role_without_our_tag_and_report_never_writes() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "gentle", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("keep", json!({"deletionPolicy": "Retain"})))
        .await?;
    s.role_is("keep", "True", "InSync").await?;
    s.world
        .plane
        .kubectl(&["delete", "iamrole", "keep", "-n", "gentle", "--timeout=30s"])
        .await?;
    let iam = s.hands(0).await?;
    let kept = iam.get_role().role_name("keep").send().await?.role.unwrap();
    ensure!(kept.tags.unwrap_or_default().is_empty());

    by_hand(&iam, "look", Some("test/gentle/look")).await?;
    s.world
        .plane
        .kubectl(&["annotate", "awsaccount", "gentle-0", "x=y"])
        .await?;
    s.apply(&s.role(
        "look",
        json!({"drift": "Report", "managedPolicies": ["ReadOnlyAccess"]}),
    ))
    .await?;
    s.apply(&s.role("new", json!({"drift": "Report"}))).await?;
    let new = s.role_is("new", "False", "Drifted").await?;
    ensure!(new.status.unwrap_or_default().accounts[0].changes == ["+ role /new"]);
    s.world
        .plane
        .kubectl(&[
            "annotate",
            "iamrole",
            "look",
            "-n",
            "gentle",
            "iam.rolectl.dev/reconcile=1",
        ])
        .await?;
    let changes = rolectl_tests::wait::until("the differences in the status", || async {
        let role = s
            .role_is("look", "False", "Drifted")
            .await
            .map_err(|e| e.to_string())?;
        let changes = role.status.unwrap_or_default().accounts[0].changes.clone();
        if changes.first().is_some_and(|c| c.starts_with('~')) {
            Ok(changes)
        } else {
            Err(format!("{changes:?}"))
        }
    })
    .await?;
    ensure!(
        changes
            == [
                "~ trust policy",
                "+ managed policy arn:aws:iam::aws:policy/ReadOnlyAccess"
            ],
        "{changes:?}"
    );
    untouched(&iam, "look").await
}

#[tokio::test]
async fn a_namesake_made_by_hand_between_two_sweeps_is_not_written_to() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "namesake", 1, |a: &mut Value| {
        a["spec"]["driftInterval"] = json!("1h")
    })
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({}))).await?;
    s.role_is("app", "True", "InSync").await?;
    // Past the time in which our own write is the freshest truth.
    rolectl_tests::wait::until("the sweep that settles the write", || async {
        let sweeps = s
            .calls(0, 0)
            .await
            .map_err(|e| e.to_string())?
            .by_action()
            .get("ListRoles")
            .copied()
            .unwrap_or_default();
        let role = s.roles().get("app").await.map_err(|e| e.to_string())?;
        let age = jiff::Timestamp::now()
            .duration_since(role.metadata.creation_timestamp.unwrap().0)
            .as_secs();
        if sweeps >= 1 && age > 12 {
            Ok(())
        } else {
            Err(age.to_string())
        }
    })
    .await?;
    let iam = s.hands(0).await?;
    iam.delete_role().role_name("app").send().await?;
    by_hand(&iam, "app", None).await?;
    s.apply(&s.role("app", json!({"description": "changed"}))).await?;
    s.role_is("app", "False", "AlreadyExists").await?;
    untouched(&iam, "app").await?;
    // And it outlives the object.
    s.world
        .plane
        .kubectl(&["delete", "iamrole", "app", "-n", "namesake", "--timeout=60s"])
        .await?;
    untouched(&iam, "app").await
}

#[tokio::test]
async fn an_account_in_use_does_not_go_before_its_roles() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "inuse", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({}))).await?;
    s.role_is("app", "True", "InSync").await?;
    s.world
        .plane
        .kubectl(&["delete", "awsaccount", "inuse-0", "--wait=false"])
        .await?;
    let account = s.account_is(0, "InUse").await?;
    // A controller that starts now has seen no sweep yet, and must make one for the role to go.
    s.end_controller("TERM").await?;
    s.start_controller()?;
    ensure!(
        format!("{:?}", account.status).contains("inuse/app"),
        "the role is named"
    );
    s.world
        .plane
        .kubectl(&["delete", "iamrole", "app", "-n", "inuse", "--timeout=60s"])
        .await?;
    s.world
        .plane
        .kubectl(&["wait", "--for=delete", "awsaccount/inuse-0", "--timeout=60s"])
        .await?;
    ensure!(s.owned_roles(0).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_selector_with_a_typing_error_leaves_every_role_where_it_is() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "selector", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    let by = |operator: &str| json!({"accounts": {"selector": {"matchExpressions": [{"key": "scenario", "operator": operator, "values": ["selector"]}]}}});
    s.apply(&s.role("app", by("In"))).await?;
    s.role_is("app", "True", "InSync").await?;
    s.apply(&s.role("app", by("in"))).await?;
    let role = s.role_is("app", "False", "InvalidSpec").await?;
    ensure!(format!("{:?}", role.status).contains("operator in is unknown"));
    ensure!(s.owned_roles(0).await? == ["app"]);
    s.apply(&s.role("app", by("In"))).await?;
    s.role_is("app", "True", "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn the_role_that_rolectl_works_through_is_never_managed_by_it() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "through", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("rolectl", json!({"adoption": "Always"}))).await?;
    s.role_is("rolectl", "False", "GuardrailViolated").await?;
    ensure!(s.owned_roles(0).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_namespace_that_may_not_use_the_account_blocks_nobody_by_a_name() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "squat", 1).await?;
    // Older, in a namespace that the account does not allow.
    let mut older = s.role("app", json!({}));
    older["metadata"]["namespace"] = json!("default");
    s.apply(&older).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({}))).await?;
    s.role_is("app", "True", "InSync").await?;
    s.world
        .plane
        .kubectl(&["delete", "iamrole", "app", "-n", "default", "--timeout=30s"])
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_full_role_swaps_a_policy_by_making_room_first() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "full", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    let iam = s.hands(0).await?;
    let document =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}]}"#;
    let mut arns = vec![];
    for n in 0..21 {
        let made = iam
            .create_policy()
            .policy_name(format!("p{n}"))
            .policy_document(document)
            .send()
            .await?;
        arns.push(made.policy.and_then(|p| p.arn).unwrap_or_default());
    }
    // As many as the account lets a role have.
    let quota = iam
        .get_account_summary()
        .send()
        .await?
        .summary_map
        .unwrap_or_default();
    let most = quota
        .iter()
        .find(|(k, _)| k.as_str() == "AttachedPoliciesPerRoleQuota")
        .map_or(10, |(_, n)| usize::try_from(*n).unwrap_or(10));
    s.apply(&s.role("app", json!({"managedPolicies": arns[..most]})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    s.apply(&s.role("app", json!({"managedPolicies": arns[1..=most]})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    s.apply(&s.role("app", json!({"managedPolicies": arns[..=most]})))
        .await?;
    s.role_is("app", "False", "QuotaExceeded").await?;
    Ok(())
}

#[tokio::test]
async fn ensure_absent_takes_nothing_over_in_order_to_delete_it() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "greedy", 1).await?;
    let iam = s.hands(0).await?;
    by_hand(&iam, "unowned", None).await?;
    by_hand(&iam, "foreign", Some("other/ns/foreign")).await?;
    s.start_controller()?;
    s.unlock().await?;
    for (name, reason) in [("unowned", "AlreadyExists"), ("foreign", "OwnedByOther")] {
        s.apply(&s.role(name, json!({"ensure": "Absent", "adoption": "Always"})))
            .await?;
        s.role_is(name, "False", reason).await?;
        s.delete(name).await?;
        untouched(&iam, name).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_renamed_account_object_takes_over_the_roles_of_the_old_one() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "moved", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    let everywhere = json!({"accounts": {"selector": {"matchLabels": {"scenario": "moved"}}}});
    s.apply(&s.role("app", everywhere)).await?;
    s.role_is("app", "True", "InSync").await?;
    let id = s.in_aws(0, "app").await?.and_then(|role| role.role_id);
    s.apply(&json!({
        "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
        "metadata": {"name": "moved-new", "labels": {"scenario": "moved"}},
        "spec": {"accountId": s.targets[0].1, "sessionRef": "moved", "assumeRole": {"name": "rolectl"},
            "allowedNamespaces": {"from": "Names", "names": ["moved"]}},
    }))
    .await?;
    let accounts: kube::Api<rolectl_crds::AwsAccount> = kube::Api::all(s.client.clone());
    until("the second object to stand back", || async {
        let account = accounts.get("moved-new").await.map_err(|e| e.to_string())?;
        let told = format!("{:?}", account.status);
        if told.contains("Duplicate") && told.contains("AwsAccount moved-0 describes") {
            Ok(())
        } else {
            Err(told)
        }
    })
    .await?;
    s.look_again("app").await?;
    let role = s.role_is("app", "True", "InSync").await?;
    ensure!(role.status.unwrap_or_default().accounts.len() == 1);
    s.world
        .plane
        .kubectl(&["delete", "awsaccount", "moved-0", "--timeout=60s"])
        .await?;
    until("the second object to act", || async {
        let role = s
            .role_is("app", "True", "InSync")
            .await
            .map_err(|e| e.to_string())?;
        let entries = role.status.unwrap_or_default().accounts;
        match entries.as_slice() {
            [one] if one.name == "moved-new" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    ensure!(
        s.in_aws(0, "app").await?.and_then(|role| role.role_id) == id,
        "the role was made again"
    );
    s.delete("app").await?;
    ensure!(s.in_aws(0, "app").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn an_object_that_can_make_nothing_blocks_nobody_by_a_name() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "idlers", 1).await?;
    // Older than the others, in the same namespace.
    let idle = [
        json!({"suspend": true}),
        json!({"accounts": {"selector": {"matchExpressions": [{"key": "scenario", "operator": "in", "values": ["idlers"]}]}}}),
        json!({"description": "$(nothing)"}),
    ];
    for (n, mut spec) in idle.into_iter().enumerate() {
        spec["roleName"] = json!(format!("wanted-{n}"));
        s.apply(&s.role(&format!("idle-{n}"), spec)).await?;
    }
    s.start_controller()?;
    s.unlock().await?;
    for n in 0..3 {
        s.apply(&s.role(&format!("wanted-{n}"), json!({}))).await?;
    }
    for n in 0..3 {
        s.role_is(&format!("wanted-{n}"), "True", "InSync").await?;
    }
    // Who has the role keeps it when the older object can make it after all.
    s.apply(&s.role("idle-0", json!({"roleName": "wanted-0"})))
        .await?;
    s.role_is("idle-0", "False", "Duplicate").await?;
    s.role_is("wanted-0", "True", "InSync").await?;
    Ok(())
}
