//! The desired state of a role in one account: variables are replaced, names are ARNs, and documents are parsed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use rolectl_crds::{
    Adoption, DriftPolicy, Ensure, Exclusive, IamRoleSpec, OWNER_TAG, PROFILE_TAG, PolicyJson,
};

use super::managed_policy::{arn_problem, is_same_policy, policy_arn};
use super::observed::is_reserved_path;
use super::profile_tag::profile_tag;
use super::spec_error::{SpecError, check_characters, check_inline_size, check_tag_keys};
use crate::names::role_name;
use crate::policy::cache::{DocumentCache, ReadDocument};
use crate::policy::lint::{Finding, Place, Severity, read};
use crate::policy::{Document, PolicyError, check_size};
use crate::variables::{VARIABLE, Variables};

/// The values of one account for the variables and names in a spec.
#[derive(Clone, Debug)]
pub struct AccountContext {
    /// Name of the `AwsAccount`.
    pub name: String,
    /// The AWS account id, 12 digits.
    pub account_id: String,
    /// The AWS partition, such as `aws`.
    pub partition: String,
    /// Labels of the `AwsAccount`.
    pub labels: BTreeMap<String, String>,
    /// The account id of its `MfaSession`. Empty if there is no such object.
    pub session_account_id: String,
    /// Patterns of tag keys that somebody else manages (`ignoreTags`).
    pub ignore_tags: Vec<String>,
    /// Patterns of policies that somebody else manages (`ignorePolicies`).
    pub ignore_policies: Vec<String>,
}

/// The desired state of a role in one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredRole {
    /// Name of the role in AWS.
    pub name: String,
    /// IAM path, such as `/`.
    pub path: String,
    /// `Present` if the role must exist, `Absent` if it must not.
    pub ensure: Ensure,
    /// Description, which can be empty.
    pub description: String,
    /// Longest session in seconds.
    pub max_session_duration: i32,
    /// Trust policy. `None` only if `ensure` is `Absent`.
    pub trust: Option<Document>,
    /// ARNs of managed policies.
    pub managed_policies: BTreeSet<String>,
    /// Inline policies by name.
    pub inline_policies: BTreeMap<String, Document>,
    /// ARN of the permissions boundary.
    pub permissions_boundary: Option<String>,
    /// Tags, including the owner tag.
    pub tags: BTreeMap<String, String>,
    /// Name of the instance profile.
    pub instance_profile: Option<String>,
    /// Which of the lists are exclusive, so that what they do not list is removed.
    pub exclusive: Exclusive,
    /// The existing roles that may be taken over.
    pub adoption: Adoption,
    /// The response to drift.
    pub drift: DriftPolicy,
    /// Patterns of tag keys that are never changed.
    pub ignore_tags: Vec<String>,
    /// Patterns of policies that are never removed.
    pub ignore_policies: Vec<String>,
    /// Value of the owner tag.
    pub owner: String,
    /// Warnings about the documents. They stop nothing.
    pub warnings: Vec<String>,
}

/// Number of warnings that a role keeps. `rolectl lint` shows all of them.
const WARNINGS: usize = 10;

/// Returns the variables of an account.
pub(super) fn variables(context: &AccountContext) -> Variables {
    Variables::new(
        &context.account_id,
        &context.name,
        &context.labels,
        &context.session_account_id,
        &context.partition,
    )
}

/// Reads one document of a spec and replaces its variables. The size is checked before the document is parsed.
pub(super) fn read_document(
    policy: &PolicyJson,
    place: Place,
    variables: &Variables,
    partition: &str,
    documents: &DocumentCache,
) -> Arc<ReadDocument> {
    let refused = |error: &dyn fmt::Display| Arc::new((None, vec![Finding::error(error)]));
    if let Err(error) = check_size(policy.text_len()) {
        return refused(&error);
    }
    if !policy.as_str().contains(VARIABLE) {
        let parse = || read(&policy.to_value(), place, Some(partition));
        return documents.read(policy.as_str(), place, partition, parse);
    }
    match variables.fill_value(&policy.to_value()) {
        Ok(filled) => {
            let parse = || read(&filled, place, Some(partition));
            documents.read(&filled.to_string(), place, partition, parse)
        }
        Err(error) => refused(&error),
    }
}

