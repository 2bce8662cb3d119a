//! Reads policy documents and Kubernetes objects, in JSON or YAML, from files, folders or stdin.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::yaml::{self, Form};

/// Maximum size of a file, in bytes. A file can have many objects; etcd refuses a single one over 1.5 MiB.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// A value and the file that contains it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The file, or `stdin`.
    pub source: String,
    /// The value.
    pub value: Value,
}

/// A document of a file, or the reason why it cannot be read.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file, or `stdin`.
    pub source: String,
    /// The value of the document, or why it cannot be read.
    pub value: Result<Value, String>,
}

/// Returns the form of a file by its name. As in kubectl, a `.json` file is JSON only.
fn form(source: &str) -> Form {
    let is_json = Path::new(source)
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("json"));
    if is_json { Form::Json } else { Form::Yaml }
}

/// Returns the values in a text. Fails at the first that cannot be read.
pub fn parse(source: &str, text: &str) -> Result<Vec<Found>, Failure> {
    yaml::documents(text, form(source))
        .into_iter()
        .map(|document| found(source, document.value))
        .collect()
}

/// Returns a value that could be read, or else the failure.
fn found(source: &str, value: Result<Value, String>) -> Result<Found, Failure> {
    let source = source.to_owned();
    match value {
        Ok(value) => Ok(Found { source, value }),
        Err(why) => Err(Failure::new(
            format!("{source} cannot be read: {why}"),
            "correct the file; `rolectl lint` shows all that is wrong",
        )
        .usage()),
    }
}

/// Parses an object. The error begins with the wrong field.
pub fn object<K: DeserializeOwned>(value: &Value) -> Result<K, String> {
    serde_json::from_value(value.clone()).map_err(|error| {
        let error = error.to_string();
        match wrong_field::<K>(value, &error) {
            Some(field) => format!("{field}: {error}"),
            None => error,
        }
    })
}

/// Returns the path of the field that causes the error: the one without which the error does not occur.
fn wrong_field<K: DeserializeOwned>(value: &Value, error: &str) -> Option<String> {
    let causes = |changed: &Value| {
        let now = serde_json::from_value::<K>(changed.clone()).err();
        now.is_none_or(|now| now.to_string() != error)
    };
    let (mut pointer, mut path) = (String::new(), vec![]);
    while let Some(Value::Object(fields)) = value.pointer(&pointer) {
        let culprit = fields.keys().find(|key| {
            let mut without = value.clone();
            if let Some(Value::Object(fields)) = without.pointer_mut(&pointer) {
                fields.remove(*key);
            }
            causes(&without)
        });
        let Some(key) = culprit else { break };
        pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
        path.push(key.clone());
    }
    (!path.is_empty()).then(|| path.join("."))
}

/// Returns the text of one file. `-` is stdin.
pub fn text(path: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == "-" {
        std::io::stdin().take(MAX_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
    };
    let source = if path == "-" { "stdin" } else { path };
    let failed = |why: String| {
        Failure::new(
            format!("could not read {source}: {why}"),
            "give a file that can be read",
        )
        .usage()
    };
    match read {
        Ok(bytes) if u64::try_from(bytes).is_ok_and(|bytes| bytes < MAX_BYTES) => Ok(text),
        Ok(_) => Err(failed(format!("it is larger than {MAX_BYTES} bytes"))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Returns the Kubernetes objects in files and folders, with the items of each List. Fails at the first that cannot be read.
pub fn objects(paths: &[String]) -> Result<Vec<Found>, Failure> {
    let all = documents(paths)?.into_iter();
    all.map(|document| found(&document.source, document.value))
        .collect()
}

/// Returns the documents in files and folders, with the items of each List, and with the documents that cannot be read.
pub fn documents(paths: &[String]) -> Result<Vec<Document>, Failure> {
    let mut all = vec![];
    for path in paths {
        for file in files_in(path)? {
            let source = if file == "-" { "stdin" } else { &file };
            for yaml::Document { value, .. } in yaml::documents(&text(&file)?, form(source)) {
                let source = source.to_owned();
                match value {
                    Ok(Value::Object(mut list)) if is_list(&list) => {
                        let items = list.remove("items").and_then(|items| match items {
                            Value::Array(items) => Some(items),
                            _ => None,
                        });
                        all.extend(items.into_iter().flatten().map(|item| Document {
                            source: source.clone(),
                            value: Ok(item),
                        }));
                    }
                    value => all.push(Document { source, value }),
                }
            }
        }
    }
    Ok(all)
}

/// Returns true if the value is a Kubernetes List.
fn is_list(value: &Map<String, Value>) -> bool {
    value.get("kind").and_then(Value::as_str) == Some("List")
        && value.get("items").is_some_and(Value::is_array)
}

/// Returns the file itself, or all YAML and JSON files below a folder, sorted.
fn files_in(path: &str) -> Result<Vec<String>, Failure> {
    if path == "-" || !Path::new(path).is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut todo, mut files) = (vec![PathBuf::from(path)], vec![]);
    while let Some(folder) = todo.pop() {
        let failed = |error: std::io::Error| {
            Failure::new(
                format!("could not read {}: {error}", folder.display()),
                "give a folder that can be read",
            )
            .usage()
        };
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?.path();
            if entry.is_dir() {
                todo.push(entry);
            } else if matches!(
                entry.extension().and_then(|e| e.to_str()),
                Some("yaml" | "yml" | "json")
            ) {
                files.push(entry.display().to_string());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use rolectl_crds::{AwsAccount, IamRole};

    use super::*;

    #[test]
    fn an_error_names_the_field() {
        let role = |spec: &str| {
            let text = format!(
                "{{apiVersion: iam.rolectl.dev/v1alpha1, kind: IamRole, metadata: {{name: a}}, spec: {{accounts: {{names: [a]}}, assumeRolePolicy: {{}}, {spec}}}}}"
            );
            let found = parse("a.yaml", &format!("---\n- {text}"))
                .unwrap()
                .remove(0)
                .value;
            object::<IamRole>(&found[0])
        };
        assert_eq!(
            role("maxSessionDuration: 7200.0")
                .unwrap()
                .spec
                .max_session_duration,
            7200
        );
        for (spec, words) in [
            (
                "maxSessionDuration: 7200.5",
                "spec.maxSessionDuration: invalid type",
            ),
            ("maxSessionDuration: a", "spec.maxSessionDuration: invalid type"),
            ("tags: {a: 1}", "spec.tags"),
            ("exclusive: {tags: 1}", "spec.exclusive.tags: invalid type"),
            ("typo: 1", "spec.typo: unknown field"),
        ] {
            let error = role(spec).unwrap_err();
            assert!(error.starts_with(words), "{spec}: {error}");
        }
        let account = json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount", "metadata": {"name": "a"},
            "spec": {"accountId": 12_345_678_901_u64}});
        let error = object::<AwsAccount>(&account).unwrap_err();
        assert!(error.starts_with("spec.accountId: "), "{error}");
    }
}
