//! Nothing that a tenant declares is without bound, and nothing outlasts the right to it.

use anyhow::{Result, ensure};
use kube::api::{ListParams, Patch, PatchParams};
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::{Value, json};

/// Actions that change something in AWS.
const WRITES: [&str; 4] = ["CreateRole", "AttachRolePolicy", "PutRolePolicy", "TagRole"];

/// How long after a right was taken away a call may still be answered: the watch brings the change, and one call may be under
/// way.
const UNDER_WAY_MS: i64 = 1500;

/// Waits until every role has one of these reasons.
async fn all_are(s: &Scenario<'_>, reasons: &[&str]) -> Result<()> {
    until(&format!("all roles to be {reasons:?}"), || async {
        let roles = s.roles().list(&ListParams::default()).await;
        let roles = roles.map_err(|e| e.to_string())?;
        let other = roles.iter().find_map(|role| {
            let conditions = role.status.iter().flat_map(|s| &s.conditions);
            let reason = conditions
                .clone()
                .find(|c| c.type_ == "Ready")
                .map(|c| c.reason.clone());
            let current =
                role.status.as_ref().and_then(|s| s.observed_generation) == role.metadata.generation;
            let is = current && reason.as_deref().is_some_and(|reason| reasons.contains(&reason));
            (!is).then(|| format!("{:?}: {reason:?}", role.metadata.name))
        });
        other.map_or(Ok(()), Err)
    })
    .await
}

async fn suspend_all(s: &Scenario<'_>, suspend: bool) -> Result<()> {
    for role in s.roles().list(&ListParams::default()).await? {
        let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
        let name = role.metadata.name.unwrap_or_default();
        s.roles().patch(&name, &PatchParams::default(), &patch).await?;
    }
    Ok(())
}

#[tokio::test]
async fn calls_that_are_queued_when_a_right_is_taken_away_are_not_made() -> Result<()> {
    let slow = |a: &mut Value| {
        a["spec"]["requestsPerSecond"] = json!(2);
        a["spec"]["burst"] = json!(1);
    };
    let s = Scenario::with(crate::world().await?, "taken-away", 1, slow).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    // 240 calls, which take two minutes. The role of each is made first.
    let roles: Vec<Value> = (0..80)
        .map(|n| {
            let policies = json!({"managedPolicies": ["ReadOnlyAccess", "AdministratorAccess"]});
            s.role(&format!("app-{n:02}"), policies)
        })
        .collect();
    s.apply(&json!({"apiVersion": "v1", "kind": "List", "items": roles}))
        .await?;
    let none = json!({"allowedNamespaces": {"from": "None", "names": null}});
    let again = json!({"allowedNamespaces": {"from": "Names", "names": [s.name]}});
    let (suspended, resumed) = (json!({"suspend": true}), json!({"suspend": false}));
    let guardrail = json!({"guardrails": {"deniedManagedPolicies": ["AdministratorAccess"]}});
    let lifted = json!({"guardrails": null});
    let mut begun = 0;
    for (taken, given, reason) in [
        (Some(none), Some(again), "NamespaceNotAllowed"),
        (Some(suspended), Some(resumed), "Suspended"),
        (Some(guardrail), Some(lifted), "GuardrailViolated"),
        (None, None, "Suspended"),
    ] {
        begun += 2;
        s.begun(begun).await?;
        match taken {
            Some(spec) => s.change_account(0, spec).await?,
            None => suspend_all(&s, true).await?,
        }
        let now = jiff::Timestamp::now().as_millisecond();
        all_are(&s, &[reason]).await?;
        let calls = s.calls(0, 0).await?;
        let late = calls
            .calls
            .iter()
            .filter(|call| WRITES.contains(&call.action.as_str()) && call.at > now + UNDER_WAY_MS);
        let late: Vec<String> = late
            .map(|call| format!("{} +{} ms", call.action, call.at - now))
            .collect();
        ensure!(late.is_empty(), "{reason}: {late:?}");
        begun = calls.by_action().get("CreateRole").copied().unwrap_or_default();
        ensure!(begun < roles.len(), "all was done before anything was taken away");
        match given {
            Some(spec) => s.change_account(0, spec).await?,
            None => suspend_all(&s, false).await?,
        }
    }
    // What was half made is completed.
    s.change_account(0, json!({"requestsPerSecond": 200, "burst": 200}))
        .await?;
    all_are(&s, &["InSync"]).await?;
    for role in s.owned_roles(0).await? {
        ensure!(s.attached(0, &role).await?.len() == 2, "{role}");
    }
    Ok(())
}

