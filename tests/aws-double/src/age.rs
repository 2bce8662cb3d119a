//! `aws:MultiFactorAuthAge` in trust policies, which fakecloud's `AssumeRole` does not evaluate.
//!
//! Where a trust policy names the key, the call runs on a copy of the state in which the key's conditions are
//! decided already: a statement that does not hold is left out, one that holds loses the condition.
use std::sync::Arc;

use fakecloud_core::service::{AwsRequest, AwsResponse, AwsService, AwsServiceError};
use fakecloud_iam::SharedIamState;
use fakecloud_iam::sts_service::StsService;
use serde_json::Value;

const KEY: &str = "aws:multifactorauthage";

/// The state as this caller meets it, when the role's trust policy speaks of the age of MFA.
pub fn trust_without_age(iam: &SharedIamState, req: &AwsRequest, age: Option<i64>) -> Option<SharedIamState> {
    if req.action != "AssumeRole" {
        return None;
    }
    let arn = req.query_params.get("RoleArn")?;
    let (account, name) = (arn.split(':').nth(4)?, arn.rsplit('/').next()?);
    let mut trust: Value = {
        let g = iam.read();
        let text = &g.get(account)?.roles.get(name)?.assume_role_policy_document;
        if !text.to_ascii_lowercase().contains(KEY) {
            return None;
        }
        serde_json::from_str(text).ok()?
    };
    let statements = match trust.get_mut("Statement")?.take() {
        Value::Array(all) => all,
        one => vec![one],
    };
    let kept: Vec<Value> = statements.into_iter().filter_map(|s| decide(s, age)).collect();
    trust["Statement"] = Value::Array(kept);
    let mut copy = iam.read().clone();
    copy.get_mut(account)?
        .roles
        .get_mut(name)?
        .assume_role_policy_document = trust.to_string();
    Some(Arc::new(parking_lot::RwLock::new(copy)))
}

/// Runs `AssumeRole` on the copy, and brings the credentials that it made home.
pub async fn assume_on(
    view: SharedIamState,
    home: &SharedIamState,
    req: AwsRequest,
) -> Result<AwsResponse, AwsServiceError> {
    let answer = StsService::new(view.clone()).handle(req).await?;
    let (view, mut home) = (view.read(), home.write());
    for (account, state) in view.iter() {
        let into = home.get_or_create(account);
        for (key, credential) in &state.sts_temp_credentials {
            into.sts_temp_credentials
                .entry(key.clone())
                .or_insert_with(|| credential.clone());
        }
        for (key, identity) in &state.credential_identities {
            into.credential_identities
                .entry(key.clone())
                .or_insert_with(|| identity.clone());
        }
    }
    Ok(answer)
}

/// The statement without conditions on the age of MFA; `None` when one of them does not hold.
fn decide(mut statement: Value, age: Option<i64>) -> Option<Value> {
    if let Some(operators) = statement.get_mut("Condition").and_then(Value::as_object_mut) {
        for (operator, keys) in operators.iter_mut() {
            let Some(keys) = keys.as_object_mut() else {
                continue;
            };
            let Some(key) = keys.keys().find(|k| k.eq_ignore_ascii_case(KEY)).cloned() else {
                continue;
            };
            let limit = keys.remove(&key)?;
            if !holds(&operator.to_ascii_lowercase(), &limit, age) {
                return None;
            }
        }
        operators.retain(|_, keys| keys.as_object().is_none_or(|k| !k.is_empty()));
    }
    Some(statement)
}

fn holds(operator: &str, limit: &Value, age: Option<i64>) -> bool {
    let Some(age) = age else {
        return operator.ends_with("ifexists");
    };
    let limits: Vec<i64> = match limit {
        Value::Array(all) => all.iter().filter_map(number).collect(),
        one => number(one).into_iter().collect(),
    };
    let test: fn(i64, i64) -> bool = match operator.trim_end_matches("ifexists") {
        "numericlessthan" => |a, b| a < b,
        "numericlessthanequals" => |a, b| a <= b,
        "numericgreaterthan" => |a, b| a > b,
        "numericgreaterthanequals" => |a, b| a >= b,
        "numericequals" => |a, b| a == b,
        _ => return false,
    };
    limits.into_iter().any(|limit| test(age, limit))
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}
