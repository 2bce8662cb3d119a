//! Changes that wait for an approval: what narrows is made at once, what widens only by an operator with a fresh code, whatever a tenant
//! writes.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rolectl_crds::IamRole;
use rolectl_tests::scenario::{Operator, Scenario, key_env};
use rolectl_tests::wait::until;
use serde_json::{Value, json};

const READ: &str = "arn:aws:iam::aws:policy/ReadOnlyAccess";
const POWER: &str = "arn:aws:iam::aws:policy/PowerUserAccess";

/// A scenario whose account asks for approvals, with a controller.
async fn asking(name: &str) -> Result<Scenario<'static>> {
    let s = Scenario::with(crate::world().await?, name, 1, |account| {
        account["spec"]["approvals"] = json!({"for": "Widening"});
    })
    .await?;
    s.start_controller()?;
    Ok(s)
}

/// Runs `rolectl approve` in the scenario's namespace, with a fresh code, for all that waits there.
pub async fn approve(s: &Scenario<'_>, more: &[&str]) -> Result<String> {
    approve_as(s, &s.operator, more).await
}

/// Runs `rolectl approve` as this operator.
async fn approve_as(s: &Scenario<'_>, operator: &Operator, more: &[&str]) -> Result<String> {
    let code = operator.code().await?;
    let mut args: Vec<String> = [
        "approve",
        "--session",
        &s.name,
        "-n",
        &s.name,
        "--mfa",
        &code,
        "--yes",
    ]
    .map(str::to_owned)
    .into();
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    if !more.contains(&"--deny") {
        let named = more.iter().find(|arg| arg.starts_with("role/"));
        let named = named.map(|role| role.trim_start_matches("role/"));
        for digest in digests_of(s, named, more.contains(&"--removals")).await? {
            args.extend(["--digest".to_owned(), digest]);
        }
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [id, secret] = key_env(&operator.key);
    let output = s
        .rolectl_as("operator", &args, &[id, secret, ("AWS_PROFILE", "")])
        .await?;
    let (out, err) = (
        String::from_utf8(output.stdout)?,
        String::from_utf8(output.stderr)?,
    );
    ensure!(output.status.success(), "approve: {out}{err}");
    s.assert_no_secret("the output", &format!("{out}{err}"))?;
    Ok(format!("{out}{err}"))
}

/// The digests of what waits in the scenario's namespace, or of one role.
pub async fn digests(s: &Scenario<'_>, role: Option<&str>) -> Result<Vec<String>> {
    digests_of(s, role, false).await
}

/// The digests of what waits, of removals alone if `only_removals`.
async fn digests_of(s: &Scenario<'_>, role: Option<&str>, only_removals: bool) -> Result<Vec<String>> {
    let args = ["get", "approvals", "-n", &s.name, "-o", "json"];
    let output = s.rolectl_as("operator", &args, &[]).await?;
    let listed: Value = serde_json::from_slice(&output.stdout)?;
    let items = listed["items"].as_array().context("no items")?;
    let of_role = |item: &&Value| {
        role.is_none_or(|role| item["name"] == role) && (!only_removals || item["state"] == "RemovalsParked")
    };
    let digests = items.iter().filter(of_role).map(|item| item["approval"].as_str());
    let digests: Option<Vec<String>> = digests.map(|digest| digest.map(str::to_owned)).collect();
    digests.with_context(|| format!("no digest: {listed}"))
}

fn digest(role: &IamRole) -> Option<String> {
    role.status.as_ref()?.accounts.first()?.approval.clone()
}

async fn secret(s: &Scenario<'_>) -> Result<Secret> {
    let api: Api<Secret> = Api::namespaced(s.client.clone(), &s.system());
    Ok(api.get(&s.secret()).await?)
}

/// Puts these data into the Secret, as somebody could who may write it.
async fn write(s: &Scenario<'_>, data: &[(&str, Option<&ByteString>)]) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(s.client.clone(), &s.system());
    let data: serde_json::Map<String, Value> = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    api.patch(
        &s.secret(),
        &PatchParams::default(),
        &Patch::Merge(json!({"data": data})),
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_role_that_widens_waits_for_a_code_and_what_narrows_is_made_at_once() -> Result<()> {
    let s = asking("approving").await?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({"managedPolicies": [READ]})))
        .await?;
    let waiting = s.role_is("app", "Unknown", "AwaitingApproval").await?;
    ensure!(
        s.owned_roles(0).await?.is_empty(),
        "the creation of a role widens"
    );
    ensure!(
        digest(&waiting).is_some_and(|digest| digest.len() == 64),
        "{:?}",
        waiting.status
    );
    s.role_tells("app", "an operator runs `rolectl approve role/app -n approving`")
        .await?;
    let listed = s
        .rolectl_as("operator", &["get", "approvals", "-n", &s.name], &[])
        .await?;
    let listed = String::from_utf8(listed.stdout)?;
    ensure!(
        listed.contains("approving/app") && listed.contains("role: the role does not exist yet"),
        "{listed}"
    );

    let shown = approve(&s, &["role/app"]).await?;
    ensure!(
        shown.contains("+ role /app") && shown.contains("widens: role: the role does not exist yet"),
        "{shown}"
    );
    s.role_is("app", "True", "InSync").await?;

    // One change that narrows and widens: the old policy is detached at once, and the new one waits.
    s.apply(&s.role("app", json!({"managedPolicies": [POWER]})))
        .await?;
    s.role_is("app", "Unknown", "AwaitingApproval").await?;
    until("the old policy to be detached", || async {
        let attached = s.attached(0, "app").await.map_err(|e| e.to_string())?;
        if attached.is_empty() {
            Ok(())
        } else {
            Err(format!("{attached:?}"))
        }
    })
    .await?;
    let calls = s.calls(0, 0).await?;
    let attached = calls
        .calls
        .iter()
        .filter(|call| call.action == "AttachRolePolicy")
        .count();
    ensure!(attached == 1, "only the first policy was attached: {calls:?}");
    let log = std::fs::read_to_string(s.log())?;
    ensure!(
        log.contains("approved_by") && log.contains("user/operator"),
        "{log}"
    );
    s.assert_no_secret("the log", &log)?;

    // What only narrows needs nobody.
    s.apply(&s.role("app", json!({"managedPolicies": []}))).await?;
    s.role_is("app", "True", "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn a_managed_policy_is_judged_by_its_document_for_one_more_call_a_sweep() -> Result<()> {
    let s = asking("known-policies").await?;
    let hands = s.hands(0).await?;
    let mut arns = vec![];
    for (name, actions) in [
        ("reads", json!(["s3:Get*"])),
        ("writes", json!(["s3:Get*", "s3:Put*"])),
    ] {
        let document = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]});
        let request = hands.create_policy().policy_name(name);
        let made = request.policy_document(document.to_string()).send().await?;
        arns.push(made.policy.and_then(|policy| policy.arn).context("no ARN")?);
    }
    let (reads, writes) = (&arns[0], &arns[1]);
    s.unlock().await?;
    s.apply(&s.role("app", json!({"managedPolicies": [writes]})))
        .await?;
    s.role_is("app", "Unknown", "AwaitingApproval").await?;
    approve(&s, &["role/app"]).await?;
    s.role_is("app", "True", "InSync").await?;

    s.apply(&s.role("app", json!({"managedPolicies": [reads]})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    ensure!(
        s.attached(0, "app").await? == [reads.clone()],
        "a narrower policy needs no approval"
    );

    s.apply(&s.role("app", json!({"managedPolicies": [reads, writes]})))
        .await?;
    s.role_is("app", "Unknown", "AwaitingApproval").await?;
    let listed = s
        .rolectl_as(
            "operator",
            &["get", "approvals", "-n", &s.name, "-o", "wide"],
            &[],
        )
        .await?;
    let listed = String::from_utf8(listed.stdout)?;
    ensure!(
        listed.contains(": s3:Put* on *"),
        "the action that is new is named: {listed}"
    );
    ensure!(!listed.contains(": s3:Get* on *"), "and no other: {listed}");
    approve(&s, &["role/app"]).await?;
    s.role_is("app", "True", "InSync").await?;

    let start = s.calls(0, 0).await?.total;
    s.look_again("app").await?;
    let calls = until("the sweep", || async {
        let calls = s.calls(0, start).await.map_err(|e| e.to_string())?;
        if calls.total >= 3 {
            Ok(calls)
        } else {
            Err(format!("{calls:?}"))
        }
    })
    .await?;
    ensure!(
        calls.by_action() == BTreeMap::from([("GetAccountAuthorizationDetails", 2), ("ListRoles", 1)]),
        "{calls:?}"
    );
    Ok(())
}

async fn last_sweep(s: &Scenario<'_>) -> Result<Option<Time>> {
    let account = s.account_is(0, "InSync").await?;
    Ok(account.status.and_then(|status| status.last_sweep_time))
}

#[tokio::test]
async fn a_change_waits_although_a_policy_of_others_denies_or_allows_it_today() -> Result<()> {
    let s = asking("quarantined").await?;
    s.unlock().await?;
    let spec = json!({"exclusive": {"managedPolicies": false}});
    s.apply(&s.role("app", spec.clone())).await?;
    s.role_is("app", "Unknown", "AwaitingApproval").await?;
    approve(&s, &["role/app"]).await?;
    s.role_is("app", "True", "InSync").await?;
    let hands = s.hands(0).await?;
    // The first stops the role for a time, and the second is lent to it.
    for policy in ["AWSDenyAll", "AdministratorAccess"] {
        let arn = format!("arn:aws:iam::aws:policy/{policy}");
        let attach = hands.attach_role_policy().role_name("app").policy_arn(&arn);
        let before = last_sweep(&s).await?;
        attach.send().await?;
        s.look_again("app").await?;
        until("a sweep that sees the policy", || async {
            match last_sweep(&s).await {
                Ok(sweep) if sweep != before => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        let mut wider = spec.clone();
        wider["inlinePolicies"] = json!({"all": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}});
        s.apply(&s.role("app", wider)).await?;
        s.role_is("app", "Unknown", "AwaitingApproval").await?;
        s.role_tells("app", "a change waits for an approval").await?;
        s.apply(&s.role("app", spec.clone())).await?;
        s.role_is("app", "True", "InSync").await?;
        let detach = hands.detach_role_policy().role_name("app").policy_arn(&arn);
        detach.send().await?;
    }
    Ok(())
}

#[tokio::test]
async fn nothing_that_a_tenant_or_an_outsider_writes_approves_a_change() -> Result<()> {
    let s = asking("forging").await?;
    s.unlock().await?;
    let before = secret(&s).await?;
    s.apply(&s.role("app", json!({}))).await?;
    let role = s.role_is("app", "Unknown", "AwaitingApproval").await?;
    let digest_of_creation = digest(&role).context("no digest")?;

    // Annotations and the status.
    s.roles()
        .patch(
            "app",
            &PatchParams::default(),
            &Patch::Merge(
                json!({"metadata": {"annotations": {"iam.rolectl.dev/approved": digest_of_creation}}}),
            ),
        )
        .await?;
    let status = json!({"status": {"accounts": [{"name": s.targets[0].0, "state": "InSync", "approval": digest_of_creation}]}});
    s.roles()
        .patch_status("app", &PatchParams::default(), &Patch::Merge(status))
        .await?;
    // A decision of one's own in the Secret, without the session's key.
    let decisions = json!({"version": 2, "decisions": [{"digest": digest_of_creation, "verdict": "Approved",
        "accountId": s.targets[0].1, "owner": "c/forging/app", "goal": digest_of_creation,
        "by": [{"principalArn": format!("arn:aws:iam::{}:user/operator", s.main), "at": jiff::Timestamp::now()}]}]});
    let forged = ByteString(decisions.to_string().into_bytes());
    write(
        &s,
        &[
            ("approvals", Some(&forged)),
            ("approvalsCode", Some(&ByteString("0".repeat(64).into_bytes()))),
        ],
    )
    .await?;
    s.end_controller("TERM").await?;
    s.start_controller()?;
    until("the controller to refuse the decision", || async {
        let log = std::fs::read_to_string(s.log()).map_err(|e| e.to_string())?;
        if log.contains("were not made with this session") {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    })
    .await?;
    s.role_is("app", "Unknown", "AwaitingApproval").await?;
    ensure!(s.owned_roles(0).await?.is_empty(), "nothing is made");

    // An approval fits no other content.
    approve(&s, &["role/app"]).await?;
    s.role_is("app", "True", "InSync").await?;
    let approved = secret(&s).await?;
    s.apply(&s.role("app", json!({"managedPolicies": [POWER]})))
        .await?;
    s.role_is("app", "Unknown", "AwaitingApproval").await?;

    // The approvals of one session in another one, and the whole earlier Secret again.
    let of = |secret: &Secret, key: &str| secret.data.as_ref().and_then(|data| data.get(key).cloned());
    let sealed = [of(&approved, "approvals"), of(&approved, "approvalsCode")];
    let earlier: Vec<(&str, Option<ByteString>)> =
        ["accessKeyId", "secretAccessKey", "sessionToken", "expiration"]
            .map(|key| (key, of(&before, key)))
            .into();
    let mut replayed: Vec<(&str, Option<&ByteString>)> = earlier
        .iter()
        .map(|(key, value)| (*key, value.as_ref()))
        .collect();
    replayed.push(("approvals", sealed[0].as_ref()));
    replayed.push(("approvalsCode", sealed[1].as_ref()));
    write(&s, &replayed).await?;
    s.look_again("app").await?;
    s.role_is("app", "Unknown", "AwaitingApproval").await?;
    ensure!(s.attached(0, "app").await?.is_empty(), "nothing is attached");
    Ok(())
}

#[tokio::test]
async fn an_approval_is_used_once_and_a_denial_is_shown_until_the_session_ends() -> Result<()> {
    let s = asking("denying").await?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({"managedPolicies": [READ]})))
        .await?;
    s.role_is("app", "Unknown", "AwaitingApproval").await?;
    approve(&s, &["--all", "--deny", "--reason", "see ticket 4711"]).await?;
    s.role_tells("app", "user/operator denied the changes: see ticket 4711")
        .await?;
    ensure!(s.owned_roles(0).await?.is_empty(), "nothing is made");
    approve(&s, &["--all"]).await?;
    s.role_is("app", "True", "InSync").await?;

    // Somebody outside takes the policy away. No approval was for giving it back.
    take_away(&s).await?;
    // One is, and is used. When the policy is taken away again, the same change waits again.
    approve(&s, &["--all"]).await?;
    s.role_is("app", "True", "InSync").await?;
    ensure!(s.attached(0, "app").await? == [READ]);
    take_away(&s).await
}

/// Somebody outside detaches the policy, and the role waits without it.
async fn take_away(s: &Scenario<'_>) -> Result<()> {
    s.hands(0)
        .await?
        .detach_role_policy()
        .role_name("app")
        .policy_arn(READ)
        .send()
        .await?;
    s.look_again("app").await?;
    s.role_is("app", "Unknown", "AwaitingApproval").await?;
    ensure!(s.attached(0, "app").await?.is_empty(), "the restriction stays");
    Ok(())
}

#[tokio::test]
async fn a_stranger_and_an_operator_without_a_terminal_approve_nothing() -> Result<()> {
    let s = asking("strangers").await?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({}))).await?;
    s.role_is("app", "Unknown", "AwaitingApproval").await?;
    let approve = ["approve", "role/app", "-n", &s.name, "--session", &s.name];
    let before = secret(&s).await?.metadata.resource_version;
    for (user, more, says) in [
        (
            "stranger",
            vec!["--mfa", "123456", "--yes", "--digest", "3b0c"],
            "you may not create",
        ),
        (
            "operator",
            vec!["--mfa", "123456", "--yes"],
            "--yes would approve changes that nobody has seen",
        ),
        (
            "operator",
            vec!["--mfa", "123456", "-o", "json"],
            "a program cannot be asked",
        ),
        (
            "operator",
            vec!["--mfa", "123456", "--yes", "--digest", "3b0c"],
            "AWS refused the code",
        ),
        ("operator", vec!["--reason", "x", "--mfa", "123456"], "--deny"),
    ] {
        let args: Vec<&str> = approve.iter().copied().chain(more).collect();
        let output = s.rolectl_as(user, &args, &[]).await?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            !output.status.success() && error.to_lowercase().contains(&says.to_lowercase()),
            "{args:?}: {error}"
        );
    }
    let code = s.operator.code().await?;
    let mut args = approve.to_vec();
    args.extend(["--mfa", &code, "--yes", "--digest", "3b0c"]);
    let output = s.rolectl_as("operator", &args, &[]).await?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(1) && error.contains("no change with the digest 3b0c waits"),
        "{error}"
    );
    let code = s.operator.code().await?;
    let mut args = approve.to_vec();
    args.extend(["--mfa", &code]);
    let (status, shown) = s
        .rolectl_on_terminal("operator", &args, &[], &[("Approve this change?", "no")])
        .await?;
    ensure!(
        status == Some(1) && shown.contains("Nothing was stored"),
        "{shown}"
    );
    ensure!(
        secret(&s).await?.metadata.resource_version == before,
        "the Secret was changed"
    );
    Ok(())
}

