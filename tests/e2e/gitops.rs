//! Every state of an object on the API server, as Argo CD and Flux see it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use rolectl_crds::Phase;
use rolectl_tests::judges::{argo_cd, flux, kstatus};
use rolectl_tests::scenario::Scenario;
use rolectl_tests::tools::root;
use serde_json::{Value, json};

async fn list(s: &Scenario<'_>) -> Result<Value> {
    let roles: Value = serde_json::from_str(
        &s.world
            .plane
            .kubectl(&["get", "iamroles", "-n", &s.name, "-o", "json"])
            .await?,
    )?;
    let ours = |kind: &'static str| async move {
        let all: Value = serde_json::from_str(&s.world.plane.kubectl(&["get", kind, "-o", "json"]).await?)?;
        let all = all["items"].as_array().cloned().unwrap_or_default();
        let ours = |o: &Value| {
            o["metadata"]["name"]
                .as_str()
                .is_some_and(|n| n == s.name || n.starts_with(&format!("{}-", s.name)))
        };
        anyhow::Ok(all.into_iter().filter(ours).collect::<Vec<_>>())
    };
    let mut items = roles["items"].as_array().cloned().unwrap_or_default();
    items.extend(ours("awsaccounts").await?);
    items.extend(ours("mfasessions").await?);
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}))
}

/// What Argo CD and kstatus say of each object: `Healthy/Current`.
async fn verdicts(s: &Scenario<'_>) -> Result<BTreeMap<String, String>> {
    let objects = list(s).await?;
    let (argo, flux) = (argo_cd(&objects).await?, kstatus(&objects).await?);
    let word = |verdicts: &BTreeMap<String, Value>, key: &str| {
        verdicts
            .get(key)
            .and_then(|v| v["status"].as_str())
            .unwrap_or("?")
            .to_owned()
    };
    Ok(argo
        .keys()
        .map(|key| (key.clone(), format!("{}/{}", word(&argo, key), word(&flux, key))))
        .collect())
}

async fn say(s: &Scenario<'_>, expected: &[(&str, &str)]) -> Result<()> {
    let verdicts = verdicts(s).await?;
    for (key, verdict) in expected {
        ensure!(
            verdicts.get(*key).map(String::as_str) == Some(*verdict),
            "{key}: wanted {verdict}: {verdicts:?}"
        );
    }
    Ok(())
}

