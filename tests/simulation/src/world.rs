//! Everything outside a replica: AWS, Kubernetes, the session's Secret, and the records of the run.

use std::sync::Arc;

use crate::aws::iam::Limits;
use crate::aws::service::Service;
use crate::invariants::Invariants;
use crate::journal::Journal;
use crate::kubernetes::cluster::Cluster;
use crate::kubernetes::objects::AccountSetup;
use crate::ledger::Ledger;
use crate::session::SessionStore;
use crate::spec::UNKNOWN_PRINCIPAL;

/// Everything outside a replica.
#[derive(Clone, Debug)]
pub struct World {
    /// AWS.
    pub service: Arc<Service>,
    /// Kubernetes.
    pub cluster: Arc<Cluster>,
    /// The session's Secret.
    pub session: Arc<SessionStore>,
    /// Checks every call, change and report.
    pub invariants: Arc<Invariants>,
    /// What the invariants remember.
    pub ledger: Arc<Ledger>,
    /// What happened.
    pub journal: Arc<Journal>,
}

impl World {
    /// Two accounts without roles.
    pub fn new(seed: u64, setups: [AccountSetup; 2], limits: Limits, traces: bool) -> Self {
        let cluster = Cluster::new(setups);
        let (journal, ledger) = (Arc::new(Journal::new(traces)), Arc::<Ledger>::default());
        let invariants = Arc::new(Invariants::new(cluster.clone(), ledger.clone()));
        let objects = cluster.now();
        let ids = objects
            .accounts
            .values()
            .map(|account| account.spec.account_id.clone());
        let ids: Vec<String> = ids.collect();
        let service = Service::new(seed, &ids, limits, journal.clone(), invariants.clone());
        service.with(|aws| aws.forget_principal(UNKNOWN_PRINCIPAL));
        Self {
            service,
            cluster,
            session: Arc::default(),
            invariants,
            ledger,
            journal,
        }
    }

    /// The id of an account by its number.
    pub fn account_id(&self, n: u8) -> String {
        let objects = self.cluster.now();
        let account = objects.accounts.get(&format!("a{n}"));
        account
            .map(|account| account.spec.account_id.clone())
            .unwrap_or_default()
    }
}
