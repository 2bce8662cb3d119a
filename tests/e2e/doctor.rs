//! `rolectl doctor`: each part has a result, whatever the others have.

use anyhow::{Context as _, Result, ensure};
use rolectl_tests::scenario::Scenario;
use serde_json::{Value, json};

/// Runs `rolectl doctor -o json`. Returns the exit code and the checks. The cluster has objects of other tests, too.
async fn doctor(s: &Scenario<'_>, user: &str, env: &[(&str, &str)]) -> Result<(Option<i32>, Vec<Value>)> {
    let output = s.rolectl_as(user, &["doctor", "-o", "json"], env).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    s.assert_no_secret("the report", &text)?;
    for secret in s.world.double.secrets().await? {
        ensure!(!text.contains(&secret), "the report shows a secret");
    }
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value = serde_json::from_str(&text).with_context(|| format!("{text}{error}"))?;
    ensure!(
        report["apiVersion"] == "output.rolectl.dev/v1alpha1" && report["kind"] == "Doctor",
        "{report}"
    );
    let checks = report["checks"].as_array().context("no checks")?.clone();
    let failed = checks.iter().any(|check| check["result"] == "failed");
    ensure!(
        output.status.code() == Some(i32::from(failed)),
        "{:?}: {report}",
        output.status
    );
    Ok((output.status.code(), checks))
}

/// Returns the results of the checks of this name, each with its message.
fn of<'a>(checks: &'a [Value], name: &str) -> Vec<(&'a str, &'a str)> {
    let named = checks.iter().filter(|check| check["name"] == name);
    named
        .map(|check| {
            (
                check["result"].as_str().unwrap_or_default(),
                check["message"].as_str().unwrap_or_default(),
            )
        })
        .collect()
}

/// Shows that the first check of this name has this result, and a message with these words.
fn is(checks: &[Value], name: &str, result: &str, words: &str) -> Result<()> {
    let found = of(checks, name);
    let right = found
        .first()
        .is_some_and(|(r, message)| *r == result && message.contains(words));
    ensure!(right, "{name}: wanted {result} and {words:?}, got {found:?}");
    Ok(())
}

