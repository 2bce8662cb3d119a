//! Eventual consistency: reads trail writes by a set time.
//!
//! Reads are answered by a second IAM service over a second state, to which the state of an account is
//! copied a while after each write. Authentication and rules always see the newest state.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fakecloud_core::service::AwsService;
use fakecloud_iam::SharedIamState;
use parking_lot::Mutex;

type NewService = Box<dyn Fn(SharedIamState) -> Arc<dyn AwsService> + Send + Sync>;

/// The old state, and the service that reads it.
#[derive(Clone)]
pub struct View {
    state: SharedIamState,
    service: Arc<dyn AwsService>,
    /// Number of the last write that was noted, and of the last that is seen.
    writes: Arc<Mutex<(u64, u64)>>,
}

impl View {
    pub fn service(&self) -> &Arc<dyn AwsService> {
        &self.service
    }

    pub fn state(&self) -> SharedIamState {
        self.state.clone()
    }
}

/// How far reads trail, and what they see.
pub struct Lag {
    new_service: NewService,
    /// By account.
    on: Mutex<HashMap<String, (Duration, View)>>,
}

impl Lag {
    pub fn new(new_service: NewService) -> Self {
        Self {
            new_service,
            on: Mutex::default(),
        }
    }

    /// From now on reads in the account trail by `by`; zero ends it.
    pub fn set(&self, newest: &SharedIamState, account: &str, by: Duration) {
        if by.is_zero() {
            self.on.lock().remove(account);
            return;
        }
        let copy = newest.read().clone();
        let state: SharedIamState = Arc::new(parking_lot::RwLock::new(copy));
        let view = View {
            service: (self.new_service)(state.clone()),
            state,
            writes: Arc::default(),
        };
        self.on.lock().insert(account.to_owned(), (by, view));
    }

    pub fn view(&self, account: &str) -> Option<View> {
        self.on.lock().get(account).map(|(_, view)| view.clone())
    }

    /// Something in the account was written: reads will see it in a while.
    pub fn wrote(&self, newest: &SharedIamState, account: &str) {
        let Some((by, view)) = self.on.lock().get(account).cloned() else {
            return;
        };
        let (number, copy) = {
            let mut writes = view.writes.lock();
            let Some(copy) = newest.read().get(account).cloned() else {
                return;
            };
            writes.0 += 1;
            (writes.0, copy)
        };
        let account = account.to_owned();
        tokio::spawn(async move {
            tokio::time::sleep(by).await;
            let mut writes = view.writes.lock();
            // Two writes in one millisecond may wake in any order: the older state never comes back.
            if writes.1 < number {
                writes.1 = number;
                *view.state.write().get_or_create(&account) = copy;
            }
        });
    }
}
