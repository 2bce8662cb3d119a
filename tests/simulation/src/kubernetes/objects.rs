//! The objects, and what authors and administrators do with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rolectl_core::names::{RoleKey, name_in_aws, owner_of};
use rolectl_core::selection::{admits, targets};
use rolectl_crds::{Adoption, ApprovalsFor, AwsAccount, IamRole, MfaSession};
use serde_json::{Value, json};

use crate::spec::Spec;
use crate::wanted::Wanted;

/// Name of the only `MfaSession`.
pub const SESSION: &str = "default";
/// What the owner tags begin with.
pub const CLUSTER: &str = "c";
/// The account of the operators.
pub const MAIN_ACCOUNT: &str = "111111111111";

/// Returns true if this owner tag is of this cluster.
pub fn is_of_this_cluster(owner: &str) -> bool {
    owner
        .strip_prefix(CLUSTER)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// The ARN of the operator's user.
pub fn operator_arn() -> String {
    format!("arn:aws:iam::{MAIN_ACCOUNT}:user/op")
}

/// An `IamRole`, with its finalizer and the part of its status that a new replica reads.
#[derive(Clone, Debug)]
pub struct Object {
    /// The object.
    pub role: Arc<IamRole>,
    /// What its spec wants.
    pub wanted: Arc<Wanted>,
    /// It has the finalizer.
    pub is_protected: bool,
    /// The accounts that its status mentions.
    pub mentioned: BTreeSet<String>,
}

impl Object {
    /// The object's key.
    pub fn key(&self) -> RoleKey {
        RoleKey::of(&self.role)
    }

    /// The owner tag of its roles.
    pub fn owner(&self) -> String {
        owner_of(CLUSTER, &self.role)
    }

    /// The name of its roles.
    pub fn role_name(&self) -> &str {
        name_in_aws(&self.role)
    }

    /// Returns true if the object is being deleted.
    pub fn is_deleted(&self) -> bool {
        self.role.metadata.deletion_timestamp.is_some()
    }
}

/// How an account is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountSetup {
    /// It is the operators' own account, and no role is assumed.
    pub is_direct: bool,
    /// Each `IamRole` has a role session of its own.
    pub session_per_role: bool,
    /// Roles of other owners may be taken over.
    pub adopts_always: bool,
    /// `guardrails.maxRoles`. 0: none.
    pub max_roles: u8,
}

/// Everything that the API server has.
#[derive(Clone, Debug)]
pub struct Objects {
    /// The `IamRole`s.
    pub roles: BTreeMap<RoleKey, Object>,
    /// The `AwsAccount`s.
    pub accounts: BTreeMap<String, Arc<AwsAccount>>,
    /// The `MfaSession`.
    pub session: Arc<MfaSession>,
    created: u32,
    /// Rises with every change that a watch reports.
    pub version: u64,
}

impl Objects {
    /// Two accounts and no roles.
    pub fn new(setups: [AccountSetup; 2]) -> Self {
        let session = serde_json::from_value(json!({
            "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "MfaSession",
            "metadata": {"name": SESSION}, "spec": {"accountId": MAIN_ACCOUNT},
        }));
        let accounts = setups.iter().enumerate();
        Self {
            roles: BTreeMap::new(),
            accounts: accounts
                .map(|(n, setup)| (format!("a{n}"), Arc::new(account(n, *setup))))
                .collect(),
            session: session.expect("the object is valid"),
            created: 0,
            version: 0,
        }
    }

    /// The objects that want this name in AWS, in any account.
    pub fn wanting(&self, role_name: &str) -> Vec<&Object> {
        let all = self.roles.values();
        all.filter(|object| object.role_name().eq_ignore_ascii_case(role_name))
            .collect()
    }

    /// The object whose roles carry this owner tag.
    pub fn owned_by(&self, owner: &str) -> Option<&Object> {
        self.roles.values().find(|object| object.owner() == owner)
    }

