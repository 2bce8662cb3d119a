//! The mailbox of an actor. Messages about the same thing replace each other, so it never holds more than one for each role.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use rolectl_core::names::RoleKey;
use tokio::sync::Notify;

use super::report::Assignment;

/// The mailbox.
#[derive(Debug, Default)]
pub struct Inbox {
    messages: Mutex<Messages>,
    notify: Notify,
}

/// What has arrived since the actor last looked.
#[derive(Debug, Default)]
pub struct Messages {
    /// Roles to look after from now on; with `None`, no longer.
    pub roles: BTreeMap<RoleKey, Option<Assignment>>,
    /// A sweep is wanted soon.
    pub wants_sweep: bool,
    /// A user asks for a sweep. Such requests are limited in their rate.
    pub is_sweep_requested: bool,
}

impl Inbox {
    /// Adds to the mailbox and wakes the actor.
    pub fn send(&self, add: impl FnOnce(&mut Messages)) {
        add(&mut self.messages.lock());
        self.notify.notify_one();
    }

    /// Takes everything out.
    pub fn take(&self) -> Messages {
        std::mem::take(&mut self.messages.lock())
    }

    /// Returns once something has been sent since the last call.
    pub async fn changed(&self) {
        self.notify.notified().await;
    }
}
