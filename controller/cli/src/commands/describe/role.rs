//! Prints a role.

use kube::ResourceExt as _;
use rolectl_core::names::full_name;
use rolectl_crds::{AccountStatus, IamRole, Reason};

use super::{as_written, conditions, field};
use crate::output::{Cell, Colour, counted, printable};
use crate::paint::Paint;
use crate::stdio::println;

/// Prints the spec and the status of a role.
pub fn print(role: &IamRole, paint: Paint) {
    let spec = &role.spec;
    field("Role", &full_name(role));
    field(
        "Name in AWS",
        &spec.role_name.clone().unwrap_or_else(|| role.name_any()),
    );
    let policies = format!(
        "{} managed, {} inline",
        spec.managed_policies.len(),
        spec.inline_policies.len()
    );
    field("Policies", &policies);
    field(
        "Boundary",
        spec.permissions_boundary.as_deref().unwrap_or_default(),
    );
    let deletion = spec.deletion_policy.as_ref().map(as_written);
    let policy = format!(
        "drift: {}, adoption: {}, deletionPolicy: {}",
        as_written(&spec.drift),
        as_written(&spec.adoption),
        deletion.as_deref().unwrap_or("by default")
    );
    field("Policy", &policy);
    let status = role.status.as_ref();
    conditions(status.map(|status| status.conditions.as_slice()));
    for entry in status.iter().flat_map(|status| &status.accounts) {
        print_entry(entry, paint);
    }
    let more = status.iter().flat_map(|status| &status.more_accounts);
    for group in more {
        println!(
            "\n{}: {}",
            counted(usize::try_from(group.count).unwrap_or(usize::MAX), "more account"),
            Cell::coloured(group.state.as_str(), Colour::of(group.state)).shown(paint)
        );
    }
}

/// Prints the state of a role in one account.
fn print_entry(entry: &AccountStatus, paint: Paint) {
    let id = entry.account_id.as_deref().unwrap_or("?");
    let head = format!("{} ({id}): {}", entry.name, entry.state);
    println!(
        "\n{}",
        Cell::coloured(&head, Colour::of(entry.state)).shown(paint)
    );
    if let Some(arn) = &entry.arn {
        println!("  {}", printable(arn));
    }
    if let Some(message) = &entry.message {
        println!("  {}", printable(message));
    }
    for change in &entry.changes {
        println!("    {}", printable(change));
    }
    if entry.state != Reason::InSync {
        println!("  What to do: {}", entry.state.cure());
    }
}
