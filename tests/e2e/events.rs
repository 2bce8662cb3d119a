//! `rolectl events`: what Kubernetes keeps about an object.

use anyhow::{Context as _, Result, ensure};
use rolectl_crds::Phase;
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::{PATIENCE, until};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

async fn ends(s: &Scenario<'_>, user: &str, args: &[&str], code: i32) -> Result<String> {
    let output = s.rolectl_as(user, &[&["events"], args].concat(), &[]).await?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(
        output.status.code() == Some(code),
        "{args:?}: {:?}: {text}",
        output.status
    );
    Ok(text)
}

#[tokio::test]
async fn the_events_about_an_object_are_shown_and_watched() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "events", 1).await?;
    let none = ends(&s, "admin", &["role/app", "-n", "events"], 0).await?;
    ensure!(
        none == "There are no events about IamRole events/app; Kubernetes keeps them for an hour.\n",
        "{none}"
    );
    let args = ["events", "role", "app", "-n", "events", "--watch"];
    let mut watch = s.rolectl_begun("admin", &args, &[])?;
    let mut lines = BufReader::new(watch.stdout.take().context("no stdout")?).lines();

    s.apply(&s.role("app", json!({}))).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.session_is(Phase::Unlocked).await?;
    s.role_is("app", "True", "InSync").await?;
    let header = tokio::time::timeout(PATIENCE, lines.next_line()).await??;
    ensure!(
        header.as_ref().is_some_and(|line| line.starts_with("AGE ")),
        "{header:?}"
    );
    let shown = tokio::time::timeout(PATIENCE, lines.next_line()).await??;
    ensure!(
        shown
            .as_ref()
            .is_some_and(|line| line.contains("Normal") && line.contains("events-0")),
        "{shown:?}"
    );
    watch.kill().await?;

    let listed = until("an event about each object", || async {
        let role = ends(&s, "admin", &["role/app", "-n", "events", "-o", "json"], 0).await;
        let session = ends(&s, "admin", &["session/events"], 0).await;
        let (role, session) = (
            role.map_err(|e| e.to_string())?,
            session.map_err(|e| e.to_string())?,
        );
        let role: Value = serde_json::from_str(&role).map_err(|e| e.to_string())?;
        if role["items"].as_array().is_some_and(|items| !items.is_empty()) && session.contains("Unlocked") {
            Ok((role, session))
        } else {
            Err(format!("{role} {session}"))
        }
    })
    .await?;
    let (role, session) = listed;
    ensure!(
        role["kind"] == "EventList" && role["items"][0]["count"] == 1,
        "{role}"
    );
    ensure!(
        session.starts_with("AGE") && session.contains("user/operator"),
        "{session}"
    );

    ends(&s, "admin", &["pod/x"], 2).await?;
    ends(&s, "admin", &["role/app,metadata.name=x"], 2).await?;
    ends(&s, "admin", &["account/events-0", "-n", "events"], 2).await?;
    let refused = ends(&s, "operator", &["role/app", "-n", "events"], 1).await?;
    ensure!(refused.contains("does not let you list events"), "{refused}");
    Ok(())
}