    /// The accounts that an object selects.
    pub fn selected(&self, role: &IamRole) -> Vec<String> {
        let all = self.accounts.iter();
        all.filter(|(_, account)| targets(role, account))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Returns true if the object is to have no role in the account: it is being deleted, or does not select the account.
    pub fn is_removed(&self, object: &Object, account: &str) -> bool {
        object.is_deleted() || !self.selected(&object.role).iter().any(|name| name == account)
    }

    /// The account with this id, and its name.
    pub fn account_of(&self, id: &str) -> Option<(&String, &Arc<AwsAccount>)> {
        self.accounts
            .iter()
            .find(|(_, account)| account.spec.account_id == id)
    }

    /// Returns true if the account lets objects take over roles of other owners.
    pub fn adopts_always(&self, account: &str) -> bool {
        let account = self.accounts.get(account);
        let guardrails = account.and_then(|account| account.spec.guardrails.as_ref());
        guardrails.is_some_and(|guardrails| guardrails.adoption == Some(Adoption::Always))
    }

    /// Returns true if what widens waits in the account for an approval.
    pub fn asks_for_approvals(&self, account: &str) -> bool {
        let account = self.accounts.get(account);
        account.is_some_and(|account| account.spec.approvals_for() != ApprovalsFor::None)
    }

    /// Returns true if the account admits the object's namespace.
    pub fn admits(&self, account: &str, object: &Object) -> bool {
        let account = self.accounts.get(account);
        account.is_some_and(|account| admits(account, &object.key().namespace, None))
    }

    /// Creates or changes an `IamRole`. One that is being deleted stays as it is.
    pub fn apply(&mut self, key: &RoleKey, role_name: &str, spec: Spec) {
        let before = self.roles.get(key).map(|object| object.role.clone());
        let metadata = before.as_ref().map(|role| role.metadata.clone());
        if metadata
            .as_ref()
            .is_some_and(|it| it.deletion_timestamp.is_some())
        {
            return;
        }
        let generation = metadata.as_ref().and_then(|it| it.generation).unwrap_or_default() + 1;
        let (uid, created) = match metadata {
            Some(metadata) => (
                metadata.uid,
                serde_json::to_value(&metadata.creation_timestamp).unwrap_or_default(),
            ),
            None => {
                self.created += 1;
                let n = self.created;
                (
                    Some(format!("role-{n}")),
                    json!(format!("2026-01-01T00:{:02}:{:02}Z", n / 60, n % 60)),
                )
            }
        };
        let role: IamRole = object(json!({
            "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "IamRole",
            "metadata": {
                "namespace": &*key.namespace, "name": &*key.name,
                "generation": generation, "uid": uid, "creationTimestamp": created,
            },
            "spec": spec.to_json(role_name),
        }));
        if before.is_some_and(|before| before.spec == role.spec) {
            return;
        }
        self.version += 1;
        let wanted = Arc::new(Wanted::of(&role));
        let role = Arc::new(role);
        let entry = self.roles.entry(key.clone()).or_insert_with(|| Object {
            role: role.clone(),
            wanted: wanted.clone(),
            is_protected: false,
            mentioned: BTreeSet::new(),
        });
        (entry.role, entry.wanted) = (role, wanted);
    }

    /// Deletes an `IamRole`. It stays until its finalizer is removed.
    pub fn delete(&mut self, key: &RoleKey) {
        let Some(object) = self.roles.get_mut(key).filter(|object| !object.is_deleted()) else {
            return;
        };
        self.version += 1;
        if object.is_protected {
            let mut role = (*object.role).clone();
            role.metadata.deletion_timestamp =
                serde_json::from_value(json!("2026-01-02T00:00:00Z")).expect("the time is valid");
            role.metadata.generation = role.metadata.generation.map(|generation| generation + 1);
            object.role = Arc::new(role);
        } else {
            self.roles.remove(key);
        }
    }

    /// Removes the finalizer of a deleted object, and with it the object.
    pub fn finalize(&mut self, key: &RoleKey, uid: Option<&str>) {
        let is_it = |object: &Object| object.role.metadata.uid.as_deref() == uid;
        if self.roles.get(key).is_some_and(is_it) {
            self.version += 1;
            self.roles.remove(key);
        }
    }

    /// Changes an `AwsAccount`.
    pub fn change_account(&mut self, name: &str, change: impl FnOnce(&mut AwsAccount)) {
        if let Some(account) = self.accounts.get_mut(name) {
            self.version += 1;
            let account = Arc::make_mut(account);
            account.metadata.generation = account.metadata.generation.map(|generation| generation + 1);
            change(account);
        }
    }
}

fn account(n: usize, setup: AccountSetup) -> AwsAccount {
    let mut spec = json!({
        "accountId": format!("22222222222{n}"),
        "sessionRef": SESSION,
        "assumeRole": {"name": "rolectl", "sessionPerRole": setup.session_per_role},
        "allowedNamespaces": {"from": "All"},
        "guardrails": {"adoption": if setup.adopts_always { "Always" } else { "IfUnowned" }},
    });
    if setup.is_direct {
        spec["accountId"] = json!(MAIN_ACCOUNT);
        spec["assumeRole"] = Value::Null;
    }
    if setup.max_roles > 0 {
        spec["guardrails"]["maxRoles"] = json!(setup.max_roles);
    }
    object(json!({
        "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
        "metadata": {"name": format!("a{n}"), "uid": format!("account-{n}"), "generation": 1},
        "spec": spec,
    }))
}

fn object<T: serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).expect("the object is valid")
}