/// How often a target was swept.
async fn sweeps(s: &Scenario<'_>, target: usize) -> Result<usize> {
    let calls = s.calls(target, 0).await?;
    Ok(calls.by_action().get("ListRoles").copied().unwrap_or_default())
}

#[tokio::test]
async fn a_tenant_learns_nothing_of_accounts_that_it_may_not_use_and_has_none_of_them_swept() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "elsewhere", 3, |a| {
        a["spec"]["driftInterval"] = json!("1h");
        a["metadata"]["labels"]["tier"] = json!("prod");
        if a["metadata"]["name"] != "elsewhere-0" {
            a["spec"]["allowedNamespaces"] = json!({"from": "None"});
        }
    })
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    for target in 0..3 {
        s.account_is(target, "InSync").await?;
    }
    let all = json!({"accounts": {"selector": {"matchLabels": {"scenario": "elsewhere"}}}});
    s.apply(&s.role("app", all)).await?;
    let role = s.role_is("app", "False", "NamespaceNotAllowed").await?;
    let status = role.status.unwrap_or_default();
    let text = serde_json::to_string(&status)?;
    ensure!(
        text.contains("2 accounts that do not allow this namespace"),
        "{text}"
    );
    ensure!(status.summary.as_deref() == Some("1/3"), "{text}");
    for (name, id) in s.targets.iter().skip(1) {
        ensure!(
            !text.contains(name) && !text.contains(id),
            "{name} or {id} in {text}"
        );
    }
    // Named by name it is no secret.
    s.apply(&s.role("named", json!({"accounts": {"names": ["elsewhere-1"]}})))
        .await?;
    let named = s.role_is("named", "False", "NamespaceNotAllowed").await?;
    ensure!(format!("{:?}", named.status).contains("elsewhere-1"));

    // Asked for again and again, only the account that may be used is read, and not at each word.
    let before = [sweeps(&s, 0).await?, sweeps(&s, 1).await?, sweeps(&s, 2).await?];
    for _ in 0..10 {
        s.look_again("app").await?;
        s.look_again("named").await?;
    }
    until("the sweep that was asked for", || async {
        let now = sweeps(&s, 0).await.map_err(|e| e.to_string())?;
        if now > before[0] {
            Ok(())
        } else {
            Err("none yet".to_owned())
        }
    })
    .await?;
    ensure!(sweeps(&s, 0).await? <= before[0] + 2, "a sweep for each word");
    ensure!(
        [sweeps(&s, 1).await?, sweeps(&s, 2).await?] == before[1..],
        "others were swept"
    );

    // The owner of an account asks at the account.
    let patch =
        Patch::Merge(json!({"metadata": {"annotations": {rolectl_crds::RECONCILE_ANNOTATION: "now"}}}));
    let accounts: kube::Api<rolectl_crds::AwsAccount> = kube::Api::all(s.client.clone());
    accounts
        .patch("elsewhere-1", &PatchParams::default(), &patch)
        .await?;
    until("the owner's sweep", || async {
        let now = sweeps(&s, 1).await.map_err(|e| e.to_string())?;
        if now > before[1] {
            Ok(())
        } else {
            Err("none yet".to_owned())
        }
    })
    .await?;

    // A selector that matches nothing is a mistake, and says which key may be meant.
    let typo = json!({"accounts": {"selector": {"matchLabels": {"teir": "prod"}}}});
    s.apply(&s.role("typo", typo)).await?;
    let typo = s.role_is("typo", "False", "NoAccounts").await?;
    let text = serde_json::to_string(&typo.status)?;
    ensure!(
        text.contains("did you mean tier?") && text.contains("Stalled"),
        "{text}"
    );
    Ok(())
}

