//! The specs of a simulated author: a small vocabulary, so that few draws meet every kind of change.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt as _;
use rand::rngs::StdRng;
use rolectl_crds::Adoption;
use serde_json::{Value, json};

/// Callers that a trust policy may name.
pub const PRINCIPALS: [&str; 3] = [
    "arn:aws:iam::555555555551:root",
    "arn:aws:iam::555555555552:root",
    "arn:aws:iam::555555555553:root",
];
/// A role that does not exist yet.
pub const UNKNOWN_PRINCIPAL: &str = "arn:aws:iam::555555555554:role/later";
/// Managed policies by their names.
pub const MANAGED: [&str; 3] = ["ReadOnlyAccess", "SecurityAudit", "PowerUserAccess"];
/// Boundaries by their names.
pub const BOUNDARIES: [&str; 2] = ["PowerUserAccess", "ViewOnlyAccess"];

/// The ARN of a policy of AWS.
pub fn policy_arn(name: &str) -> String {
    let path = if name == "ViewOnlyAccess" {
        "job-function/"
    } else {
        ""
    };
    format!("arn:aws:iam::aws:policy/{path}{name}")
}

/// A spec, as the choices that its author made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Which of [`PRINCIPALS`], as bits.
    pub principals: u8,
    /// It trusts [`UNKNOWN_PRINCIPAL`], too.
    pub unknown_principal: bool,
    /// Which of [`MANAGED`], as bits.
    pub managed: u8,
    /// Two inline policies, 0 for none, else which document.
    pub inline: [u8; 2],
    /// 0 for none, else which of [`BOUNDARIES`].
    pub boundary: u8,
    /// The value of a tag, 0 for none.
    pub tag: u8,
    /// Longest session in hours.
    pub hours: u8,
    /// With an instance profile.
    pub profile: bool,
    /// Which accounts, as bits.
    pub accounts: u8,
    /// Which roles are taken over.
    pub adoption: Adoption,
    /// The role stays when the object is deleted.
    pub retains: bool,
    /// The role is not to exist.
    pub absent: bool,
    /// Differences are reported and not corrected.
    pub reports_drift: bool,
    /// What the spec does not list stays.
    pub is_additive: bool,
    /// Nothing is read or written for the object.
    pub is_suspended: bool,
}

/// How often each adoption is drawn.
const ADOPTIONS: [Adoption; 6] = [
    Adoption::Never,
    Adoption::Never,
    Adoption::Never,
    Adoption::IfUnowned,
    Adoption::IfUnowned,
    Adoption::Always,
];

impl Spec {
    /// Draws a spec.
    pub fn draw(rng: &mut StdRng) -> Self {
        Self {
            principals: rng.random_range(1..8),
            unknown_principal: rng.random_ratio(1, 20),
            managed: rng.random_range(0..8),
            inline: [rng.random_range(0..3), rng.random_range(0..2)],
            boundary: if rng.random_ratio(1, 2) {
                0
            } else {
                rng.random_range(1..3)
            },
            tag: rng.random_range(0..3),
            hours: rng.random_range(1..4),
            profile: rng.random_ratio(1, 3),
            accounts: rng.random_range(1..4),
            adoption: ADOPTIONS[rng.random_range(0..ADOPTIONS.len())],
            retains: rng.random_ratio(1, 6),
            absent: rng.random_ratio(1, 15),
            reports_drift: rng.random_ratio(1, 15),
            is_additive: rng.random_ratio(1, 10),
            is_suspended: false,
        }
    }

    /// Draws a spec that differs a little from this one.
    pub fn changed(self, rng: &mut StdRng) -> Self {
        let other = Self::draw(rng);
        let mut spec = self;
        for _ in 0..rng.random_range(1..4) {
            match rng.random_range(0..9) {
                0 | 1 => spec.principals = other.principals,
                2 | 3 => spec.managed = other.managed,
                4 => spec.inline = other.inline,
                5 => spec.boundary = other.boundary,
                6 => (spec.tag, spec.hours) = (other.tag, other.hours),
                7 => spec.profile = other.profile,
                _ => spec.accounts = other.accounts,
            }
        }
        spec.absent = other.absent;
        spec.is_suspended = rng.random_ratio(1, 15);
        spec.reports_drift = other.reports_drift;
        spec.unknown_principal = other.unknown_principal;
        spec
    }

