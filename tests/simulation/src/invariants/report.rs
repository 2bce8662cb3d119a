//! Is a report that a role is in sync true?

use rolectl_core::names::RoleKey;
use rolectl_crds::IamRole;

use super::Invariants;
use super::difference::compare;
use crate::aws::service::Service;
use crate::journal::{Checked, violated};

impl Invariants {
    /// Checks a report that the role of this object is in sync, unless the object is an earlier one, or somebody outside has changed
    /// the role since.
    ///
    /// # Errors
    /// The difference.
    pub fn check_in_sync(
        &self,
        service: &Service,
        account: &str,
        reported: &IamRole,
        generation: Option<i64>,
    ) -> Checked {
        let (objects, key) = (self.cluster.now(), RoleKey::of(reported));
        let object = objects.roles.get(&key);
        let object = object.filter(|object| object.role.metadata.uid == reported.metadata.uid);
        let id = objects
            .accounts
            .get(account)
            .map(|account| &account.spec.account_id);
        let (Some(object), Some(id)) = (object, id) else {
            return Ok(());
        };
        if object.role.metadata.generation != generation {
            return Ok(());
        }
        let (name, wanted) = (object.role_name(), &object.wanted);
        if self.is_unseen(&self.ledger.past(id, name)) {
            return Ok(());
        }
        let state = service.state(id);
        let compared = match state.role(name) {
            Ok(role) if wanted.exists => compare(role, wanted, &state),
            Err(_) if wanted.exists => Err("there is no role".to_owned()),
            _ => Ok(()),
        };
        match compared {
            Ok(()) => Ok(()),
            Err(difference) => violated(
                "a role that is reported InSync is",
                format!("{key} in {account}: {difference}"),
            ),
        }
    }
}
