//! Generates an `IamRole` from a role that exists in AWS.

use serde_json::{Map, Value, json};

use rolectl_crds::{GROUP, TAG_PREFIX};

use super::observed::{ObservedDocument, ObservedRole};
use super::tags::is_reserved_tag;
use crate::arn::arn_partition;
use crate::digest::sha256;

/// The error for a role that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotImported {
    /// The role is reserved by AWS.
    #[error("belongs to AWS (path {0})")]
    Reserved(String),
    /// A document of the role cannot be parsed.
    #[error("{0} cannot be read as a policy document")]
    Unreadable(String),
    /// A text of the role has a `$(`, which would be a variable in a spec.
    #[error("{0} holds $(, which an IamRole takes for a variable")]
    Variable(&'static str),
}

/// Returns the `IamRole` for a role, without fields that have their default value. The object takes the role over if the role has no
/// owner tag.
///
/// # Errors
/// When the role is reserved by AWS, or an `IamRole` cannot express it.
pub fn import(role: &ObservedRole, account: &str, namespace: &str) -> Result<Value, NotImported> {
    // Without `..`, so that a new field of the role cannot be forgotten here.
    let ObservedRole {
        name,
        arn,
        role_id: _,
        path,
        description,
        max_session_duration,
        trust,
        managed_policies,
        inline_policies,
        permissions_boundary,
        tags,
        instance_profiles,
    } = role;
    if role.is_reserved() {
        return Err(NotImported::Reserved(path.clone()));
    }
    let object_name = object_name(name);
    let mut spec = Map::new();
    let mut put = |key: &str, value: Value| spec.insert(key.to_owned(), value);
    put("accounts", json!({"names": [account]}));
    put("adoption", json!("IfUnowned"));
    let mut trust = document("the trust policy", trust)?;
    write_root_arns(&mut trust, arn_partition(arn));
    put("assumeRolePolicy", trust);
    if object_name != *name {
        put("roleName", json!(name));
    }
    if path != "/" {
        put("path", json!(path));
    }
    if !description.is_empty() {
        put("description", json!(description));
    }
    if *max_session_duration != 3600 {
        put("maxSessionDuration", json!(max_session_duration));
    }
    if !managed_policies.is_empty() {
        put(
            "managedPolicies",
            managed_policies.iter().map(|arn| reference(arn)).collect(),
        );
    }
    if !inline_policies.is_empty() {
        let documents = inline_policies.iter().map(|(policy, text)| {
            Ok((
                policy.clone(),
                document(&format!("inline policy {policy}"), text)?,
            ))
        });
        put(
            "inlinePolicies",
            Value::Object(documents.collect::<Result<_, NotImported>>()?),
        );
    }
    if let Some(boundary) = permissions_boundary {
        put("permissionsBoundary", json!(reference(boundary)));
    }
    let kept = tags
        .iter()
        .filter(|(key, _)| !key.starts_with(TAG_PREFIX) && !is_reserved_tag(key));
    let kept: Map<String, Value> = kept.map(|(key, value)| (key.clone(), json!(value))).collect();
    if !kept.is_empty() {
        put("tags", Value::Object(kept));
    }
    // An IamRole can have one profile. If the role has more, somebody else continues to manage them.
    if let (Some(profile), 1) = (instance_profiles.first(), instance_profiles.len()) {
        put(
            "instanceProfile",
            if profile == name {
                json!({})
            } else {
                json!({"name": profile})
            },
        );
    }
    let spec = Value::Object(spec);
    let texts = [
        ("description", spec.get("description")),
        ("a tag", spec.get("tags")),
        ("a policy document", spec.get("assumeRolePolicy")),
        ("a policy document", spec.get("inlinePolicies")),
    ];
    let variable = texts
        .into_iter()
        .find(|(_, value)| value.is_some_and(|v| v.to_string().contains("$(")));
    if let Some((what, _)) = variable {
        return Err(NotImported::Variable(what));
    }
    Ok(json!({
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "kind": "IamRole",
        "metadata": {"name": object_name, "namespace": namespace},
        "spec": spec,
    }))
}

/// Returns a valid name of a Kubernetes object: the role's own name if it is valid, or else a name derived from it that is unique.
fn object_name(role: &str) -> String {
    let fits = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' || c == '.' {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let name: String = role.chars().map(fits).collect();
    // Each part between dots begins and ends with a letter or digit.
    let parts = name.split('.').map(|part| part.trim_matches('-'));
    let name = parts
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(".");
    if name == role {
        return role.to_owned();
    }
    // IAM compares names without regard to case, so lower case alone stays unique. Replaced characters may collide.
    let lower = role.to_lowercase();
    if name == lower {
        return lower;
    }
    let digest = sha256(&lower);
    let hash: String = digest.chars().take(8).collect();
    if name.is_empty() {
        hash
    } else {
        format!("{name}-{hash}")
    }
}

/// Returns the reference to a policy in a spec: path and name of an AWS managed policy, the ARN of every other.
fn reference(arn: &str) -> String {
    let aws = arn.split_once(":iam::aws:policy/").map(|(_, name)| name);
    aws.unwrap_or(arn).to_owned()
}

