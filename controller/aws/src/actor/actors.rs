//! The actors that this process runs, and what one that was stopped leaves to the next one of its account.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rolectl_crds::AwsAccount;
use tokio::time::Instant;

use super::handle;
use super::{ActorContext, ActorHandle};
use crate::account::AccountEnvironment;

/// How long a stopped actor is remembered: longer than its last call can take, and then than a read may trail that call
/// ([`rolectl_core::snapshot`]).
const REMEMBERED: Duration = Duration::from_mins(2);

/// The actors, by the name of their `AwsAccount`.
#[derive(Default)]
pub struct Actors {
    running: RwLock<BTreeMap<String, Arc<ActorHandle>>>,
    stopped: Mutex<BTreeMap<String, (Instant, Arc<ActorHandle>)>>,
}

impl Actors {
    /// The actor of an account. `None`: this process does not look after it.
    pub fn get(&self, account: &str) -> Option<Arc<ActorHandle>> {
        self.running.read().get(account).cloned()
    }

    /// All actors, by the names of their accounts.
    pub fn all(&self) -> Vec<Arc<ActorHandle>> {
        self.running.read().values().cloned().collect()
    }

    /// Starts the actor of an account that has none. The future is the actor: it begins when the one that was stopped before has ended,
    /// whose writes it knows. It ends some time after it was stopped or the process goes down, when no call is under way any more.
    pub fn start(
        &self,
        object: Arc<AwsAccount>,
        environment: AccountEnvironment,
        context: ActorContext,
    ) -> (Arc<ActorHandle>, impl Future<Output = ()> + Send + use<>) {
        let name = object.metadata.name.clone().unwrap_or_default();
        let earlier = self.stopped.lock().remove(&name).map(|(_, earlier)| earlier);
        let (handle, actor) = handle::start(object, environment, context, earlier);
        self.running.write().insert(name, handle.clone());
        (handle, actor)
    }

    /// Stops the actor of an account, if there is one.
    pub fn stop(&self, account: &str) {
        let now = Instant::now();
        let mut stopped = self.stopped.lock();
        stopped.retain(|_, (since, _)| now.duration_since(*since) < REMEMBERED);
        if let Some(handle) = self.running.write().remove(account) {
            handle.stop();
            stopped.insert(account.to_owned(), (now, handle));
        }
    }
}
