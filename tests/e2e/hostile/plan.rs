//! What a tenant can do with the changes that the controller makes for it.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::json;

use super::Tenant;

const ADMIN: &str = "arn:aws:iam::aws:policy/AdministratorAccess";
const DENY_ALL: &str = "arn:aws:iam::aws:policy/AWSDenyAll";
const DENY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":["*"],"Resource":["*"],"Condition":{"DateLessThan":{"aws:TokenIssueTime":"2026-11-26T00:00:00Z"}}}]}"#;

async fn trust(s: &Scenario<'_>, role: &str) -> Result<String> {
    let found = s.in_aws(0, role).await?.context("no such role")?;
    let text = found.assume_role_policy_document.unwrap_or_default();
    Ok(text.replace("%3A", ":"))
}

#[tokio::test]
async fn a_role_of_an_administrator_that_is_taken_over_has_no_rights_left_when_it_trusts_the_tenant()
-> Result<()> {
    let s = Scenario::with(crate::world().await?, "hostile-takeover", 1, |account| {
        account["spec"]["guardrails"] =
            json!({"deniedManagedPolicies": ["AdministratorAccess"], "adoption": "IfUnowned"});
    })
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    let tenant = Tenant::of(&s).await?;
    until("an event that an inline policy passes the guardrail", || async {
        let reasons = s.event_reasons("default", &s.targets[0].0).await;
        let reasons = reasons.map_err(|e| e.to_string())?;
        if reasons.iter().any(|reason| reason == "WeakGuardrails") {
            Ok(())
        } else {
            Err(format!("{reasons:?}"))
        }
    })
    .await?;
    let iam = s.hands(0).await?;
    let theirs = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"ec2.amazonaws.com"}}]}"#;
    iam.create_role()
        .role_name("boss")
        .assume_role_policy_document(theirs)
        .send()
        .await?;
    iam.attach_role_policy()
        .role_name("boss")
        .policy_arn(ADMIN)
        .send()
        .await?;
    let id = &s.targets[0].1;
    let missing = format!("arn:aws:iam::{id}:policy/does-not-exist");
    let take = json!({"adoption": "IfUnowned", "managedPolicies": [missing]});
    tenant.apply(&s.role("boss", take)).await?;
    s.role_is("boss", "False", "InvalidSpec").await?;
    ensure!(
        s.attached(0, "boss").await?.is_empty(),
        "the denied policy is off"
    );
    ensure!(
        !trust(&s, "boss").await?.contains(&s.main),
        "the role does not trust the tenant"
    );
    // Somebody attaches it again, and the tenant's own list is not exclusive.
    iam.attach_role_policy()
        .role_name("boss")
        .policy_arn(ADMIN)
        .send()
        .await?;
    let keep = json!({"adoption": "IfUnowned", "exclusive": {"managedPolicies": false}});
    tenant.apply(&s.role("boss", keep)).await?;
    s.look_again("boss").await?;
    until("the denied policy to be detached", || async {
        let attached = s.attached(0, "boss").await.map_err(|e| e.to_string())?;
        if attached.is_empty() {
            Ok(())
        } else {
            Err(format!("{attached:?}"))
        }
    })
    .await?;
    s.role_is("boss", "True", "InSync").await?;
    // A spec that names it is refused, and what is attached goes all the same.
    iam.attach_role_policy()
        .role_name("boss")
        .policy_arn(ADMIN)
        .send()
        .await?;
    tenant
        .apply(&s.role("boss", json!({"managedPolicies": ["AdministratorAccess"]})))
        .await?;
    s.role_is("boss", "False", "GuardrailViolated").await?;
    s.look_again("boss").await?;
    until("the denied policy to be detached from a refused role", || async {
        let attached = s.attached(0, "boss").await.map_err(|e| e.to_string())?;
        if attached.is_empty() {
            Ok(())
        } else {
            Err(format!("{attached:?}"))
        }
    })
    .await?;
    s.role_is("boss", "False", "GuardrailViolated").await?;
    // A plan has both: the refusal, and what is detached all the same.
    s.end_controller("KILL").await?;
    iam.attach_role_policy()
        .role_name("boss")
        .policy_arn(ADMIN)
        .send()
        .await?;
    let plan = shown(&s, &["plan", "-n", &s.name], 1).await?;
    for words in [
        "role hostile-takeover/boss is refused; managed policies that the account denies will be detached",
        "GuardrailViolated: ",
        "- managed policy arn:aws:iam::aws:policy/AdministratorAccess",
        "Plan: 0 to create, 1 to change, 0 to delete, 1 refused.",
    ] {
        ensure!(plan.contains(words), "{words}: {plan}");
    }
    // With drift: Report nothing is detached.
    tenant
        .apply(&s.role(
            "boss",
            json!({"managedPolicies": ["AdministratorAccess"], "drift": "Report"}),
        ))
        .await?;
    let plan = shown(&s, &["plan", "-n", &s.name], 1).await?;
    ensure!(
        plan.contains("Plan: 0 to create, 0 to change, 0 to delete, 1 refused."),
        "{plan}"
    );
    Ok(())
}

/// What the tool prints for an administrator of the cluster.
async fn shown(s: &Scenario<'_>, args: &[&str], code: i32) -> Result<String> {
    let output = s.rolectl_as("admin", args, &[]).await?;
    let text = String::from_utf8(output.stdout)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(code), "{args:?}: {text}{error}");
    Ok(text)
}

#[tokio::test]
async fn what_incident_response_puts_on_a_role_survives_sweeps_until_the_spec_removes_it() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "incident", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    let tenant = Tenant::of(&s).await?;
    tenant.apply(&s.role("app", json!({}))).await?;
    s.role_is("app", "True", "InSync").await?;
    let iam = s.hands(0).await?;
    iam.put_role_policy()
        .role_name("app")
        .policy_name("AWSRevokeOlderSessions")
        .policy_document(DENY)
        .send()
        .await?;
    iam.attach_role_policy()
        .role_name("app")
        .policy_arn(DENY_ALL)
        .send()
        .await?;
    iam.attach_role_policy()
        .role_name("app")
        .policy_arn("arn:aws:iam::aws:policy/ReadOnlyAccess")
        .send()
        .await?;
    s.look_again("app").await?;
    s.role_tells(
        "app",
        "restricted from outside by managed policy arn:aws:iam::aws:policy/AWSDenyAll, inline policy AWSRevokeOlderSessions",
    )
    .await?;
    s.role_is("app", "True", "InSync").await?;
    ensure!(
        s.attached(0, "app").await? == [DENY_ALL],
        "what grants is drift, what denies is not"
    );
    for args in [&["plan"][..], &["get", "roles"], &["describe", "role", "app"]] {
        let text = shown(&s, &[args, &["-n", &s.name]].concat(), 0).await?;
        ensure!(text.contains("restricted from outside by "), "{args:?}: {text}");
    }
    let events: Api<Event> = Api::namespaced(s.client.clone(), &s.name);
    until("an event that names the restriction", || async {
        let events = events
            .list(&ListParams::default())
            .await
            .map_err(|e| e.to_string())?;
        let found = events.items.iter().any(|event| {
            event.reason.as_deref() == Some("Restricted") && event.type_.as_deref() == Some("Warning")
        });
        if found {
            Ok(())
        } else {
            Err(format!("{} events", events.items.len()))
        }
    })
    .await?;
    tenant
        .apply(&s.role("app", json!({"exclusive": {"denies": "Remove"}})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    ensure!(s.attached(0, "app").await?.is_empty(), "the spec asked for it");
    Ok(())
}
