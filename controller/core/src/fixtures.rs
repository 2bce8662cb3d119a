//! Specs and roles for unit tests.

use std::collections::BTreeMap;

use serde_json::json;

use rolectl_crds::IamRoleSpec;

use crate::policy::cache::DocumentCache;
use crate::role::change::{Change, Identity};
use crate::role::desired::{AccountContext, DesiredRole, desired};
use crate::role::observed::ObservedRole;
use crate::role::ownership::PlanContext;
use crate::role::plan::plan;

pub fn spec() -> IamRoleSpec {
    serde_json::from_value(json!({
        "accounts": {"names": ["dev"]},
        "assumeRolePolicy": {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": {"AWS": "arn:$(aws.partition):iam::$(session.accountId):root"},
        }]},
    }))
    .unwrap()
}

pub fn context() -> AccountContext {
    AccountContext {
        name: "dev".into(),
        account_id: "222222222222".into(),
        partition: "aws".into(),
        labels: BTreeMap::new(),
        session_account_id: "111111111111".into(),
        ignore_tags: vec!["org:*".into()],
        ignore_policies: vec!["org-*".into()],
    }
}

pub fn wanted(spec: &IamRoleSpec) -> DesiredRole {
    desired(spec, "app", "c/ns/app", &context(), &DocumentCache::default()).unwrap()
}

/// Returns the role in AWS after every change for `desired` is made.
pub fn observed(desired: &DesiredRole) -> ObservedRole {
    let made = plan(desired, None, &PlanContext::default()).unwrap();
    let identity = Identity {
        arn: "arn:aws:iam::222222222222:role/app".into(),
        role_id: "AROA1".into(),
    };
    let apply = |role, change: &Change| change.after(role, Some(identity.clone()));
    made.changes.iter().fold(None, apply).unwrap()
}
