//! The invariants of the engine, checked at every call, every change, every report, and once nothing is left to do.
//!
//! ```text
//! Invariants (sees every call) -> call      may this call be made?
//!                              '-> change   was this change right? -> access (who may do what)
//! report, converged -> difference           is the role as its object declares it?
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::aws::iam::{State, Write};
use crate::aws::service::{Call, Observer};
use crate::journal::Checked;
use crate::kubernetes::cluster::Cluster;
use crate::ledger::Ledger;

mod access;
mod call;
mod change;
pub mod converged;
mod difference;
pub mod report;

use call::Begun;

/// Checks what AWS is asked and what it does.
#[derive(Debug)]
pub struct Invariants {
    cluster: Arc<Cluster>,
    ledger: Arc<Ledger>,
    began: Instant,
    /// What the replica knew when it began a call, until the call has changed something.
    begun: Mutex<BTreeMap<u64, Begun>>,
}

impl Invariants {
    /// Invariants of a run that begins now.
    pub fn new(cluster: Arc<Cluster>, ledger: Arc<Ledger>) -> Self {
        Self {
            cluster,
            ledger,
            began: Instant::now(),
            begun: Mutex::default(),
        }
    }
}

impl Observer for Invariants {
    fn begins(&self, call: &Call<'_>) -> Checked {
        if let Some(begun) = self.check_call(call)? {
            self.begun.lock().insert(call.number, begun);
        }
        Ok(())
    }

    fn changed(&self, number: u64, account: &str, write: &Write, states: (&State, &State)) -> Checked {
        let begun = self.begun.lock().remove(&number).unwrap_or_default();
        let checked = self.check_change(account, write, &begun, states);
        self.ledger.record_owner(account, write.target(), states.1);
        checked
    }

    fn changed_outside(&self, account: &str, write: &Write, after: &State) {
        self.ledger.changed_outside(account, write.target());
        self.ledger.record_owner(account, write.target(), after);
    }
}
