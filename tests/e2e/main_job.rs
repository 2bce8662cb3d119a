//! The main job: unlock once, apply, drift is mended, lock parks, unlock goes on.

use std::time::Duration;

use anyhow::{Result, ensure};
use rolectl_crds::{OWNER_TAG, Phase};
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::{holds_for, until};
use serde_json::json;

const ADMIN: &str = "arn:aws:iam::aws:policy/AdministratorAccess";
const READ_ONLY: &str = "arn:aws:iam::aws:policy/ReadOnlyAccess";

#[tokio::test]
async fn an_applied_role_stands_in_both_accounts_with_every_property() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "props", 2).await?;
    s.start_controller()?;
    let out = s.unlock().await?;
    ensure!(
        out.contains("props-0") && out.contains("props-1") && out.matches(" ok").count() == 2,
        "{out}"
    );
    s.apply(&s.role("app", json!({
        "path": "/team/", "description": "for $(account.name)", "maxSessionDuration": 7200,
        "managedPolicies": ["AdministratorAccess"], "permissionsBoundary": "PowerUserAccess",
        "inlinePolicies": {"in": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}},
        "tags": {"account": "$(account.id)"},
    }))).await?;
    let role = s.role_is("app", "True", "InSync").await?;
    let status = role.status.unwrap_or_default();
    ensure!(status.summary.as_deref() == Some("2/2"), "{:?}", status.summary);
    for (n, (name, id)) in s.targets.iter().enumerate() {
        let iam = s.hands(n).await?;
        let there = iam.get_role().role_name("app").send().await?.role.unwrap();
        ensure!(
            there.path == "/team/" && there.max_session_duration == Some(7200),
            "{there:?}"
        );
        ensure!(
            there.description == Some(format!("for {name}")),
            "{:?}",
            there.description
        );
        let boundary = there
            .permissions_boundary
            .and_then(|b| b.permissions_boundary_arn);
        ensure!(
            boundary.as_deref() == Some("arn:aws:iam::aws:policy/PowerUserAccess"),
            "{boundary:?}"
        );
        let tag = |key: &str| {
            there
                .tags
                .iter()
                .flatten()
                .find(|t| t.key == key)
                .map(|t| t.value.clone())
        };
        ensure!(
            tag(OWNER_TAG).as_deref() == Some("test/props/app") && tag("account").as_ref() == Some(id),
            "{:?}",
            there.tags
        );
        let attached = s.attached(n, "app").await?;
        ensure!(attached == [ADMIN], "{attached:?}");
        ensure!(
            iam.list_role_policies()
                .role_name("app")
                .send()
                .await?
                .policy_names
                == ["in"]
        );
        let entry = status.accounts.iter().find(|a| a.name == *name).unwrap();
        ensure!(
            entry.arn.as_ref() == Some(&there.arn) && entry.role_id.as_ref() == Some(&there.role_id),
            "{entry:?}"
        );
    }
    let table = s.world.plane.kubectl(&["get", "iamroles", "-n", "props"]).await?;
    ensure!(table.contains("READY   ACCOUNTS   REASON"), "{table}");

    // A change in the spec is a change in AWS.
    s.apply(&s.role(
        "app",
        json!({"path": "/team/", "description": "other", "managedPolicies": ["ReadOnlyAccess"], "exclusive": {"boundary": true}}),
    ))
    .await?;
    s.role_is("app", "True", "InSync").await?;
    for n in 0..2 {
        let iam = s.hands(n).await?;
        let there = iam.get_role().role_name("app").send().await?.role.unwrap();
        ensure!(
            there.description.as_deref() == Some("other") && there.permissions_boundary.is_none(),
            "{there:?}"
        );
        ensure!(
            there.max_session_duration == Some(3600) && there.tags.iter().flatten().count() == 1,
            "{there:?}"
        );
        let attached = s.attached(n, "app").await?;
        ensure!(attached == [READ_ONLY], "{attached:?}");
        ensure!(
            iam.list_role_policies()
                .role_name("app")
                .send()
                .await?
                .policy_names
                .is_empty()
        );
    }

    // The object goes, and the roles with it.
    s.world
        .plane
        .kubectl(&["delete", "iamrole", "app", "-n", "props", "--timeout=60s"])
        .await?;
    for n in 0..2 {
        ensure!(s.owned_roles(n).await?.is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn every_hand_made_change_is_mended_within_the_drift_interval() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "drift", 1, |a| {
        a["spec"]["driftInterval"] = json!("10s")
    })
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role(
        "app",
        json!({"managedPolicies": ["AdministratorAccess"], "tags": {"team": "x"}, "exclusive": {"boundary": true}}),
    ))
    .await?;
    s.role_is("app", "True", "InSync").await?;
    let iam = s.hands(0).await?;
    let id = iam
        .get_role()
        .role_name("app")
        .send()
        .await?
        .role
        .unwrap()
        .role_id;
    iam.detach_role_policy()
        .role_name("app")
        .policy_arn(ADMIN)
        .send()
        .await?;
    iam.attach_role_policy()
        .role_name("app")
        .policy_arn(READ_ONLY)
        .send()
        .await?;
    iam.untag_role()
        .role_name("app")
        .tag_keys("team")
        .tag_keys(OWNER_TAG)
        .send()
        .await?;
    iam.update_role()
        .role_name("app")
        .description("by hand")
        .max_session_duration(7200)
        .send()
        .await?;
    iam.put_role_permissions_boundary()
        .role_name("app")
        .permissions_boundary(READ_ONLY)
        .send()
        .await?;
    let open = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]});
    iam.update_assume_role_policy()
        .role_name("app")
        .policy_document(open.to_string())
        .send()
        .await?;
    iam.put_role_policy().role_name("app").policy_name("hand")
        .policy_document(json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}).to_string()).send().await?;
    until("all of it to be mended", || async {
        let role = iam
            .get_role()
            .role_name("app")
            .send()
            .await
            .map_err(|e| e.to_string())?
            .role
            .unwrap();
        let attached = iam
            .list_attached_role_policies()
            .role_name("app")
            .send()
            .await
            .map_err(|e| e.to_string())?;
        let arns: Vec<_> = attached
            .attached_policies
            .unwrap_or_default()
            .into_iter()
            .filter_map(|p| p.policy_arn)
            .collect();
        let inline = iam
            .list_role_policies()
            .role_name("app")
            .send()
            .await
            .map_err(|e| e.to_string())?
            .policy_names;
        let mended = role.role_id == id
            && arns == [ADMIN]
            && inline.is_empty()
            && role.permissions_boundary.is_none()
            && role.description.as_deref().unwrap_or_default().is_empty()
            && role.max_session_duration == Some(3600)
            && role.tags.iter().flatten().count() == 2
            && role
                .assume_role_policy_document
                .as_deref()
                .is_some_and(|d| d.contains("MultiFactorAuthPresent"));
        if mended {
            Ok(())
        } else {
            Err(format!("{role:?} {arns:?} {inline:?}"))
        }
    })
    .await?;
    until("the event", || async {
        let reasons = s.event_reasons("drift", "app").await.map_err(|e| e.to_string())?;
        if reasons.iter().any(|r| r == "DriftCorrected") {
            Ok(())
        } else {
            Err(format!("{reasons:?}"))
        }
    })
    .await?;

    // Deleted by hand: made again. Its namesake with another id, made by hand, would be refused.
    iam.detach_role_policy()
        .role_name("app")
        .policy_arn(ADMIN)
        .send()
        .await?;
    iam.delete_role().role_name("app").send().await?;
    until("the role to be made again", || async {
        iam.get_role()
            .role_name("app")
            .send()
            .await
            .map(|_| ())
            .map_err(|e| format!("{e:?}"))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn an_annotation_asks_for_a_look_now() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "annotate", 1, |a| {
        a["spec"]["driftInterval"] = json!("1h")
    })
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    let iam = s.hands(0).await?;
    iam.detach_role_policy()
        .role_name("app")
        .policy_arn(READ_ONLY)
        .send()
        .await?;
    s.world
        .plane
        .kubectl(&[
            "annotate",
            "iamrole",
            "app",
            "-n",
            "annotate",
            "iam.rolectl.dev/reconcile=1",
        ])
        .await?;
    until("the policy to be back", || async {
        let there = iam
            .list_attached_role_policies()
            .role_name("app")
            .send()
            .await
            .map_err(|e| format!("{e:?}"))?;
        if there.attached_policies.unwrap_or_default().len() == 1 {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    })
    .await
}

#[tokio::test]
async fn while_locked_no_call_is_made_and_an_unlock_wakes_all() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "park", 2, |a| {
        a["spec"]["driftInterval"] = json!("10s")
    })
    .await?;
    s.start_controller()?;
    s.session_is(Phase::Locked).await?;
    for n in 0..5 {
        s.apply(&s.role(&format!("app-{n}"), json!({}))).await?;
    }
    for n in 0..5 {
        s.role_is(&format!("app-{n}"), "Unknown", "SessionLocked").await?;
    }
    // A role that never became ours needs no session to go.
    s.world
        .plane
        .kubectl(&["delete", "iamrole", "app-4", "-n", "park", "--timeout=30s"])
        .await?;
    let silent = || async {
        let calls = s
            .world
            .double
            .calls(&s.main, 0)
            .await
            .map_err(|e| e.to_string())?
            .by_action()
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v))
            .collect::<Vec<_>>();
        // The root keys that set the scene are of the main account too; only STS is the controller's there.
        if calls
            .iter()
            .any(|(action, _)| action == "AssumeRole" || action == "GetCallerIdentity")
        {
            return Err(format!("{calls:?}"));
        }
        Ok(())
    };
    holds_for("silence while locked", Duration::from_secs(3), silent).await?;
    s.unlock().await?;
    for n in 0..4 {
        s.role_is(&format!("app-{n}"), "True", "InSync").await?;
    }
    s.lock().await?;
    s.session_is(Phase::Locked).await?;
    for n in 0..4 {
        let role = s.role_is(&format!("app-{n}"), "Unknown", "SessionLocked").await?;
        let accounts = role.status.unwrap_or_default().accounts;
        ensure!(
            accounts.iter().all(|a| a.arn.is_some() && a.role_id.is_some()),
            "what is known is kept: {accounts:?}"
        );
    }
    let mut before = vec![];
    for n in 0..2 {
        before.push(s.calls(n, 0).await?.total);
    }
    let sts = s.world.double.calls(&s.main, 0).await?.total;
    // Deleting waits for the session, and says so.
    s.world
        .plane
        .kubectl(&["delete", "iamrole", "app-0", "-n", "park", "--wait=false"])
        .await?;
    let role = s.role_is("app-0", "Unknown", "SessionLocked").await?;
    s.apply(&s.role("app-1", json!({"description": "changed while locked"})))
        .await?;
    s.role_is("app-1", "Unknown", "SessionLocked").await?;
    // Longer than the drift interval.
    holds_for("silence while locked", Duration::from_secs(13), || async {
        for (n, before) in before.iter().enumerate() {
            let now = s.calls(n, 0).await.map_err(|e| e.to_string())?.total;
            if now != *before {
                return Err(format!("{now} calls, not {before}"));
            }
        }
        let now = s
            .world
            .double
            .calls(&s.main, 0)
            .await
            .map_err(|e| e.to_string())?
            .total;
        if now == sts {
            Ok(())
        } else {
            Err("STS was called".to_owned())
        }
    })
    .await?;
    drop(role);
    s.unlock().await?;
    for n in 1..4 {
        s.role_is(&format!("app-{n}"), "True", "InSync").await?;
    }
    s.world
        .plane
        .kubectl(&[
            "wait",
            "--for=delete",
            "iamrole/app-0",
            "-n",
            "park",
            "--timeout=60s",
        ])
        .await?;
    ensure!(s.owned_roles(0).await? == ["app-1", "app-2", "app-3"]);
    s.assert_no_secret("the controller's log", &std::fs::read_to_string(s.log())?)?;
    Ok(())
}

#[tokio::test]
async fn ensure_absent_removes_what_is_ours_and_an_account_that_leaves_loses_its_role() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "absent", 2).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    s.apply(&s.role(
        "app",
        json!({"accounts": {"names": ["absent-1"]}, "managedPolicies": ["ReadOnlyAccess"]}),
    ))
    .await?;
    let role = s.role_is("app", "True", "InSync").await?;
    ensure!(role.status.unwrap_or_default().summary.as_deref() == Some("1/1"));
    ensure!(s.owned_roles(0).await?.is_empty() && s.owned_roles(1).await? == ["app"]);
    s.apply(&s.role("app", json!({"ensure": "Absent"}))).await?;
    let role = s.role_is("app", "True", "InSync").await?;
    ensure!(role.status.unwrap_or_default().summary.as_deref() == Some("2/2"));
    ensure!(s.owned_roles(1).await?.is_empty());
    Ok(())
}
