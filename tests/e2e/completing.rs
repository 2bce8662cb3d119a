//! Completion in a shell: values come from the cluster, and nothing but values is printed.

use anyhow::{Result, ensure};
use rolectl_tests::scenario::Scenario;
use serde_json::json;

/// Returns what a shell would show for the last word of a command line.
async fn completed(s: &Scenario<'_>, line: &[&str], env: &[(&str, &str)]) -> Result<Vec<String>> {
    let index = line.len().saturating_sub(1).to_string();
    let shell = [
        ("ROLECTL_COMPLETE", "bash"),
        ("_CLAP_COMPLETE_INDEX", index.as_str()),
        ("_CLAP_IFS", "\n"),
    ];
    let output = s
        .rolectl_as("operator", &[&["--"], line].concat(), &[&shell[..], env].concat())
        .await?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && error.is_empty(), "{line:?}: {error}");
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

#[tokio::test]
async fn names_of_the_cluster_are_completed_and_its_absence_is_silent() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "completing", 1).await?;
    s.apply(&s.role("app-one", json!({}))).await?;
    let (account, _) = &s.targets[0];
    for (line, wanted) in [
        (
            &["rolectl", "get", "roles", "--account", "completing"][..],
            account.as_str(),
        ),
        (
            &["rolectl", "-n", "completing", "describe", "role", "app-"],
            "app-one",
        ),
        (
            &["rolectl", "suspend", "-n", "completing", "role/"],
            "role/app-one",
        ),
        (&["rolectl", "unlock", "--session", "compl"], "completing"),
        (&["rolectl", "get", "roles", "--state", "Drif"], "Drifted"),
        (&["rolectl", "explain", "InSy"], "InSync"),
        (&["rolectl", "recon"], "reconcile"),
    ] {
        let shown = completed(&s, line, &[]).await?;
        ensure!(shown.iter().any(|value| value == wanted), "{line:?}: {shown:?}");
    }
    let line = ["rolectl", "get", "roles", "--account", "x"];
    let none = completed(&s, &line, &[("KUBECONFIG", "/nonexistent")]).await?;
    ensure!(none.iter().all(String::is_empty), "{none:?}");
    Ok(())
}

#[tokio::test]
async fn a_frozen_cluster_delays_a_completion_by_two_seconds_at_most() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "completing-frozen", 0).await?;
    // It takes connections and never answers.
    let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": format!("http://{}", frozen.local_addr()?)}}],
        "users": [{"name": "a", "user": {}}], "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}]});
    let kubeconfig = s.dir.join("frozen.yaml");
    std::fs::write(&kubeconfig, config.to_string())?;
    let line = ["rolectl", "get", "roles", "--account", ""];
    let begun = std::time::Instant::now();
    let shown = completed(&s, &line, &[("KUBECONFIG", &kubeconfig.display().to_string())]).await?;
    let taken = begun.elapsed();
    ensure!(shown.iter().all(String::is_empty), "{shown:?}");
    // A request without the limit takes 10 seconds. The machine may be slow.
    ensure!(taken < std::time::Duration::from_secs(6), "{taken:?}");
    Ok(())
}

#[tokio::test]
async fn the_starting_files_pass_the_lint_and_the_api_server() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "starting", 0).await?;
    let folder = s.dir.join("files");
    let path = folder.display().to_string();
    let flags = ["--main-account", "111111111111", "--account-id", "222222222222"];
    let written = s
        .rolectl_as("operator", &[&["init", &path], &flags[..]].concat(), &[])
        .await?;
    let text = String::from_utf8_lossy(&written.stdout);
    ensure!(
        written.status.success() && text.contains("rolectl unlock"),
        "{text}"
    );
    ensure!(
        written.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&written.stderr)
    );
    let lint = s.rolectl_as("operator", &["lint", &path], &[]).await?;
    let text = String::from_utf8_lossy(&lint.stdout);
    ensure!(text == "3 checked: 0 errors, 0 warnings\n", "{text}");
    let dry_run = ["apply", "--dry-run=server", "-f", &path];
    crate::world().await?.plane.kubectl(&dry_run).await?;
    let again = s.rolectl_as("operator", &["init", &path], &[]).await?;
    let error = String::from_utf8_lossy(&again.stderr);
    ensure!(
        again.status.code() == Some(1) && error.contains("role.yaml exists already. Nothing was written"),
        "{error}"
    );
    Ok(())
}
