//! End to end: the real controller, rolectl and kubectl, on a real kube-apiserver and the AWS double.
//!
//! All tests share one control plane and one double, and have namespaces and accounts of their own.

mod agreement;
mod approvals;
mod bad_input;
mod bootstrap;
mod build;
mod calls;
mod ceiling;
mod completing;
mod consistency;
mod coordination;
mod differential;
mod doctor;
mod double;
mod events;
mod exec;
mod gitops;
mod guardrails;
mod habits;
mod hostile;
mod leaving;
mod listing;
mod logs;
mod main_job;
mod metrics;
mod network;
mod once;
mod ownership;
mod policy;
mod properties;
mod quotas;
mod removals;
mod resilience;
mod rollout;
mod rollout_order;
mod schema;
mod secrecy;
mod session;
mod shown;
mod trust;
mod unlock;
mod widening;
mod words;

use anyhow::Result;
use rolectl_tests::scenario::World;
use tokio::sync::OnceCell;

static WORLD: OnceCell<World> = OnceCell::const_new();

/// The shared world. It lives in a static, so nothing drops it; its processes end when ours does.
async fn world() -> Result<&'static World> {
    WORLD
        .get_or_try_init(|| async {
            let world = World::start("e2e").await?;
            // The controller must enforce by itself what admission would refuse before it, and must not believe a status that
            // somebody has forged: only namespaces that a test labels are subject to these admission policies. Objects
            // without a namespace always are.
            let only = serde_json::json!({"spec": {"matchResources": {"namespaceSelector": {"matchLabels": {"admission": "on"}}}}});
            for policy in ["rolectl-guardrails", "rolectl-status"] {
                let binding = ["patch", "validatingadmissionpolicybinding", policy, "--type=merge", "-p"];
                world.plane.kubectl(&[&binding[..], &[only.to_string().as_str()]].concat()).await?;
            }
            Ok(world)
        })
        .await
}
