//! What IAM refuses in policy documents, descriptions and tags, and fakecloud 0.51 takes. Each rule names the AWS
//! document that it follows.
use serde_json::{Map, Value};

/// `[\u0009\u000A\u000D\u0020-\u00FF]+`, the pattern of a policy document:
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePolicy.html>
pub fn in_document(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{ff}')
}

/// `[\u0009\u000A\u000D\u0020-\u007E\u00A1-\u00FF]*`, the pattern of a role's description:
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html>
pub fn in_description(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{a1}'..='\u{ff}')
}

/// `[\p{L}\p{Z}\p{N}_.:/=+\-@]*`, the pattern of a tag's key and value:
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_Tag.html>
pub fn in_tag(c: char) -> bool {
    c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c)
}

/// Why IAM refuses the document, whose partition is `aws`.
pub fn refused(text: &str, trust: bool) -> Option<String> {
    let Ok(document) = serde_json::from_str::<Value>(text) else {
        return Some("This policy contains invalid Json".into());
    };
    check(&document, trust).err()
}

type Checked = Result<(), String>;

fn syntax<T>() -> Result<T, String> {
    Err("Syntax errors in policy.".into())
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>
fn check(document: &Value, trust: bool) -> Checked {
    let Some(document) = document.as_object() else {
        return syntax();
    };
    if document
        .keys()
        .any(|k| !["Version", "Id", "Statement"].contains(&k.as_str()))
    {
        return syntax();
    }
    let statements = match document.get("Statement") {
        Some(Value::Array(list)) if !list.is_empty() => list.iter().collect(),
        Some(one @ Value::Object(_)) => vec![one],
        _ => return syntax(),
    };
    let mut sids = vec![];
    for statement in statements {
        let Some(statement) = statement.as_object() else {
            return syntax();
        };
        check_statement(statement, trust)?;
        // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_sid.html
        if let Some(sid) = statement
            .get("Sid")
            .and_then(Value::as_str)
            .filter(|s| !s.is_empty())
        {
            if !sid.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err("Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*".into());
            }
            if sids.contains(&sid) {
                return Err("Statement IDs (SID) in a single policy must be unique.".into());
            }
            sids.push(sid);
        }
    }
    Ok(())
}

fn texts<'v>(value: Option<&'v Value>) -> Result<Vec<&'v str>, String> {
    match value {
        None => Ok(vec![]),
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(list)) => match list.iter().map(Value::as_str).collect::<Option<Vec<_>>>() {
            Some(list) => Ok(list),
            None => syntax(),
        },
        Some(_) => syntax(),
    }
}

