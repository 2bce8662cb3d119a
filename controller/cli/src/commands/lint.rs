//! Implements `rolectl lint`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anstream::println;
use clap::Args;
use kube::ResourceExt as _;
use serde::Serialize;
use serde_json::Value;

use rolectl_core::policy::cache::DocumentCache;
use rolectl_core::policy::lint::{Finding, Place, Severity, lint_value};
use rolectl_core::role::admission::{AccountCase, Candidate, access_roles, context};
use rolectl_core::role::desired::document_findings;
use rolectl_core::role::guardrails::warnings;
use rolectl_crds::{AwsAccount, IamRole, MfaSession, MfaSessionSpec, Reason};

use crate::failure::Failure;
use crate::files::{self, Found};
use crate::hints::unmatched;
use crate::output::{Format, counted, machine};

/// Check roles and policy documents at the desk, by the controller's own rules
///
/// Takes IamRole objects and bare policy documents, in files and folders. AwsAccounts that stand beside them lend
/// their ids, labels and guardrails; without them the variables of an account stand for themselves.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl lint roles/
  kustomize build . | rolectl lint -

Exit codes: 0 no error (warnings may be shown), 1 errors, 2 a file or a document cannot be read.")]
pub struct Lint {
    /// Files and folders; `-` is stdin
    #[arg(required = true)]
    paths: Vec<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// A finding with its file and object.
#[derive(Debug, Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    file: String,
    object: String,
    severity: Severity,
    message: String,
}

impl Lint {
    pub fn run(self) -> Result<ExitCode, Failure> {
        let (mut objects, mut lines, mut checked) = (vec![], vec![], 0_usize);
        for files::Document { source, value } in files::documents(&self.paths)? {
            match value {
                Ok(value) => objects.push(Found { source, value }),
                // An unreadable document does not stop the check of the others.
                Err(message) => lines.push(Line {
                    file: source,
                    object: "not readable".to_owned(),
                    severity: Severity::Error,
                    message,
                }),
            }
        }
        let unreadable = !lines.is_empty();
        let accounts: Vec<AwsAccount> = objects
            .iter()
            .filter_map(|o| serde_json::from_value(o.value.clone()).ok())
            .collect();
        for found in &objects {
            let findings = findings(found, &accounts);
            checked += usize::from(findings.is_some());
            lines.extend(findings.into_iter().flatten());
        }
        lines.sort();
        lines.dedup();
        let errors = lines.iter().filter(|l| l.severity == Severity::Error).count();
        match self.output {
            Format::Table => {
                for line in &lines {
                    let severity = if line.severity == Severity::Error {
                        "error"
                    } else {
                        "warning"
                    };
                    println!("{}: {}: {severity}: {}", line.file, line.object, line.message);
                }
                println!(
                    "{checked} checked: {}, {}",
                    counted(errors, "error"),
                    counted(lines.len() - errors, "warning")
                );
            }
            format => machine(format, &lines)?,
        }
        Ok(match (unreadable, errors) {
            (true, _) => ExitCode::from(2),
            (false, 0) => ExitCode::SUCCESS,
            (false, _) => ExitCode::from(1),
        })
    }
}

/// Returns the findings of an object or a policy document. Returns `None` for objects of other kinds.
fn findings(found: &Found, accounts: &[AwsAccount]) -> Option<Vec<Line>> {
    let value = &found.value;
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let line = |object: &str, severity, message: String| Line {
        file: found.source.clone(),
        object: object.to_owned(),
        severity,
        message,
    };
    match text("/kind") {
        "IamRole" if text("/apiVersion").starts_with(rolectl_crds::GROUP) => {
            let object = format!("IamRole {}", text("/metadata/name"));
            let role: IamRole = match files::object(value) {
                Ok(role) => role,
                Err(error) => return Some(vec![line(&object, Severity::Error, error)]),
            };
            let mut findings = of_role(&role, value, accounts);
            findings.extend(unmatched(&role, accounts).map(|message| (Severity::Warning, message)));
            let findings = findings.into_iter();
            Some(
                findings
                    .map(|(severity, message)| line(&object, severity, message))
                    .collect(),
            )
        }
        "AwsAccount" if text("/apiVersion").starts_with(rolectl_crds::GROUP) => {
            let object = format!("AwsAccount {}", text("/metadata/name"));
            Some(match files::object::<AwsAccount>(value) {
                Err(error) => vec![line(&object, Severity::Error, error)],
                Ok(account) => {
                    let guardrails = account.spec.guardrails.as_ref();
                    let warnings = guardrails.map(|g| warnings(g, &account.spec.partition));
                    let warnings = warnings.into_iter().flatten();
                    warnings
                        .map(|text| line(&object, Severity::Warning, format!("spec.{text}")))
                        .collect()
                }
            })
        }
        "MfaSession" if text("/apiVersion").starts_with(rolectl_crds::GROUP) => {
            let object = format!("MfaSession {}", text("/metadata/name"));
            let error = files::object::<MfaSession>(value).err();
            let errors = error.map(|error| line(&object, Severity::Error, error));
            Some(errors.into_iter().collect())
        }
        "" if value.get("Statement").is_some() => {
            let has_principal = value.to_string().contains("Principal\":");
            let place = if has_principal {
                Place::Trust
            } else {
                Place::Identity
            };
            let findings = lint_value(value, place).into_iter();
            Some(
                findings
                    .map(|f| line("policy document", f.severity, f.to_string()))
                    .collect(),
            )
        }
        _ => None,
    }
}

/// Returns the findings of a role in each account that it targets, or in a sample account if it targets none.
fn of_role(role: &IamRole, value: &Value, accounts: &[AwsAccount]) -> Vec<(Severity, String)> {
    let mut targets: Vec<&AwsAccount> = accounts
        .iter()
        .filter(|a| rolectl_core::selection::targets(role, a))
        .collect();
    let sample = sample_account(value);
    if targets.is_empty() {
        targets.extend(&sample);
    }
    let mut findings = vec![];
    let cache = DocumentCache::default();
    let session = MfaSessionSpec::of_account("000000000000");
    for account in targets {
        // A condition lists the first problems only, and `lint` lists all.
        let documents = document_findings(&role.spec, &context(account, Some(&session)), &cache);
        let wrong: Vec<String> = documents
            .iter()
            .filter(|(_, finding)| finding.severity == Severity::Error)
            .map(|(field, _)| format!("spec.{field}: "))
            .collect();
        let shown =
            |(field, finding): (String, Finding)| (finding.severity, format!("spec.{field}: {finding}"));
        findings.extend(documents.into_iter().map(shown));
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
            Ok(desired) => findings.extend(
                desired
                    .warnings
                    .into_iter()
                    .filter(|w| {
                        !w.starts_with("spec.assumeRolePolicy: ") && !w.starts_with("spec.inlinePolicies.")
                    })
                    .filter(|w| !w.ends_with("run rolectl lint to see all of them"))
                    .map(|w| (Severity::Warning, w)),
            ),
            Err(refusal) if wrong.iter().any(|field| refusal.message.starts_with(field)) => {}
            Err(refusal) if refusal.reason == Reason::GuardrailViolated => {
                let message = format!("AwsAccount {}: {}", account.name_any(), refusal.message);
                findings.push((Severity::Error, message));
            }
            Err(refusal) => findings.push((Severity::Error, refusal.message)),
        }
    }
    findings
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
