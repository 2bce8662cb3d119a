//! The actors of this process. The next actor of an account inherits the recent writes of those that were stopped.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rolectl_crds::AwsAccount;

use super::handle;
use super::{ActorContext, ActorHandle};
use crate::account::AccountEnvironment;

/// Partition and id of an account in AWS.
type AccountId = (String, String);

/// The actors, by the name of their `AwsAccount`.
#[derive(Default)]
pub struct Actors {
    running: RwLock<BTreeMap<String, Arc<ActorHandle>>>,
    /// Actors that were stopped, by partition and id of their account: another object may describe the account next.
    stopped: Mutex<BTreeMap<AccountId, Vec<Arc<ActorHandle>>>>,
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

    /// Starts the actor of an account that has none. The future runs the actor: it first waits until the previous actors of the account
    /// have ended, and inherits their recent writes. It completes after [`Self::stop`] or a shutdown, once no call is under way.
    pub fn start(
        &self,
        object: Arc<AwsAccount>,
        environment: AccountEnvironment,
        context: ActorContext,
    ) -> (Arc<ActorHandle>, impl Future<Output = ()> + Send + use<>) {
        let name = object.metadata.name.clone().unwrap_or_default();
        let id = (object.spec.partition.clone(), object.spec.account_id.clone());
        let earlier = self.stopped.lock().remove(&id).unwrap_or_default();
        let (handle, actor) = handle::start(object, environment, context, earlier);
        self.running.write().insert(name, handle.clone());
        (handle, actor)
    }

    /// Stops the actor of an account, if there is one.
    pub fn stop(&self, account: &str) {
        let mut stopped = self.stopped.lock();
        stopped.retain(|_, handles| {
            handles.retain(|handle| handle.may_leave_something());
            !handles.is_empty()
        });
        if let Some(handle) = self.running.write().remove(account) {
            handle.stop();
            let spec = &handle.account().spec;
            let id = (spec.partition.clone(), spec.account_id.clone());
            stopped.entry(id).or_default().push(handle);
        }
    }
}
