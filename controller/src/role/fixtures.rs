//! Specs and roles that tests start from.

use std::collections::BTreeMap;

use rolectl_crds::IamRoleSpec;
use serde_json::json;

use super::desired::{AccountContext, DesiredRole, desired};

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
    }
}

pub fn wanted(spec: &IamRoleSpec) -> DesiredRole {
    desired(spec, "app", "c/ns/app", &context()).unwrap()
}
