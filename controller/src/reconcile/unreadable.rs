//! Objects that do not parse: reports each one in its own status, or in an event where the status cannot be written.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::core::PartialObjectMeta;
use kube::runtime::events::EventType;
use rolectl_crds::Reason;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::api_writes::apply_status;
use super::context::{Context, MANAGER};
use super::pauses::backoff;
use super::store::UnreadableObjects;
use super::{Shared, error_chain, events, mfa_session};
use rolectl_core::conditions::{Truth, Verdict, conditions};
use rolectl_kube::objects::Unreadable;

/// How often to look for objects that fall to this replica now.
const LOOK: Duration = Duration::from_secs(30);
/// How soon a failed report is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(10));
/// How long the API server may take for one status.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was reported of an object.
#[derive(Clone, Default)]
struct Reported {
    generation: Option<i64>,
    problem: String,
    /// An event was published.
    told: bool,
    failures: u32,
    /// Not before this moment again.
    again: Option<Instant>,
}

/// Reports objects of one kind until the process ends.
pub async fn report<K>(context: Shared, objects: Arc<UnreadableObjects>)
where
    K: Resource<DynamicType = ()>,
{
    let mut reported: HashMap<String, Reported> = HashMap::new();
    loop {
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            () = objects.changed.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
        reported.retain(|name, _| objects.get(name).is_some());
        for object in objects.all() {
            let name = object.full_name();
            if K::kind(&()) == "MfaSession" && context.sessions.lock(&name, message("MfaSession", &object)) {
                // As after a restart: whose session may be used is not certain any more.
                mfa_session::wake_accounts(&name, &context);
            }
            // One of several replicas reports it.
            if object.metadata.name.is_none() || !context.shards.hold(&name) {
                continue;
            }
            let same = |known: &&Reported| {
                known.generation == object.metadata.generation && known.problem == object.problem
            };
            let mut known = reported.get(&name).filter(same).cloned().unwrap_or(Reported {
                generation: object.metadata.generation,
                problem: object.problem.clone(),
                ..Reported::default()
            });
            if known.again.is_none_or(|again| again <= Instant::now()) {
                report_one::<K>(&context, &object, &mut known).await;
                reported.insert(name, known);
            }
        }
    }
}

/// Writes the conditions of one object, and publishes an event once.
async fn report_one<K>(context: &Context, object: &Unreadable, known: &mut Reported)
where
    K: Resource<DynamicType = ()>,
{
    let kind = K::kind(&());
    let message = message(&kind, object);
    let Some(status) = status(&kind, object, &message, Timestamp::now()) else {
        return;
    };
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let patch = json!({
        "apiVersion": K::api_version(&()), "kind": kind,
        "metadata": {"name": name, "resourceVersion": object.metadata.resource_version},
        "status": status,
    });
    let url = K::url_path(&(), object.metadata.namespace.as_deref());
    let written = tokio::time::timeout(
        PATIENCE,
        apply_status(&context.client, &url, name, MANAGER, &patch),
    )
    .await;
    let failure = match written {
        Ok(Ok(_)) => None,
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => return,
        // Somebody has changed it meanwhile: its next version is reported.
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => return,
        Ok(Err(error)) => Some(error_chain(&error)),
        Err(_) => Some("the API server does not answer".to_owned()),
    };
    if !std::mem::replace(&mut known.told, true) {
        let partial = PartialObjectMeta::<K> {
            types: None,
            metadata: object.metadata.clone(),
            _phantom: PhantomData,
        };
        let reason = Reason::InvalidSpec.as_str();
        events::publish(context, &partial, EventType::Warning, reason, "Read", &message);
    }
    // The cache trails our own write, too.
    known.failures = if failure.is_some() { known.failures + 1 } else { 0 };
    known.again = Some(Instant::now() + backoff(known.failures + 1, RETRY));
    if let Some(error) = failure {
        tracing::warn!(%kind, object = object.full_name(), error, "the status of an object that cannot be read is not written");
    }
}

fn message(kind: &str, object: &Unreadable) -> String {
    let stays = match kind {
        "IamRole" => "its role stays as it is in AWS",
        "AwsAccount" => "no call is made for it, and its roles stay as they are in AWS",
        _ => "it is not used",
    };
    let deletion = if object.metadata.deletion_timestamp.is_some() {
        ". Its deletion waits"
    } else {
        ""
    };
    format!(
        "the object cannot be read: {}. Until it is corrected {stays}{deletion}",
        object.problem
    )
}

fn prior_conditions(object: &Unreadable) -> Vec<Condition> {
    let prior = object.status.as_ref().and_then(|status| status.get("conditions"));
    prior
        .and_then(|prior| serde_json::from_value(prior.clone()).ok())
        .unwrap_or_default()
}

/// The status that the object is to have: all that it had, with conditions of now. A server-side apply that leaves a field
/// out removes it. `None`: it has it already.
fn status(kind: &str, object: &Unreadable, message: &str, now: Timestamp) -> Option<Value> {
    let prior = prior_conditions(object);
    let generation = object.metadata.generation;
    let verdict = Verdict {
        ready: Some(Truth::False),
        reason: Reason::InvalidSpec,
        message: message.to_owned(),
    };
    let conditions = conditions(&prior, generation, verdict, now);
    if conditions == prior {
        return None;
    }
    let mut status = match &object.status {
        Some(Value::Object(status)) => status.clone(),
        _ => serde_json::Map::new(),
    };
    if kind == "MfaSession" {
        status.insert("phase".to_owned(), json!("Locked"));
    }
    status.insert("observedGeneration".to_owned(), json!(generation));
    status.insert("conditions".to_owned(), json!(conditions));
    Some(Value::Object(status))
}

#[cfg(test)]
mod tests {
    use rolectl_crds::IamRole;

    use super::*;
    use rolectl_kube::objects::{nested, read};

    #[test]
    fn the_status_keeps_what_it_had_and_says_once_why_the_object_cannot_be_read() {
        let mut object = *read::<IamRole>(nested("deep", 200).as_bytes()).unwrap_err();
        object.status = Some(
            json!({"summary": "1/1", "accounts": [{"name": "dev", "state": "InSync", "roleId": "AROA"}]}),
        );
        let text = message("IamRole", &object);
        let written = status("IamRole", &object, &text, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(written["accounts"][0]["roleId"], "AROA");
        assert_eq!(written["observedGeneration"], 3);
        let types: Vec<&str> = written["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|c| c["type"].as_str())
            .collect();
        assert_eq!(types, ["Ready", "Stalled"]);
        assert_eq!(
            written["conditions"][1]["message"],
            "the object cannot be read: it is nested more than 64 levels deep. Until it is corrected its role stays as it is in AWS"
        );
        object.status = Some(written);
        let later = Timestamp::from_second(100).unwrap();
        assert_eq!(
            status("IamRole", &object, &text, later),
            None,
            "it is not written again"
        );
    }
}
