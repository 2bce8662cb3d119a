//! Which kind an object is of, and its metadata.

use serde_json::Value;

use rolectl_core::spelling::nearest;
use rolectl_crds::GROUP;

use super::{KINDS, Kind, Problem};
use crate::field::Field;

/// Fields of [ObjectMeta](https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/).
const METADATA: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
/// Longest [name of an object](https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names).
const NAME_LENGTH: usize = 253;
/// Longest name of a namespace.
const NAMESPACE_LENGTH: usize = 63;

/// Returns the kind of an object, or `None` if it is of another group. A kind or version that we do not have is an error, also where
/// the group is probably a misspelling of ours.
pub(super) fn kind(object: &Value) -> Result<Option<&'static Kind>, Problem> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (api_version, name) = (text("apiVersion"), text("kind"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let ours = KINDS.keys().map(String::as_str);
    let meant = ours.clone().find(|kind| kind.eq_ignore_ascii_case(name));
    if group != GROUP {
        let is_slip = nearest(group, [GROUP].into_iter()).is_some() || group.contains("rolectl");
        let is_ours = meant.is_some() && (is_slip || group.is_empty());
        let field = Field::default().child("apiVersion");
        return if is_ours || (is_slip && !group.is_empty()) {
            let version = meant
                .and_then(|kind| KINDS.get(kind))
                .map_or("v1alpha1", |kind| &kind.version);
            Err(Problem::new(
                &field,
                format!("is {api_version:?}: did you mean {GROUP}/{version}?"),
            ))
        } else {
            Ok(None)
        };
    }
    let Some(kind) = KINDS.get(name) else {
        let hint = match meant.or_else(|| nearest(name, ours.clone())) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("it has {}", ours.collect::<Vec<_>>().join(", ")),
        };
        let message = format!("{GROUP} has no kind {name:?}: {hint}");
        return Err(Problem::new(&Field::default().child("kind"), message));
    };
    if version != kind.version {
        let message = format!(
            "is {api_version:?}: this rolectl knows {GROUP}/{} only",
            kind.version
        );
        return Err(Problem::new(&Field::default().child("apiVersion"), message));
    }
    Ok(Some(kind))
}

/// Returns what is wrong with the metadata.
pub(super) fn metadata(object: &Value) -> Vec<Problem> {
    let at = Field::default().child("metadata");
    let Some(Value::Object(metadata)) = object.get("metadata") else {
        return vec![Problem::new(&at, "is missing: give the object a name")];
    };
    let mut problems = vec![];
    for key in metadata.keys() {
        if !METADATA.contains(&key.as_str()) {
            problems.push(unknown(&at, key, METADATA.into_iter()));
        }
    }
    match metadata.get("name") {
        Some(Value::String(name)) => {
            let labels = name.split('.').all(is_label);
            if name.len() > NAME_LENGTH || !labels {
                let message = format!(
                    "{name:?} is no name of an object: it has lower case letters, digits, - and . only, begins and ends with a letter or digit, and has at most {NAME_LENGTH} characters"
                );
                problems.push(Problem::new(&at.child("name"), message));
            }
        }
        Some(name) if !name.is_null() => {
            problems.push(Problem::new(&at.child("name"), "is not a string: quote it"));
        }
        _ if metadata.contains_key("generateName") => {
            problems.push(Problem::new(
                &at.child("generateName"),
                "gives each apply another object: write a name",
            ));
        }
        _ => problems.push(Problem::new(&at.child("name"), "is missing")),
    }
    if let Some(namespace) = metadata.get("namespace") {
        let valid = namespace
            .as_str()
            .is_some_and(|name| name.len() <= NAMESPACE_LENGTH && is_label(name));
        if !valid && !namespace.is_null() {
            let message = format!("{namespace} is no name of a namespace");
            problems.push(Problem::new(&at.child("namespace"), message));
        }
    }
    for key in ["labels", "annotations"] {
        let entries = metadata.get(key).and_then(Value::as_object);
        for (name, value) in entries.into_iter().flatten() {
            if !value.is_string() {
                problems.push(Problem::new(
                    &at.child(key).child(name),
                    "is not a string: quote it",
                ));
            }
        }
    }
    problems
}

/// Returns true for a [DNS label](https://www.rfc-editor.org/rfc/rfc1123).
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Returns the problem of a field that does not exist.
pub(super) fn unknown<'a>(at: &Field, key: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let hint = nearest(key, known).map_or_else(
        || "remove it; kubectl explain lists the fields".to_owned(),
        |known| format!("did you mean {known}?"),
    );
    Problem::new(&at.child(key), format!("unknown field: {hint}"))
}
