//! A tenant has no hand on the session, nor on where its credentials go.

use anyhow::{Result, ensure};
use rolectl_crds::Phase;
use rolectl_tests::scenario::Scenario;
use serde_json::json;

#[tokio::test]
async fn a_tenant_can_neither_read_nor_change_nor_end_a_session() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "session-tenant", 1, |a| {
        a["spec"]["assumeRole"]["sessionPerRole"] = json!(true);
    })
    .await?;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "tenant", "namespace": s.name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "rolectl-edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "session-tenant"}]});
    s.apply(&binding).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    let (system, secret, account) = (s.system(), s.secret(), s.targets[0].0.as_str());
    let region = r#"{"spec": {"region": "eu-west-1"}}"#;
    for attempt in [
        vec!["get", "secret", &secret, "-n", &system],
        vec!["delete", "secret", &secret, "-n", &system],
        vec![
            "patch",
            "secret",
            &secret,
            "-n",
            &system,
            "--type=merge",
            "-p",
            r#"{"data": {"replace": "dHJ1ZQ=="}}"#,
        ],
        vec![
            "create",
            "secret",
            "generic",
            &secret,
            "-n",
            &s.name,
            "--type=iam.rolectl.dev/mfa-session",
        ],
        vec!["delete", "mfasession", &s.name],
        vec!["patch", "mfasession", &s.name, "--type=merge", "-p", region],
        vec![
            "patch",
            "mfasession",
            &s.name,
            "--subresource=status",
            "--type=merge",
            "-p",
            r#"{"status": {"phase": "Locked"}}"#,
        ],
        vec!["patch", "awsaccount", account, "--type=merge", "-p", region],
        vec!["delete", "awsaccount", account],
    ] {
        let all = [&["--as=session-tenant"][..], &attempt].concat();
        let refused = s.world.plane.kubectl(&all).await;
        let why = refused.err().map(|e| format!("{e:#}")).unwrap_or_default();
        ensure!(why.to_lowercase().contains("forbidden"), "{attempt:?}: {why:?}");
    }
    // Each role has an AssumeRole of its own, whose session name is made of the role's.
    let long = format!("{}.{}", "a".repeat(60), "b".repeat(60));
    for name in ["x", "a.b--c", &long] {
        let role = s.role(name, json!({"roleName": format!("tenant-{}", name.len())}));
        s.apply(&role).await?;
        s.role_is(name, "True", "InSync").await?;
    }
    let session = s.session_is(Phase::Unlocked).await?;
    let by = session.status.unwrap_or_default().unlocked_by;
    ensure!(
        by == Some(format!("arn:aws:iam::{}:user/operator", s.main)),
        "{by:?}"
    );
    Ok(())
}
