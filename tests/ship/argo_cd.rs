//! Argo CD's health scripts against the states that their own tests list.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use rolectl_tests::judges::argo_cd;
use rolectl_tests::tools::root;
use serde_json::{Value, json};

#[tokio::test]
async fn each_health_test_of_argo_cds_layout_holds() -> Result<()> {
    let mut count = 0;
    for kind in ["IamRole", "AwsAccount", "MfaSession"] {
        let folder = root()
            .join("deploy/argo-cd/resource_customizations/iam.rolectl.dev")
            .join(kind);
        let tests: Value =
            serde_saphyr::from_str(&std::fs::read_to_string(folder.join("health_test.yaml"))?)?;
        let tests = tests["tests"].as_array().cloned().context("no tests")?;
        let listed: Vec<&str> = tests
            .iter()
            .filter_map(|test| test["inputPath"].as_str())
            .collect();
        for file in std::fs::read_dir(folder.join("testdata"))? {
            let name = format!("testdata/{}", file?.file_name().to_string_lossy());
            ensure!(listed.contains(&name.as_str()), "{kind}: {name} is not tested");
        }
        for test in &tests {
            let path = test["inputPath"].as_str().context("no inputPath")?;
            let object: Value = serde_saphyr::from_str(&std::fs::read_to_string(folder.join(path))?)?;
            let verdicts: BTreeMap<String, Value> =
                argo_cd(&json!({"apiVersion": "v1", "kind": "List", "items": [object]})).await?;
            let verdict = verdicts.values().next().context("no verdict")?;
            ensure!(verdict == &test["healthStatus"], "{kind} {path}: {verdict}");
            count += 1;
        }
    }
    ensure!(count == 20, "{count} states");
    Ok(())
}

#[test]
fn the_patch_for_argo_cds_configuration_has_the_same_scripts() -> Result<()> {
    let patch: Value = serde_saphyr::from_str(&std::fs::read_to_string(
        root().join("deploy/argo-cd/argocd-cm.yaml"),
    )?)?;
    for kind in ["IamRole", "AwsAccount", "MfaSession"] {
        let folder = root()
            .join("deploy/argo-cd/resource_customizations/iam.rolectl.dev")
            .join(kind);
        let script = std::fs::read_to_string(folder.join("health.lua"))?;
        let key = format!("resource.customizations.health.iam.rolectl.dev_{kind}");
        ensure!(patch["data"][&key] == script, "{kind} differs");
    }
    Ok(())
}
