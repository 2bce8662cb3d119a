//! No object hides another one from the controller or from the tool.

use anyhow::{Result, ensure};
use rolectl_tests::control_plane::free_address;
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::{Value, json};

use super::Tenant;

/// The text of a role with a statement that holds an element of 200 levels. `serde_json` writes no such value.
fn nested(role: &Value) -> String {
    let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    let mut role = role.clone();
    role["spec"]["assumeRolePolicy"]["Statement"][0]["Deep"] = json!("DEEP");
    role.to_string().replace(r#""DEEP""#, &deep)
}

/// Why an object that only kubectl can read is stalled.
async fn stalled(s: &Scenario<'_>, role: &str, words: &str) -> Result<()> {
    let path = r#"jsonpath={.status.conditions[?(@.type=="Stalled")].message}"#;
    let get = ["get", "iamrole", role, "-n", s.name.as_str(), "-o", path];
    until(&format!("IamRole {role} to be stalled: {words}"), || async {
        let message = s.world.plane.kubectl(&get).await.map_err(|e| e.to_string())?;
        if message.contains(words) {
            Ok(())
        } else {
            Err(message)
        }
    })
    .await
}

#[tokio::test]
async fn an_object_that_is_nested_too_deeply_hides_nobody_and_its_own_role_stays() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "nested", 1).await?;
    let tenant = Tenant::of(&s).await?;
    let address = free_address()?.to_string();
    let health = [("ROLECTL_HEALTH_ADDRESS", address.as_str())];
    let ask = async |path: &str| {
        let answer = reqwest::get(format!("http://{address}{path}")).await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        let text = answer.map_err(|e| e.to_string())?.text().await;
        text.map_err(|e| e.to_string())
    };
    s.start_controller_with(&health)?;
    s.unlock().await?;
    for role in ["before", "mine"] {
        s.apply(&s.role(role, json!({}))).await?;
        s.role_is(role, "True", "InSync").await?;
    }
    let id = async || anyhow::Ok(s.in_aws(0, "mine").await?.and_then(|role| role.role_id));
    let made = id().await?;

    // A new object, and one whose role exists.
    let create = ["create", "--validate=false", "-f", "-"];
    let replace = ["replace", "--validate=false", "-f", "-"];
    for (verb, role) in [
        (create, s.role("deep", json!({}))),
        (replace, s.role("mine", json!({}))),
    ] {
        let output = tenant.kubectl(&verb, &nested(&role)).await?;
        ensure!(output.status.success(), "{output:?}");
    }
    for role in ["deep", "mine"] {
        stalled(&s, role, "it is nested more than 64 levels deep").await?;
        until("the event", || async {
            let reasons = s.event_reasons(&s.name, role).await.map_err(|e| e.to_string())?;
            if reasons.contains(&"InvalidSpec".to_owned()) {
                Ok(())
            } else {
                Err(format!("{reasons:?}"))
            }
        })
        .await?;
    }
    s.apply(&s.role("before", json!({"description": "changed"})))
        .await?;
    s.apply(&s.role("after", json!({}))).await?;
    for role in ["before", "after"] {
        s.role_is(role, "True", "InSync").await?;
    }
    let metrics = ask("/metrics").await.map_err(anyhow::Error::msg)?;
    ensure!(
        metrics.contains("rolectl_unreadable_objects{kind=\"IamRole\"} 2\n"),
        "{metrics}"
    );

    // The tool names both, and shows the others.
    let status = s.rolectl_as("operator", &["status", "-n", &s.name], &[]).await?;
    let text = String::from_utf8_lossy(&status.stdout);
    ensure!(
        status.status.success()
            && [
                "nested/deep",
                "nested/mine",
                "nested/after",
                "nested more than 64 levels"
            ]
            .iter()
            .all(|w| text.contains(w)),
        "{status:?}"
    );
    let get = s
        .rolectl_as("operator", &["get", "roles", "-n", &s.name], &[])
        .await?;
    ensure!(
        get.status.success()
            && String::from_utf8_lossy(&get.stdout).contains("after")
            && String::from_utf8_lossy(&get.stderr).contains("Warning: IamRole nested/deep cannot be read"),
        "{get:?}"
    );

    // A controller that starts now becomes ready and works, and takes nobody's role for an orphan.
    s.end_controller("TERM").await?;
    s.start_controller_with(&health)?;
    until("the controller to be ready", || ask("/readyz")).await?;
    s.apply(&s.role("later", json!({}))).await?;
    s.role_is("later", "True", "InSync").await?;
    s.account_is(0, "InSync").await?;
    let events = s.event_reasons("default", &s.targets[0].0).await?;
    ensure!(!events.contains(&"Orphaned".to_owned()), "{events:?}");

    // Its account cannot go while the role that cannot be read has a role there.
    let account = s.targets[0].0.clone();
    for role in ["before", "after", "later"] {
        s.delete(role).await?;
    }
    s.world
        .plane
        .kubectl(&["delete", "awsaccount", &account, "--wait=false"])
        .await?;
    let in_use = s.account_is(0, "InUse").await?;
    let message = format!("{:?}", in_use.status);
    ensure!(
        message.contains("nested/mine (which cannot be read)"),
        "{message}"
    );
    ensure!(
        id().await? == made,
        "the role of the object that cannot be read is the same"
    );

    // Corrected, it is managed again.
    let output = s
        .world
        .plane
        .kubectl_with(&["replace", "-f", "-"], &s.role("mine", json!({})).to_string())
        .await?;
    ensure!(output.status.success(), "{output:?}");
    s.role_is("mine", "True", "InSync").await?;
    ensure!(id().await? == made);
    Ok(())
}