#[tokio::test]
async fn aws_that_fails_or_refuses_for_a_moment_costs_seconds() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "moment", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    let faults = json!([
        {"action": "CreateRole", "times": 4, "code": "ServiceUnavailable", "status": 503},
        {"action": "AttachRolePolicy", "times": 1, "code": "AccessDenied", "status": 403},
    ]);
    s.world.double.faults(&s.targets[0].1, faults).await?;
    let begun = std::time::Instant::now();
    s.apply(&s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    let took = begun.elapsed();
    ensure!(took < std::time::Duration::from_secs(25), "{took:?}");
    Ok(())
}

#[tokio::test]
async fn an_accounts_counts_follow_every_change() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "counts", 1, |a| {
        a["spec"]["driftInterval"] = json!("1h")
    })
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    let is = async |what: &str, wanted: fn(&rolectl_crds::AwsAccountStatus) -> bool| {
        let accounts: kube::Api<rolectl_crds::AwsAccount> = kube::Api::all(s.client.clone());
        let name = &s.targets[0].0;
        until(what, || async {
            let account = accounts.get(name).await.map_err(|e| e.to_string())?;
            let status = account.status.unwrap_or_default();
            if wanted(&status) {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await
    };
    let before = sweeps(&s, 0).await?;
    for name in ["one", "two"] {
        s.apply(&s.role(name, json!({"managedPolicies": ["ReadOnlyAccess"]})))
            .await?;
        s.role_is(name, "True", "InSync").await?;
    }
    is("2 managed roles", |s| s.roles.is_some_and(|r| r.managed == 2)).await?;
    let report = json!({"managedPolicies": ["AdministratorAccess"], "drift": "Report"});
    s.apply(&s.role("one", report)).await?;
    s.role_is("one", "False", "Drifted").await?;
    is("1 drifted role", |s| s.roles.is_some_and(|r| r.drifted == 1)).await?;
    ensure!(sweeps(&s, 0).await? == before, "no sweep was needed");
    until("the event", || async {
        let reasons = s
            .event_reasons("counts", "one")
            .await
            .map_err(|e| e.to_string())?;
        if reasons.iter().any(|r| r == "Drifted") {
            Ok(())
        } else {
            Err(format!("{reasons:?}"))
        }
    })
    .await?;
    // An object that was taken away by force leaves an orphan, and a namespace that is no longer allowed leaves its roles.
    s.roles()
        .patch(
            "two",
            &PatchParams::default(),
            // Suspended, so that the controller does not set its finalizer again.
            &Patch::Merge(json!({"metadata": {"finalizers": null}, "spec": {"suspend": true}})),
        )
        .await?;
    s.roles()
        .delete("two", &kube::api::DeleteParams::default())
        .await?;
    s.change_account(0, json!({"allowedNamespaces": {"from": "None", "names": null}}))
        .await?;
    is("an orphan and a role that is not allowed", |s| {
        let owner = s.orphans.iter().any(|o| o == "test/counts/two");
        owner && s.roles.is_some_and(|r| (r.orphaned, r.violating) == (1, 1))
    })
    .await?;
    let listed = async |more: &[&str]| -> Result<String> {
        let args = [&["get", "orphans", "--account", &s.targets[0].0], more].concat();
        let output = s.rolectl_as("admin", &args, &[]).await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{error}");
        Ok(String::from_utf8(output.stdout)?)
    };
    s.role_is("one", "False", "NamespaceNotAllowed").await?;
    insta::assert_snapshot!("get_orphans", listed(&[]).await?);
    let json: serde_json::Value =
        serde_json::from_str(&listed(&["--state", "orphaned", "-o", "json"]).await?)?;
    let names: Vec<_> = json["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|line| &line["name"])
        .collect();
    ensure!(names == ["two"], "{json}");
    Ok(())
}
