//! Stops a command on Ctrl-C in two stages.

use crate::stdio::eprintln;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Fleet;

impl Fleet {
    /// Waits for Ctrl-C in a task of its own. The first cancels `interrupted`, after which the command starts no role; the second
    /// cancels the environment, after which it starts no AWS call.
    pub fn stop_on_interrupt(&self, interrupted: &CancellationToken) -> JoinHandle<()> {
        let stages = [
            (
                interrupted.clone(),
                "finishing the roles under way; once more to finish only the calls",
            ),
            (self.environment.shutdown.clone(), "finishing the calls under way"),
        ];
        tokio::spawn(async move {
            for (stage, what) in stages {
                if tokio::signal::ctrl_c().await.is_ok() {
                    eprintln!("\ninterrupted: {what}");
                    stage.cancel();
                }
            }
        })
    }
}