/// Returns all findings about the documents of a spec, each with its field below `spec`. The list has no limit: it is for
/// `rolectl lint`.
pub fn document_findings(
    spec: &IamRoleSpec,
    context: &AccountContext,
    documents: &DocumentCache,
) -> Vec<(String, Finding)> {
    let variables = variables(context);
    let trust = spec.assume_role_policy.iter();
    let trust = trust.map(|policy| ("assumeRolePolicy".to_owned(), policy, Place::Trust));
    let inline = spec.inline_policies.iter();
    let inline = inline.map(|(name, policy)| (format!("inlinePolicies.{name}"), policy, Place::Identity));
    trust
        .chain(inline)
        .flat_map(|(field, policy, place)| {
            let read = read_document(policy, place, &variables, &context.partition, documents);
            let (_, findings) = Arc::unwrap_or_clone(read);
            findings.into_iter().map(move |finding| (field.clone(), finding))
        })
        .collect()
}

/// Returns the ARN of a managed policy that a spec names.
fn named_policy(
    field: &str,
    reference: &str,
    variables: &Variables,
    partition: &str,
) -> Result<String, SpecError> {
    let filled = variables
        .fill(reference)
        .map_err(|error| SpecError::new(field, error))?;
    let arn = policy_arn(&filled, partition);
    match arn_problem(&arn, partition) {
        Some(problem) => Err(SpecError::new(field, problem)),
        None => Ok(arn),
    }
}

/// Returns the ARNs of the managed policies that a spec names in the account of `context`, the permissions boundary among them. What is
/// invalid is left out.
pub fn named_policies(spec: &IamRoleSpec, context: &AccountContext) -> BTreeSet<String> {
    let variables = variables(context);
    let named = spec.managed_policies.iter().chain(&spec.permissions_boundary);
    named
        .filter_map(|reference| named_policy("", reference, &variables, &context.partition).ok())
        .collect()
}

