//! Prints an account.

use jiff::Timestamp;
use kube::ResourceExt as _;
use rolectl_core::names::full_name;
use rolectl_core::selection::targets;
use rolectl_crds::{AwsAccount, IamRole, NamespacesFrom, Reason};
use serde_json::Value;

use super::{as_written, conditions, field};
use crate::output::{Cell, Colour, printable};
use crate::paint::Paint;
use crate::stdio::println;
use crate::times::moment;

/// Most roles that are named.
const NAMED: usize = 20;

/// Prints the spec and the status of an account, and the roles in it that need somebody. `roles` is `None` if the user may not read them.
pub fn print(account: &AwsAccount, roles: Option<&[IamRole]>, paint: Paint) {
    let spec = &account.spec;
    field("Account", &account.name_any());
    field("ID", &format!("{} ({})", spec.account_id, spec.partition));
    field("Session", &spec.session_ref);
    let role = spec.assume_role.as_ref();
    let role = role.and_then(|role| role.arn.as_deref().or(role.name.as_deref()));
    field(
        "Role",
        role.unwrap_or("none: the session's own credentials are used"),
    );
    field("Namespaces", &namespaces(account));
    let guardrails = spec.guardrails.as_ref().map(serde_json::to_value);
    if let Some(Ok(Value::Object(guardrails))) = guardrails {
        for (n, (name, value)) in guardrails.iter().enumerate() {
            let text = guardrail(value);
            field(
                if n == 0 { "Guardrails" } else { " " },
                &format!("{name}: {text}"),
            );
        }
    }
    let limits = format!(
        "{} requests per second, {} at once",
        spec.requests_per_second, spec.burst
    );
    field("Limits", &limits);
    if spec.suspend {
        field("Suspended", "true: no call is made in this account");
    }
    let status = account.status.as_ref();
    let now = Timestamp::now();
    let swept = status.and_then(|status| status.last_sweep_time.as_ref());
    let swept = swept.map(|at| moment(at.0, now)).unwrap_or_default();
    field("Last sweep", &swept);
    if let Some(counts) = status.and_then(|status| status.roles) {
        let counts = format!(
            "{} managed, {} drifted, {} orphaned, {} against a guardrail, {} of others",
            counts.managed, counts.drifted, counts.orphaned, counts.violating, counts.unmanaged
        );
        field("Roles", &counts);
    }
    if let Some(quotas) = status.and_then(|status| status.quotas.as_ref()) {
        let quotas = format!(
            "{} roles, {} managed policies per role",
            quotas.roles, quotas.attached_policies_per_role
        );
        field("Quotas", &quotas);
    }
    conditions(status.map(|status| status.conditions.as_slice()));
    for owner in status.iter().flat_map(|status| &status.orphans) {
        field("Orphan", owner);
    }
    match roles {
        Some(roles) => print_roles(account, roles, paint),
        None => println!("\nIts roles are not shown: you may not list IamRoles."),
    }
}

/// Returns the text of a guardrail. A policy document would fill the screen, so only its statements are counted.
fn guardrail(value: &Value) -> String {
    match (value.as_str(), value.get("Statement")) {
        (Some(text), _) => text.to_owned(),
        (None, Some(statements)) => {
            let count = statements.as_array().map_or(1, Vec::len);
            let noun = if count == 1 { "statement" } else { "statements" };
            format!("a policy document with {count} {noun}")
        }
        (None, None) => value.to_string(),
    }
}

/// Returns the namespaces whose roles may use the account.
fn namespaces(account: &AwsAccount) -> String {
    let allowed = &account.spec.allowed_namespaces;
    match allowed.from {
        NamespacesFrom::Names => allowed.names.join(", "),
        NamespacesFrom::Selector => {
            let selector = allowed.selector.as_ref().map(as_written);
            format!("with labels {}", selector.unwrap_or_default())
        }
        NamespacesFrom::All => "all".to_owned(),
        NamespacesFrom::None => "none".to_owned(),
    }
}

/// Prints the roles that are not in sync in the account.
fn print_roles(account: &AwsAccount, roles: &[IamRole], paint: Paint) {
    let name = account.name_any();
    let here: Vec<&IamRole> = roles.iter().filter(|role| targets(role, account)).collect();
    let entries = here.iter().filter_map(|role| {
        let entries = &role.status.as_ref()?.accounts;
        let entry = entries.iter().find(|entry| entry.name == name)?;
        (entry.state != Reason::InSync).then_some((role, entry))
    });
    let wrong: Vec<_> = entries.collect();
    println!(
        "\nIamRoles that name the account: {}, not in sync: {}",
        here.len(),
        wrong.len()
    );
    for (role, entry) in wrong.iter().take(NAMED) {
        let message = entry.message.as_deref().unwrap_or_default();
        println!(
            "  {} {} {}",
            printable(&full_name(role)),
            Cell::coloured(entry.state.as_str(), Colour::of(entry.state)).shown(paint),
            printable(message)
        );
    }
    if wrong.len() > NAMED {
        println!("  ... `rolectl get roles -A --account {name} --state '!InSync'` lists all");
    }
}
