//! The findings about the documents of files.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use rolectl_core::policy::cache::DocumentCache;
use rolectl_core::policy::lint::{Place, Severity, lint_value};
use rolectl_core::role::admission::{AccountCase, Candidate, access_roles, context};
use rolectl_core::role::ceiling;
use rolectl_core::role::desired::document_findings;
use rolectl_core::role::guardrails::warnings;
use rolectl_core::role::managed_policy::unknown_policy;
use rolectl_crds::{AwsAccount, IamRole, MfaSession, MfaSessionSpec, Reason};

use crate::field::Field;
use crate::files::{self, Document, Found, text_at, title};
use crate::hints::unmatched;
use crate::output::printable;
use crate::schema::{self, Problem};

/// A finding with its place.
#[derive(Debug, Serialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    /// The file, or `stdin`.
    pub(super) file: String,
    /// The line, from 1.
    pub(super) line: usize,
    /// Kind and name of the object.
    pub(super) object: String,
    /// Path of the field. Empty: the object as a whole.
    pub(super) field: String,
    pub(super) severity: Severity,
    pub(super) rule: Rule,
    /// The problem and what to write instead.
    pub(super) message: String,
}

/// By which rules a finding was made.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub(super) enum Rule {
    /// The file or the document cannot be read.
    Unreadable,
    /// The API server refuses the object.
    Schema,
    /// The controller refuses the object, or warns of it.
    Controller,
    /// AWS refuses the policy document, or it is probably wrong.
    Policy,
    /// The object is declared twice.
    Duplicate,
}

/// What a check has found.
#[derive(Serialize, JsonSchema)]
pub struct LintResult {
    /// In the order of files and lines.
    pub(super) findings: Vec<Finding>,
    /// Number of objects and policy documents that were checked.
    pub(super) checked: usize,
    /// True if a file or a document could not be read.
    #[serde(skip)]
    pub(super) is_unreadable: bool,
}

/// Checks all documents. One that cannot be read does not stop the check of the others.
pub(super) fn check(documents: Vec<Document>) -> LintResult {
    let (mut objects, mut findings, mut checked) = (vec![], vec![], 0);
    for Document { origin, value } in documents {
        match value {
            Ok(value) => objects.push(Found { origin, value }),
            Err(message) => {
                // The text begins with the line that cannot be read.
                let at = message
                    .strip_prefix("line ")
                    .and_then(|rest| rest.split_once(": "));
                let at = at.and_then(|(line, rest)| Some((line.parse().ok()?, rest.to_owned())));
                let (line, message) = at.unwrap_or_else(|| (origin.first_line(), message));
                findings.push(Finding {
                    file: origin.file,
                    line,
                    object: "not readable".to_owned(),
                    field: String::new(),
                    severity: Severity::Error,
                    rule: Rule::Unreadable,
                    message,
                });
            }
        }
    }
    let is_unreadable = !findings.is_empty();
    let accounts: Vec<AwsAccount> = objects
        .iter()
        .filter(|found| text_at(&found.value, "/kind") == "AwsAccount")
        .filter_map(|found| schema::parse(&found.value).ok())
        .collect();
    for found in &objects {
        if let Some(problems) = problems(&found.value, &accounts) {
            checked += 1;
            findings.extend(problems.into_iter().map(|rated| at(found, rated)));
        }
    }
    for (first, second) in files::duplicates(&objects, "") {
        let line = first.origin.line(&Field::default());
        let message = format!(
            "is declared twice, also in {}:{line}: remove one",
            first.origin.file
        );
        findings.push(at(
            second,
            (Rule::Duplicate, Severity::Error, Problem::whole(message)),
        ));
    }
    findings.sort();
    findings.dedup();
    LintResult {
        findings,
        checked,
        is_unreadable,
    }
}

fn at(found: &Found, (rule, severity, problem): Rated) -> Finding {
    let object = if is_policy_document(&found.value) {
        "policy document".to_owned()
    } else {
        title(&found.value)
    };
    Finding {
        file: found.origin.file.clone(),
        line: found.origin.line(&problem.field),
        object,
        field: problem.field.to_string(),
        severity,
        rule,
        message: printable(&problem.message).into_owned(),
    }
}

