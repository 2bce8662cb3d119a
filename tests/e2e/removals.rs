//! Many removals at a time wait for an operator: of deleted objects, of accounts that are no longer selected, of `ensure: Absent`.

use anyhow::{Result, ensure};
use rolectl_tests::scenario::Scenario;
use serde_json::{Value, json};

use crate::approvals::{approve, digests};

/// Names of `count` roles.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("app-{n}")).collect()
}

/// A scenario with this number of roles in its first account.
async fn with_roles(name: &str, targets: usize, count: usize) -> Result<Scenario<'static>> {
    let s = Scenario::new(crate::world().await?, name, targets).await?;
    s.start_controller()?;
    s.unlock().await?;
    for role in names(count) {
        s.apply(&s.role(&role, json!({"accounts": {"names": [s.targets[0].0]}})))
            .await?;
    }
    for role in names(count) {
        s.role_is(&role, "True", "InSync").await?;
    }
    Ok(s)
}

#[tokio::test]
async fn a_folder_that_is_deleted_in_git_removes_no_role_until_an_operator_approves_it() -> Result<()> {
    let s = with_roles("many-deleted", 1, 8).await?;
    // All are deleted while the session is locked, so that the controller sees them at once.
    s.lock().await?;
    let mut args = vec!["delete", "iamrole", "-n", &s.name, "--wait=false"];
    let deleted = names(6);
    args.extend(deleted.iter().map(String::as_str));
    s.world.plane.kubectl(&args).await?;
    s.unlock().await?;
    for role in &deleted {
        s.role_is(role, "Unknown", "RemovalsParked").await?;
    }
    ensure!(s.owned_roles(0).await?.len() == 8, "none is removed");
    s.role_tells("app-0", "more than 4 of the account's roles are to be removed")
        .await?;
    s.role_is("app-7", "True", "InSync").await?;
    // A restart removes nothing, either.
    s.end_controller("TERM").await?;
    s.start_controller()?;
    s.look_again("app-7").await?;
    s.role_is("app-7", "True", "InSync").await?;
    ensure!(s.owned_roles(0).await?.len() == 8, "none is removed");
    ensure!(digests(&s, None).await?.len() == 6);
    // A change that widens a role waits at the same time. Who approves the removals does not approve it.
    s.change_account(0, json!({"approvals": {"for": "Widening"}}))
        .await?;
    s.apply(&s.role(
        "app-7",
        json!({"accounts": {"names": [s.targets[0].0]}, "managedPolicies": ["ReadOnlyAccess"]}),
    ))
    .await?;
    s.role_is("app-7", "Unknown", "AwaitingApproval").await?;
    let shown = approve(&s, &["--all", "--removals"]).await?;
    ensure!(
        shown.contains("role many-deleted/app-5 will be deleted") && !shown.contains("app-7"),
        "{shown}"
    );
    s.owns(0, 2).await?;
    s.look_again("app-7").await?;
    s.role_is("app-7", "Unknown", "AwaitingApproval").await?;
    ensure!(
        s.attached(0, "app-7").await?.is_empty(),
        "nothing else was approved"
    );
    // Approved removals do not count, so that a single one needs no approval.
    s.delete("app-6").await?;
    Ok(())
}

#[tokio::test]
async fn a_selector_that_loses_its_accounts_removes_no_role_and_when_it_is_corrected_all_continue()
-> Result<()> {
    let s = with_roles("many-deselected", 2, 6).await?;
    s.lock().await?;
    for role in names(6) {
        s.apply(&s.role(&role, json!({"accounts": {"names": [s.targets[1].0]}})))
            .await?;
    }
    s.unlock().await?;
    for role in names(6) {
        s.role_is(&role, "Unknown", "RemovalsParked").await?;
    }
    ensure!(s.owned_roles(0).await?.len() == 6, "none is removed");
    ensure!(
        s.owned_roles(1).await?.len() == 6,
        "the other account has its roles"
    );
    for role in names(6) {
        s.apply(&s.role(
            &role,
            json!({"accounts": {"names": [s.targets[0].0, s.targets[1].0]}}),
        ))
        .await?;
    }
    for role in names(6) {
        s.role_is(&role, "True", "InSync").await?;
    }
    // A single removal is made again.
    s.apply(&s.role("app-0", json!({"accounts": {"names": [s.targets[1].0]}})))
        .await?;
    s.role_is("app-0", "True", "InSync").await?;
    ensure!(s.owned_roles(0).await?.len() == 5);
    Ok(())
}

#[tokio::test]
async fn roles_that_are_to_be_absent_count_and_those_that_are_retained_do_not() -> Result<()> {
    let s = with_roles("many-absent", 1, 4).await?;
    s.change_account(
        0,
        json!({"guardrails": {"adoption": "Always", "maxRemovals": {"count": 1, "window": "1h"}}}),
    )
    .await?;
    let spec = |mut more: Value| {
        more["accounts"] = json!({"names": [s.targets[0].0]});
        more
    };
    s.apply(&s.role("app-3", spec(json!({"deletionPolicy": "Retain"}))))
        .await?;
    s.lock().await?;
    let args = [
        "delete",
        "iamrole",
        "app-0",
        "app-3",
        "-n",
        &s.name,
        "--wait=false",
    ];
    s.world.plane.kubectl(&args).await?;
    s.unlock().await?;
    // One role is deleted, and one is released.
    s.owns(0, 2).await?;
    s.lock().await?;
    for role in ["app-1", "app-2"] {
        s.apply(&s.role(role, spec(json!({"ensure": "Absent"})))).await?;
    }
    s.unlock().await?;
    for role in ["app-1", "app-2"] {
        s.role_is(role, "Unknown", "RemovalsParked").await?;
    }
    s.role_tells("app-1", "more than 1 of the account's roles are to be removed")
        .await?;
    approve(&s, &["role/app-1"]).await?;
    s.role_is("app-1", "True", "InSync").await?;
    s.role_is("app-2", "Unknown", "RemovalsParked").await?;
    s.look_again("app-2").await?;
    s.role_tells(
        "app-2",
        "the account lost 1 of its roles in the last 1h, and is to lose 1 more",
    )
    .await?;
    // After a restart nothing is known of the window, and the removal still waits.
    s.end_controller("TERM").await?;
    s.start_controller()?;
    s.apply(&s.role("app-9", spec(json!({})))).await?;
    s.role_is("app-9", "True", "InSync").await?;
    s.look_again("app-2").await?;
    s.role_is("app-2", "Unknown", "RemovalsParked").await?;
    ensure!(s.owned_roles(0).await?.contains(&"app-2".to_owned()));
    Ok(())
}
