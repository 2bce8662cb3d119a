//! Alerts and dashboard.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use rolectl_controller::metrics::TABLE;
use rolectl_crds::Reason;
use rolectl_tests::tools::{optional, root};
use serde_json::Value;

const ALERTS: &str = include_str!("../../deploy/monitoring/alerts.yaml");
const DASHBOARD: &str = include_str!("../../deploy/monitoring/dashboard.json");

/// Names of our metrics as they are scraped.
fn scraped() -> BTreeSet<String> {
    let ends = |kind: &str| match kind {
        "counter" => vec!["_total"],
        "info" => vec!["_info"],
        "histogram" => vec!["_bucket", "_sum", "_count"],
        _ => vec![""],
    };
    let names = |m: &rolectl_controller::metrics::Described| -> Vec<String> {
        ends(m.kind)
            .into_iter()
            .map(|end| format!("{}{end}", m.name))
            .collect()
    };
    TABLE.iter().flat_map(names).collect()
}

fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("rolectl_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() -> Result<()> {
    let unknown: Vec<String> = named(ALERTS)
        .union(&named(DASHBOARD))
        .filter(|n| !scraped().contains(*n))
        .cloned()
        .collect();
    ensure!(unknown.is_empty(), "no such metrics: {unknown:?}");
    let dashboard: Value = serde_json::from_str(DASHBOARD)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let ids: BTreeSet<u64> = panels.iter().filter_map(|p| p["id"].as_u64()).collect();
    ensure!(ids.len() == panels.len(), "two panels have one id");
    let shown = named(DASHBOARD);
    let missing: Vec<&str> = TABLE
        .iter()
        .map(|m| m.name)
        .filter(|name| !shown.iter().any(|s| s.starts_with(name)))
        .collect();
    ensure!(missing.is_empty(), "the dashboard does not show {missing:?}");
    Ok(())
}

#[test]
fn the_alert_for_stalled_roles_knows_every_reason_that_stalls() -> Result<()> {
    let list = ALERTS
        .split("rolectl_roles{reason=~\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let alerted: BTreeSet<&str> = list.context("no such alert")?.split('|').collect();
    let stalled: BTreeSet<&str> = Reason::ALL
        .iter()
        .filter(|r| r.is_stalled())
        .map(|r| r.as_str())
        .collect();
    ensure!(alerted == stalled, "alerted {alerted:?}, stalled {stalled:?}");
    Ok(())
}

#[test]
fn every_alert_has_a_test_in_which_it_fires() -> Result<()> {
    let alerts: Value = serde_saphyr::from_str(ALERTS)?;
    let tests: Value = serde_saphyr::from_str(include_str!("../../deploy/monitoring/alerts_test.yaml"))?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let rules = list(&alerts["groups"])
        .iter()
        .flat_map(|group| list(&group["rules"]))
        .collect::<Vec<_>>();
    let names: BTreeSet<&str> = rules.iter().filter_map(|rule| rule["alert"].as_str()).collect();
    let cases: Vec<Value> = list(&tests["tests"])
        .iter()
        .flat_map(|test| list(&test["alert_rule_test"]))
        .collect();
    let fires: BTreeSet<&str> = cases
        .iter()
        .filter(|case| !list(&case["exp_alerts"]).is_empty())
        .filter_map(|case| case["alertname"].as_str())
        .collect();
    ensure!(
        !names.is_empty() && names == fires,
        "alerts {names:?}, tested {fires:?}"
    );
    Ok(())
}

#[tokio::test]
async fn promtool_takes_the_alerts_and_their_tests() -> Result<()> {
    // Debian's package prometheus has it.
    let Some(promtool) = optional("promtool")? else {
        return Ok(());
    };
    for args in [
        ["check", "rules", "alerts.yaml"],
        ["test", "rules", "alerts_test.yaml"],
    ] {
        let output = tokio::process::Command::new(&promtool)
            .args(args)
            .current_dir(root().join("deploy/monitoring"))
            .output()
            .await?;
        crate::printed("promtool", &output)?;
    }
    Ok(())
}
