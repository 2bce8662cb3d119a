//! The actors of the accounts that this process looks after.

use std::collections::HashMap;
use std::sync::Arc;

use kube::ResourceExt as _;
use parking_lot::RwLock;
use rolectl_crds::AwsAccount;
use tokio_util::task::TaskTracker;

use rolectl_aws::account::AccountEnvironment;
use rolectl_aws::actor::{ActorContext, ActorHandle, start};

/// The actors, by the name of their `AwsAccount`.
#[derive(Default)]
pub struct Actors {
    all: RwLock<HashMap<String, Arc<ActorHandle>>>,
    tasks: TaskTracker,
}

impl Actors {
    /// The actor of an account. `None`: this process does not look after it.
    pub fn get(&self, account: &str) -> Option<Arc<ActorHandle>> {
        self.all.read().get(account).cloned()
    }

    /// All actors.
    pub fn all(&self) -> Vec<Arc<ActorHandle>> {
        self.all.read().values().cloned().collect()
    }

    /// Starts the actor of an account that has none.
    pub fn start(
        &self,
        object: Arc<AwsAccount>,
        environment: AccountEnvironment,
        context: ActorContext,
    ) -> Arc<ActorHandle> {
        let name = object.name_any();
        let (handle, actor) = start(object, environment, context);
        self.tasks.spawn(actor);
        self.all.write().insert(name, handle.clone());
        handle
    }

    /// Ends the actor of an account. Returns false if there is none.
    pub fn stop(&self, account: &str) -> bool {
        let handle = self.all.write().remove(account);
        handle.inspect(|handle| handle.stop()).is_some()
    }

    /// Returns once every actor has ended. Actors end when the process shuts down.
    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
