//! Kubernetes events: told once, when something changes.

use kube::Resource;
use kube::runtime::events::{Event, EventType};
use rolectl_crds::Reason;

use super::context::Context;

/// The API server cuts notes at 1 kB; we cut before.
const NOTE: usize = 1000;

/// Publishes an event. That it could not be published is logged and fails nothing.
pub async fn publish<K: Resource<DynamicType = ()>>(
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
    if let Err(error) = context.recorder.publish(&event, &object.object_ref(&())).await {
        tracing::warn!(%error, reason = event.reason, "event not published");
    }
}

/// Publishes a warning when the reason of an object has become one that a user must act on.
pub async fn publish_stalled<K: Resource<DynamicType = ()>>(
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
        )
        .await;
    }
}