fn is_policy_document(value: &Value) -> bool {
    value.get("kind").is_none() && value.get("Statement").is_some()
}

/// A problem, by which rules it is one, and its severity.
type Rated = (Rule, Severity, Problem);

/// Returns the problems of an object or a policy document. Returns `None` for objects of other groups.
fn problems(value: &Value, accounts: &[AwsAccount]) -> Option<Vec<Rated>> {
    if is_policy_document(value) {
        return Some(of_document(value));
    }
    let mut wrong = schema::problems(value);
    if wrong.is_empty() && !files::is_of_our_group(value) {
        return None;
    }
    let more = match text_at(value, "/kind") {
        // What can be read is checked further, so that one run shows all.
        "IamRole" => parsed::<IamRole>(value, &mut wrong).map(|role| of_role(&role, value, accounts)),
        "AwsAccount" => parsed::<AwsAccount>(value, &mut wrong).map(|account| of_account(&account)),
        "MfaSession" => parsed::<MfaSession>(value, &mut wrong).map(|_| vec![]),
        _ => None,
    };
    let mut all: Vec<Rated> = more.unwrap_or_default();
    // A field that the API server refuses is named once.
    all.retain(|(.., problem)| !wrong.iter().any(|other| other.field == problem.field));
    all.extend(
        wrong
            .into_iter()
            .map(|problem| (Rule::Schema, Severity::Error, problem)),
    );
    Some(all)
}

fn parsed<K: serde::de::DeserializeOwned>(value: &Value, wrong: &mut Vec<Problem>) -> Option<K> {
    match schema::parse(value) {
        Ok(object) => Some(object),
        Err(error) => {
            if wrong.is_empty() {
                wrong.push(Problem::whole(error));
            }
            None
        }
    }
}

fn of_document(value: &Value) -> Vec<Rated> {
    let is_trust = value.to_string().contains("Principal\":");
    let place = if is_trust { Place::Trust } else { Place::Identity };
    let findings = lint_value(value, place).into_iter();
    findings
        .map(|finding| {
            let problem = Problem {
                field: Field::parse(&finding.problem.at),
                message: finding.problem.what,
            };
            (Rule::Policy, finding.severity, problem)
        })
        .collect()
}

fn of_account(account: &AwsAccount) -> Vec<Rated> {
    let Some(guardrails) = &account.spec.guardrails else {
        return vec![];
    };
    let session = MfaSessionSpec::of_account("000000000000");
    let (values, cache) = (context(account, Some(&session)), DocumentCache::default());
    let findings = ceiling::findings(guardrails, &values, &cache);
    // The list has the errors of the documents already.
    let wrong: Vec<String> = findings
        .iter()
        .map(|(field, _)| format!("guardrails.{field}: "))
        .collect();
    let warnings = warnings(guardrails, &values, &cache).into_iter();
    let warnings = warnings
        .filter(|text| !wrong.iter().any(|field| text.starts_with(field)))
        .map(|text| {
            (
                Rule::Controller,
                Severity::Warning,
                of_message(&format!("spec.{text}")),
            )
        });
    let of_documents = findings.into_iter().map(|(field, finding)| {
        let field = Field::parse("spec.guardrails").child(field);
        let field = field.join(Field::parse(&finding.problem.at));
        let message = finding.problem.what;
        (Rule::Policy, finding.severity, Problem { field, message })
    });
    warnings.chain(of_documents).collect()
}

/// Splits a message of the controller that begins with its field: `spec.path: ...`.
fn of_message(message: &str) -> Problem {
    let field = message.split_once(": ").filter(|(field, _)| {
        let is_path = field.bytes().all(|b| !b.is_ascii_whitespace());
        field.starts_with("spec.") && is_path
    });
    match field {
        Some((field, message)) => Problem {
            field: field_of(field),
            message: message.to_owned(),
        },
        None => Problem::whole(message.to_owned()),
    }
}

