//! The controller's log has one line for each role and account in which something happened, and the audit log one for each write.

use anyhow::{Result, ensure};
use rolectl_tests::scenario::Scenario;
use serde_json::json;

/// What is in each line of the audit log, and in no other.
const AUDIT: &str = " rolectl::audit: ";

#[tokio::test]
async fn the_log_has_one_line_for_each_role_and_account_and_names_nothing_twice() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "logs", 2).await?;
    let first = json!({"names": [s.targets[0].0]});
    s.apply(&s.role(
        "app",
        json!({"managedPolicies": ["ReadOnlyAccess", "SecurityAudit"]}),
    ))
    .await?;
    s.apply(&s.role(
        "typo",
        json!({"accounts": first, "managedPolicies": ["ReadOnlyAcess"]}),
    ))
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    s.role_is("app", "True", "InSync").await?;
    s.role_is("typo", "False", "InvalidSpec").await?;
    // AWS is read again, and the same change fails again.
    let again = ["reconcile", "role/typo", "-n", "logs", "--wait"];
    let output = s.rolectl_as("admin", &again, &[]).await?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    s.end_controller("TERM").await?;

    let log = std::fs::read_to_string(s.log())?;
    let count = |level: &str, text: &str| {
        log.lines()
            .filter(|line| !line.contains(AUDIT))
            .filter(|line| line.contains(level) && line.contains(text))
            .count()
    };
    for account in ["logs-0", "logs-1"] {
        let applied = format!("applied role=logs/app account={account} changes=3");
        ensure!(count(" INFO ", &applied) == 1, "{applied}: {log}");
    }
    // Each of the three changes is one write. What AWS refuses is logged each time that it is tried.
    let writes = |role: &str, outcome: &str| {
        let (line, outcome) = (
            format!(" INFO{AUDIT}write role=logs/{role} account="),
            format!(" outcome={outcome}"),
        );
        let mut lines: Vec<&str> = log.lines().filter(|written| written.contains(&line)).collect();
        lines.retain(|line| line.ends_with(&outcome));
        lines.len()
    };
    let refused = writes("typo", "failed");
    ensure!(
        (writes("app", "ok"), writes("typo", "ok")) == (6, 1) && refused >= 2,
        "{log}"
    );
    ensure!(log.matches(AUDIT).count() == 7 + refused, "{log}");
    ensure!(
        count(" WARN ", "not applied role=logs/typo account=logs-0") == 1,
        "{log}"
    );
    // Not by the names of Rust's types and fields, and no object by two names in one line.
    for debug in ["object.ref=", "Some(", "shards=[", "took=0."] {
        ensure!(
            !log.lines()
                .any(|line| line.contains(AUDIT) && line.contains(debug)),
            "{debug}: {log}"
        );
        ensure!(
            count(" INFO ", debug) + count(" WARN ", debug) == 0,
            "{debug}: {log}"
        );
    }
    Ok(())
}
