//! Attempts to make the tool write what a controller manages.

use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use rolectl_tests::control_plane::free_address;
use rolectl_tests::scenario::Scenario;
use serde_json::json;

use crate::once::write_files;

async fn refused(s: &Scenario<'_>, args: &[&str], env: &[(&str, &str)], words: &str) -> Result<()> {
    let output = s.rolectl_as("operator", args, env).await?;
    let told = text(&output);
    ensure!(
        output.status.code() == Some(1) && told.contains(words),
        "{args:?} {env:?}: {:?} {told}",
        output.status
    );
    Ok(())
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A kubeconfig like `user`'s, with another server or another user.
fn kubeconfig(s: &Scenario<'_>, name: &str, change: impl Fn(&mut serde_json::Value)) -> Result<String> {
    let mut config = serde_json::from_slice(&std::fs::read(s.world.plane.kubeconfig("admin"))?)?;
    change(&mut config);
    let file = s.dir.join(name);
    std::fs::write(&file, config.to_string())?;
    Ok(file.display().to_string())
}

#[tokio::test]
async fn the_tool_does_not_write_what_a_live_controller_manages() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "hostile-cli", 1).await?;
    let role = s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]}));
    s.apply(&role).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.role_is("app", "True", "InSync").await?;
    s.account_is(0, "InSync").await?;
    let id = s.in_aws(0, "app").await?.context("no role")?.role_id;

    // All objects in files, under other names and with a status that names the controller's cluster.
    let files = write_files(&s, std::slice::from_ref(&role))?;
    let all = format!("{files}/all.yaml");
    let forged = std::fs::read_to_string(&all)?.replace(
        "\"kind\":\"AwsAccount\"",
        "\"kind\":\"AwsAccount\",\"status\":{\"cluster\":\"test\"}",
    );
    std::fs::write(&all, forged)?;
    let only_role = s.dir.join("role.yaml");
    std::fs::write(&only_role, role.to_string())?;
    let only_role = only_role.display().to_string();
    let managed = "hostile-cli/app is managed by the controller of cluster test";
    let in_its_name = [("ROLECTL_CLUSTER_NAME", "test")];
    for verb in ["destroy", "apply"] {
        for file in [&files, &only_role] {
            let args = [verb, "--yes", "-f", file.as_str(), "--mfa", "000000"];
            refused(&s, &args, &[], managed).await?;
            refused(&s, &args, &in_its_name, managed).await?;
        }
    }
    // Another role of an account that the controller serves, under another name of the account.
    let mut other = role.clone();
    other["metadata"]["name"] = json!("other");
    other["spec"]["accounts"] = json!({"names": ["renamed"]});
    write_files(&s, &[other])?;
    let renamed =
        std::fs::read_to_string(&all)?.replace("\"name\":\"hostile-cli-0\"", "\"name\":\"renamed\"");
    std::fs::write(&all, renamed)?;
    let args = ["apply", "--yes", "-f", files.as_str(), "--mfa", "000000"];
    refused(&s, &args, &[], "is managed by the controller of cluster test").await?;

    // A user who may not see what the cluster manages, and one whom it does not accept.
    let nobody = kubeconfig(&s, "nobody.kubeconfig", |config| {
        config["users"][0]["user"]["as"] = json!("nobody");
    })?;
    let unknown = kubeconfig(&s, "unknown.kubeconfig", |config| {
        config["users"][0]["user"]["token"] = json!("wrong");
    })?;
    write_files(&s, std::slice::from_ref(&role))?;
    let args = ["destroy", "--yes", "-f", files.as_str(), "--mfa", "000000"];
    for config in [&nobody, &unknown] {
        let unclear = "cannot find out whether a controller manages these roles";
        refused(&s, &args, &[("KUBECONFIG", config)], unclear).await?;
    }
    // A cluster that is named must answer.
    let dead = kubeconfig(&s, "dead.kubeconfig", |config| {
        let address = free_address().map(|a| a.to_string()).unwrap_or_default();
        config["clusters"][0]["cluster"]["server"] = json!(format!("https://{address}"));
    })?;
    let named = [&args[..], &["--kubeconfig", &dead]].concat();
    refused(&s, &named, &[], "cannot be reached").await?;

    let now = s.in_aws(0, "app").await?.context("the role was deleted")?;
    ensure!(now.role_id == id, "the role was made again");
    let owned = s.owned_roles(0).await?;
    ensure!(owned == ["app"], "{owned:?}");

    // Where none answers, and where the user insists, it says in whose name it writes.
    let code = s.operator.code().await?;
    let args = ["apply", "--yes", "-f", files.as_str(), "--mfa", &code];
    let output = s.rolectl_as("operator", &args, &[("KUBECONFIG", &dead)]).await?;
    let told = text(&output);
    ensure!(
        output.status.code() == Some(1)
            && told.contains("Writes to AWS directly as owner files/NAMESPACE/NAME. No cluster was asked")
            && told.contains("OwnedByOther"),
        "{told}"
    );
    let args = ["apply", "--yes", "--take-over", "-f", files.as_str()];
    let output = s.rolectl_as("operator", &args, &[]).await?;
    let told = text(&output);
    ensure!(
        output.status.success()
            && told.contains("Writes to AWS directly as owner test/NAMESPACE/NAME. --take-over: ")
            && told.contains("1 unchanged"),
        "{told}"
    );
    Ok(())
}