#[tokio::test]
async fn of_two_operators_each_approves_with_a_session_of_his_own_and_the_log_has_both() -> Result<()> {
    let s = asking("two-operators").await?;
    let second = Operator::enroll(&s.world.double, &s.main, "second").await?;
    s.unlock().await?;
    let first_session = secret(&s).await?;
    for role in ["app", "web"] {
        s.apply(&s.role(role, json!({}))).await?;
        s.role_is(role, "Unknown", "AwaitingApproval").await?;
    }
    approve_as(&s, &second, &["role/app"]).await?;
    s.role_is("app", "True", "InSync").await?;
    s.role_is("web", "Unknown", "AwaitingApproval").await?;
    ensure!(
        !s.event_reasons(&s.name, "app").await?.is_empty(),
        "events tell what happened"
    );

    // The decisions of the second operator count for nothing with the session of the first one.
    let of = |secret: &Secret, key: &str| secret.data.as_ref().and_then(|data| data.get(key).cloned());
    let seconds = secret(&s).await?;
    s.apply(&s.role("app", json!({"managedPolicies": [READ]})))
        .await?;
    s.role_is("app", "Unknown", "AwaitingApproval").await?;
    let keys = [
        "accessKeyId",
        "secretAccessKey",
        "sessionToken",
        "expiration",
        "principalArn",
    ];
    let mixed = keys.map(|key| (key, of(&first_session, key)));
    let sealed = ["approvals", "approvalsCode"].map(|key| (key, of(&seconds, key)));
    let data: Vec<(&str, Option<&ByteString>)> = mixed
        .iter()
        .chain(&sealed)
        .map(|(key, value)| (*key, value.as_ref()))
        .collect();
    write(&s, &data).await?;
    until("the controller to refuse the decisions", || async {
        let log = std::fs::read_to_string(s.log()).map_err(|e| e.to_string())?;
        log.contains("were not made with this session")
            .then_some(())
            .ok_or_else(|| "not yet".to_owned())
    })
    .await?;

    approve(&s, &["--all"]).await?;
    for role in ["app", "web"] {
        s.role_is(role, "True", "InSync").await?;
    }
    let log = std::fs::read_to_string(s.log())?;
    for (role, operator) in [("app", "second"), ("web", "operator"), ("app", "operator")] {
        let is_it = |line: &str| {
            line.contains("approved_by")
                && line.contains(&format!("/{role}"))
                && line.contains(&format!("user/{operator}"))
        };
        ensure!(log.lines().any(is_it), "{role} {operator}: {log}");
    }
    s.assert_no_secret("the log", &log)
}

