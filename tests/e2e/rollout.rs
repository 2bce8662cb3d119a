//! A change of a spec reaches its accounts in waves, and drift does not wait.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::{Patch, PatchParams};
use rolectl_crds::{IamRole, Reason};
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::{holds_for, until};
use serde_json::{Value, json};

pub const READ_ONLY: &str = "arn:aws:iam::aws:policy/ReadOnlyAccess";
/// A policy that an account has if a test made it there.
pub const CUSTOM: &str = "arn:aws:iam::$(account.id):policy/custom";

/// Three accounts in the waves 0, 1 and 2, a controller and an open session. No sweep comes by itself.
async fn in_waves(name: &str) -> Result<Scenario<'static>> {
    let s = accounts_in_waves(name, 3).await?;
    s.start_controller()?;
    s.unlock().await?;
    Ok(s)
}

/// Accounts in the waves 0, 1, 2 and so on.
pub async fn accounts_in_waves(name: &str, targets: usize) -> Result<Scenario<'static>> {
    Scenario::with(crate::world().await?, name, targets, |account| {
        let name = account["metadata"]["name"].as_str().unwrap_or_default();
        let wave: u32 = name
            .rsplit('-')
            .next()
            .and_then(|n| n.parse().ok())
            .unwrap_or_default();
        account["spec"]["wave"] = json!(wave);
        account["spec"]["driftInterval"] = json!("1h");
    })
    .await
}

/// Makes the policy that some accounts lack.
pub async fn make_custom(s: &Scenario<'_>, target: usize) -> Result<()> {
    let document = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]});
    s.hands(target)
        .await?
        .create_policy()
        .policy_name("custom")
        .policy_document(document.to_string())
        .send()
        .await?;
    Ok(())
}

/// The trust policy of [`Scenario::role`], or one that grants less.
pub fn trust(is_narrow: bool) -> Value {
    let mut condition = json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}});
    if is_narrow {
        condition["StringEquals"] = json!({"aws:PrincipalTag/team": "platform"});
    }
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": "arn:$(aws.partition):iam::$(session.accountId):root"},
        "Condition": condition}]})
}

/// The state of each account in the role's status, with its message.
fn states(role: &IamRole) -> BTreeMap<String, (Reason, String)> {
    let accounts = role.status.iter().flat_map(|status| &status.accounts);
    let state = |entry: &rolectl_crds::AccountStatus| {
        let number = entry.name.rsplit('-').next().unwrap_or_default().to_owned();
        (number, (entry.state, entry.message.clone().unwrap_or_default()))
    };
    accounts.map(state).collect()
}

/// Waits until the accounts have these states and messages.
pub async fn accounts_are(s: &Scenario<'_>, expected: &[(&str, Reason, &str)]) -> Result<IamRole> {
    until(&format!("the accounts to be {expected:?}"), || async {
        let role = s.roles().get("app").await.map_err(|e| e.to_string())?;
        let status = role.status.clone().unwrap_or_default();
        let found = states(&role);
        let is_so = expected.iter().all(|(name, reason, words)| {
            found
                .get(*name)
                .is_some_and(|(state, message)| state == reason && message.contains(words))
        });
        let is_current = status.observed_generation == role.metadata.generation;
        (is_so && is_current)
            .then_some(role)
            .ok_or_else(|| format!("{found:?}"))
    })
    .await
}

/// Runs `rolectl` as an administrator of the namespace, and returns what it prints.
pub async fn admin(s: &Scenario<'_>, args: &[&str], code: i32) -> Result<String> {
    let output = s
        .rolectl_as("admin", &[args, &["-n", &s.name]].concat(), &[])
        .await?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    ensure!(output.status.code() == Some(code), "{args:?}: {text}");
    Ok(text)
}

/// When the writes in an account were, the first and the last.
async fn writes(s: &Scenario<'_>, target: usize) -> Result<(i64, i64)> {
    let calls = s.calls(target, 0).await?.calls;
    let writes = calls.iter().filter(|call| {
        let is_write = ["Create", "Attach", "Detach", "Put", "Update", "Delete"];
        is_write.iter().any(|verb| call.action.starts_with(verb))
            && call.status == 200
            && call.app == "rolectl"
    });
    let times: Vec<i64> = writes.map(|call| call.at).collect();
    let (first, last) = (times.iter().min(), times.iter().max());
    Ok((*first.context("no write")?, *last.context("no write")?))
}

