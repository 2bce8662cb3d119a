//! The session's life: locked, unlocked, expiring, expired, refused.

use anyhow::{Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rolectl_crds::Phase;
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::json;

fn secrets(s: &Scenario<'_>) -> Api<Secret> {
    Api::namespaced(s.client.clone(), &s.system())
}

async fn end_in(s: &Scenario<'_>, seconds: i64) -> Result<()> {
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    let patch = json!({"data": {"expiration": ByteString(end.to_string().into_bytes())}});
    secrets(s)
        .patch(&s.secret(), &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_session_warns_before_its_end_parks_at_it_and_goes_on_at_the_next_unlock() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "expiry", 1).await?;
    s.world
        .plane
        .kubectl(&[
            "patch",
            "mfasession",
            "expiry",
            "--type=merge",
            "-p",
            r#"{"spec":{"expiryWarning":"4s"}}"#,
        ])
        .await?;
    s.start_controller()?;
    s.unlock().await?;
    let session = s.session_is(Phase::Unlocked).await?;
    let status = session.status.unwrap_or_default();
    ensure!(
        status.unlocked_by.as_deref() == Some(&*format!("arn:aws:iam::{}:user/operator", s.main)),
        "{status:?}"
    );
    ensure!(status.expires_at.is_some() && status.unlocked_at.is_some());
    s.apply(&s.role("app", json!({}))).await?;
    s.role_is("app", "True", "InSync").await?;
    end_in(&s, 8).await?;
    s.session_is(Phase::Expiring).await?;
    s.role_is("app", "True", "InSync").await?;
    s.session_is(Phase::Expired).await?;
    s.role_is("app", "Unknown", "SessionLocked").await?;
    until("an event for each turn", || async {
        let reasons = s
            .event_reasons("default", "expiry")
            .await
            .map_err(|e| e.to_string())?;
        let all = ["Unlocked", "Expiring", "Expired"]
            .iter()
            .all(|r| reasons.iter().any(|have| have == r));
        if all { Ok(()) } else { Err(format!("{reasons:?}")) }
    })
    .await?;
    s.unlock().await?;
    s.role_is("app", "True", "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn a_session_that_aws_ends_early_is_noticed_and_not_tried_again() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "revoked", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    let secret = secrets(&s).get(&s.secret()).await?;
    let key = secret
        .data
        .unwrap_or_default()
        .remove("accessKeyId")
        .map(|k| String::from_utf8(k.0))
        .transpose()?
        .unwrap_or_default();
    s.world.double.expire(&key, Some(-1), None).await?;
    // A new account makes the controller use the session.
    let id = &s.targets[0].1;
    s.world
        .plane
        .kubectl(&[
            "patch",
            "awsaccount",
            "revoked-0",
            "--type=merge",
            "-p",
            r#"{"spec":{"driftInterval":"1h"}}"#,
        ])
        .await?;
    let session = s.session_is(Phase::Expired).await?;
    ensure!(
        format!("{:?}", session.status).contains("rolectl unlock"),
        "says what to do"
    );
    s.account_is(0, "SessionLocked").await?;
    let calls = s.world.double.calls(&s.main, 0).await?.total;
    rolectl_tests::wait::holds_for(
        "silence after the refusal",
        std::time::Duration::from_secs(3),
        || async {
            let now = s
                .world
                .double
                .calls(&s.main, 0)
                .await
                .map_err(|e| e.to_string())?
                .total;
            if now == calls {
                Ok(())
            } else {
                Err(format!("{now} calls"))
            }
        },
    )
    .await?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    let _ = id;
    Ok(())
}

#[tokio::test]
async fn what_the_secret_claims_is_checked_with_aws() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "forged", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.session_is(Phase::Unlocked).await?;
    // Only another user may unlock from now on; the Secret says that it was that user.
    let other = format!("arn:aws:iam::{}:user/other", s.main);
    let patch = json!({"spec": {"userArn": other}}).to_string();
    s.world
        .plane
        .kubectl(&["patch", "mfasession", "forged", "--type=merge", "-p", &patch])
        .await?;
    let claim = json!({"data": {"principalArn": ByteString(other.clone().into_bytes())}});
    secrets(&s)
        .patch(&s.secret(), &PatchParams::default(), &Patch::Merge(&claim))
        .await?;
    let session = s.session_is(Phase::Locked).await?;
    ensure!(
        format!("{:?}", session.status).contains("only"),
        "{:?}",
        session.status
    );
    s.account_is(0, "SessionLocked").await?;
    Ok(())
}

#[tokio::test]
async fn no_credential_shows_in_logs_statuses_or_events_even_at_trace() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "canary", 1).await?;
    s.start_controller_with(&[("RUST_LOG", "trace")])?;
    let mut shown = s.unlock().await?;
    let data = secrets(&s).get(&s.secret()).await?.data.unwrap_or_default();
    let secret = |key: &str| {
        data.get(key)
            .map(|v| String::from_utf8_lossy(&v.0).into_owned())
            .unwrap_or_default()
    };
    let credentials = [secret("secretAccessKey"), secret("sessionToken")];
    ensure!(credentials.iter().all(|c| c.len() > 20), "the canary is alive");
    s.apply(&s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    s.apply(&s.role("app", json!({"managedPolicies": ["Nope"]})))
        .await?;
    s.role_is("app", "False", "InvalidSpec").await?;
    s.lock().await?;
    s.role_is("app", "Unknown", "SessionLocked").await?;
    shown += &std::fs::read_to_string(s.log())?;
    for kind in ["iamroles,awsaccounts,mfasessions", "events"] {
        shown += &s.world.plane.kubectl(&["get", kind, "-A", "-o", "yaml"]).await?;
    }
    ensure!(shown.contains("TRACE"), "the log is at trace");
    ensure!(
        !credentials.iter().any(|c| shown.contains(c.as_str())),
        "a credential of the session shows"
    );
    s.assert_no_secret("all output", &shown)
}

#[tokio::test]
async fn a_lock_stops_what_waits_for_its_turn_and_the_unlock_finishes_it() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "midlock", 1, |a| {
        a["spec"]["requestsPerSecond"] = json!(4);
        a["spec"]["burst"] = json!(1);
    })
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    let roles: Vec<_> = (0..30)
        .map(|n| {
            s.role(
                &format!("app-{n:02}"),
                json!({"managedPolicies": ["ReadOnlyAccess"]}),
            )
        })
        .collect();
    s.apply(&json!({"apiVersion": "v1", "kind": "List", "items": roles}))
        .await?;
    s.begun(3).await?;
    s.lock().await?;
    s.session_is(Phase::Locked).await?;
    for n in 0..30 {
        s.role_is(&format!("app-{n:02}"), "Unknown", "SessionLocked")
            .await?;
    }
    let calls = s.calls(0, 0).await?.total;
    ensure!(calls < 60, "locked too late to show anything: {calls} calls");
    rolectl_tests::wait::holds_for(
        "silence while locked",
        std::time::Duration::from_secs(3),
        || async {
            let now = s.calls(0, 0).await.map_err(|e| e.to_string())?.total;
            if now == calls {
                Ok(())
            } else {
                Err(format!("{now} calls, not {calls}"))
            }
        },
    )
    .await?;
    s.unlock().await?;
    for n in 0..30 {
        s.role_is(&format!("app-{n:02}"), "True", "InSync").await?;
    }
    ensure!(s.owned_roles(0).await?.len() == 30);
    Ok(())
}
