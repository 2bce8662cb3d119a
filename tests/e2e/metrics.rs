//! What `/metrics` shows is what happened.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use rolectl_controller::metrics::TABLE;
use rolectl_tests::control_plane::free_address;
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::json;

/// Samples by name with labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(sample)
        .collect()
}

#[tokio::test]
async fn every_call_is_counted_and_what_stands_is_shown() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "metrics", 1, |a| {
        a["spec"]["driftInterval"] = json!("1h")
    })
    .await?;
    let address = free_address()?.to_string();
    s.start_controller_with(&[("ROLECTL_HEALTH_ADDRESS", &address)])?;
    let scrape = async || {
        let answer = reqwest::get(format!("http://{address}/metrics")).await;
        answer
            .map_err(|e| e.to_string())?
            .text()
            .await
            .map_err(|e| e.to_string())
    };
    until("the endpoint", scrape).await?;
    let set_up = s.calls(0, 0).await?.total;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    let (account, id) = s.targets[0].clone();
    let throttled = json!([{"action": "AttachRolePolicy", "times": 2, "code": "Throttling", "status": 400}]);
    s.world.double.faults(&id, throttled).await?;
    s.apply(&s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    // Not there, so it stalls.
    s.apply(&s.role("typo", json!({"managedPolicies": ["ReadOnlyAcess"]})))
        .await?;
    s.role_is("typo", "False", "InvalidSpec").await?;

    // Counted as AWS has it. A retry between the two looks is looked at again.
    let all = until("the metrics to have what happened", || async {
        let all = samples(&scrape().await?);
        let calls = s.calls(0, set_up).await.map_err(|e| e.to_string())?;
        for (action, made) in calls.by_action() {
            let is = |name: &str| {
                name.starts_with("rolectl_aws_calls_total")
                    && name.contains(&format!("operation=\"{action}\""))
            };
            let counted: f64 = all
                .iter()
                .filter(|(name, _)| is(name))
                .map(|(_, value)| value)
                .sum();
            if counted != f64::from(u32::try_from(made).unwrap_or(u32::MAX)) {
                return Err(format!("{action}: {counted} counted, {made} made"));
            }
        }
        let settled = all.get("rolectl_roles{reason=\"InvalidSpec\"}") == Some(&1.0);
        if settled { Ok(all) } else { Err(format!("{all:?}")) }
    })
    .await?;
    let get = |name: &str| all.get(name).copied().unwrap_or(f64::NAN);
    let of = |operation: &str, outcome: &str| {
        get(&format!(
            "rolectl_aws_calls_total{{account=\"{account}\",operation=\"{operation}\",outcome=\"{outcome}\"}}"
        ))
    };
    ensure!(
        of("AttachRolePolicy", "throttled") == 2.0 && of("CreateRole", "ok") == 2.0,
        "{all:?}"
    );
    ensure!(of("AssumeRole", "ok") == 1.0);
    ensure!(get("rolectl_roles{reason=\"InSync\"}") == 1.0);
    ensure!(
        get(&format!(
            "rolectl_role_accounts{{account=\"{account}\",state=\"InSync\"}}"
        )) == 1.0
    );
    let rate = get(&format!("rolectl_aws_rate{{account=\"{account}\"}}"));
    ensure!(
        (50.0..200.0).contains(&rate),
        "throttled twice, and {rate} of 200 calls a second"
    );
    let left = get("rolectl_session_seconds_left{session=\"metrics\"}");
    ensure!(left > 0.0 && left <= 36.0 * 3600.0, "{left}");
    ensure!(get(&format!("rolectl_sweep_age_seconds{{account=\"{account}\"}}")) < 120.0);
    ensure!(get("rolectl_accounts_held") == 1.0 && get("rolectl_accounts") == 1.0);
    let text = scrape().await.map_err(anyhow::Error::msg)?;
    for metric in TABLE {
        ensure!(
            text.contains(&format!("# TYPE {} {}\n", metric.name, metric.kind)),
            "{} is not served",
            metric.name
        );
    }

    // Locked: nothing is left.
    s.lock().await?;
    until("the session to be over in the metrics", || async {
        let all = samples(&scrape().await?);
        let left = all
            .get("rolectl_session_seconds_left{session=\"metrics\"}")
            .copied();
        if left == Some(0.0) {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await
}

#[tokio::test]
async fn a_sweep_that_fails_again_and_again_is_overdue_and_one_that_waits_for_an_unlock_is_not() -> Result<()>
{
    let s = Scenario::with(crate::world().await?, "overdue", 1, |a| {
        a["spec"]["driftInterval"] = json!("10s")
    })
    .await?;
    let address = free_address()?.to_string();
    s.start_controller_with(&[("ROLECTL_HEALTH_ADDRESS", &address)])?;
    let (account, id) = s.targets[0].clone();
    let overdue = async |wanted: fn(f64) -> bool| {
        until("the metric to tell", || async {
            let answer = reqwest::get(format!("http://{address}/metrics")).await;
            let text = answer
                .map_err(|e| e.to_string())?
                .text()
                .await
                .map_err(|e| e.to_string())?;
            let name = format!("rolectl_sweep_overdue_seconds{{account=\"{account}\"}}");
            match samples(&text).get(&name) {
                Some(by) if wanted(*by) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    };
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    overdue(|by| by < 5.0).await?;
    let away =
        json!([{"action": "GetAccountAuthorizationDetails", "code": "ServiceUnavailable", "status": 503}]);
    s.world.double.faults(&id, away).await?;
    // Each failure puts the next try off; what counts is that none went through.
    overdue(|by| by > 8.0).await?;
    s.lock().await?;
    overdue(|by| by == 0.0).await
}
