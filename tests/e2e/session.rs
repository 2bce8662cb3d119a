//! The session's life: locked, unlocked, expiring, expired, refused.

use anyhow::{Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rolectl_crds::Phase;
use rolectl_tests::scenario::{Operator, Scenario, key_env};
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
        a["spec"]["requestsPerSecond"] = json!(2);
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

async fn set(s: &Scenario<'_>, key: &str, value: &str) -> Result<()> {
    let patch = json!({"data": {key: ByteString(value.as_bytes().to_vec())}});
    secrets(s)
        .patch(&s.secret(), &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

#[tokio::test]
async fn one_refused_assume_role_locks_nothing_when_aws_accepts_the_session() -> Result<()> {
    for code in ["ExpiredToken", "InvalidClientTokenId"] {
        let name = format!("confirmed-{}", code.to_lowercase());
        let s = Scenario::new(crate::world().await?, &name, 3).await?;
        s.unlock().await?;
        let asked = async || -> Result<usize> {
            let calls = s.world.double.calls(&s.main, 0).await?;
            Ok(calls
                .by_action()
                .get("GetCallerIdentity")
                .copied()
                .unwrap_or_default())
        };
        let before = asked().await?;
        let refused =
            json!([{"action": "AssumeRole", "code": code, "status": 403, "message": "refused", "times": 3}]);
        s.world.double.faults(&s.main, refused).await?;
        s.start_controller()?;
        for target in 0..3 {
            s.account_is(target, "InSync").await?;
        }
        s.session_is(Phase::Unlocked).await?;
        // One for taking the session up; the three accounts share the others.
        let asked = asked().await? - before;
        ensure!((2..=4).contains(&asked), "{asked} GetCallerIdentity");
        let reasons = s.event_reasons("default", &s.name).await?;
        ensure!(
            !reasons.iter().any(|r| r == "Expired" || r == "Locked"),
            "{reasons:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_with_one_damaged_value_locks_and_says_which() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "damaged", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    let whole = secrets(&s).get(&s.secret()).await?.data.unwrap_or_default();
    let other = format!("arn:aws:iam::{}:user/other", s.main);
    for (key, value) in [
        ("secretAccessKey", "x".repeat(40)),
        ("principalArn", other),
        ("principalArn", "operator".to_owned()),
        ("sessionToken", "not a token".to_owned()),
    ] {
        set(&s, key, &value).await?;
        let session = s.session_is(Phase::Locked).await?;
        let shown = format!("{:?}", session.status);
        ensure!(
            shown.contains(key) && shown.contains("damaged") && shown.contains("rolectl unlock"),
            "{key}: {shown}"
        );
        s.account_is(0, "SessionLocked").await?;
        let right = whole.get(key).map(|v| String::from_utf8_lossy(&v.0).into_owned());
        set(&s, key, &right.unwrap_or_default()).await?;
        s.session_is(Phase::Unlocked).await?;
        s.account_is(0, "InSync").await?;
    }
    Ok(())
}

#[tokio::test]
async fn another_operator_takes_over_and_each_unlock_is_an_event() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "takeover", 1, |a| {
        a["spec"]["requestsPerSecond"] = json!(4);
        a["spec"]["burst"] = json!(1);
    })
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    let roles: Vec<_> = (0..6).map(|n| s.role(&format!("app-{n}"), json!({}))).collect();
    s.apply(&json!({"apiVersion": "v1", "kind": "List", "items": roles}))
        .await?;
    s.begun(2).await?;
    let second = Operator::enroll(&s.world.double, &s.main, "second").await?;
    let code = second.code().await?;
    let unlock = ["unlock", "--session", &s.name, "--mfa", &code, "--replace"];
    let output = s.rolectl_as("operator", &unlock, &key_env(&second.key)).await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for n in 0..6 {
        s.role_is(&format!("app-{n}"), "True", "InSync").await?;
    }
    let user = |name: &str| format!("arn:aws:iam::{}:user/{name}", s.main);
    let session = s.session_is(Phase::Unlocked).await?;
    let by = session.status.unwrap_or_default().unlocked_by;
    ensure!(by == Some(user("second")), "{by:?}");
    let events: Api<k8s_openapi::api::core::v1::Event> = Api::namespaced(s.client.clone(), "default");
    until("an event for each unlock", || async {
        let all = events
            .list(&kube::api::ListParams::default())
            .await
            .map_err(|e| e.to_string())?;
        let ours = all
            .into_iter()
            .filter(|e| e.involved_object.name.as_deref() == Some("takeover"));
        let notes: Vec<String> = ours.filter_map(|e| e.message).collect();
        let first = notes
            .iter()
            .any(|n| n.starts_with(&format!("unlocked by {} until ", user("operator"))));
        let other = notes.iter().any(|n| {
            n.starts_with(&format!("unlocked by {} until ", user("second")))
                && n.contains(&format!("in place of the session of {}", user("operator")))
                && n.contains("was ended")
        });
        if first && other {
            Ok(())
        } else {
            Err(format!("{notes:?}"))
        }
    })
    .await
}

#[tokio::test]
async fn a_deleted_mfa_session_takes_its_secret_with_it_and_no_other() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "deleted", 0).await?;
    s.start_controller()?;
    s.unlock().await?;
    let session = s.session_is(Phase::Unlocked).await?;
    let secret = secrets(&s).get(&s.secret()).await?;
    let owners = secret.metadata.owner_references.unwrap_or_default();
    ensure!(
        owners.len() == 1 && Some(&owners[0].uid) == session.metadata.uid.as_ref(),
        "without a controller Kubernetes would leave the Secret: {owners:?}"
    );
    let delete = ["delete", "mfasession", s.name.as_str(), "--timeout=30s"];
    s.world.plane.kubectl(&delete).await?;
    until("the Secret to be deleted", || async {
        match secrets(&s).get_opt(&s.secret()).await {
            Ok(None) => Ok(()),
            other => Err(format!("{:?}", other.map(|_| "still there"))),
        }
    })
    .await?;
    // A Secret of that name which is not ours stays.
    let object = json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "MfaSession", "metadata": {"name": s.name},
        "spec": {"accountId": s.main}});
    let foreign = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": s.secret(), "namespace": s.system()}, "type": "Opaque"});
    s.apply(&foreign).await?;
    s.apply(&object).await?;
    s.session_is(Phase::Locked).await?;
    s.world.plane.kubectl(&delete).await?;
    until("the controller to have looked at it", || async {
        let log = std::fs::read_to_string(s.log()).map_err(|e| e.to_string())?;
        if log.contains("so it is not deleted") {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    })
    .await?;
    ensure!(secrets(&s).get_opt(&s.secret()).await?.is_some());
    Ok(())
}
