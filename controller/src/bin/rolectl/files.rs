//! What stands in files: policy documents and Kubernetes objects, in JSON or YAML, from paths, folders or stdin.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::failure::Failure;

/// A value, and where it stands.
#[derive(Clone, Debug)]
pub struct Found {
    /// The file, or `stdin`.
    pub source: String,
    /// What stands there.
    pub value: Value,
}

/// Reads the values of one file; `-` is stdin.
pub fn read(path: &str) -> Result<Vec<Found>, Failure> {
    let source = if path == "-" { "stdin" } else { path };
    parse(source, &text(path)?)
}

/// The values in a text. YAML takes in JSON; a key that stands there twice is refused.
pub fn parse(source: &str, text: &str) -> Result<Vec<Found>, Failure> {
    let values: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
        let all = error.to_string();
        let first = all.lines().next().unwrap_or_default();
        Failure::new(
            format!("{source} is neither JSON nor YAML: {first}"),
            "correct the file",
        )
        .usage()
    })?;
    let found = |value| Found {
        source: source.to_owned(),
        value,
    };
    Ok(values.into_iter().filter(|v| !v.is_null()).map(found).collect())
}

/// The text of one file; `-` is stdin.
pub fn text(path: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == "-" {
        std::io::stdin().read_to_string(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(path).map(|read| text = read)
    };
    let source = if path == "-" { "stdin" } else { path };
    read.map(|()| text).map_err(|error| {
        Failure::new(
            format!("could not read {source}: {error}"),
            "give a file that can be read",
        )
        .usage()
    })
}

/// The Kubernetes objects in files and folders, Lists taken apart.
pub fn objects(paths: &[String]) -> Result<Vec<Found>, Failure> {
    let mut all = vec![];
    for path in paths {
        for file in files_in(path)? {
            for found in read(&file)? {
                let items = found.value.get("items").and_then(Value::as_array);
                match items.filter(|_| found.value.get("kind").and_then(Value::as_str) == Some("List")) {
                    Some(items) => all.extend(items.iter().map(|item| Found {
                        source: found.source.clone(),
                        value: item.clone(),
                    })),
                    None => all.push(found),
                }
            }
        }
    }
    Ok(all)
}

/// The file itself, or all YAML and JSON files below a folder, in order.
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
