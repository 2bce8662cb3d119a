//! Many removals at a time: none is made before an operator approves it, whatever asks for them.

use anyhow::{Result, ensure};
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::json;

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
    s.role_tells("app-0", "more than 4 roles of the account are to be removed")
        .await?;
    s.role_is("app-7", "True", "InSync").await?;
    // A restart removes nothing, either.
    s.end_controller("TERM").await?;
    s.start_controller()?;
    s.look_again("app-7").await?;
    s.role_is("app-7", "True", "InSync").await?;
    ensure!(s.owned_roles(0).await?.len() == 8, "none is removed");
    ensure!(digests(&s, None).await?.len() == 6);
    let shown = approve(&s, &["--all"]).await?;
    ensure!(
        shown.contains("role many-deleted/app-5 will be deleted"),
        "{shown}"
    );
    until("the approved roles to be gone", || async {
        let left = s.owned_roles(0).await.map_err(|e| e.to_string())?;
        if left.len() == 2 {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await?;
    // The limit is for what comes next, too.
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
async fn roles_that_are_to_be_absent_count_and_an_owner_sets_the_limits() -> Result<()> {
    let s = with_roles("many-absent", 1, 3).await?;
    s.change_account(
        0,
        json!({"guardrails": {"adoption": "Always", "maxRemovals": {"count": 1, "window": "1h"}}}),
    )
    .await?;
    s.delete("app-0").await?;
    let absent = json!({"ensure": "Absent", "accounts": {"names": [s.targets[0].0]}});
    s.apply(&s.role("app-1", absent.clone())).await?;
    s.role_is("app-1", "Unknown", "RemovalsParked").await?;
    s.role_tells(
        "app-1",
        "1 roles of the account were removed in the last 1h, and 1 more are to be",
    )
    .await?;
    ensure!(
        s.owned_roles(0).await?.len() == 2,
        "the second one is not removed"
    );
    approve(&s, &["role/app-1"]).await?;
    s.role_is("app-1", "True", "InSync").await?;
    ensure!(s.owned_roles(0).await?.len() == 1);
    Ok(())
}
