//! Kubernetes events: told once, when something changes.

use kube::Resource;
use kube::runtime::events::{Event, EventType};
use rolectl_crds::Reason;

use super::context::Context;

/// The API server cuts notes at 1 kB; we cut before.
const NOTE: usize = 1000;

/// Publishes an event, in its turn and behind the caller's back: a role is not kept waiting for the news of it. That it
/// could not be published is logged and fails nothing.
pub fn publish<K: Resource<DynamicType = ()>>(
    context: &Context,
    object: &K,
    type_: EventType,
    reason: &str,
    action: &str,
    note: &str,
) {
    let note = note.chars().take(NOTE).collect();
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: action.to_owned(),
        secondary: None,
    };
    // A warning may repeat, and then its event counts; the recorder keeps it in memory for that. What was done is told
    // once, and ten thousand roles are not kept.
    let recorder = match event.type_ {
        EventType::Warning => context.recorder.clone(),
        EventType::Normal => context.new_recorder(),
    };
    let (object, turns) = (object.object_ref(&()), context.event_turns.clone());
    tokio::spawn(async move {
        // Never closed.
        let _turn = turns.acquire().await;
        if let Err(error) = recorder.publish(&event, &object).await {
            tracing::warn!(%error, reason = event.reason, "event not published");
        }
    });
}

/// Publishes a warning when the reason of an object has become one that a user must act on.
pub fn publish_stalled<K: Resource<DynamicType = ()>>(
    context: &Context,
    object: &K,
    before: Option<&str>,
    conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
) {
    let Some(ready) = conditions.first() else { return };
    let stalled = Reason::ALL
        .iter()
        .any(|r| r.is_stalled() && r.as_str() == ready.reason);
    if stalled && before != Some(ready.reason.as_str()) {
        publish(
            context,
            object,
            EventType::Warning,
            &ready.reason,
            "Reconcile",
            &ready.message,
        );
    }
}