fn document(what: &str, document: &ObservedDocument) -> Result<Value, NotImported> {
    match document {
        ObservedDocument::Parsed(document) => {
            Ok(serde_json::to_value(document.canonical()).unwrap_or_default())
        }
        ObservedDocument::Unreadable(_) => Err(NotImported::Unreadable(what.to_owned())),
    }
}

/// Writes accounts as AWS shows them: the canonical form of an account's root is its id.
fn write_root_arns(trust: &mut Value, partition: &str) {
    let statements = trust.get_mut("Statement").and_then(Value::as_array_mut);
    for statement in statements.into_iter().flatten() {
        for element in ["Principal", "NotPrincipal"] {
            let principals = statement.get_mut(element).and_then(|kinds| kinds.get_mut("AWS"));
            match principals {
                Some(Value::Array(all)) => all.iter_mut().for_each(|one| write_root_arn(one, partition)),
                Some(one) => write_root_arn(one, partition),
                None => {}
            }
        }
    }
}

fn write_root_arn(principal: &mut Value, partition: &str) {
    let id = principal
        .as_str()
        .filter(|text| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()));
    if let Some(id) = id {
        *principal = json!(format!("arn:{partition}:iam::{id}:root"));
    }
}

#[cfg(test)]
mod tests {
    use rolectl_crds::IamRole;

    use super::super::desired::desired;
    use super::super::{PlanContext, plan};
    use super::*;
    use crate::fixtures::{context, observed, spec, wanted};
    use crate::policy::cache::DocumentCache;

    #[test]
    fn an_account_is_written_as_aws_shows_it() {
        let mut trust = json!({"Statement": [
            {"Principal": {"AWS": "111111111111"}},
            {"Principal": {"AWS": ["222222222222", "arn:aws:iam::333333333333:role/a"], "Service": "444444444444"}},
            {"Principal": "*"},
        ]});
        write_root_arns(&mut trust, "aws-cn");
        assert_eq!(
            trust,
            json!({"Statement": [
                {"Principal": {"AWS": "arn:aws-cn:iam::111111111111:root"}},
                {"Principal": {"AWS": ["arn:aws-cn:iam::222222222222:root", "arn:aws:iam::333333333333:role/a"], "Service": "444444444444"}},
                {"Principal": "*"},
            ]})
        );
    }

    #[test]
    fn an_imported_role_is_taken_over_by_a_change_of_its_tags_only() {
        let mut s = spec();
        s.description = "d".into();
        s.max_session_duration = 7200;
        s.managed_policies = vec![
            "ReadOnlyAccess".into(),
            "arn:aws:iam::222222222222:policy/own".into(),
        ];
        s.inline_policies = [(
            "in".to_owned(),
            json!({"Statement": {"Effect": "Allow", "Action": "a:b", "Resource": "*"}}).into(),
        )]
        .into_iter()
        .collect();
        s.permissions_boundary = Some("PowerUserAccess".into());
        s.tags = [("team".to_owned(), "a".to_owned())].into_iter().collect();
        let mut role = observed(&wanted(&s));
        role.name = "My_Role".into();
        role.tags.remove(rolectl_crds::OWNER_TAG);
        role.instance_profiles = ["profile".to_owned()].into();
        let object: IamRole = serde_json::from_value(import(&role, "dev", "ns").unwrap()).unwrap();
        assert_eq!(object.spec.role_name.as_deref(), Some("My_Role"));
        let name = object.metadata.name.unwrap();
        let desired = desired(
            &object.spec,
            &name,
            "c/ns/x",
            &context(),
            &DocumentCache::default(),
        )
        .unwrap();
        let changes = plan(&desired, Some(&role), &PlanContext::default())
            .unwrap()
            .changes;
        let lines: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "+ tags iam.rolectl.dev/adopted=true, iam.rolectl.dev/instance-profile=profile, iam.rolectl.dev/owner=c/ns/x"
            ]
        );
    }

    #[test]
    fn a_name_that_kubernetes_refuses_becomes_a_valid_and_unique_one() {
        assert_eq!(object_name("app"), "app");
        assert_eq!(object_name("App"), "app");
        let (a, b) = (object_name("app_one"), object_name("app+one"));
        assert!(
            a.starts_with("app-one-") && b.starts_with("app-one-") && a != b,
            "{a} {b}"
        );
        assert!(a.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-'), "{a}");
    }

    #[test]
    fn a_role_that_an_object_cannot_express_is_not_imported() {
        let mut role = observed(&wanted(&spec()));
        role.path = "/aws-service-role/ec2.amazonaws.com/".into();
        assert!(matches!(
            import(&role, "dev", "ns"),
            Err(NotImported::Reserved(_))
        ));
        role.path = "/".into();
        role.description = "$(x)".into();
        assert_eq!(
            import(&role, "dev", "ns"),
            Err(NotImported::Variable("description"))
        );
        role.trust = ObservedDocument::read("{");
        assert!(matches!(
            import(&role, "dev", "ns"),
            Err(NotImported::Unreadable(_))
        ));
    }
}
