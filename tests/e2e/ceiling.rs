//! `guardrails.ceiling` and `guardrails.trustCeiling`: no role allows more than its account does, whatever its author writes.

use anyhow::{Context as _, Result, ensure};
use rolectl_crds::IamRole;
use rolectl_tests::scenario::{Scenario, Tweak};
use rolectl_tests::tools::root;
use rolectl_tests::wait::until;
use serde_json::{Value, json};

const WIDE: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Sid":"All","Effect":"Allow","Action":"*","Resource":"*"}]}"#;

fn policy(statements: &Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// An inline policy within the ceiling.
fn read() -> Value {
    policy(
        &json!([{"Sid": "Read", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::$(account.id)-logs/a/*"}]),
    )
}

/// The ceilings of the account: its own logs, and callers of the main account with MFA.
fn guardrails() -> Value {
    json!({
        "ceiling": policy(&json!([{"Sid": "Logs", "Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::$(account.id)-logs/*"}])),
        "trustCeiling": policy(&json!([{"Sid": "Main", "Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": {"AWS": "arn:$(aws.partition):iam::$(session.accountId):root"},
            "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}])),
    })
}

/// A scenario with a controller and an open session.
async fn limited(name: &str, tweak: Tweak) -> Result<Scenario<'static>> {
    let s = Scenario::with(crate::world().await?, name, 1, tweak).await?;
    s.start_controller()?;
    s.unlock().await?;
    Ok(s)
}

/// What the status of the role says about its only account.
fn message(role: &IamRole) -> String {
    let status = role.status.as_ref();
    let entry = status.and_then(|status| status.accounts.first());
    entry.and_then(|entry| entry.message.clone()).unwrap_or_default()
}

/// The specs by which a tenant tries to exceed the ceilings, each with a part of the answer.
fn attempts() -> [(&'static str, Value, &'static str); 8] {
    let inline = |statement: Value| json!({"inlinePolicies": {"own": policy(&json!([statement]))}});
    let trust = |principal: Value| {
        json!({"assumeRolePolicy": policy(&json!([{"Sid": "In", "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": principal, "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}]))})
    };
    let write = json!({"Sid": "Write", "Effect": "Allow", "Action": ["s3:PutObject", "iam:PutRolePolicy"], "Resource": "arn:aws:s3:::$(account.id)-logs/*"});
    let second =
        policy(&json!([{"Sid": "Other", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]));
    [
        (
            "second",
            json!({"inlinePolicies": {"first": read(), "second": second}}),
            "inline policy second is not shown to be within the account's guardrails.ceiling: statement Other: s3:GetObject on *: no statement of the ceiling is shown to allow it",
        ),
        (
            "action",
            inline(write),
            "statement Write: iam:PutRolePolicy on arn:aws:s3:::",
        ),
        (
            "not-action",
            inline(
                json!({"Sid": "Not", "Effect": "Allow", "NotAction": "iam:*", "Resource": "arn:aws:s3:::$(account.id)-logs/*"}),
            ),
            "statement Not: all but iam:* on arn:aws:s3:::",
        ),
        (
            "not-resource",
            inline(
                json!({"Sid": "Not", "Effect": "Allow", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::x"}),
            ),
            "statement Not: s3:GetObject on all but arn:aws:s3:::x",
        ),
        (
            "managed",
            json!({"managedPolicies": ["AdministratorAccess"]}),
            "managed policy arn:aws:iam::aws:policy/AdministratorAccess is not shown to be within the account's guardrails.ceiling",
        ),
        (
            "boundary",
            json!({"managedPolicies": ["AdministratorAccess"], "permissionsBoundary": "AdministratorAccess"}),
            "managed policy arn:aws:iam::aws:policy/AdministratorAccess is not shown",
        ),
        (
            "principal",
            trust(
                json!({"AWS": ["arn:aws:iam::$(session.accountId):root", "arn:aws:iam::999999999999:root"]}),
            ),
            "the trust policy is not shown to be within the account's guardrails.trustCeiling: statement In: sts:AssumeRole for ",
        ),
        (
            "service",
            trust(json!({"Service": "ec2.amazonaws.com"})),
            "ec2.amazonaws.com",
        ),
    ]
}

#[tokio::test]
async fn no_spec_gets_a_role_past_the_ceilings_of_its_account() -> Result<()> {
    let s = limited("ceiling", |a| a["spec"]["guardrails"] = guardrails()).await?;
    s.apply(&s.role("good", json!({"inlinePolicies": {"read": read()}})))
        .await?;
    for (name, spec, _) in attempts() {
        s.apply(&s.role(name, spec)).await?;
    }
    s.role_is("good", "True", "InSync").await?;
    for (name, _, says) in attempts() {
        let role = s.role_is(name, "False", "GuardrailViolated").await?;
        ensure!(message(&role).contains(says), "{name}: {}", message(&role));
    }
    ensure!(s.owned_roles(0).await? == ["good"], "nothing else is made");
    // A role that is there is not widened either.
    s.apply(&s.role(
        "good",
        json!({"inlinePolicies": {"read": serde_json::from_str::<Value>(WIDE)?}}),
    ))
    .await?;
    s.role_is("good", "False", "GuardrailViolated").await?;
    let there = s.in_aws(0, "good").await?.context("the role stays")?;
    let documents = there.role_policy_list().iter();
    let documents: Vec<&str> = documents.filter_map(|p| p.policy_document()).collect();
    ensure!(
        documents.len() == 1 && documents.iter().all(|text| text.contains("GetObject")),
        "{documents:?}"
    );
    Ok(())
}

#[tokio::test]
async fn lint_and_plan_refuse_with_the_message_of_the_controller() -> Result<()> {
    let s = limited("ceiling-files", |a| a["spec"]["guardrails"] = guardrails()).await?;
    let [(name, spec, _), ..] = attempts();
    let role = s.role(name, spec);
    s.apply(&role).await?;
    let told = message(&s.role_is(name, "False", "GuardrailViolated").await?);
    ensure!(told.contains("guardrails.ceiling"), "{told}");
    let (account, id) = s.targets.first().context("a target")?;
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "MfaSession", "metadata": {"name": s.name}, "spec": {"accountId": s.main}},
        {"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount", "metadata": {"name": account},
            "spec": {"accountId": id, "sessionRef": s.name, "assumeRole": {"name": "rolectl"}, "allowedNamespaces": {"from": "All"}, "guardrails": guardrails()}},
        role,
    ]});
    let file = s.dir.join("all.json");
    std::fs::write(&file, objects.to_string())?;
    let file = file.display().to_string();
    let code = s.operator.code().await?;
    for (args, exits) in [
        (vec!["lint", "-o", "json", &file], 1),
        (vec!["plan", "-f", &file, "--mfa", &code], 1),
    ] {
        let output = s
            .rolectl_as("operator", &args, &[("KUBECONFIG", "/nowhere")])
            .await?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.code() == Some(exits), "{args:?}: {text}");
        ensure!(text.contains(&told), "{args:?}: {told}: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_wide_policy_that_somebody_outside_leaves_on_a_role_makes_it_violate_the_ceiling() -> Result<()> {
    let s = limited("ceiling-drift", |a| a["spec"]["guardrails"] = guardrails()).await?;
    let spec = json!({"inlinePolicies": {"read": read()}, "exclusive": {"inlinePolicies": false}});
    s.apply(&s.role("app", spec)).await?;
    s.role_is("app", "True", "InSync").await?;
    let iam = s.hands(0).await?;
    iam.put_role_policy()
        .role_name("app")
        .policy_name("theirs")
        .policy_document(WIDE)
        .send()
        .await?;
    s.look_again("app").await?;
    let role = s.role_is("app", "False", "GuardrailViolated").await?;
    let begins = "inline policy theirs, which is on the role and not in the spec, is not shown to be within the account's guardrails.ceiling: statement All: * on *: ";
    ensure!(message(&role).contains(begins), "{}", message(&role));
    let violating = until("the account to count the role", || async {
        let account = s.account_is(0, "InSync").await.map_err(|e| e.to_string())?;
        let counts = account.status.and_then(|status| status.roles);
        match counts.map(|counts| counts.violating) {
            Some(1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    violating?;
    iam.delete_role_policy()
        .role_name("app")
        .policy_name("theirs")
        .send()
        .await?;
    s.look_again("app").await?;
    s.role_is("app", "True", "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn a_ceiling_that_comes_later_leaves_the_role_and_detaches_only_what_is_denied() -> Result<()> {
    let s = limited("ceiling-later", |a| a["spec"]["guardrails"] = json!({})).await?;
    let spec = json!({"inlinePolicies": {"read": read()}, "managedPolicies": ["ReadOnlyAccess"], "exclusive": {"managedPolicies": false}});
    s.apply(&s.role("app", spec)).await?;
    s.role_is("app", "True", "InSync").await?;
    s.hands(0)
        .await?
        .attach_role_policy()
        .role_name("app")
        .policy_arn("arn:aws:iam::aws:policy/AdministratorAccess")
        .send()
        .await?;
    let mut later = guardrails();
    later["deniedManagedPolicies"] = json!(["Administrator*"]);
    s.change_account(0, json!({"guardrails": later})).await?;
    let role = s.role_is("app", "False", "GuardrailViolated").await?;
    ensure!(
        message(&role).contains("managed policy arn:aws:iam::aws:policy/ReadOnlyAccess is not shown"),
        "{}",
        message(&role)
    );
    s.look_again("app").await?;
    until("the denied policy to be detached", || async {
        let attached = s.attached(0, "app").await.map_err(|e| e.to_string())?;
        if attached == ["arn:aws:iam::aws:policy/ReadOnlyAccess"] {
            Ok(())
        } else {
            Err(format!("{attached:?}"))
        }
    })
    .await?;
    // The owner's word.
    s.change_account(
        0,
        json!({"guardrails": {"allowedManagedPolicies": ["ReadOnlyAccess"]}}),
    )
    .await?;
    s.role_is("app", "True", "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn a_ceiling_that_cannot_be_enforced_refuses_all_and_warns_the_owner_of_the_account() -> Result<()> {
    let s = limited("ceiling-broken", |a| {
        a["spec"]["guardrails"] = json!({"ceiling": policy(&json!([{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::$(account.labels.none)/*"}]))});
    })
    .await?;
    s.apply(&s.role("app", json!({}))).await?;
    let role = s.role_is("app", "False", "GuardrailViolated").await?;
    let says =
        "the AwsAccount's guardrails.ceiling cannot be enforced: unknown variable $(account.labels.none)";
    ensure!(message(&role).contains(says), "{}", message(&role));
    ensure!(
        message(&role).ends_with("Have its owner correct it"),
        "{}",
        message(&role)
    );
    ensure!(s.owned_roles(0).await?.is_empty(), "nothing is made");
    let (account, _) = s.targets.first().context("a target")?;
    until("the warning about the account", || async {
        let reasons = s
            .event_reasons("default", account)
            .await
            .map_err(|e| e.to_string())?;
        if reasons.iter().any(|reason| reason == "WeakGuardrails") {
            Ok(())
        } else {
            Err(format!("{reasons:?}"))
        }
    })
    .await?;
    s.change_account(0, json!({"guardrails": guardrails()})).await?;
    s.role_is("app", "True", "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn the_ceiling_of_the_security_page_passes_the_lint_and_one_with_an_error_does_not() -> Result<()> {
    let world = crate::world().await?;
    let page = std::fs::read_to_string(root().join("docs/security.md"))?;
    let example = page
        .split("```yaml\n# prod.yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .context("the page has the example")?;
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("good.yaml"), example)?;
    std::fs::write(
        dir.path().join("wrong.yaml"),
        example.replace("Action: \"s3:*\"", "Actoin: \"s3:*\""),
    )?;
    for (file, code, finds) in [
        ("good.yaml", 0, "0 errors"),
        ("wrong.yaml", 1, "spec.guardrails.ceiling.Statement"),
    ] {
        let output = tokio::process::Command::new(&world.tools.rolectl)
            .args(["lint", file])
            .current_dir(dir.path())
            .output()
            .await?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(
            output.status.code() == Some(code) && text.contains(finds),
            "{file}: {text}"
        );
    }
    Ok(())
}
