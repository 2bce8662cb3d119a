//! Prints a role.

use kube::ResourceExt as _;
use rolectl_crds::{AccountStatus, IamRole, Reason};

use super::{as_written, conditions, field, full_name};
use crate::output::printable;
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
            "\n{} more accounts: {}",
            group.count,
            paint.by_state(group.state, group.state.as_str())
        );
    }
}

/// Prints the state of a role in one account.
fn print_entry(entry: &AccountStatus, paint: Paint) {
    let id = entry.account_id.as_deref().unwrap_or("?");
    let head = format!("{} ({id}): {}", entry.name, entry.state);
    println!("\n{}", paint.by_state(entry.state, &printable(&head)));
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
