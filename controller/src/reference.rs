//! The pages of `docs/reference`, made from the types, the tables of calls and metrics and the reasons, so that they stay true.
//!
//! `cargo reference` writes them; a test fails when they are stale.

use std::fmt::Write as _;

use clap::CommandFactory as _;
use clap::builder::StyledStr;
use rolectl_crds::Reason;
use serde_json::Value;

use crate::args::Args;
use crate::metrics::TABLE;
use rolectl_aws::operations::OPERATIONS;

/// One page: its file's name and its text.
pub type Page = (String, String);

/// Which calls make a field true in AWS. Every field of every spec is here; `-` makes no call of its own.
const CALLS: &[(&str, &str)] = &[
    ("IamRole.roleName", "CreateRole"),
    ("IamRole.path", "CreateRole"),
    ("IamRole.accounts.names", "-"),
    ("IamRole.accounts.selector", "-"),
    ("IamRole.ensure", "CreateRole, DeleteRole"),
    ("IamRole.description", "CreateRole, UpdateRole"),
    ("IamRole.maxSessionDuration", "CreateRole, UpdateRole"),
    ("IamRole.assumeRolePolicy", "CreateRole, UpdateAssumeRolePolicy"),
    ("IamRole.managedPolicies", "AttachRolePolicy, DetachRolePolicy"),
    ("IamRole.inlinePolicies", "PutRolePolicy, DeleteRolePolicy"),
    (
        "IamRole.permissionsBoundary",
        "CreateRole, PutRolePermissionsBoundary, DeleteRolePermissionsBoundary",
    ),
    ("IamRole.tags", "CreateRole, TagRole, UntagRole"),
    (
        "IamRole.instanceProfile.name",
        "CreateInstanceProfile, AddRoleToInstanceProfile, GetInstanceProfile, RemoveRoleFromInstanceProfile, DeleteInstanceProfile, TagRole",
    ),
    ("IamRole.exclusive.managedPolicies", "DetachRolePolicy"),
    ("IamRole.exclusive.inlinePolicies", "DeleteRolePolicy"),
    ("IamRole.exclusive.tags", "UntagRole"),
    ("IamRole.exclusive.denies", "DetachRolePolicy, DeleteRolePolicy"),
    ("IamRole.exclusive.boundary", "DeleteRolePermissionsBoundary"),
    ("IamRole.adoption", "TagRole, TagInstanceProfile"),
    (
        "IamRole.deletionPolicy",
        "DeleteRole, UntagRole, UntagInstanceProfile",
    ),
    ("IamRole.drift", "-"),
    ("IamRole.rollout.maxConcurrent", "-"),
    ("IamRole.rollout.maxFailures", "-"),
    ("IamRole.rollout.soak", "-"),
    ("IamRole.rollout.waves", "-"),
    ("IamRole.rollout.waves[].names", "-"),
    ("IamRole.rollout.waves[].selector", "-"),
    ("IamRole.rollout.narrowAtOnce", "-"),
    ("IamRole.suspend", "-"),
    ("AwsAccount.accountId", "AssumeRole"),
    ("AwsAccount.partition", "AssumeRole"),
    ("AwsAccount.region", "AssumeRole"),
    ("AwsAccount.sessionRef", "AssumeRole"),
    ("AwsAccount.assumeRole.name", "AssumeRole"),
    ("AwsAccount.assumeRole.arn", "AssumeRole"),
    ("AwsAccount.assumeRole.externalId", "AssumeRole"),
    ("AwsAccount.assumeRole.durationSeconds", "AssumeRole"),
    ("AwsAccount.assumeRole.sourceIdentity", "AssumeRole"),
    ("AwsAccount.assumeRole.sessionPerRole", "AssumeRole"),
    ("AwsAccount.allowedNamespaces.from", "-"),
    ("AwsAccount.allowedNamespaces.names", "-"),
    ("AwsAccount.allowedNamespaces.selector", "-"),
    ("AwsAccount.guardrails.roleNamePattern", "-"),
    ("AwsAccount.guardrails.pathPattern", "-"),
    ("AwsAccount.guardrails.adoption", "-"),
    ("AwsAccount.guardrails.requirePermissionsBoundary", "-"),
    ("AwsAccount.guardrails.deniedManagedPolicies", "DetachRolePolicy"),
    ("AwsAccount.guardrails.allowedManagedPolicies", "DetachRolePolicy"),
    ("AwsAccount.guardrails.inlinePolicies", "-"),
    ("AwsAccount.guardrails.deletionPolicy", "-"),
    ("AwsAccount.guardrails.trustedPrincipals", "-"),
    ("AwsAccount.guardrails.ceiling", "-"),
    ("AwsAccount.guardrails.trustCeiling", "-"),
    ("AwsAccount.guardrails.requiredTags", "-"),
    ("AwsAccount.guardrails.allowedTagKeys", "-"),
    ("AwsAccount.guardrails.maxRoles", "-"),
    ("AwsAccount.guardrails.maxRemovals.count", "-"),
    ("AwsAccount.guardrails.maxRemovals.window", "-"),
    ("AwsAccount.approvals.for", "GetAccountAuthorizationDetails"),
    ("AwsAccount.wave", "-"),
    ("AwsAccount.ignoreTags", "-"),
    ("AwsAccount.authorityTags", "-"),
    ("AwsAccount.ignorePolicies", "-"),
    (
        "AwsAccount.driftInterval",
        "ListRoles, GetAccountAuthorizationDetails, GetAccountSummary",
    ),
    ("AwsAccount.requestsPerSecond", "-"),
    ("AwsAccount.burst", "-"),
    ("AwsAccount.suspend", "-"),
    ("MfaSession.accountId", "GetCallerIdentity"),
    ("MfaSession.userArn", "GetCallerIdentity"),
    ("MfaSession.roleArn", "GetCallerIdentity"),
    ("MfaSession.region", "GetCallerIdentity, AssumeRole"),
    ("MfaSession.mfaSerial", "-"),
    ("MfaSession.durationSeconds", "-"),
    ("MfaSession.expiryWarning", "-"),
    ("MfaSession.secretName", "-"),
];