/// Returns the desired state of a role in the account of `context`.
///
/// # Errors
/// When a field of the spec is invalid in this account.
pub fn desired(
    spec: &IamRoleSpec,
    object_name: &str,
    owner: &str,
    context: &AccountContext,
    documents: &DocumentCache,
) -> Result<DesiredRole, SpecError> {
    // Without `..`, so that a new field of the spec cannot be forgotten here.
    let IamRoleSpec {
        role_name: _,
        path,
        accounts: _,
        ensure,
        description,
        max_session_duration,
        assume_role_policy,
        managed_policies,
        inline_policies,
        permissions_boundary,
        tags,
        instance_profile,
        exclusive,
        adoption,
        deletion_policy: _,
        drift,
        suspend: _,
        rollout: _,
    } = spec;
    let name = role_name(spec, object_name).to_owned();
    if is_reserved_path(path) {
        return Err(SpecError::new(
            "path",
            format!("{path} is reserved by AWS: choose another"),
        ));
    }
    let variables = variables(context);
    let fill = |field: &str, text: &str| variables.fill(text).map_err(|e| SpecError::new(field, e));
    let mut warnings = vec![];
    let mut document = |field: String, policy: &PolicyJson, place: Place| -> Result<Document, SpecError> {
        let mut errors = vec![];
        let read = read_document(policy, place, &variables, &context.partition, documents);
        let (document, findings) = &*read;
        for finding in findings {
            match finding.severity {
                Severity::Error => errors.push(finding.problem.clone()),
                Severity::Warning => warnings.push(format!("spec.{field}: {finding}")),
            }
        }
        match document {
            Some(document) if errors.is_empty() => Ok(document.clone()),
            _ => Err(SpecError::new(field, PolicyError(errors))),
        }
    };
    let policy = |field, reference: &str| named_policy(field, reference, &variables, &context.partition);

    let trust = assume_role_policy
        .as_ref()
        .map(|v| document("assumeRolePolicy".into(), v, Place::Trust))
        .transpose()?;
    if trust.is_none() && *ensure == Ensure::Present {
        return Err(SpecError::new(
            "assumeRolePolicy",
            "is missing: a role needs a trust policy",
        ));
    }
    let filled_tags: Vec<(String, String)> = tags
        .iter()
        .map(|(key, value)| Ok((fill("tags", key)?, fill(&format!("tags.{key}"), value)?)))
        .collect::<Result<_, SpecError>>()?;
    check_tag_keys(&filled_tags, &context.ignore_tags)?;
    let mut tags: BTreeMap<String, String> = filled_tags.into_iter().collect();
    if let Some((key, _)) = tags.iter().find(|(_, value)| value.chars().count() > 256) {
        return Err(SpecError::new(
            format!("tags.{key}"),
            "is longer than 256 characters once its variables are filled in",
        ));
    }
    tags.insert(OWNER_TAG.to_owned(), owner.to_owned());
    let instance_profile = instance_profile
        .as_ref()
        .map(|p| p.name.clone().unwrap_or_else(|| name.clone()));
    if let Some(profile) = instance_profile.as_ref().filter(|_| *ensure == Ensure::Present) {
        tags.insert(PROFILE_TAG.to_owned(), profile_tag([profile]));
    }
    check_inline_size(inline_policies.values())?;
    let description = fill("description", description)?;
    if description.chars().count() > 1000 {
        return Err(SpecError::new(
            "description",
            "is longer than 1000 characters once its variables are filled in",
        ));
    }
    check_characters(&tags, &description)?;
    let inline_policies = inline_policies
        .iter()
        .map(|(name, value)| {
            let parsed = document(format!("inlinePolicies.{name}"), value, Place::Identity)?;
            Ok((name.clone(), parsed))
        })
        .collect::<Result<_, SpecError>>()?;
    let more = warnings.len().saturating_sub(WARNINGS);
    if more > 0 {
        warnings.truncate(WARNINGS);
        let noun = if more == 1 { "warning" } else { "warnings" };
        warnings.push(format!("{more} more {noun}: run rolectl lint to see all of them"));
    }

    let managed_policies: BTreeSet<String> = managed_policies
        .iter()
        .map(|p| policy("managedPolicies", p))
        .collect::<Result<_, _>>()?;
    let has_duplicate = |arn: &&String| {
        let mut others = managed_policies.iter().filter(|other| other != arn);
        others.any(|other| is_same_policy(other, arn))
    };
    if let Some(arn) = managed_policies.iter().find(has_duplicate) {
        let problem =
            format!("{arn} is listed twice in different case, and IAM takes both for one: remove one");
        return Err(SpecError::new("managedPolicies", problem));
    }

    Ok(DesiredRole {
        path: path.clone(),
        ensure: *ensure,
        description,
        max_session_duration: *max_session_duration,
        trust,
        managed_policies,
        inline_policies,
        permissions_boundary: permissions_boundary
            .as_deref()
            .map(|p| policy("permissionsBoundary", p))
            .transpose()?,
        tags,
        instance_profile,
        exclusive: *exclusive,
        adoption: *adoption,
        drift: *drift,
        ignore_tags: context.ignore_tags.clone(),
        ignore_policies: context.ignore_policies.clone(),
        owner: owner.to_owned(),
        warnings,
        name,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::{context, spec};

    fn of(spec: &IamRoleSpec) -> Result<DesiredRole, String> {
        desired(spec, "app", "c/ns/app", &context(), &DocumentCache::default()).map_err(|e| e.to_string())
    }

    #[test]
    fn names_become_arns_and_variables_get_the_values_of_the_account() {
        let mut s = spec();
        s.managed_policies = vec![
            "AdministratorAccess".into(),
            "service-role/X".into(),
            "arn:aws:iam::$(account.id):policy/mine".into(),
        ];
        s.tags = [("account".into(), "$(account.name)".into())]
            .into_iter()
            .collect();
        let d = of(&s).unwrap();
        assert_eq!(
            d.managed_policies.iter().map(String::as_str).collect::<Vec<_>>(),
            [
                "arn:aws:iam::222222222222:policy/mine",
                "arn:aws:iam::aws:policy/AdministratorAccess",
                "arn:aws:iam::aws:policy/service-role/X"
            ]
        );
        assert_eq!(
            d.tags,
            BTreeMap::from([
                ("account".into(), "dev".into()),
                (OWNER_TAG.into(), "c/ns/app".into())
            ])
        );
        assert!(
            d.trust
                .unwrap()
                .as_str()
                .contains("arn:aws:iam::111111111111:root")
        );
    }

    #[test]
    fn the_error_of_an_invalid_spec_names_the_field_and_what_to_write() {
        let with = |change: fn(&mut IamRoleSpec)| {
            let mut s = spec();
            change(&mut s);
            of(&s).unwrap_err()
        };
        assert_eq!(
            with(|s| s.assume_role_policy = None),
            "spec.assumeRolePolicy: is missing: a role needs a trust policy"
        );
        assert_eq!(
            with(|s| s.path = "/aws-service-role/x/".into()),
            "spec.path: /aws-service-role/x/ is reserved by AWS: choose another"
        );
        assert!(
            with(|s| s.description = "$(nope)".into())
                .starts_with("spec.description: unknown variable $(nope)")
        );
        assert_eq!(
            with(|s| {
                s.inline_policies.insert(
                    "x".into(),
                    json!({"Statement": {"Effect": "Allow", "Action": "a:b"}}).into(),
                );
            }),
            "spec.inlinePolicies.x: Statement[0] has no Resource: write one, \"*\" for every resource"
        );
        assert_eq!(
            with(|s| {
                s.inline_policies.insert("x".into(), json!({"Statement": {"Effect": "Allow", "Action": "a:b", "Resource": "*", "Principal": "*"}}).into());
            }),
            "spec.inlinePolicies.x: Statement[0] has a Principal, which belongs into a trust policy only: remove it"
        );
    }

    #[test]
    fn a_document_with_many_problems_has_a_bounded_message_and_lint_lists_all_of_them() {
        let mut s = spec();
        let wrong: Vec<_> = (0..500)
            .map(|n| json!({"Effect": "Allow", "Action": format!("nothing{n}"), "Resource": "*"}))
            .collect();
        s.inline_policies
            .insert("x".into(), json!({"Statement": wrong}).into());
        let message = of(&s).unwrap_err();
        assert!(message.len() < 1100, "{}", message.len());
        assert!(message.contains("Statement[0].Action"), "{message}");
        assert!(message.ends_with("; and 497 more problems"), "{message}");
        assert_eq!(
            document_findings(&s, &context(), &DocumentCache::default()).len(),
            500
        );
    }

    #[test]
    fn a_document_over_the_size_limit_is_refused_before_it_is_parsed() {
        let mut s = spec();
        let wrong = vec![json!({"Efect": 1}); 9_000];
        s.assume_role_policy = Some(json!({"Statement": wrong}).into());
        let message = of(&s).unwrap_err();
        assert!(
            message.starts_with("spec.assumeRolePolicy: is larger than 64 KiB: "),
            "{message}"
        );
        let mut nested = json!("x");
        for _ in 0..60 {
            nested = json!([nested]);
        }
        s.assume_role_policy = Some(json!({"Statement": nested}).into());
        let message = of(&s).unwrap_err();
        assert!(message.contains("nested more than 16 levels deep"), "{message}");
    }

    #[test]
    fn a_long_text_is_not_quoted_in_full() {
        let mut s = spec();
        s.description = format!("$({})", "x".repeat(900_000));
        assert!(of(&s).unwrap_err().len() < 1100);
        s.description = "$(".repeat(400_000);
        assert!(of(&s).unwrap_err().len() < 1100);
    }

    #[test]
    fn warnings_are_bounded_and_the_others_are_counted() {
        let mut s = spec();
        let broad: Vec<_> = (0..12)
            .map(|_| json!({"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::x"}))
            .collect();
        s.inline_policies
            .insert("x".into(), json!({"Statement": broad}).into());
        let warnings = of(&s).unwrap().warnings;
        assert_eq!(warnings.len(), 11);
        assert_eq!(
            warnings[10],
            "2 more warnings: run rolectl lint to see all of them"
        );
    }

    #[test]
    fn a_description_and_tags_have_only_characters_that_iam_accepts() {
        let mut s = spec();
        s.description = "a \u{2014} b".into();
        assert_eq!(
            of(&s).unwrap_err(),
            "spec.description: holds the character '\u{2014}' (U+2014), which IAM does not take in a description: use Latin-1 characters only"
        );
        let mut s = spec();
        s.tags = [("team".to_owned(), "\u{1f680}".to_owned())]
            .into_iter()
            .collect();
        assert_eq!(
            of(&s).unwrap_err(),
            "spec.tags.team: holds the character '\u{1f680}' (U+1F680): a tag has letters, digits, spaces and _.:/=+-@ only"
        );
    }

    #[test]
    fn an_arn_of_another_partition_is_refused_for_the_account() {
        let mut s = spec();
        s.inline_policies.insert(
            "x".into(),
            json!({"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": ["arn:aws-cn:s3:::a", "arn:*:s3:::b", "arn:$(aws.partition):s3:::c"]}}).into(),
        );
        assert_eq!(
            of(&s).unwrap_err(),
            "spec.inlinePolicies.x: Statement[0].Resource holds arn:aws-cn:s3:::a of the partition aws-cn, but the account is in aws: write arn:$(aws.partition):..."
        );
        let mut s = spec();
        s.assume_role_policy = Some(
            json!({"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "arn:aws-us-gov:iam::111111111111:root"}}}).into(),
        );
        assert!(
            of(&s)
                .unwrap_err()
                .contains("of the partition aws-us-gov, but the account is in aws")
        );
    }

    #[test]
    fn tag_keys_that_iam_treats_as_equal_are_refused() {
        let mut s = spec();
        s.tags = [
            ("Team".to_owned(), "a".to_owned()),
            ("team".to_owned(), "b".to_owned()),
        ]
        .into_iter()
        .collect();
        assert!(of(&s).unwrap_err().contains("is listed twice"));
    }

    #[test]
    fn tag_keys_are_checked_after_their_variables_are_replaced() {
        for (key, says) in [
            ("$(account.labels.prefix):x", "spec.tags.aws:x: begins with aws:"),
            ("iam.rolectl.dev/$(account.name)", "begins with iam.rolectl.dev/"),
            ("IAM.rolectl.dev/owner", "begins with iam.rolectl.dev/"),
            ("$(account.labels.empty)", "1 to 128 characters"),
            ("org:cost-centre", "matches org:* of the AwsAccount's ignoreTags"),
            ("ORG:$(account.name)", "ignoreTags"),
            ("$(account.name)", "is listed twice"),
        ] {
            let mut s = spec();
            s.tags = [
                (key.to_owned(), "a".to_owned()),
                ("DEV".to_owned(), "b".to_owned()),
            ]
            .into_iter()
            .collect();
            let labels = [("prefix", "AWS"), ("empty", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
            let context = AccountContext {
                labels: labels.into(),
                ..context()
            };
            let documents = DocumentCache::default();
            let error = desired(&s, "app", "c/ns/app", &context, &documents)
                .unwrap_err()
                .to_string();
            assert!(
                error.to_lowercase().contains(&says.to_lowercase()),
                "{key}: {error}"
            );
        }
    }

    #[test]
    fn documents_that_no_role_can_have_are_refused_before_they_are_parsed() {
        let large = |statements: usize| {
            let statement = json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"});
            PolicyJson::from(json!({"Version": "2012-10-17", "Statement": vec![statement; statements]}))
        };
        let mut s = spec();
        s.inline_policies = [("one".to_owned(), large(2000))].into_iter().collect();
        assert!(of(&s).unwrap_err().starts_with("spec.inlinePolicies: hold "));
        s.inline_policies = (0..100).map(|n| (format!("p{n:03}"), large(20))).collect();
        assert!(
            of(&s)
                .unwrap_err()
                .contains("10240 characters in all inline policies")
        );
        s.inline_policies = (0..10).map(|n| (format!("p{n:03}"), large(20))).collect();
        assert_eq!(of(&s).unwrap().inline_policies.len(), 10);
        s.assume_role_policy = Some(large(2000));
        assert!(
            of(&s)
                .unwrap_err()
                .starts_with("spec.assumeRolePolicy: is larger than 64 KiB")
        );
    }

    #[test]
    fn a_document_with_variables_has_the_values_of_each_account() {
        let documents = DocumentCache::default();
        let trust = |id: &str| {
            let context = AccountContext {
                session_account_id: id.into(),
                ..context()
            };
            let role = desired(&spec(), "app", "c/ns/app", &context, &documents).unwrap();
            role.trust.unwrap().as_str().to_owned()
        };
        for id in ["111111111111", "333333333333", "111111111111"] {
            assert!(trust(id).contains(&format!("iam::{id}:root")), "{id}");
        }
    }

    #[test]
    fn a_managed_policy_has_one_spelling() {
        let with = |policies: &[&str]| {
            let mut s = spec();
            s.managed_policies = policies.iter().map(|p| (*p).to_owned()).collect();
            of(&s).map(|d| d.managed_policies.len())
        };
        assert_eq!(
            with(&["administratoraccess"]).unwrap_err(),
            "spec.managedPolicies: AWS has no managed policy administratoraccess: did you mean AdministratorAccess?"
        );
        assert!(
            with(&["arn:aws-cn:iam::aws:policy/X"])
                .unwrap_err()
                .contains("is of partition aws-cn")
        );
        let own = "arn:aws:iam::222222222222:policy/";
        let twice = [format!("{own}mine"), format!("{own}Mine")];
        let twice: Vec<&str> = twice.iter().map(String::as_str).collect();
        assert!(with(&twice).unwrap_err().contains("is listed twice"));
        assert_eq!(with(&twice[..1]), Ok(1));
    }
}