/// Keys of inline policies and tags may have dots.
fn field_of(text: &str) -> Field {
    let spec = Field::default().child("spec");
    for map in ["inlinePolicies", "tags"] {
        if let Some(key) = text.strip_prefix(&format!("spec.{map}.")) {
            return spec.child(map).child(key);
        }
    }
    Field::parse(text)
}

/// Returns the problems of a role in each account that it targets, or in a sample account if it targets none.
fn of_role(role: &IamRole, value: &Value, accounts: &[AwsAccount]) -> Vec<Rated> {
    let mut targets: Vec<&AwsAccount> = accounts
        .iter()
        .filter(|account| rolectl_core::selection::targets(role, account))
        .collect();
    let sample = sample_account(value);
    if targets.is_empty() {
        targets.extend(&sample);
    }
    let mut all = vec![];
    for account in targets {
        all.extend(in_account(role, account));
    }
    all.extend(unmatched(role, accounts).map(|message| {
        let field = Field::parse("spec.accounts.selector");
        (Rule::Controller, Severity::Warning, Problem { field, message })
    }));
    for (n, reference) in role.spec.managed_policies.iter().enumerate() {
        all.extend(unknown_policy(reference).map(|message| {
            let field = Field::parse("spec.managedPolicies").child(n);
            (Rule::Controller, Severity::Warning, Problem { field, message })
        }));
    }
    all
}

fn in_account(role: &IamRole, account: &AwsAccount) -> Vec<Rated> {
    let mut all = vec![];
    let cache = DocumentCache::default();
    let session = MfaSessionSpec::of_account("000000000000");
    // A condition lists the first problems only, and `lint` lists all.
    let documents = document_findings(&role.spec, &context(account, Some(&session)), &cache);
    let wrong: Vec<String> = documents
        .iter()
        .filter(|(_, finding)| finding.severity == Severity::Error)
        .map(|(field, _)| format!("spec.{field}: "))
        .collect();
    all.extend(documents.into_iter().map(|(field, finding)| {
        let field = field_of(&format!("spec.{field}")).join(Field::parse(&finding.problem.at));
        let message = finding.problem.what;
        (Rule::Policy, finding.severity, Problem { field, message })
    }));
    let through = access_roles(account, [account], [&session]);
    let case = AccountCase {
        object: account,
        session: Some(&session),
        access_roles: &through,
        quotas: None,
        documents: &cache,
    };
    let candidate = Candidate {
        role,
        owner: "lint".to_owned(),
        is_admitted: true,
        role_id: None,
    };
    match case.desired(&candidate) {
        // The list has the warnings of documents already.
        Ok(desired) => all.extend(
            desired
                .warnings
                .iter()
                .filter(|text| !text.starts_with("spec.assumeRolePolicy: "))
                .filter(|text| !text.starts_with("spec.inlinePolicies."))
                .filter(|text| !text.ends_with("run rolectl lint to see all of them"))
                .map(|text| (Rule::Controller, Severity::Warning, of_message(text))),
        ),
        Err(refusal) if wrong.iter().any(|field| refusal.message.starts_with(field)) => {}
        Err(refusal) if refusal.reason == Reason::GuardrailViolated => {
            let message = format!("AwsAccount {}: {}", account.name_any(), refusal.message);
            all.push((Rule::Controller, Severity::Error, Problem::whole(message)));
        }
        Err(refusal) => all.push((Rule::Controller, Severity::Error, of_message(&refusal.message))),
    }
    all
}

/// Returns an account with every label that the role's variables use.
fn sample_account(role: &Value) -> Option<AwsAccount> {
    let text = role.to_string();
    let labels: BTreeMap<&str, &str> = text
        .split("$(account.labels.")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(key, _)| (key, "label")))
        .collect();
    // The partition is the one in the ARNs of the role.
    let partition = text
        .split("\"arn:aws")
        .skip(1)
        .find_map(|rest| rest.split_once(':'))
        .map_or_else(|| "aws".to_owned(), |(rest, _)| format!("aws{rest}"));
    serde_json::from_value(serde_json::json!({
        "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
        "metadata": {"name": "account", "labels": labels},
        "spec": {"accountId": "000000000000", "partition": partition},
    }))
    .ok()
}
