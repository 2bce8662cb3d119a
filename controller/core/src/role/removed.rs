//! A log line with everything that changes removed from a role, for the investigation of incidents.

use serde_json::{Map, Value, json};

use super::change::Change;
use super::observed::{ObservedDocument, ObservedRole};
use crate::bounded;

/// Length of one log line, in bytes.
const LINE: usize = 16 * 1024;

/// Returns what the changes in `done` removed from the role or replaced, as JSON of at most 16 KiB. `None` if they removed nothing.
pub fn removed(before: &ObservedRole, done: &[Change]) -> Option<String> {
    let mut all = Map::new();
    let mut add = |field: &str, name: &str, value: Value| {
        let field = all.entry(field).or_insert_with(|| json!({}));
        if let Some(field) = field.as_object_mut() {
            field.insert(name.to_owned(), value);
        }
    };
    let inline = |name: &str| before.inline_policies.get(name).map(text);
    for change in done {
        match change {
            Change::UpdateTrustPolicy(..) | Change::DeleteRole => {
                add("trust", "document", text(&before.trust));
            }
            Change::PutInlinePolicy(name, ..) | Change::DeleteInlinePolicy(name) => {
                if let Some(document) = inline(name) {
                    add("inlinePolicies", name, document);
                }
            }
            Change::DetachPolicy(arn) => add("managedPolicies", arn, json!("detached")),
            Change::DeleteBoundary | Change::PutBoundary(_) => {
                if let Some(arn) = &before.permissions_boundary {
                    add("permissionsBoundary", "arn", json!(arn));
                }
            }
            Change::Untag(keys) => {
                for key in keys {
                    add("tags", key, json!(before.tags.get(key)));
                }
            }
            Change::Tag(tags) => {
                for key in tags.keys() {
                    if let Some(value) = before.tags.get(key) {
                        add("tags", key, json!(value));
                    }
                }
            }
            _ => {}
        }
    }
    (!all.is_empty()).then(|| bounded::clip(&Value::Object(all).to_string(), LINE).into_owned())
}

fn text(document: &ObservedDocument) -> Value {
    json!(document)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fixtures::{observed, spec, wanted};

    #[test]
    fn the_log_line_has_everything_that_was_removed_within_its_limit() {
        let mut before = observed(&wanted(&spec()));
        let document =
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
        before
            .inline_policies
            .insert("backdoor".to_owned(), ObservedDocument::read(document));
        before.tags.insert("who".to_owned(), "mallory".to_owned());
        let done = [
            Change::DeleteInlinePolicy("backdoor".to_owned()),
            Change::DetachPolicy("arn:aws:iam::aws:policy/AdministratorAccess".to_owned()),
            Change::Untag(BTreeSet::from(["who".to_owned()])),
        ];
        let line = removed(&before, &done).unwrap();
        for part in ["backdoor", "s3:*", "AdministratorAccess", "mallory"] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert_eq!(removed(&before, &[]), None);
        assert_eq!(removed(&before, &[Change::AttachPolicy("arn".to_owned())]), None);
        before.tags.insert("who".to_owned(), "x".repeat(100_000));
        assert!(removed(&before, &done).unwrap().len() <= LINE + 100);
    }
}
