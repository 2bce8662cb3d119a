//! The cases that concern the controller. Each returns its figures; docs/fleets.md defines them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::api::{Patch, PatchParams};
use rolectl_tests::double::Call;
use rolectl_tests::wait::{until, until_within};
use serde_json::json;
use tokio::time::Instant;

use crate::Figures;
use crate::bare_loop;
use crate::fixtures::{POLICIES, name};
use crate::fleet::{Fleet, conditions, is_current};
use crate::process::{cpu_seconds, memory_mib};

/// So many roles are changed, one after the other, to measure the latency of a change.
const CHANGES: usize = 50;
/// Events and the statuses of accounts follow the last Ready within this time.
const AFTERWORK: Duration = Duration::from_secs(2);
/// Calls of a sweep, which no change causes.
const SWEEP: [&str; 3] = ["ListRoles", "GetAccountAuthorizationDetails", "GetAccountSummary"];

/// Creates all roles, from the first apply to the last Ready.
pub async fn create(fleet: &Fleet) -> Result<Figures> {
    let (before, pid) = (fleet.calls().await?, fleet.s.controller_pid()?);
    let cpu = cpu_seconds(pid)?;
    let start = Instant::now();
    let (applied, ready) = tokio::join!(fleet.apply_all(""), fleet.all_ready());
    applied?;
    ready?;
    let wall = start.elapsed().as_secs_f64();
    let calls = fleet.calls_since(&before).await?;
    tokio::time::sleep(AFTERWORK).await;
    let cpu = cpu_seconds(pid)? - cpu;
    let mut figures = vec![
        ("wall_s", wall),
        ("calls", calls),
        ("calls_per_role", calls / fleet.pairs() as f64),
        ("controller_cpu_s", cpu),
    ];
    if !fleet.flags.no_bare_loop {
        let bare = bare_loop::create(fleet).await?;
        let bare_wall = bare.wall.as_secs_f64();
        figures.extend([
            ("bare_loop_s", bare_wall),
            ("ratio_to_bare_loop", wall / bare_wall),
            ("bare_loop_cpu_s", bare.cpu),
            ("cpu_vs_bare_loop", cpu / bare.cpu),
        ]);
    }
    Ok(figures)
}

/// Sweeps accounts in which there is nothing to do.
pub async fn sweep(fleet: &Fleet) -> Result<Figures> {
    fleet.grace().await;
    fleet.sweep_all().await?;
    let (before, pid) = (fleet.calls().await?, fleet.s.controller_pid()?);
    let cpu = cpu_seconds(pid)?;
    fleet.sweep_all().await?;
    let calls = fleet.calls_since(&before).await?;
    Ok(vec![
        ("calls", calls),
        ("calls_per_role", calls / fleet.pairs() as f64),
        ("cpu_s", cpu_seconds(pid)? - cpu),
    ])
}

/// Detaches a policy from one role in a hundred, then requests one sweep.
pub async fn drift(fleet: &Fleet) -> Result<Figures> {
    let broken: Vec<usize> = (0..fleet.flags.roles).step_by(100).collect();
    let mut clients = vec![];
    for n in 0..fleet.s.targets.len() {
        clients.push(fleet.s.hands(n).await?);
    }
    for n in &broken {
        for iam in fleet.of(&clients, *n) {
            iam.detach_role_policy()
                .role_name(name(*n))
                .policy_arn(POLICIES[0])
                .send()
                .await?;
        }
    }
    // A requested sweep follows another one after ten seconds only, which is no part of the figure.
    fleet.grace().await;
    let corrected = async {
        until_within(fleet.longest(), "the correction of every role", || async {
            for n in &broken {
                for iam in fleet.of(&clients, *n) {
                    let attached = iam.list_attached_role_policies().role_name(name(*n)).send().await;
                    let attached = attached
                        .map_err(|e| format!("{e:?}"))?
                        .attached_policies
                        .unwrap_or_default();
                    if attached.len() != POLICIES.len() {
                        return Err(name(*n));
                    }
                }
            }
            Ok(())
        })
        .await?;
        anyhow::Ok(Instant::now())
    };
    let (sweep, corrected) = tokio::join!(fleet.sweep_all(), corrected);
    let wall = corrected? - sweep?.requested;
    fleet.all_ready().await?;
    Ok(vec![
        ("roles", broken.len() as f64),
        ("wall_s", wall.as_secs_f64()),
    ])
}