/// Flux's verdict with the expressions that docs/flux.md shows.
async fn flux_says(s: &Scenario<'_>, expected: &[(&str, &str)]) -> Result<()> {
    let page = std::fs::read_to_string(root().join("docs/flux.md"))?;
    let block = page
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let file = s.dir.join("kustomization.yaml");
    std::fs::write(&file, block.context("docs/flux.md shows no Kustomization")?)?;
    let verdicts = flux(&file, &list(s).await?).await?;
    for (key, verdict) in expected {
        ensure!(
            verdicts.get(*key).is_some_and(|v| v["status"] == *verdict),
            "{key}: wanted {verdict}: {verdicts:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn argo_cd_and_flux_judge_every_state_as_an_operator_would() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "gitops", 1).await?;
    let policies = |names: &[&str]| json!({"managedPolicies": names});
    s.apply(&s.role("good", policies(&["ReadOnlyAccess"]))).await?;
    // Nobody has looked yet. kstatus takes an object without a status for done, as it must for kinds that have none.
    say(
        &s,
        &[
            ("IamRole/gitops/good", "Progressing/Current"),
            ("AwsAccount//gitops-0", "Progressing/Current"),
        ],
    )
    .await?;

    s.start_controller()?;
    s.role_is("good", "Unknown", "SessionLocked").await?;
    s.account_is(0, "SessionLocked").await?;
    // Locked is a rest in which nothing is wrong. kstatus has no word for that.
    say(
        &s,
        &[
            ("IamRole/gitops/good", "Suspended/InProgress"),
            ("AwsAccount//gitops-0", "Suspended/InProgress"),
            ("MfaSession//gitops", "Suspended/InProgress"),
        ],
    )
    .await?;

    flux_says(
        &s,
        &[
            ("IamRole/gitops/good", "Current"),
            ("AwsAccount//gitops-0", "Current"),
            ("MfaSession//gitops", "Current"),
        ],
    )
    .await?;

    s.unlock().await?;
    s.apply(&s.role("typo", policies(&["ReadOnlyAcess"]))).await?;
    s.apply(&s.role("asleep", json!({"suspend": true}))).await?;
    s.apply(&s.role("shown", json!({"drift": "Report"}))).await?;
    s.role_is("good", "True", "InSync").await?;
    s.role_is("typo", "False", "InvalidSpec").await?;
    s.role_is("asleep", "Unknown", "Suspended").await?;
    s.role_is("shown", "False", "Drifted").await?;
    s.account_is(0, "InSync").await?;
    say(
        &s,
        &[
            ("IamRole/gitops/good", "Healthy/Current"),
            ("IamRole/gitops/typo", "Degraded/Failed"),
            ("IamRole/gitops/asleep", "Suspended/InProgress"),
            ("IamRole/gitops/shown", "Degraded/InProgress"),
            ("AwsAccount//gitops-0", "Healthy/Current"),
            ("MfaSession//gitops", "Healthy/Current"),
        ],
    )
    .await?;

    flux_says(
        &s,
        &[
            ("IamRole/gitops/good", "Current"),
            ("IamRole/gitops/typo", "Failed"),
            ("IamRole/gitops/asleep", "InProgress"),
            ("IamRole/gitops/shown", "InProgress"),
            ("AwsAccount//gitops-0", "Current"),
            ("MfaSession//gitops", "Current"),
        ],
    )
    .await?;

    // An account that only a person can mend, one that is asleep, and a session that has ended.
    s.change_account(0, json!({"assumeRole": {"name": "nobody"}}))
        .await?;
    s.account_is(0, "AccessDenied").await?;
    let key = "AwsAccount//gitops-0";
    say(&s, &[(key, "Degraded/Failed")]).await?;
    flux_says(&s, &[(key, "Failed")]).await?;
    s.change_account(0, json!({"suspend": true, "assumeRole": {"name": "rolectl"}}))
        .await?;
    s.account_is(0, "Suspended").await?;
    say(&s, &[(key, "Suspended/InProgress")]).await?;
    flux_says(&s, &[(key, "InProgress")]).await?;
    s.change_account(0, json!({"suspend": false})).await?;
    s.account_is(0, "InSync").await?;
    let expired = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": s.secret(), "namespace": s.system()},
        "stringData": {"expiration": "2020-01-01T00:00:00Z"}});
    s.apply(&expired).await?;
    s.session_is(Phase::Expired).await?;
    let key = "MfaSession//gitops";
    say(&s, &[(key, "Suspended/InProgress")]).await?;
    flux_says(&s, &[(key, "Current")]).await?;
    s.lock().await?;
    s.unlock().await?;
    s.role_is("good", "True", "InSync").await?;

    // A change that nobody has taken up yet, and an object that goes and waits for its session.
    s.lock().await?;
    s.role_is("good", "Unknown", "SessionLocked").await?;
    s.end_controller("TERM").await?;
    s.apply(&s.role("good", policies(&["ViewOnlyAccess"]))).await?;
    say(&s, &[("IamRole/gitops/good", "Progressing/InProgress")]).await?;
    flux_says(&s, &[("IamRole/gitops/good", "InProgress")]).await?;
    s.world
        .plane
        .kubectl(&["delete", "iamrole", "good", "-n", &s.name, "--wait=false"])
        .await?;
    say(&s, &[("IamRole/gitops/good", "Progressing/Terminating")]).await?;
    Ok(())
}
