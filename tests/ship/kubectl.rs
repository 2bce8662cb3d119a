//! Files mean the same to rolectl and to kubectl.

use anyhow::{Context as _, Result, ensure};
use rolectl_tests::tools::{Tools, root};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

/// What kubectl makes of an object in YAML, without a cluster.
async fn read(yaml: &str) -> Result<Result<Value, String>> {
    let mut child = tokio::process::Command::new(Tools::kubectl()?)
        .args(["label", "--local", "-o", "json", "-f", "-", "read=yes"])
        .env_clear()
        .env("HOME", "/nowhere")
        .env("KUBECONFIG", "/dev/null")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .context("kubectl")?;
    let mut input = child.stdin.take().context("no input")?;
    input.write_all(yaml.as_bytes()).await?;
    drop(input);
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        return Ok(Err(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(Ok(serde_json::from_slice(&output.stdout)?))
}

#[tokio::test]
async fn the_table_of_scalars_is_what_kubectl_makes_of_them() -> Result<()> {
    let table = std::fs::read(root().join("controller/cli/src/scalars.json"))?;
    let table: Vec<(String, Value)> = serde_json::from_slice(&table)?;
    ensure!(table.len() > 80, "the table is empty");
    let head = "apiVersion: iam.rolectl.dev/v1alpha1\nkind: IamRole\nmetadata: {name: a}\ndata:\n";
    let (wrong, right): (Vec<_>, Vec<_>) = table.into_iter().partition(|(_, wanted)| wanted.is_object());
    let all: String = right.iter().map(|(text, _)| format!("- {text}\n")).collect();
    let got = read(&format!("{head}{all}")).await?.map_err(anyhow::Error::msg)?;
    let got = got["data"].as_array().context("no list")?;
    ensure!(got.len() == right.len());
    for ((text, wanted), got) in right.iter().zip(got) {
        ensure!(
            got == wanted,
            "{text}: kubectl makes {got} of it, the table has {wanted}"
        );
    }
    for (text, _) in wrong {
        let got = read(&format!("{head}- {text}\n")).await?;
        ensure!(got.is_err(), "kubectl takes {text}: {got:?}");
    }
    Ok(())
}
