//! What an object wants in AWS, read independently of the engine.

use std::collections::{BTreeMap, BTreeSet};

use rolectl_crds::{Adoption, IamRole};
use serde_json::Value;

use crate::spec::{UNKNOWN_PRINCIPAL, callers, normal, policy_arn};

/// What an object wants in AWS, by this simulation's own reading of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Callers that may assume the role.
    pub callers: BTreeSet<String>,
    /// ARNs of managed policies.
    pub managed: BTreeSet<String>,
    /// Inline policies by name.
    pub inline: BTreeMap<String, String>,
    /// ARN of the boundary.
    pub boundary: Option<String>,
    /// Tags but the owner's.
    pub tags: BTreeMap<String, String>,
    /// Longest session in seconds.
    pub duration: i32,
    /// Description.
    pub description: String,
    /// Name of the instance profile.
    pub profile: Option<String>,
    /// The role is to exist.
    pub exists: bool,
    /// A principal that AWS does not know is among the callers.
    pub is_waiting: bool,
    /// Which roles are taken over, if the account allows it.
    pub adoption: Adoption,
    /// The role stays when the object is deleted.
    pub retains: bool,
    /// Differences are reported and not corrected.
    pub reports_drift: bool,
    /// What the spec does not list stays.
    pub is_additive: bool,
    /// Nothing is read or written for the object.
    pub is_suspended: bool,
}

impl Wanted {
    /// Reads an object.
    pub fn of(role: &IamRole) -> Self {
        let spec = serde_json::to_value(&role.spec).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let callers = spec.get("assumeRolePolicy").map(callers).unwrap_or_default();
        let inline = spec
            .get("inlinePolicies")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        let name = text(&spec["roleName"]);
        Self {
            is_waiting: callers.contains(UNKNOWN_PRINCIPAL),
            callers,
            managed: role
                .spec
                .managed_policies
                .iter()
                .map(|name| policy_arn(name))
                .collect(),
            inline: inline
                .into_iter()
                .map(|(name, document)| (name, normal(&document)))
                .collect(),
            boundary: role.spec.permissions_boundary.as_deref().map(policy_arn),
            tags: role
                .spec
                .tags
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            duration: role.spec.max_session_duration,
            description: role.spec.description.clone(),
            profile: spec.get("instanceProfile").filter(|p| !p.is_null()).map(|_| name),
            exists: text(&spec["ensure"]) != "Absent",
            adoption: role.spec.adoption,
            retains: text(&spec["deletionPolicy"]) == "Retain",
            reports_drift: text(&spec["drift"]) == "Report",
            is_suspended: role.spec.suspend,
            is_additive: spec["exclusive"]["managedPolicies"] == false,
        }
    }
}
