//! `rolectl plan` and the controller refuse the same roles, in the same words.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::{Value, json};

/// The accounts: one with every kind of guardrail, and one that does not admit the namespace.
fn guarded(account: &mut Value) {
    let is_closed = account["metadata"]["name"]
        .as_str()
        .is_some_and(|name| name.ends_with("-1"));
    if is_closed {
        account["spec"]["allowedNamespaces"] = json!({"from": "None"});
    }
    account["spec"]["guardrails"] = json!({
        "roleNamePattern": "app-*",
        "pathPattern": "/*/",
        "deniedManagedPolicies": ["Administrator*"],
        "adoption": "IfUnowned",
        "trustedPrincipals": ["arn:aws:iam::*:role/*", "ec2.amazonaws.com", "111111111111"],
    });
}

fn trusts(principal: &Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}]})
}

/// Objects that are refused, with the reason; `None` is for one that is not. What AWS alone refuses (a managed policy that does not exist)
/// is not among them: a plan does not try it.
fn cases(s: &Scenario<'_>) -> Vec<(Value, Option<&'static str>)> {
    let first = &s.targets[0].0;
    let role = |name: &str, spec: Value| {
        let mut all = json!({
            "accounts": {"names": [first]}, "path": "/team/", "assumeRolePolicy": trusts(&json!({"Service": "ec2.amazonaws.com"})),
        });
        if let (Some(all), Value::Object(spec)) = (all.as_object_mut(), spec) {
            all.extend(spec);
        }
        s.role(name, all)
    };
    let policies = |names: &[&str]| json!({"managedPolicies": names});
    let everybody = json!({"assumeRolePolicy": trusts(&json!({"AWS": "*"}))});
    let untrusted = json!({"assumeRolePolicy": trusts(&json!({"AWS": "arn:aws:iam::999999999999:root"}))});
    let long: Vec<String> = (0..60)
        .map(|n| format!("arn:aws:iam::11111111111{}:role/some-role-{n}", n % 10))
        .collect();
    vec![
        (role("app-right", json!({})), None),
        (role("app-everybody", everybody), Some("InvalidSpec")),
        (role("app-untrusted", untrusted), Some("GuardrailViolated")),
        (
            role("app-variable", json!({"description": "$(account.nmae)"})),
            Some("InvalidSpec"),
        ),
        (
            role(
                "app-statement",
                json!({"inlinePolicies": {"a": {"Version": "2012-10-17", "Statement": [{"Effect": "Alow", "Action": "*", "Resource": "*"}]}}}),
            ),
            Some("InvalidSpec"),
        ),
        (role("other-name", json!({})), Some("GuardrailViolated")),
        (role("app-path", json!({"path": "/"})), Some("GuardrailViolated")),
        (
            role("app-denied", policies(&["AdministratorAccess"])),
            Some("GuardrailViolated"),
        ),
        (
            role(
                "app-many",
                policies(&["ReadOnlyAccess", "PowerUserAccess", "ViewOnlyAccess"]),
            ),
            Some("QuotaExceeded"),
        ),
        (
            role(
                "app-long",
                json!({"assumeRolePolicy": trusts(&json!({"AWS": long}))}),
            ),
            Some("QuotaExceeded"),
        ),
        (role("app-unowned", json!({})), Some("AlreadyExists")),
        (
            role("app-foreign", json!({"adoption": "IfUnowned"})),
            Some("OwnedByOther"),
        ),
        (
            role("app-taken", json!({"adoption": "Always"})),
            Some("GuardrailViolated"),
        ),
        (
            role("app-absent", json!({"ensure": "Absent"})),
            Some("AlreadyExists"),
        ),
        (role("app-first", json!({"roleName": "app-shared"})), None),
        (
            role("app-second", json!({"roleName": "app-shared"})),
            Some("Duplicate"),
        ),
        (
            role("app-closed", json!({"accounts": {"names": [s.targets[1].0]}})),
            Some("NamespaceNotAllowed"),
        ),
    ]
}

/// What is said of a role: its reason and its message.
type Verdicts = BTreeMap<String, (String, String)>;

