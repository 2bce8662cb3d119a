//! The log of visits: one line for each role and account in which something was changed or could not be changed.

use rolectl_core::names::RoleKey;

use super::visit::Visited;

/// Logs what a visit has changed, and a failure unless it is the one that was logged last. The changes themselves are in the log at
/// `debug`, and in the events of the object.
pub(super) fn log_visit(
    key: &RoleKey,
    account: &str,
    visited: &Visited,
    last_failure: &mut Option<Box<str>>,
) {
    let changes = visited.done.len();
    if changes > 0 {
        tracing::info!(role = %key, %account, changes, "applied");
    }
    for change in &visited.done {
        tracing::debug!(role = %key, %account, change, "applied");
    }
    let Some((reason, message)) = &visited.failed else {
        *last_failure = None;
        return;
    };
    let failure = format!("{reason}: {message}");
    if last_failure.as_deref() == Some(failure.as_str()) {
        tracing::debug!(role = %key, %account, %reason, message, "not applied, as before");
        return;
    }
    tracing::warn!(role = %key, %account, %reason, message, "not applied");
    *last_failure = Some(failure.into());
}