/// All pages.
pub fn pages() -> Vec<Page> {
    let mut pages: Vec<Page> = rolectl_crds::definitions()
        .iter()
        .filter_map(|crd| {
            let value = serde_json::to_value(crd).ok()?;
            let kind = crd.spec.names.kind.clone();
            Some((file_name(&kind), kind_page(&kind, &value)))
        })
        .collect();
    pages.push(("reasons.md".to_owned(), reasons_page()));
    pages.push(("aws-calls.md".to_owned(), calls_page()));
    pages.push(("metrics.md".to_owned(), metrics_page()));
    pages.push(("rolectl-controller.md".to_owned(), controller_page()));
    pages
}

const GENERATED: &str = "<!-- Generated by `cargo reference`. Do not edit. -->\n\n";

fn file_name(kind: &str) -> String {
    let mut name = String::new();
    for c in kind.chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(c.to_ascii_lowercase());
    }
    format!("{name}.md")
}

fn kind_page(kind: &str, crd: &Value) -> String {
    let schema = crd
        .pointer("/spec/versions/0/schema/openAPIV3Schema")
        .unwrap_or(&Value::Null);
    let scope = crd
        .pointer("/spec/scope")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let text = |v: &Value| {
        v.get("description")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut page = format!(
        "{GENERATED}# {kind}\n\n`{}/v1alpha1`, {}. {}.\n\n",
        rolectl_crds::GROUP,
        if scope == "Namespaced" {
            "namespaced"
        } else {
            "cluster-scoped"
        },
        text(schema),
    );
    let spec = schema.pointer("/properties/spec").unwrap_or(&Value::Null);
    let _ = write!(page, "{}\n\n## spec\n\n", text(spec));
    page.push_str("| field | type | default | AWS calls | meaning |\n|---|---|---|---|---|\n");
    let mut fields = vec![];
    walk(spec, "", &mut fields);
    for field in &fields {
        let calls = calls_of(kind, &field.path).unwrap_or("-");
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            field.path,
            field.kind,
            field.default,
            if calls == "-" { "" } else { calls },
            field.meaning
        );
    }
    rules(spec, &mut page);
    page.push_str("\n## status\n\n| field | type | meaning |\n|---|---|---|\n");
    let mut fields = vec![];
    walk(
        schema.pointer("/properties/status").unwrap_or(&Value::Null),
        "",
        &mut fields,
    );
    for field in fields {
        let _ = writeln!(page, "| `{}` | {} | {} |", field.path, field.kind, field.meaning);
    }
    page
}