    fn chosen(bits: u8, all: &[&'static str]) -> Vec<&'static str> {
        let chosen = all.iter().enumerate().filter(|(n, _)| bits & (1 << n) != 0);
        chosen.map(|(_, name)| *name).collect()
    }

    /// The callers in the trust policy.
    pub fn callers(&self) -> Vec<&'static str> {
        let mut callers = Self::chosen(self.principals, &PRINCIPALS);
        if self.unknown_principal {
            callers.push(UNKNOWN_PRINCIPAL);
        }
        callers
    }

    /// Names of the inline policies with their documents.
    pub fn inline_policies(&self) -> BTreeMap<String, Value> {
        let documents = self.inline.iter().enumerate().filter(|(_, which)| **which > 0);
        documents
            .map(|(n, which)| {
                // Each document allows another action, so that a permission identifies the policy that grants it.
                let action =
                    ["s3:GetObject", "s3:PutObject", "sqs:SendMessage"][2 * n + usize::from(*which) - 1];
                (format!("inline{n}"), inline_document("Allow", action))
            })
            .collect()
    }

    /// Names of the accounts.
    pub fn account_names(&self) -> Vec<String> {
        (0..2)
            .filter(|n| self.accounts & (1 << n) != 0)
            .map(|n| format!("a{n}"))
            .collect()
    }

    /// The spec as an object has it.
    pub fn to_json(self, role_name: &str) -> Value {
        let mut spec = json!({
            "roleName": role_name,
            "accounts": {"names": self.account_names()},
            "assumeRolePolicy": trust(&self.callers()),
            "managedPolicies": Self::chosen(self.managed, &MANAGED),
            "inlinePolicies": self.inline_policies(),
            "maxSessionDuration": 3600 * u32::from(self.hours),
            "description": format!("for {} h", self.hours),
            "adoption": self.adoption,
            "deletionPolicy": if self.retains { "Retain" } else { "Delete" },
            "ensure": if self.absent { "Absent" } else { "Present" },
            "drift": if self.reports_drift { "Report" } else { "Correct" },
        });
        if self.is_suspended {
            spec["suspend"] = json!(true);
        }
        if self.is_additive {
            spec["exclusive"] = json!({"managedPolicies": false, "inlinePolicies": false, "tags": false});
        }
        if self.boundary > 0 {
            spec["permissionsBoundary"] = json!(BOUNDARIES[usize::from(self.boundary) - 1]);
        }
        if self.tag > 0 {
            spec["tags"] = json!({"team": format!("t{}", self.tag)});
        }
        if self.profile {
            spec["instanceProfile"] = json!({});
        }
        spec
    }
}

/// A trust policy for these callers.
pub fn trust(callers: &[&str]) -> Value {
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": callers}, "Action": "sts:AssumeRole"},
    ]})
}

/// A policy with one statement.
pub fn inline_document(effect: &str, action: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": effect, "Action": action, "Resource": "*"}]})
}

/// A document in one form: every string that may be a list is one, and lists are sorted.
pub fn normal(document: &Value) -> String {
    fn walk(value: &Value) -> Value {
        match value {
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| {
                    let value = walk(value);
                    let is_list = matches!(key.as_str(), "Action" | "Resource" | "AWS" | "Statement");
                    let value = if is_list && !value.is_array() {
                        json!([value])
                    } else {
                        value
                    };
                    (key.clone(), value)
                })
                .collect(),
            Value::Array(all) => {
                let mut all: Vec<Value> = all.iter().map(walk).collect();
                all.sort_by_key(ToString::to_string);
                Value::Array(all)
            }
            other => other.clone(),
        }
    }
    walk(document).to_string()
}

/// Reads a document that AWS holds.
pub fn normal_text(document: &str) -> String {
    normal(&serde_json::from_str(document).unwrap_or_default())
}

/// Returns true if no statement of the document allows anything.
pub fn only_denies(document: &str) -> bool {
    !normal_text(document).contains("\"Allow\"")
}

/// The callers that a trust policy allows.
pub fn callers(trust: &Value) -> BTreeSet<String> {
    let trust: Value = serde_json::from_str(&normal(trust)).unwrap_or_default();
    let statements = trust["Statement"].as_array().cloned().unwrap_or_default();
    let allowed = statements
        .iter()
        .filter(|statement| statement["Effect"] == "Allow");
    let callers = allowed.filter_map(|statement| statement["Principal"]["AWS"].as_array());
    callers
        .flatten()
        .filter_map(Value::as_str)
        .map(full_arn)
        .collect()
}

/// An account id stands for the root of the account.
fn full_arn(caller: &str) -> String {
    if caller.bytes().all(|b| b.is_ascii_digit()) {
        format!("arn:aws:iam::{caller}:root")
    } else {
        caller.to_owned()
    }
}
