//! End to end: the real controller, rolectl and kubectl, on a real kube-apiserver and the AWS double.
//!
//! All tests share one control plane and one double, and have namespaces and accounts of their own.

mod bad_input;
mod calls;
mod double;
mod main_job;
mod ownership;
mod resilience;
mod session;
mod unlock;

use anyhow::Result;
use rolectl_tests::scenario::World;
use tokio::sync::OnceCell;

static WORLD: OnceCell<World> = OnceCell::const_new();

/// The shared world. It lives in a static, so nothing drops it; its processes end when ours does.
async fn world() -> Result<&'static World> {
    WORLD.get_or_try_init(|| World::start("e2e")).await
}