fn calls_of(kind: &str, path: &str) -> Option<&'static str> {
    let full = format!("{kind}.{path}");
    CALLS
        .iter()
        .find(|(field, _)| *field == full)
        .map(|(_, calls)| *calls)
}

/// What the API server refuses beyond types, with its message.
fn rules(spec: &Value, page: &mut String) {
    let rules = spec.get("x-kubernetes-validations").and_then(Value::as_array);
    let messages = rules
        .into_iter()
        .flatten()
        .filter_map(|r| r.get("message")?.as_str());
    let lines: Vec<String> = messages.map(|m| format!("- {m}\n")).collect();
    if !lines.is_empty() {
        let _ = write!(page, "\nRefused at `kubectl apply`:\n\n{}", lines.concat());
    }
}

struct Field {
    path: String,
    kind: String,
    default: String,
    meaning: String,
}

/// Every leaf below a schema, in the schema's order.
fn walk(schema: &Value, prefix: &str, fields: &mut Vec<Field>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        let text = |key: &str| property.get(key).and_then(Value::as_str).unwrap_or_default();
        // Kubernetes' own types, and documents, are not ours to explain.
        let foreign = matches!(name.as_str(), "selector" | "conditions")
            || property.pointer("/properties/Statement").is_some();
        let list_of_ours = property.pointer("/items/properties").filter(|_| !foreign);
        if property.get("properties").is_some() && !foreign {
            walk(property, &path, fields);
            continue;
        }
        let default = property
            .get("default")
            .map(|d| format!("`{d}`"))
            .unwrap_or_default();
        fields.push(Field {
            kind: kind_of(property),
            default,
            meaning: text("description").replace('\n', " ").replace('|', "\\|"),
            path: path.clone(),
        });
        if list_of_ours.is_some() {
            walk(
                property.get("items").unwrap_or(&Value::Null),
                &format!("{path}[]"),
                fields,
            );
        }
    }
}

fn kind_of(property: &Value) -> String {
    let kind = property.get("type").and_then(Value::as_str).unwrap_or("any");
    if let Some(values) = property.get("enum").and_then(Value::as_array) {
        let values: Vec<String> = values
            .iter()
            .filter_map(Value::as_str)
            .map(|v| format!("`{v}`"))
            .collect();
        return values.join(", ");
    }
    let bound = |key: &str| {
        property
            .get(key)
            .map(|n| n.to_string().trim_end_matches(".0").to_owned())
    };
    match (bound("minimum"), bound("maximum")) {
        (Some(min), Some(max)) => return format!("{kind} {min} to {max}"),
        (Some(min), None) if min != "0" => return format!("{kind} from {min}"),
        _ => {}
    }
    match (kind, property.pointer("/items/type").and_then(Value::as_str)) {
        ("array", Some(item)) => format!("list of {item}"),
        ("object", _) if property.get("additionalProperties").is_some() => "map".to_owned(),
        _ => match bound("maxLength") {
            Some(max) => format!("{kind}, up to {max} characters"),
            None => kind.to_owned(),
        },
    }
}

fn reasons_page() -> String {
    let mut page = format!(
        "{GENERATED}# Reasons\n\nThe `reason` of the conditions `Ready`, `Reconciling` and `Stalled` on all kinds, and the `state` of an\n\
         account in an IamRole's status. Stalled waits for a user, Reconciling needs nobody.\n\n\
         | reason | Stalled | Reconciling | meaning | cure |\n|---|---|---|---|---|\n"
    );
    for reason in Reason::ALL {
        let mark = |yes: bool| if yes { "yes" } else { "" };
        let _ = writeln!(
            page,
            "| `{reason}` | {} | {} | {} | {} |",
            mark(reason.is_stalled()),
            mark(reason.is_reconciling()),
            reason.meaning(),
            reason.cure()
        );
    }
    page
}