/// What the controller says of each role in its only account, as soon as it has looked at every spec.
async fn of_the_controller(s: &Scenario<'_>, roles: usize) -> Result<Verdicts> {
    let api = s.roles();
    until("a verdict on every role", || async {
        let list = api
            .list(&kube::api::ListParams::default())
            .await
            .map_err(|e| e.to_string())?;
        let mut verdicts = Verdicts::new();
        for role in list {
            let status = role.status.unwrap_or_default();
            let Some(entry) = status
                .accounts
                .first()
                .filter(|_| status.observed_generation == role.metadata.generation)
            else {
                continue;
            };
            if !entry.state.is_reconciling() {
                let verdict = (entry.state.to_string(), entry.message.clone().unwrap_or_default());
                verdicts.insert(role.metadata.name.unwrap_or_default(), verdict);
            }
        }
        if verdicts.len() == roles {
            Ok(verdicts)
        } else {
            Err(format!("{verdicts:?}"))
        }
    })
    .await
}

/// What `rolectl plan` says of each role that it refuses.
async fn of_the_plan(s: &Scenario<'_>) -> Result<Verdicts> {
    let output = s
        .rolectl_as("admin", &["plan", "-n", &s.name, "-o", "json"], &[])
        .await?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.code() == Some(1),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let plan: Value = serde_json::from_str(&text)?;
    let mut verdicts = Verdicts::new();
    for role in plan["accounts"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|a| a["roles"].as_array())
        .flatten()
    {
        let words = |key: &str| role[key].as_str().unwrap_or_default().to_owned();
        if role["action"] == "refused" {
            verdicts.insert(words("name"), (words("reason"), words("message")));
        }
    }
    Ok(verdicts)
}

#[tokio::test]
async fn plan_and_the_controller_refuse_the_same_roles_in_the_same_words() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "agreement", 2, guarded).await?;
    let quotas = json!({"AttachedPoliciesPerRoleQuota": 2, "AssumeRolePolicySizeQuota": 2048});
    s.world.double.quotas(&s.targets[0].1, quotas).await?;
    let iam = s.hands(0).await?;
    for name in ["app-unowned", "app-foreign", "app-taken", "app-absent"] {
        let trust = trusts(&json!({"Service": "ec2.amazonaws.com"})).to_string();
        iam.create_role()
            .role_name(name)
            .path("/team/")
            .assume_role_policy_document(trust)
            .send()
            .await?;
    }
    let other = aws_sdk_iam::types::Tag::builder()
        .key(rolectl_crds::OWNER_TAG)
        .value("other/team/app")
        .build()?;
    for name in ["app-foreign", "app-taken"] {
        iam.tag_role().role_name(name).tags(other.clone()).send().await?;
    }
    s.start_controller()?;
    s.unlock().await?;
    let cases = cases(&s);
    for (role, _) in &cases {
        s.apply(role).await?;
    }
    let said = of_the_controller(&s, cases.len()).await?;
    let planned = of_the_plan(&s).await?;
    for (role, reason) in &cases {
        let name = role["metadata"]["name"].as_str().unwrap_or_default();
        let controller = said.get(name);
        let is_right = controller.is_some_and(|(state, _)| reason.unwrap_or("InSync") == state);
        ensure!(
            is_right,
            "{name}: the controller says {controller:?}, not {reason:?}"
        );
        let refused = controller.filter(|_| reason.is_some());
        ensure!(
            planned.get(name) == refused,
            "{name}: plan says {:?}, the controller {refused:?}",
            planned.get(name)
        );
    }
    // The table has every reason for which a person must act, as far as it concerns one role in one account.
    let reasons: BTreeSet<&str> = cases.iter().filter_map(|(_, reason)| *reason).collect();
    let all = [
        "AlreadyExists",
        "Duplicate",
        "GuardrailViolated",
        "InvalidSpec",
        "NamespaceNotAllowed",
        "OwnedByOther",
        "QuotaExceeded",
    ];
    ensure!(reasons == BTreeSet::from(all), "{reasons:?}");
    Ok(())
}
