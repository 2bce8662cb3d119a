//! What is shipped beside the programs: the chart, the kustomization, alerts, Argo CD's health scripts, and the life of
//! an installation from `helm install` to `helm uninstall`.

mod argo_cd;
mod chart;
mod docs;
mod installation;
mod kubectl;
mod monitoring;
mod pod;

use std::path::Path;
use std::process::Output;

use anyhow::{Result, ensure};
use rolectl_tests::tools::root;

/// The chart.
fn chart() -> String {
    root().join("charts/rolectl").display().to_string()
}

/// Runs helm, as a user with this kubeconfig.
async fn helm(home: &Path, kubeconfig: &Path, args: &[&str]) -> Result<Output> {
    std::fs::create_dir_all(home)?;
    let output = tokio::process::Command::new(rolectl_tests::tools::helm()?)
        .args(args)
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin")
        .env("KUBECONFIG", kubeconfig)
        .output()
        .await?;
    Ok(output)
}

/// What a command that must succeed prints.
fn printed(what: &str, output: &Output) -> Result<String> {
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{what}: {error}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
