//! How the tools around rolectl see its objects.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::tools::{judges, root};

/// Argo CD's verdict, by our health scripts: `{"status", "message"}` by kind/namespace/name of a list from kubectl.
pub async fn argo_cd(list: &Value) -> Result<BTreeMap<String, Value>> {
    let scripts = root().join("deploy/argo-cd/resource_customizations");
    judged(&["argo-cd", &scripts.display().to_string()], list).await
}

/// The verdict of kstatus, by which Flux and kpt wait.
pub async fn kstatus(list: &Value) -> Result<BTreeMap<String, Value>> {
    judged(&["kstatus"], list).await
}

/// Flux's verdict by the `healthCheckExprs` of a Kustomization.
pub async fn flux(kustomization: &Path, list: &Value) -> Result<BTreeMap<String, Value>> {
    judged(&["flux", &kustomization.display().to_string()], list).await
}

async fn judged(args: &[&str], list: &Value) -> Result<BTreeMap<String, Value>> {
    let program = tokio::task::spawn_blocking(judges).await??;
    let mut child = tokio::process::Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("no input")?;
    input.write_all(list.to_string().as_bytes()).await?;
    drop(input);
    let output = child.wait_with_output().await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}