/// Changes one tag of one role after the other, from the API server's answer to the calls in the log of AWS.
pub async fn apply_latency(fleet: &Fleet) -> Result<Figures> {
    fleet.grace().await;
    let api = fleet.s.roles();
    let params = PatchParams::apply("bench").force();
    let (mut first, mut written) = (vec![], vec![]);
    let mut skip = fleet.s.calls(0, 0).await?.total;
    // Roles of the first account, whose log is read.
    for n in (0..fleet.flags.roles)
        .step_by(fleet.s.targets.len())
        .take(CHANGES)
    {
        let mut role = fleet.role(n, "");
        role["spec"]["tags"]["changed"] = json!("yes");
        api.patch(&name(n), &params, &Patch::Apply(&role)).await?;
        let answered = jiff::Timestamp::now();
        // The next role is changed only once all work on this one is over, so that all calls until then are its own.
        until(&format!("{} to be Ready again", name(n)), || async {
            let role = api.get(&name(n)).await.map_err(|e| e.to_string())?;
            let ready = conditions(&role)
                .iter()
                .any(|c| c.type_ == "Ready" && c.status == "True");
            if is_current(&role) && ready {
                Ok(())
            } else {
                Err(format!("{:?}", role.status))
            }
        })
        .await?;
        let log = fleet.s.calls(0, skip).await?;
        skip += log.total;
        let after_answer = |is: fn(&&Call) -> bool| {
            let call = log.calls.iter().find(is);
            // The log has whole milliseconds: half a one is what it leaves out on average.
            call.map(|call| call.at as f64 + 0.5 - answered.as_microsecond() as f64 / 1000.0)
        };
        first.push(after_answer(|call| !SWEEP.contains(&call.action.as_str())).context("no call")?);
        written.push(after_answer(|call| call.action == "TagRole").context("no TagRole")?);
    }
    Ok(vec![
        ("p50_ms", percentile(&mut first, 0.50)),
        ("p95_ms", percentile(&mut first, 0.95)),
        ("written_p50_ms", percentile(&mut written, 0.50)),
        ("written_p95_ms", percentile(&mut written, 0.95)),
    ])
}

/// The value below which this share of the values is; 0 of none.
fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or_default()
}

/// Changes all roles while the session is locked, then unlocks it: from the unlock to the last Ready.
pub async fn resume(fleet: &Fleet) -> Result<Figures> {
    fleet.s.lock().await?;
    fleet.apply_all("changed while locked").await?;
    fleet
        .all_are("waiting for an unlock", |role| {
            conditions(role).iter().any(|c| c.reason == "SessionLocked")
        })
        .await?;
    let code = fleet.s.operator.code().await?;
    let start = Instant::now();
    fleet.s.unlock_with(&code).await?;
    fleet.all_ready().await?;
    let wall = start.elapsed().as_secs_f64();
    let mut figures = vec![("wall_s", wall)];
    if !fleet.flags.no_bare_loop {
        let bare = bare_loop::resume(fleet).await?.as_secs_f64();
        figures.extend([("bare_loop_s", bare), ("ratio_to_bare_loop", wall / bare)]);
    }
    Ok(figures)
}

/// Measures the controller while nothing happens. CPU is that of a quiet time and of one sweep in 5 minutes.
pub async fn idle(fleet: &Fleet) -> Result<Figures> {
    let pid = fleet.s.controller_pid()?;
    fleet.sweep_all().await?;
    let (cpu, start) = (cpu_seconds(pid)?, Instant::now());
    tokio::time::sleep(Duration::from_secs(20)).await;
    let quiet = (cpu_seconds(pid)? - cpu) / start.elapsed().as_secs_f64();
    let (rss, program) = (memory_mib(pid, "VmRSS:")?, memory_mib(pid, "RssFile:")?);
    let cpu = cpu_seconds(pid)?;
    fleet.sweep_all().await?;
    let sweep = cpu_seconds(pid)? - cpu;
    Ok(vec![
        ("rss_mib", rss),
        ("of_it_program_mib", program),
        ("peak_rss_mib", memory_mib(pid, "VmHWM:")?),
        ("cpu_percent", (quiet + sweep / 300.0) * 100.0),
    ])
}