fn calls_page() -> String {
    let mut page = format!(
        "{GENERATED}# AWS calls\n\nEvery call that the controller makes. In a target account the role that it assumes needs the `iam:` ones,\n\
         less those of fields that are not used there; `rolectl unlock` itself calls `sts:GetSessionToken`, `sts:GetCallerIdentity`\n\
         and, to find your device, `iam:ListMFADevices` as the operator.\n\n| call | for |\n|---|---|\n"
    );
    for (service, operations) in OPERATIONS {
        for operation in *operations {
            let fields: Vec<String> = CALLS
                .iter()
                .filter(|(_, calls)| calls.split(", ").any(|c| c == *operation))
                .map(|(field, _)| format!("`{field}`"))
                .collect();
            let shown = if fields.is_empty() {
                "that the role is still the one that was seen".to_owned()
            } else {
                fields.join(", ")
            };
            let _ = writeln!(page, "| `{service}:{operation}` | {shown} |");
        }
    }
    page
}

fn metrics_page() -> String {
    let mut page = format!(
        "{GENERATED}# Metrics\n\nServed at `/metrics` of the controller's health address, in the\n\
         [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/) format. `account` is the name of an AwsAccount,\n\
         `session` of an MfaSession. Of several replicas each shows its part, so sums over them are right.\n\n\
         | metric | kind | labels | meaning |\n|---|---|---|---|\n"
    );
    for metric in TABLE {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let suffix = match metric.kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let (name, kind, labels) = (metric.name, metric.kind, labels.join(", "));
        let _ = writeln!(page, "| `{name}{suffix}` | {kind} | {labels} | {} |", metric.help);
    }
    page
}

fn controller_page() -> String {
    let command = Args::command();
    let mut page = format!(
        "{GENERATED}# rolectl-controller\n\nEach flag can be given by its variable, too; the flag goes before. \
        The Helm chart has a value for each that is commonly set, and `extraEnv` for the others.\n\n\
        | flag | variable | default | meaning |\n|---|---|---|---|\n"
    );
    for flag in command.get_arguments() {
        let text = |text: Option<&StyledStr>| text.map(ToString::to_string);
        let meaning = text(flag.get_long_help()).or_else(|| text(flag.get_help()));
        let defaults: Vec<String> = flag
            .get_default_values()
            .iter()
            .map(|value| format!("`{}`", value.to_string_lossy()))
            .collect();
        let _ = writeln!(
            page,
            "| `--{}` | `{}` | {} | {} |",
            flag.get_long().unwrap_or_default(),
            flag.get_env().unwrap_or_default().to_string_lossy(),
            defaults.join(", "),
            meaning.unwrap_or_default().replace("\n\n", ". "),
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_every_spec_has_its_calls_and_every_call_is_one_that_we_make() {
        let mut known = vec![];
        for crd in rolectl_crds::definitions() {
            let value = serde_json::to_value(&crd).unwrap();
            let mut fields = vec![];
            walk(
                value
                    .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
                    .unwrap(),
                "",
                &mut fields,
            );
            for field in fields {
                let full = format!("{}.{}", crd.spec.names.kind, field.path);
                assert!(
                    calls_of(&crd.spec.names.kind, &field.path).is_some(),
                    "{full} has no entry in CALLS"
                );
                assert!(!field.meaning.is_empty(), "{full} has no description");
                known.push(full);
            }
        }
        for (field, calls) in CALLS {
            assert!(known.iter().any(|k| k == field), "{field} is no field");
            for call in calls.split(", ").filter(|c| *c != "-") {
                assert!(
                    OPERATIONS.iter().any(|(_, all)| all.contains(&call)),
                    "{field}: {call}"
                );
            }
        }
    }

    #[test]
    fn every_reason_says_what_it_means_and_what_to_do() {
        for reason in Reason::ALL {
            assert!(
                reason.meaning().ends_with('.') && reason.cure().ends_with('.'),
                "{reason}"
            );
        }
    }

    #[test]
    fn the_pages_on_disk_are_up_to_date() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
        for (name, text) in pages() {
            let on_disk = std::fs::read_to_string(dir.join(&name)).unwrap_or_default();
            assert!(
                on_disk == text,
                "docs/reference/{name} is stale: run `cargo reference` and commit the result"
            );
        }
    }
}
