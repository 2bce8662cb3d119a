//! What an account's actor asks about objects, and whom it reports to.
//!
//! The actor itself knows nothing of Kubernetes. The controller answers from its caches, and `rolectl plan` from the files and
//! objects that it was given.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use rolectl_core::names::RoleKey;
use rolectl_core::policy::cache::DocumentCache;
use rolectl_core::role::admission::context;
use rolectl_core::role::named_policies;
use rolectl_crds::{AwsAccount, IamRole, MfaSession};

use super::report::RoleReport;

/// The answer to the question if an account lets a namespace use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admits {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// It selects namespaces by labels, and those of this namespace have not arrived yet.
    Unknown,
}

impl From<bool> for Admits {
    fn from(admits: bool) -> Self {
        if admits { Self::Yes } else { Self::No }
    }
}

/// The objects as they are now. Messages to an actor carry keys, so that no queue ever holds an old object.
pub trait Directory: Send + Sync {
    /// The `IamRole` with this key. `None`: it does not exist, or cannot be read.
    fn role(&self, key: &RoleKey) -> Option<Arc<IamRole>>;

    /// The `AwsAccount` of this name.
    fn account(&self, name: &str) -> Option<Arc<AwsAccount>>;

    /// The `MfaSession` of this name.
    fn session(&self, name: &str) -> Option<Arc<MfaSession>>;

    /// The `IamRole`s that want this name in AWS, in any account. Names in IAM are unique without case.
    fn namesakes(&self, role_name: &str) -> Vec<Arc<IamRole>>;

    /// Returns true if an `IamRole` wants this name, which is in lower case. Other roles are counted by sweeps and not kept.
    fn is_wanted(&self, role_name: &str) -> bool;

    /// The value of the owner tag for an `IamRole`.
    fn owner_of(&self, role: &IamRole) -> String;

    /// Returns if the account lets the namespace use it.
    fn admits(&self, account: &AwsAccount, namespace: &str) -> Admits;

    /// ARNs of the roles in the account through which rolectl itself works
    /// ([`rolectl_core::role::admission::access_roles`]).
    fn access_roles(&self, account: &AwsAccount) -> BTreeSet<String>;

    /// Parsed policy documents.
    fn documents(&self) -> &DocumentCache;

    /// Asks the source of the objects, not a cache, if the account lets the namespace use it. It is asked before a write.
    ///
    /// # Errors
    /// A message when there is no answer. Nothing may be written then.
    fn confirm_admission<'a>(
        &'a self,
        account: &'a AwsAccount,
        namespace: &'a str,
    ) -> BoxFuture<'a, Result<bool, String>>;

    /// Makes sure that the object of the role is not deleted before its roles in AWS are. It is called before the first write for a
    /// role.
    ///
    /// # Errors
    /// A message when that cannot be made sure. Nothing may be written then.
    fn protect<'a>(&'a self, role: &'a IamRole) -> BoxFuture<'a, Result<(), String>>;
}

/// Returns the ARNs of the managed policies that these `IamRole`s name in the account.
pub fn policies_of<'a>(
    directory: &dyn Directory,
    account: &AwsAccount,
    roles: impl IntoIterator<Item = &'a IamRole>,
) -> BTreeSet<String> {
    let session = directory.session(&account.spec.session_ref);
    let context = context(account, session.as_ref().map(|session| &session.spec));
    let named = roles
        .into_iter()
        .flat_map(|role| named_policies(&role.spec, &context));
    named.collect()
}

/// Whom an actor reports to. None of these functions may block.
pub trait Reporter: Send + Sync {
    /// The state of a role in an account has changed.
    fn role(&self, account: &str, key: &RoleKey, report: RoleReport);

    /// The state of an account has changed. [`super::ActorHandle::report`] has it.
    fn account(&self, account: &str);

    /// AWS refused the session of this name. It is locked already.
    fn session_refused(&self, session: &str);
}