#[tokio::test]
async fn a_change_reaches_the_next_wave_once_the_one_before_has_it() -> Result<()> {
    let s = in_waves("waves").await?;
    let stuck = json!([{"action": "AttachRolePolicy", "code": "Throttling", "status": 400}]);
    s.world.double.faults(&s.targets[0].1, stuck).await?;
    s.apply(&s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    let waits = "waits for wave 0";
    accounts_are(
        &s,
        &[("1", Reason::RollingOut, waits), ("2", Reason::RollingOut, waits)],
    )
    .await?;
    let plan = admin(&s, &["rollout", "status", "role/app"], 0).await?;
    ensure!(
        plan.contains("under way") && plan.contains("waits for wave 0"),
        "{plan}"
    );
    for target in [1, 2] {
        ensure!(s.owned_roles(target).await?.is_empty(), "{target} waits");
    }
    s.world.double.faults(&s.targets[0].1, json!([])).await?;
    s.role_is("app", "True", "InSync").await?;
    let (_, end) = writes(&s, 0).await?;
    let (begin, middle) = writes(&s, 1).await?;
    let (last, _) = writes(&s, 2).await?;
    ensure!(end <= begin && middle <= last, "{end} {begin} {middle} {last}");
    let report: Value =
        serde_json::from_str(&admin(&s, &["rollout", "status", "role/app", "-o", "json"], 0).await?)?;
    ensure!(
        report["kind"] == "Rollout"
            && report["accounts"][2]["wave"] == 2
            && report["accounts"][2]["state"] == "done"
            && report["stopped"] == false,
        "{report}"
    );
    let told = admin(&s, &["rollout", "resume", "role/app"], 1).await?;
    ensure!(told.contains("has not stopped"), "{told}");
    let told = admin(&s, &["rollout", "abort", "role/app"], 1).await?;
    ensure!(told.contains("no account waits"), "{told}");
    admin(&s, &["rollout", "status", "account/x"], 2).await?;
    Ok(())
}

#[tokio::test]
async fn a_failure_stops_a_rollout_and_drift_is_corrected_all_the_same() -> Result<()> {
    let s = in_waves("stops").await?;
    for target in [0, 2] {
        make_custom(&s, target).await?;
    }
    s.apply(&s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    s.role_is("app", "True", "InSync").await?;

    // One account lacks the policy. What only narrows is made everywhere at once.
    let change = json!({"managedPolicies": ["ReadOnlyAccess", CUSTOM], "assumeRolePolicy": trust(true)});
    s.apply(&s.role("app", change)).await?;
    let role = s.role_is("app", "False", "RolloutStopped").await?;
    let told = format!("{:?}", role.status.as_ref().map(|status| &status.conditions));
    ensure!(
        told.contains("the rollout stopped after 1 failure; first in stops-1: ") && told.contains("custom"),
        "{told}"
    );
    accounts_are(
        &s,
        &[
            ("0", Reason::InSync, ""),
            ("1", Reason::InvalidSpec, "custom"),
            ("2", Reason::RolloutStopped, "not changed"),
        ],
    )
    .await?;
    ensure!(s.attached(0, "app").await?.len() == 2);
    ensure!(
        s.attached(2, "app").await? == [READ_ONLY],
        "the last account has the earlier policies"
    );
    for target in [0, 1, 2] {
        let role = s.in_aws(target, "app").await?.context("no role")?;
        let document = role.assume_role_policy_document.unwrap_or_default();
        ensure!(
            document.contains("PrincipalTag"),
            "{target} is narrowed at once: {document}"
        );
    }
    let shown = admin(&s, &["rollout", "status", "role/app"], 0).await?;
    for words in ["stopped", "stops-0  done", "stops-1  failed", "stops-2  waiting"] {
        ensure!(shown.contains(words), "{words}: {shown}");
    }

    // Drift in an account that has the change waits for nobody.
    s.hands(0)
        .await?
        .detach_role_policy()
        .role_name("app")
        .policy_arn(READ_ONLY)
        .send()
        .await?;
    s.look_again("app").await?;
    until("the drift to be corrected", || async {
        let attached = s.attached(0, "app").await.map_err(|e| e.to_string())?;
        (attached.len() == 2)
            .then_some(())
            .ok_or_else(|| format!("{attached:?}"))
    })
    .await?;

    // Another process continues where this one was.
    s.end_controller("TERM").await?;
    let before = s.calls(2, 0).await?.total;
    s.start_controller()?;
    until("the account to be read again", || async {
        let calls = s.calls(2, before).await.map_err(|e| e.to_string())?;
        (calls.total >= 2)
            .then_some(())
            .ok_or_else(|| format!("{calls:?}"))
    })
    .await?;
    s.role_is("app", "False", "RolloutStopped").await?;
    holds_for(
        "the last account to keep its policies",
        Duration::from_secs(2),
        || async {
            let attached = s.attached(2, "app").await.map_err(|e| e.to_string())?;
            (attached == [READ_ONLY])
                .then_some(())
                .ok_or_else(|| format!("{attached:?}"))
        },
    )
    .await?;

    let told = admin(&s, &["rollout", "resume", "role/app"], 0).await?;
    ensure!(told.contains("the rollout continues despite 1 failure"), "{told}");
    accounts_are(
        &s,
        &[("1", Reason::InvalidSpec, "custom"), ("2", Reason::InSync, "")],
    )
    .await?;
    ensure!(s.attached(2, "app").await?.len() == 2);
    make_custom(&s, 1).await?;
    s.look_again("app").await?;
    s.role_is("app", "True", "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn an_aborted_rollout_leaves_the_other_accounts_until_the_spec_changes() -> Result<()> {
    let s = in_waves("aborted").await?;
    s.apply(&s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    // The waves of the role cannot put the last account of the owner's order first.
    let names: Vec<&String> = s.targets.iter().map(|(name, _)| name).collect();
    let slowly = |description: &str| {
        json!({"managedPolicies": ["ReadOnlyAccess"], "description": description,
            "rollout": {"waves": [{"names": [names[2]]}], "soak": "1h"}})
    };
    s.apply(&s.role("app", slowly("second"))).await?;
    accounts_are(
        &s,
        &[
            ("0", Reason::InSync, ""),
            (
                "1",
                Reason::RollingOut,
                "waits for the end of spec.rollout.soak after wave 0.2, until ",
            ),
            ("2", Reason::RollingOut, "waits for wave 1.2"),
        ],
    )
    .await?;
    let shown = admin(&s, &["rollout", "status", "role/app"], 0).await?;
    ensure!(
        shown.contains("Wave 1.2 waits for the end of spec.rollout.soak after wave 0.2, until 2"),
        "{shown}"
    );
    let told = admin(&s, &["rollout", "abort", "role/app"], 0).await?;
    ensure!(
        told.contains("is aborted, and 2 accounts are not changed"),
        "{told}"
    );
    let role = s.role_is("app", "False", "RolloutStopped").await?;
    ensure!(format!("{:?}", role.status).contains("the rollout was aborted"));
    let description = async |target: usize| -> Result<String> {
        let role = s.hands(target).await?.get_role().role_name("app").send().await?;
        Ok(role.role.and_then(|role| role.description).unwrap_or_default())
    };
    ensure!(description(0).await? == "second" && description(2).await?.is_empty());

    // The request is about that generation only.
    let mut quick = slowly("third");
    quick["rollout"]["soak"] = json!("0s");
    s.apply(&s.role("app", quick)).await?;
    s.role_is("app", "True", "InSync").await?;
    ensure!(description(2).await? == "third");
    Ok(())
}

#[tokio::test]
async fn what_is_no_change_of_the_spec_is_not_staged_and_removal_waits_for_nothing() -> Result<()> {
    let s = in_waves("unstaged").await?;
    // An account that cannot be used delays no other one, and follows when it can.
    s.change_account(0, json!({"suspend": true})).await?;
    s.account_is(0, "Suspended").await?;
    s.apply(&s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    accounts_are(
        &s,
        &[
            ("0", Reason::Suspended, ""),
            ("1", Reason::InSync, ""),
            ("2", Reason::InSync, ""),
        ],
    )
    .await?;
    s.change_account(0, json!({"suspend": false})).await?;
    s.role_is("app", "True", "InSync").await?;

    // Removal narrows.
    let stuck = json!([{"action": "DeleteRole", "code": "Throttling", "status": 400}]);
    s.world.double.faults(&s.targets[0].1, stuck).await?;
    let patch = Patch::Merge(json!({"spec": {"ensure": "Absent"}}));
    s.roles().patch("app", &PatchParams::default(), &patch).await?;
    until("the role to be gone in the last wave", || async {
        let owned = s.owned_roles(2).await.map_err(|e| e.to_string())?;
        owned.is_empty().then_some(()).ok_or_else(|| format!("{owned:?}"))
    })
    .await?;
    ensure!(s.owned_roles(0).await? == ["app"]);
    s.world.double.faults(&s.targets[0].1, json!([])).await?;
    s.role_is("app", "True", "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn a_role_without_waves_is_changed_everywhere_at_once_with_the_same_calls() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "at-once", 2, |account| {
        account["spec"]["driftInterval"] = json!("1h");
    })
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    s.account_is(1, "InSync").await?;
    let start = [s.calls(0, 0).await?.total, s.calls(1, 0).await?.total];
    let slow = json!([{"action": "CreateRole", "times": 1, "latency_ms": 4000}]);
    s.world.double.faults(&s.targets[0].1, slow).await?;
    s.apply(&s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    until("the role to be in the fast account", || async {
        let attached = s.attached(1, "app").await.map_err(|e| e.to_string())?;
        (attached.len() == 1)
            .then_some(())
            .ok_or_else(|| format!("{attached:?}"))
    })
    .await?;
    ensure!(
        s.owned_roles(0).await?.is_empty(),
        "the slow account is waited for"
    );
    s.role_is("app", "True", "InSync").await?;
    for (target, start) in start.into_iter().enumerate() {
        let calls = s.calls(target, start).await?.calls;
        let of_ours = calls.iter().filter(|call| call.app == "rolectl");
        let actions: Vec<&str> = of_ours.map(|call| call.action.as_str()).collect();
        ensure!(actions == ["CreateRole", "AttachRolePolicy"], "{actions:?}");
    }
    let plan = admin(&s, &["rollout", "status", "role/app"], 0).await?;
    ensure!(plan.contains("complete"), "{plan}");
    Ok(())
}
