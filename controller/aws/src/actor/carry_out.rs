//! Makes the changes of a proposal. The controller's actors and `rolectl apply` both do it here.

use rolectl_core::names::RoleKey;
use rolectl_core::role::narrowing::only_narrows;
use rolectl_core::role::removed::removed;

use super::propose::Proposed;
use crate::account::{Account, AccountError, Permit, Writer};
use crate::apply::{Applied, apply, verify};
use crate::audit::Audit;
use crate::bucket::Priority;
use crate::clock::now;
use crate::session::OpenSession;

/// Makes the changes, as long as `permit` allows it before each. Nothing done and nothing failed means that another role of this
/// name is in the account now: a sweep must show it before anything is written.
///
/// # Errors
/// When the account could not be used at all. A change that failed is part of the result.
pub async fn carry_out(
    live: &Account,
    session: &OpenSession,
    key: &RoleKey,
    proposed: Proposed,
    permit: Permit<'_>,
) -> Result<Applied, AccountError> {
    let Proposed {
        name,
        plan,
        observed,
        seen,
        is_ours: _,
        refusal: _,
        pending: _,
        granted: _,
    } = proposed;
    permit().map_err(AccountError::Withdrawn)?;
    let writer = (&*key.namespace, &*key.name);
    let iam = live.iam(session, Some(writer)).await?;
    let priority = if only_narrows(observed.as_ref(), &plan.changes) {
        Priority::Narrowing
    } else {
        Priority::Change
    };
    let writer = Writer::new(live, session, permit, priority);
    if let Some(role) = &observed
        && !verify(&writer, &*iam, role, seen).await?
    {
        live.snapshot.lock().invalidate(&name, now());
        return Ok(Applied::default());
    }
    let before = observed.clone();
    let mut audit = Audit::new(key, live, session);
    let applied = apply(&writer, &*iam, &name, plan, observed, &mut audit).await;
    let removed = before.and_then(|before| removed(&before, &applied.done));
    if let Some(removed) = removed {
        tracing::warn!(
            role = %key, account = %live.name, name, removed,
            "removed from the role in AWS"
        );
    }
    Ok(applied)
}