#[tokio::test]
async fn a_healthy_installation_has_no_failure() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "doctor", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    for user in ["operator", "admin"] {
        let (_, checks) = doctor(&s, user, &[]).await?;
        is(&checks, "proxy", "ok", "none")?;
        is(&checks, "aws-endpoint", "warning", "AWS_ENDPOINT_URL")?;
        is(&checks, "clock", "ok", "within ")?;
        is(
            &checks,
            "key",
            "ok",
            &format!(
                "in profile operator, a long-term key of arn:aws:iam::{}:user/operator",
                s.main
            ),
        )?;
        is(&checks, "mfa-device", "ok", &s.operator.serial)?;
        is(&checks, "session-cache", "ok", "is accessible to you only")?;
        is(&checks, "kept-session", "ok", &format!("of {} until", s.main))?;
        is(&checks, "cluster", "ok", "Kubernetes v")?;
        is(
            &checks,
            "rights",
            "ok",
            "you may list iamroles in namespace default",
        )?;
        let words = if user == "admin" {
            "those of rolectl"
        } else {
            "all are served"
        };
        is(&checks, "crds", "ok", words)?;
        let session = of(&checks, "session");
        ensure!(
            session
                .iter()
                .any(|(result, message)| *result == "ok" && message.starts_with("doctor is Unlocked until")),
            "{session:?}"
        );
        let account = of(&checks, "account");
        ensure!(
            account
                .iter()
                .all(|(_, message)| !message.starts_with("doctor-0")),
            "{account:?}"
        );
        let parts = [
            "proxy",
            "clock",
            "key",
            "mfa-device",
            "session-cache",
            "kept-session",
            "cluster",
            "crds",
            "rights",
        ];
        for part in parts {
            ensure!(
                of(&checks, part).iter().all(|(result, _)| *result != "failed"),
                "{part}: {checks:?}"
            );
        }
    }
    // Words on a pipe, and symbols on a terminal.
    let output = s.rolectl_as("operator", &["doctor"], &[]).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        text.contains("\nok    key ")
            && text.contains("\nwarn  ")
            && !text.contains('✓')
            && text.contains(" First: "),
        "{text}"
    );
    let (_, shown) = s.rolectl_on_terminal("operator", &["doctor"], &[], &[]).await?;
    ensure!(shown.contains('✓'), "{shown}");
    let plain = [("NO_COLOR", "1")];
    let (_, shown) = s
        .rolectl_on_terminal("operator", &["doctor"], &plain, &[])
        .await?;
    ensure!(!shown.contains('✓') && shown.contains("ok    key "), "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_check_that_fails_does_not_stop_the_others() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "doctor-ill", 0).await?;
    let (code, checks) = doctor(&s, "operator", &[("KUBECONFIG", "/nonexistent")]).await?;
    is(&checks, "cluster", "failed", "no way to a cluster")?;
    is(&checks, "key", "ok", "user/operator")?;
    is(&checks, "kept-session", "skipped", &s.main)?;
    is(&checks, "rights", "skipped", "there is no cluster")?;
    ensure!(code == Some(1));

    let wrong = [
        ("AWS_ACCESS_KEY_ID", "AKIAWRONGWRONGWRONG1"),
        ("AWS_SECRET_ACCESS_KEY", "canary-secret"),
        ("HTTPS_PROXY", "socks5://user:canary@proxy:1"),
    ];
    let (code, checks) = doctor(&s, "operator", &wrong[..2]).await?;
    is(
        &checks,
        "key",
        "failed",
        "AWS does not take the key AKIAWRONGWRONGWRONG1",
    )?;
    // The refusal has the time, too.
    is(&checks, "clock", "ok", "within ")?;
    is(&checks, "mfa-device", "skipped", "no key")?;
    is(&checks, "cluster", "ok", "Kubernetes v")?;
    ensure!(code == Some(1) && !json!(checks).to_string().contains("canary"));
    let (_, checks) = doctor(&s, "operator", &wrong).await?;
    is(
        &checks,
        "proxy",
        "failed",
        "HTTPS_PROXY names a proxy that cannot be used",
    )?;
    ensure!(!json!(checks).to_string().contains("canary"), "{checks:?}");

    let bundle = s.dir.join("bundle.pem").display().to_string();
    std::fs::write(&bundle, "no certificate")?;
    let (_, checks) = doctor(&s, "operator", &[("AWS_CA_BUNDLE", &bundle)]).await?;
    is(
        &checks,
        "certificate-authorities",
        "failed",
        "has no usable PEM certificate",
    )?;
    Ok(())
}

#[tokio::test]
async fn a_missing_right_names_the_role_that_gives_it() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "doctor-tenant", 0).await?;
    let tenant = "doctor-tenant-reader";
    s.world
        .plane
        .impersonate(tenant, tenant, &["system:authenticated"])?;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "tenant", "namespace": "default"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "rolectl-view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": tenant}]});
    s.apply(&binding).await?;
    let (_, checks) = doctor(&s, tenant, &[]).await?;
    is(
        &checks,
        "rights",
        "ok",
        "you may list iamroles in namespace default",
    )?;
    let rights = of(&checks, "rights");
    for (result, words) in [
        ("warning", "you may not list awsaccounts"),
        ("warning", "you may not list mfasessions"),
        (
            "warning",
            "you may not patch secrets rolectl-session-default in namespace doctor-tenant-system",
        ),
        (
            "skipped",
            "the ClusterRole rolectl-edit in namespace default gives it",
        ),
    ] {
        ensure!(
            rights
                .iter()
                .any(|(r, message)| *r == result && message.contains(words)),
            "{words}: {rights:?}"
        );
    }
    let next = checks.iter().find(|check| {
        check["message"]
            .as_str()
            .is_some_and(|m| m.contains("patch secrets"))
    });
    let next = next.and_then(|check| check["next"].as_str());
    ensure!(
        next.is_some_and(|next| next.contains("Role rolectl-unlock in namespace doctor-tenant-system")),
        "{next:?}"
    );
    is(&checks, "session", "skipped", "does not let you")?;
    Ok(())
}