#[tokio::test]
async fn a_change_that_was_approved_and_has_begun_is_finished_after_a_restart_and_not_repeated() -> Result<()>
{
    let s = asking("finishing").await?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({"managedPolicies": [READ]})))
        .await?;
    s.role_is("app", "Unknown", "AwaitingApproval").await?;
    // The role is made, and the policy cannot be attached until after the restart.
    let stuck = json!([{"action": "AttachRolePolicy", "latency_ms": 300_000}]);
    s.world.double.faults(&s.targets[0].1, stuck).await?;
    approve(&s, &["--all"]).await?;
    until("the role to be made", || async {
        let role = s.in_aws(0, "app").await.map_err(|e| e.to_string())?;
        role.map(drop).ok_or_else(|| "not yet".to_owned())
    })
    .await?;
    s.end_controller("KILL").await?;
    s.world.double.faults(&s.targets[0].1, json!([])).await?;
    ensure!(s.attached(0, "app").await?.is_empty(), "it ended in the middle");
    s.start_controller()?;
    s.role_is("app", "True", "InSync").await?;
    ensure!(s.attached(0, "app").await? == [READ]);
    // It is done: nobody approved that the policy is given back.
    take_away(&s).await?;
    s.end_controller("TERM").await?;
    s.start_controller()?;
    s.role_is("app", "Unknown", "AwaitingApproval").await?;
    ensure!(s.attached(0, "app").await?.is_empty());
    Ok(())
}
