//! What an account lets be made in it: by the controller always, and at admission already.

use anyhow::{Result, ensure};
use kube::Api;
use kube::api::{Patch, PatchParams};
use rolectl_crds::{AwsAccount, IamRole};
use rolectl_tests::scenario::{Scenario, Tweak};
use rolectl_tests::wait::until;
use serde_json::{Value, json};

const BOUNDARY: &str = "arn:aws:iam::aws:policy/ReadOnlyAccess";

/// A scenario with a controller and guardrails.
async fn guarded(name: &str, tweak: Tweak) -> Result<Scenario<'static>> {
    let s = Scenario::with(crate::world().await?, name, 1, tweak).await?;
    s.start_controller()?;
    s.unlock().await?;
    Ok(s)
}

/// The role stalls with these words, nothing is made in AWS, and once it keeps the rule it is made.
async fn stalls_then_keeps(s: &Scenario<'_>, breaks: Value, says: &str, keeps: Value) -> Result<()> {
    let name = breaks["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    s.apply(&breaks).await?;
    let role = s.role_is(&name, "False", "GuardrailViolated").await?;
    ensure!(format!("{:?}", role.status).contains(says), "{:?}", role.status);
    ensure!(s.owned_roles(0).await?.is_empty(), "nothing is made");
    s.apply(&keeps).await?;
    let name = keeps["metadata"]["name"].as_str().unwrap_or_default();
    s.role_is(name, "True", "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn role_names_keep_to_the_accounts_pattern() -> Result<()> {
    let s = guarded("namepattern", |a| {
        a["spec"]["guardrails"] = json!({"roleNamePattern": "team-*"})
    })
    .await?;
    let (breaks, keeps) = (s.role("app", json!({})), s.role("team-app", json!({})));
    stalls_then_keeps(
        &s,
        breaks,
        "the account wants role names like team-*, this one is app",
        keeps,
    )
    .await
}

#[tokio::test]
async fn paths_keep_to_the_accounts_pattern() -> Result<()> {
    let s = guarded("pathpattern", |a| {
        a["spec"]["guardrails"] = json!({"pathPattern": "/team/*"})
    })
    .await?;
    let (breaks, keeps) = (
        s.role("app", json!({})),
        s.role("other", json!({"path": "/team/a/"})),
    );
    stalls_then_keeps(
        &s,
        breaks,
        "the account wants paths like /team/*, this one is /",
        keeps,
    )
    .await
}

#[tokio::test]
async fn roles_carry_one_of_the_required_boundaries() -> Result<()> {
    let s = guarded("boundaries", |a| {
        a["spec"]["guardrails"] = json!({"requirePermissionsBoundary": ["ReadOnlyAccess"]})
    })
    .await?;
    let (breaks, keeps) = (
        s.role("app", json!({})),
        s.role("app", json!({"permissionsBoundary": BOUNDARY})),
    );
    stalls_then_keeps(
        &s,
        breaks,
        "the account wants permissionsBoundary to be one of",
        keeps,
    )
    .await?;
    // What is to go needs none.
    s.apply(&s.role("app", json!({"ensure": "Absent"}))).await?;
    s.role_is("app", "True", "InSync").await?;
    ensure!(s.owned_roles(0).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn denied_policies_are_attached_to_no_role() -> Result<()> {
    let s = guarded("denied-policies", |a| {
        a["spec"]["guardrails"] = json!({"deniedManagedPolicies": ["Administrator*", "Billing"]})
    })
    .await?;
    let (breaks, keeps) = (
        s.role("app", json!({"managedPolicies": ["AdministratorAccess"]})),
        s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})),
    );
    stalls_then_keeps(&s, breaks, "the account denies the managed policy", keeps).await?;
    s.apply(&s.role("app", json!({"managedPolicies": ["job-function/Billing"]})))
        .await?;
    s.role_is("app", "False", "GuardrailViolated").await?;
    ensure!(
        s.attached(0, "app").await? == [BOUNDARY],
        "the role stays as it was"
    );
    Ok(())
}

#[tokio::test]
async fn adoption_is_no_way_around_a_denied_policy() -> Result<()> {
    let s =
        guarded(
            "smuggled",
            |a| {
                a["spec"]["guardrails"] =
                    json!({"deniedManagedPolicies": ["Administrator*"], "adoption": "IfUnowned"})
            },
        )
        .await?;
    let iam = s.hands(0).await?;
    let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"ec2.amazonaws.com"}}]}"#;
    iam.create_role()
        .role_name("mighty")
        .assume_role_policy_document(trust)
        .send()
        .await?;
    iam.attach_role_policy()
        .role_name("mighty")
        .policy_arn("arn:aws:iam::aws:policy/AdministratorAccess")
        .send()
        .await?;
    let take = json!({"adoption": "IfUnowned", "exclusive": {"managedPolicies": false}});
    s.apply(&s.role("mighty", take)).await?;
    s.look_again("mighty").await?;
    s.role_is("mighty", "False", "GuardrailViolated").await?;
    ensure!(s.owned_roles(0).await?.is_empty(), "not taken over");
    // Exclusive, the policy goes with the adoption.
    s.apply(&s.role("mighty", json!({"adoption": "IfUnowned"})))
        .await?;
    s.role_is("mighty", "True", "InSync").await?;
    ensure!(s.attached(0, "mighty").await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn many_roles_at_once_do_not_pass_max_roles_together() -> Result<()> {
    let s = guarded("maxroles", |a| a["spec"]["guardrails"] = json!({"maxRoles": 3})).await?;
    for n in 0..8 {
        s.apply(&s.role(&format!("app-{n}"), json!({}))).await?;
    }
    let verdicts = async || {
        let mut all = vec![];
        for role in s.roles().list(&kube::api::ListParams::default()).await? {
            let ready = role
                .status
                .unwrap_or_default()
                .conditions
                .into_iter()
                .find(|c| c.type_ == "Ready");
            all.push((
                role.metadata.name.unwrap_or_default(),
                ready.map(|c| c.reason).unwrap_or_default(),
            ));
        }
        anyhow::Ok(all)
    };
    let settled = until("three made and five stalled", || async {
        let all = verdicts().await.map_err(|e| e.to_string())?;
        let count = |reason: &str| all.iter().filter(|(_, r)| r == reason).count();
        if (count("InSync"), count("GuardrailViolated")) == (3, 5) {
            Ok(all)
        } else {
            Err(format!("{all:?}"))
        }
    })
    .await?;
    ensure!(s.owned_roles(0).await?.len() == 3);
    // Room again: one of the others gets it.
    let made = settled
        .iter()
        .find(|(_, reason)| reason == "InSync")
        .map(|(name, _)| name.clone())
        .unwrap_or_default();
    s.delete(&made).await?;
    let waiting = settled
        .iter()
        .find(|(_, reason)| reason != "InSync")
        .map(|(name, _)| name.clone())
        .unwrap_or_default();
    s.look_again(&waiting).await?;
    until("three again", || async {
        let all = verdicts().await.map_err(|e| e.to_string())?;
        if all.iter().filter(|(_, r)| r == "InSync").count() == 3 {
            Ok(())
        } else {
            Err(format!("{all:?}"))
        }
    })
    .await?;
    ensure!(s.owned_roles(0).await?.len() == 3);
    Ok(())
}

#[tokio::test]
async fn a_guardrail_that_the_owner_lifts_lets_the_role_go_on() -> Result<()> {
    let s = guarded("lifted", |a| {
        a["spec"]["guardrails"] = json!({"roleNamePattern": "team-*"})
    })
    .await?;
    s.apply(&s.role("app", json!({}))).await?;
    s.role_is("app", "False", "GuardrailViolated").await?;
    s.change_account(0, json!({"guardrails": {"roleNamePattern": "*"}}))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn a_guardrail_that_comes_later_stops_changes_and_detaches_what_it_denies() -> Result<()> {
    let s = guarded("later", |_| {}).await?;
    s.apply(&s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    s.change_account(0, json!({"guardrails": {"deniedManagedPolicies": ["ReadOnly*"]}}))
        .await?;
    s.role_is("app", "False", "GuardrailViolated").await?;
    until("the denied policy to be detached", || async {
        let attached = s.attached(0, "app").await.map_err(|e| e.to_string())?;
        if attached.is_empty() {
            Ok(())
        } else {
            Err(format!("{attached:?}"))
        }
    })
    .await?;
    ensure!(s.owned_roles(0).await? == ["app"], "the role itself stays");
    // Its own deletion is no breach.
    s.delete("app").await?;
    ensure!(s.owned_roles(0).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn namespaces_are_allowed_by_name_by_label_or_all() -> Result<()> {
    let s = guarded("namespaces", |a| {
        a["spec"]["allowedNamespaces"] = json!({"from": "None"})
    })
    .await?;
    s.apply(&s.role("app", json!({}))).await?;
    for (allowed, ready) in [
        (json!({"from": "Names", "names": ["elsewhere"]}), false),
        (json!({"from": "All", "names": null}), true),
        (
            json!({"from": "Selector", "selector": {"matchLabels": {"team": "y"}}}),
            false,
        ),
        (
            json!({"from": "Selector", "selector": {"matchLabels": {"team": null, "kubernetes.io/metadata.name": "namespaces"}}}),
            true,
        ),
    ] {
        s.change_account(0, json!({"allowedNamespaces": allowed})).await?;
        let (status, reason) = if ready {
            ("True", "InSync")
        } else {
            ("False", "NamespaceNotAllowed")
        };
        s.role_is("app", status, reason).await?;
    }
    ensure!(
        s.owned_roles(0).await? == ["app"],
        "a role that is there already is not taken away"
    );
    Ok(())
}

/// A scenario without controller, whose namespace is held to the admission policy.
async fn at_admission(name: &str, tweak: Tweak) -> Result<Scenario<'static>> {
    let s = Scenario::with(crate::world().await?, name, 1, tweak).await?;
    s.world
        .plane
        .kubectl(&["label", "namespace", name, "admission=on"])
        .await?;
    Ok(s)
}

/// Waits until the object is refused with these words: a policy reaches the API server's own cache in its time.
async fn refused(s: &Scenario<'_>, object: &Value, says: &str) -> Result<()> {
    until(&format!("a refusal that says: {says}"), || async {
        let output = s
            .world
            .plane
            .kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &object.to_string())
            .await;
        let output = output.map_err(|e| e.to_string())?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() && error.contains(says) {
            Ok(())
        } else {
            Err(error)
        }
    })
    .await
}

#[tokio::test]
async fn the_controllers_own_rights_change_no_spec() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "own-rights", 1).await?;
    s.apply(&s.role("app", json!({}))).await?;
    let client = s.world.plane.client("rolectl-controller").await?;
    let roles: Api<IamRole> = Api::namespaced(client.clone(), &s.name);
    let accounts: Api<AwsAccount> = Api::all(client);
    let (account, params) = (s.targets[0].0.clone(), PatchParams::default());
    let more = Patch::Merge(json!({"spec": {"managedPolicies": ["AdministratorAccess"]}}));
    let refused = |error: &kube::Error| {
        error
            .to_string()
            .contains("does not change what others have declared")
    };
    // A new policy is in force a moment after it was made.
    until("the policy to be in force", || async {
        match roles.patch("app", &params, &more).await {
            Err(error) if refused(&error) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let open = Patch::Merge(json!({"spec": {"allowedNamespaces": {"from": "All", "names": null}}}));
    let answer = accounts.patch(&account, &params, &open).await;
    ensure!(
        answer.is_err_and(|error| refused(&error)),
        "it lifted a guardrail"
    );
    let elsewhere = Patch::Merge(json!({"metadata": {"labels": {"scenario": "another"}}}));
    let answer = accounts.patch(&account, &params, &elsewhere).await;
    ensure!(
        answer.is_err_and(|error| refused(&error)),
        "it moved roles by a label"
    );
    // What it must be able to do.
    let finalizer = Patch::Merge(json!({"metadata": {"finalizers": [rolectl_crds::FINALIZER]}}));
    roles.patch("app", &params, &finalizer).await?;
    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    roles.patch("app", &params, &none).await?;
    Ok(())
}

#[tokio::test]
async fn admission_refuses_a_namespace_that_the_account_does_not_allow() -> Result<()> {
    let s = at_admission("door-namespace", |a| {
        a["spec"]["allowedNamespaces"] =
            json!({"from": "Selector", "selector": {"matchLabels": {"team": "x"}}})
    })
    .await?;
    let role = s.role("app", json!({}));
    refused(
        &s,
        &role,
        "AwsAccount door-namespace-0 does not allow namespace door-namespace",
    )
    .await?;
    s.world
        .plane
        .kubectl(&["label", "namespace", "door-namespace", "team=x"])
        .await?;
    until("the label to let it in", || async {
        s.apply(&role).await.map_err(|e| e.to_string())
    })
    .await
}

#[tokio::test]
async fn admission_refuses_names_paths_boundaries_and_policies_that_break_a_guardrail() -> Result<()> {
    let s = at_admission("door-rules", |a| {
        a["spec"]["guardrails"] = json!({"roleNamePattern": "team.?-*", "pathPattern": "/team/*",
            "requirePermissionsBoundary": ["ReadOnlyAccess"], "deniedManagedPolicies": ["Administrator*", "arn:aws:iam::*:policy/secret-*"]});
    })
    .await?;
    let good = json!({"path": "/team/a/", "permissionsBoundary": BOUNDARY});
    let with = |key: &str, value: Value| {
        let mut spec = good.clone();
        spec[key] = value;
        spec
    };
    for (name, spec, says) in [
        (
            "teamx-app",
            good.clone(),
            "wants role names like team.?-*, this one is teamx-app",
        ),
        (
            "team.x-app",
            with("roleName", json!("other")),
            "this one is other",
        ),
        (
            "team.x-app",
            with("path", json!("/")),
            "wants paths like /team/*, this one is /",
        ),
        (
            "team.x-app",
            with("permissionsBoundary", json!("PowerUserAccess")),
            "wants permissionsBoundary to be one of ReadOnlyAccess",
        ),
        (
            "team.x-app",
            with("managedPolicies", json!(["AdministratorAccess"])),
            "denies the managed policies Administrator*",
        ),
        (
            "team.x-app",
            with(
                "managedPolicies",
                json!(["arn:aws:iam::$(account.id):policy/secret-x"]),
            ),
            "denies the managed policies",
        ),
    ] {
        refused(&s, &s.role(name, spec), says).await?;
    }
    s.apply(&s.role("team.x-app", with("managedPolicies", json!(["ViewOnlyAccess"]))))
        .await
}

/// The rules on policies refuse nothing that the controller would take, and ignore case as IAM does.
#[tokio::test]
async fn admission_compares_policies_as_the_controller_does() -> Result<()> {
    let s = at_admission("door-policies", |_| {}).await?;
    let (denies, allows) = ("denies the managed policies", "allows only the managed policies");
    let denied = |pattern: &str| json!({"deniedManagedPolicies": [pattern]});
    let allowed = |pattern: &str| json!({"allowedManagedPolicies": [pattern]});
    let policy = |name: &str| json!({"managedPolicies": [name]});
    let inline = json!({"inlinePolicies": {"a": {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}}});
    for (guardrails, spec, says) in [
        (
            denied("AdministratorAccess"),
            policy("administratoraccess"),
            denies,
        ),
        (
            denied("AdministratorAccess"),
            policy("arn:aws:iam::aws:policy/administratoraccess"),
            denies,
        ),
        (
            denied("*"),
            policy("arn:aws:iam::111111111111:policy/a/b"),
            denies,
        ),
        (denied("Billing"), policy("job-function/Billing"), denies),
        (denied("Billing"), policy("BillingReadOnly"), ""),
        (
            denied("b/x"),
            policy("arn:aws:iam::111111111111:policy/a/b/x"),
            "",
        ),
        (allowed("ReadOnly*"), policy("ReadOnlyAccess"), ""),
        (allowed("ReadOnly*"), policy("AdministratorAccess"), allows),
        // Anybody can give a policy of the account such a name.
        (
            allowed("ReadOnly*"),
            policy("arn:aws:iam::111111111111:policy/ReadOnlyMine"),
            allows,
        ),
        (
            allowed("arn:aws:iam::*:policy/team/*"),
            policy("arn:aws:iam::111111111111:policy/team/x"),
            "",
        ),
        // Its path is job-function/, which only the controller knows.
        (allowed("job-function/*"), policy("Billing"), ""),
        (
            json!({"inlinePolicies": "Forbid"}),
            inline.clone(),
            "forbids inline policies",
        ),
        (json!({"inlinePolicies": "Allow"}), inline, ""),
        (
            json!({"deletionPolicy": "Delete"}),
            json!({"deletionPolicy": "Retain"}),
            "wants deletionPolicy: Delete",
        ),
        (json!({"deletionPolicy": "Delete"}), json!({}), ""),
        (
            json!({"roleNamePattern": "ap*"}),
            json!({"instanceProfile": {"name": "admin"}}),
            "the instance profile is called admin",
        ),
        (
            json!({"roleNamePattern": "ap*"}),
            json!({"instanceProfile": {}}),
            "",
        ),
    ] {
        s.change_account(0, json!({"guardrails": null})).await?;
        s.change_account(0, json!({"guardrails": guardrails})).await?;
        let role = s.role("app", spec);
        if says.is_empty() {
            let taken = || async { accepted(&s, &role).await.map_err(|e| e.to_string()) };
            until("the role to be accepted", taken).await?;
        } else {
            refused(&s, &role, says).await?;
        }
    }
    Ok(())
}

/// `kubectl apply --dry-run=server`.
async fn accepted(s: &Scenario<'_>, object: &Value) -> Result<()> {
    let dry_run = ["apply", "--dry-run=server", "-f", "-"];
    let output = s.world.plane.kubectl_with(&dry_run, &object.to_string()).await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[tokio::test]
async fn admission_lets_pass_what_is_not_named_and_the_controller_tells() -> Result<()> {
    let s = at_admission("door-label", |a| {
        a["spec"]["guardrails"] = json!({"roleNamePattern": "team-*"})
    })
    .await?;
    refused(&s, &s.role("app", json!({})), "wants role names like team-*").await?;
    s.apply(&s.role("elsewhere", json!({"accounts": {"names": ["not-yet"]}})))
        .await?;
    // One account among many that a label finds must not keep the role from the others.
    s.apply(&s.role(
        "labelled",
        json!({"accounts": {"selector": {"matchLabels": {"scenario": "door-label"}}}}),
    ))
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    s.role_is("labelled", "False", "GuardrailViolated").await?;
    Ok(())
}

#[tokio::test]
async fn admission_lets_finalizers_come_and_go_whatever_the_rules_have_become() -> Result<()> {
    let s = at_admission("door-finalizer", |_| {}).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({}))).await?;
    s.role_is("app", "True", "InSync").await?;
    s.change_account(0, json!({"guardrails": {"roleNamePattern": "team-*"}}))
        .await?;
    let more = s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]}));
    refused(&s, &more, "wants role names like team-*").await?;
    // What the rules do not speak of may change: labels, finalizers, and a trust policy that is to be closed.
    let mut closed = s.role("app", json!({"suspend": true}));
    closed["metadata"]["labels"] = json!({"a": "b"});
    s.apply(&closed).await?;
    s.apply(&s.role("app", json!({"suspend": false}))).await?;
    s.delete("app").await
}

#[tokio::test]
async fn name_and_path_cannot_change_and_the_refusal_says_how_to_migrate() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "immutable", 1).await?;
    s.apply(&s.role("app", json!({"roleName": "one", "path": "/a/"})))
        .await?;
    let rename = s.role("app", json!({"roleName": "two", "path": "/a/"}));
    refused(
        &s,
        &rename,
        "IAM cannot rename a role. Make a new IamRole and delete this one",
    )
    .await?;
    let mv = s.role("app", json!({"roleName": "one", "path": "/b/"}));
    refused(
        &s,
        &mv,
        "IAM cannot move a role. Make a new IamRole with another roleName and delete this one",
    )
    .await
}
