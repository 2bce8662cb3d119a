//! The invariants of the engine, checked at every call, every change, every report, and once nothing is left to do.
//!
//! ```text
//! call       may this call be made?                  -> interested (the objects that it is about)
//! change     was this change right?                  -> interested, access (who may do what)
//! report     is a role that is reported InSync so?   -> difference
//! converged  is everything as declared at the end?   -> difference
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::aws::iam::{State, Write};
use crate::aws::service::{Call, Observer};
use crate::journal::{Checked, violated};
use crate::kubernetes::cluster::Cluster;
use crate::ledger::Ledger;

mod access;
mod call;
mod change;
pub mod converged;
mod difference;
mod interested;
pub mod report;

use interested::InterestedObject;

/// Checks what AWS is asked and what it does.
#[derive(Debug)]
pub struct Invariants {
    cluster: Arc<Cluster>,
    ledger: Arc<Ledger>,
    began: Instant,
    /// The objects that each write is about, by the number of the call. Removed when AWS has applied the write.
    about: Mutex<BTreeMap<u64, Vec<InterestedObject>>>,
}

impl Invariants {
    /// Invariants of a run that begins now.
    pub fn new(cluster: Arc<Cluster>, ledger: Arc<Ledger>) -> Self {
        Self {
            cluster,
            ledger,
            began: Instant::now(),
            about: Mutex::default(),
        }
    }
}

impl Observer for Invariants {
    fn begins(&self, call: &Call<'_>) -> Checked {
        if let Some(about) = self.check_call(call)? {
            self.about.lock().insert(call.number, about);
        }
        Ok(())
    }

    fn changed(&self, number: u64, account: &str, write: &Write, states: (&State, &State)) -> Checked {
        let Some(about) = self.about.lock().remove(&number) else {
            return violated("each change is of one call", format!("{write:?}"));
        };
        let checked = self.check_change(account, write, &about, states);
        self.ledger.record_owner(account, write.target(), states.1);
        checked
    }

    fn changed_outside(&self, account: &str, write: &Write, after: &State) {
        self.ledger.changed_outside(account, write.target());
        self.ledger.record_owner(account, write.target(), after);
    }
}