fn check_statement(statement: &Map<String, Value>, trust: bool) -> Checked {
    const ELEMENTS: &[&str] = &[
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    ];
    let has = |key: &str| statement.contains_key(key);
    if statement.keys().any(|k| !ELEMENTS.contains(&k.as_str()))
        || (has("Action") && has("NotAction"))
        || (has("Resource") && has("NotResource"))
        || (has("Principal") && has("NotPrincipal"))
    {
        return syntax();
    }
    // The values are case sensitive: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_effect.html
    if !matches!(
        statement.get("Effect").and_then(Value::as_str),
        Some("Allow" | "Deny")
    ) {
        return syntax();
    }
    let mut actions = texts(statement.get("Action"))?;
    actions.extend(texts(statement.get("NotAction"))?);
    if actions.is_empty() {
        return Err("Policy statement must contain actions.".into());
    }
    actions.into_iter().try_for_each(check_action)?;
    check_condition(statement.get("Condition"))?;
    if trust {
        // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
        if has("NotPrincipal") {
            return Err("AssumeRole policy must not contain NotPrincipal.".into());
        }
        return check_principals(statement);
    }
    if has("Principal") || has("NotPrincipal") {
        return Err("Policy document should not specify a principal.".into());
    }
    let mut resources = texts(statement.get("Resource"))?;
    resources.extend(texts(statement.get("NotResource"))?);
    if resources.is_empty() {
        return Err("Policy statement must contain resources.".into());
    }
    resources.into_iter().try_for_each(check_resource)
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html>
fn check_action(action: &str) -> Checked {
    if action == "*" {
        return Ok(());
    }
    let Some((vendor, name)) = action.split_once(':') else {
        return Err("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.".into());
    };
    if name.contains(':') {
        return Err("Actions/Condition can contain only one colon.".into());
    }
    if vendor != "*"
        && !vendor
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
    {
        return Err(format!("Vendor {vendor} is not valid"));
    }
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err("The policy failed legacy parsing".into());
    }
    Ok(())
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
fn check_condition(condition: Option<&Value>) -> Checked {
    const TYPES: &[&str] = &[
        "String",
        "Numeric",
        "Date",
        "Bool",
        "Binary",
        "IpAddress",
        "NotIpAddress",
        "Arn",
        "Null",
    ];
    let Some(condition) = condition else {
        return Ok(());
    };
    let Some(condition) = condition.as_object() else {
        return syntax();
    };
    for (operator, keys) in condition {
        let Some(keys) = keys.as_object() else {
            return syntax();
        };
        // IAM takes an operator without keys, even one that does not exist.
        if keys.is_empty() {
            continue;
        }
        let base = operator
            .trim_start_matches("ForAllValues:")
            .trim_start_matches("ForAnyValue:");
        // IfExists is for "any condition operator name except the Null condition".
        if !TYPES.iter().any(|known| base.starts_with(known)) || base == "NullIfExists" {
            return Err(format!("Invalid Condition type : {operator}."));
        }
        for value in keys.values() {
            let list: Vec<&Value> = match value {
                Value::Array(list) => list.iter().collect(),
                Value::Null | Value::Object(_) => return syntax(),
                one => vec![one],
            };
            for value in list {
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Bool(_) | Value::Number(_) => value.to_string(),
                    _ => return syntax(),
                };
                if base.starts_with("Date") && !is_date(&text) {
                    return Err("The policy failed legacy parsing".into());
                }
            }
        }
    }
    Ok(())
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_Date>
fn is_date(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let (date, time) = text.split_once(['T', 't']).unwrap_or((text, "00"));
    date.split('-').all(digits)
        && date.split('-').count() <= 3
        && time.starts_with(|c: char| c.is_ascii_digit())
        && time.chars().all(|c| c.is_ascii_digit() || ":.+-Zz".contains(c))
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html> and
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns>
fn check_resource(resource: &str) -> Checked {
    if resource == "*" || resource.starts_with("${") {
        return Ok(());
    }
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    if parts.len() < 2 || parts[0] != "arn" {
        return Err(format!("Resource {resource} must be in ARN format or \"*\"."));
    }
    if !matches!(parts[1], "aws" | "*") {
        return Err(format!(
            "Partition \"{}\" is not valid for resource \"{resource}\".",
            parts[1]
        ));
    }
    if parts.len() < 6 {
        return if resource.ends_with('*') {
            Ok(())
        } else {
            Err("The policy failed legacy parsing".into())
        };
    }
    if parts[2] == "iam" && !parts[3].is_empty() && parts[3] != "*" {
        return Err(format!(
            "IAM resource {resource} cannot contain region information."
        ));
    }
    Ok(())
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>
fn check_principals(statement: &Map<String, Value>) -> Checked {
    let Some(kinds) = statement.get("Principal").and_then(Value::as_object) else {
        return Ok(());
    };
    let account = |id: &str| id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit());
    let host = |text: &str| {
        text.contains('.')
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._/".contains(&b))
    };
    for (kind, values) in kinds {
        for principal in texts(Some(values))? {
            let parts: Vec<&str> = principal.splitn(6, ':').collect();
            let arn = parts.len() == 6 && parts[0] == "arn" && parts[1] == "aws" && account(parts[4]);
            let valid = match kind.as_str() {
                // What an ARN names is checked where the roles are.
                "AWS" => !principal.starts_with("arn:") || arn,
                "Service" => host(principal) && !principal.contains('/'),
                "Federated" if principal.starts_with("arn:") => {
                    arn && (parts[5].starts_with("saml-provider/") || parts[5].starts_with("oidc-provider/"))
                }
                "Federated" => host(principal),
                _ => true,
            };
            if !valid {
                return Err(if kind == "Federated" {
                    "Federated principals must be valid domain names or SAML metadata ARNs".into()
                } else {
                    format!("Invalid principal in policy: \"{kind}\":\"{principal}\"")
                });
            }
            if kind == "Federated" {
                check_claims(statement, principal)?;
            }
        }
    }
    Ok(())
}

/// Identity-provider controls of shared OIDC providers:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_oidc_secure-by-default.html>
fn check_claims(statement: &Map<String, Value>, provider: &str) -> Checked {
    const REQUIRED: &[(&str, &str)] = &[
        ("token.actions.githubusercontent.com", "sub"),
        ("gitlab.com", "sub"),
        ("app.terraform.io", "sub"),
        ("cognito-identity.amazonaws.com", "aud"),
    ];
    let issuer = provider
        .rsplit_once("oidc-provider/")
        .map_or(provider, |(_, issuer)| issuer);
    let allows = statement.get("Effect").and_then(Value::as_str) == Some("Allow");
    let web = texts(statement.get("Action"))?.contains(&"sts:AssumeRoleWithWebIdentity");
    let Some((_, claim)) = REQUIRED
        .iter()
        .find(|(known, _)| allows && web && *known == issuer)
    else {
        return Ok(());
    };
    let wanted = format!("{issuer}:{claim}");
    let conditions = statement.get("Condition").and_then(Value::as_object);
    let evaluated = conditions
        .into_iter()
        .flat_map(|operators| operators.values())
        .filter_map(Value::as_object)
        .flat_map(|keys| keys.keys())
        .any(|key| key.eq_ignore_ascii_case(&wanted));
    if evaluated {
        return Ok(());
    }
    Err(format!(
        "Missing required condition key {wanted} for the identity provider {issuer}."
    ))
}
