//! The objects that a write is about.

use std::sync::Arc;

use rolectl_crds::Adoption;

use crate::kubernetes::objects::Objects;
use crate::wanted::Wanted;

/// An object whose role a write changes, as the cache of the calling replica showed it when the call began.
#[derive(Clone, Debug)]
pub(super) struct InterestedObject {
    /// The owner tag of its roles.
    pub(super) owner: String,
    pub(super) wanted: Arc<Wanted>,
    /// The object is to have no role in this account.
    pub(super) is_removed: bool,
    /// The account admits the object's namespace.
    pub(super) is_admitted: bool,
    /// What widens waits in the account for an approval.
    pub(super) needs_approval: bool,
    /// The account lets the object take over roles of other owners.
    pub(super) adopts_always: bool,
}

impl InterestedObject {
    /// Returns true if the object is to have a role in this account.
    pub(super) fn keeps(&self) -> bool {
        !self.is_removed && self.wanted.exists && self.is_admitted
    }
}

/// The objects that want this role in this account.
pub(super) fn interested(objects: &Objects, account: &str, role: &str) -> Vec<InterestedObject> {
    let all = objects.wanting(role).into_iter();
    all.map(|object| InterestedObject {
        owner: object.owner(),
        is_removed: objects.is_removed(object, account),
        is_admitted: objects.admits(account, object),
        needs_approval: objects.asks_for_approvals(account),
        adopts_always: object.wanted.adoption == Adoption::Always && objects.adopts_always(account),
        wanted: object.wanted.clone(),
    })
    .collect()
}
