//! Reads policy documents and Kubernetes objects, in JSON or YAML, from files, folders or stdin.

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use rolectl_crds::GROUP;

use crate::failure::Failure;
use crate::field::Field;
use crate::output::printable;
use crate::schema::{self, Problem};
use crate::yaml::{self, Form, Lines};

/// Maximum size of a file, in bytes. A file can have many objects; etcd refuses a single one over 1.5 MiB.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Where a value was read.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The file, or `stdin`.
    pub file: String,
    text: Arc<DocumentText>,
    /// The path of the value in its document: `items[3]` for an item of a List.
    below: Field,
}

/// The text of a document, for the lines of its values.
#[derive(Debug)]
struct DocumentText {
    first_line: usize,
    text: Arc<str>,
    /// The line of each value, once one was asked for.
    lines: OnceLock<Lines>,
}

impl Origin {
    fn new(file: &str, first_line: usize, text: Arc<str>) -> Self {
        Self {
            file: file.to_owned(),
            text: Arc::new(DocumentText {
                first_line,
                text,
                lines: OnceLock::new(),
            }),
            below: Field::default(),
        }
    }

    /// Returns the line on which the document begins.
    pub fn first_line(&self) -> usize {
        self.text.first_line
    }

    /// Returns the line of a field, or of what would contain it.
    pub fn line(&self, field: &Field) -> usize {
        let text = &self.text;
        let lines = text.lines.get_or_init(|| Lines::of(&text.text, text.first_line));
        let line = lines.line(self.below.steps().chain(field.steps()));
        line.unwrap_or(text.first_line)
    }
}

/// A value and where it was read.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it was read.
    pub origin: Origin,
    /// The value.
    pub value: Value,
}

/// A document of a file, or the reason why it cannot be read.
#[derive(Clone, Debug)]
pub struct Document {
    /// Where it is.
    pub origin: Origin,
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
    let documents = yaml::documents(text, form(source)).into_iter();
    documents
        .map(|document| Document {
            origin: Origin::new(source, document.line, document.text),
            value: document.value,
        })
        .map(found)
        .collect()
}

/// Returns a value that could be read, or else the failure.
fn found(document: Document) -> Result<Found, Failure> {
    let Document { origin, value } = document;
    match value {
        Ok(value) => Ok(Found { origin, value }),
        Err(why) => Err(Failure::new(
            format!("{} cannot be read: {why}", origin.file),
            "correct the file; `rolectl lint` shows all that is wrong",
        )
        .usage()),
    }
}

/// Parses an object that the API server would store. The errors say what is wrong, by field.
pub fn object<K: DeserializeOwned>(value: &Value) -> Result<K, Vec<Problem>> {
    let problems = schema::problems(value);
    if !problems.is_empty() {
        return Err(problems);
    }
    schema::parse(value).map_err(|error| vec![Problem::whole(error)])
}

/// Returns the text at a JSON pointer, or an empty one.
pub fn text_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the kind and name of an object: `IamRole platform/app`.
pub fn title(object: &Value) -> String {
    let (kind, name) = (text_at(object, "/kind"), text_at(object, "/metadata/name"));
    let namespace = text_at(object, "/metadata/namespace");
    let kind = if kind.is_empty() { "object" } else { kind };
    let title = match (namespace, name) {
        (_, "") => format!("{kind} without a name"),
        ("", name) => format!("{kind} {name}"),
        (namespace, name) => format!("{kind} {namespace}/{name}"),
    };
    printable(&title).into_owned()
}

/// Returns the objects of our kinds that are declared more than once, each with the one before. An IamRole without a namespace is of
/// `namespace`.
pub fn duplicates<'a>(objects: &'a [Found], namespace: &str) -> Vec<(&'a Found, &'a Found)> {
    let (mut seen, mut found) = (HashMap::new(), vec![]);
    for object in objects {
        let value = &object.value;
        let (kind, name) = (text_at(value, "/kind"), text_at(value, "/metadata/name"));
        if !is_of_our_group(value) || name.is_empty() {
            continue;
        }
        let given = text_at(value, "/metadata/namespace");
        let namespace = match (kind, given) {
            ("IamRole", "") => namespace,
            ("IamRole", given) => given,
            // The other kinds have no namespace.
            _ => "",
        };
        if let Some(before) = seen.insert((kind, namespace.to_owned(), name), object) {
            found.push((before, object));
        }
    }
    found
}

/// Returns true for an object of our API group, in any version.
pub fn is_of_our_group(object: &Value) -> bool {
    let group = text_at(object, "/apiVersion").split_once('/');
    group.is_some_and(|(group, _)| group == GROUP)
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
    let mut all = vec![];
    for file in files_in_all(paths)? {
        let text = text(&file)?;
        for document in documents_in(&file, &text) {
            all.push(found(document)?);
        }
    }
    Ok(all)
}

/// Returns the documents in files and folders, with the items of each List, and with the files and documents that cannot be read.
pub fn documents(paths: &[String]) -> Result<Vec<Document>, Failure> {
    let mut all = vec![];
    for file in files_in_all(paths)? {
        match text(&file) {
            Ok(text) => all.extend(documents_in(&file, &text)),
            Err(failure) => all.push(Document {
                origin: Origin::new(&file, 1, "".into()),
                value: Err(failure.what().to_owned()),
            }),
        }
    }
    Ok(all)
}

/// Returns the documents in the text of a file.
pub fn documents_in(file: &str, text: &str) -> Vec<Document> {
    let source = if file == "-" { "stdin" } else { file };
    let mut all = vec![];
    for yaml::Document { line, text, value } in yaml::documents(text, form(source)) {
        let origin = Origin::new(source, line, text);
        match value {
            Ok(Value::Object(mut list)) if is_list(&list) => {
                let Some(Value::Array(items)) = list.remove("items") else {
                    continue;
                };
                all.extend(items.into_iter().enumerate().map(|(n, item)| Document {
                    origin: Origin {
                        below: Field::default().child("items").child(n),
                        ..origin.clone()
                    },
                    value: Ok(item),
                }));
            }
            value => all.push(Document { origin, value }),
        }
    }
    all
}

/// Returns true if the value is a Kubernetes List.
fn is_list(value: &Map<String, Value>) -> bool {
    value.get("kind").and_then(Value::as_str) == Some("List")
        && value.get("items").is_some_and(Value::is_array)
}

/// Returns the files of all paths, each once.
fn files_in_all(paths: &[String]) -> Result<Vec<String>, Failure> {
    let (mut all, mut seen) = (vec![], HashSet::new());
    for path in paths {
        for file in files_in(path)? {
            if seen.insert(file.clone()) {
                all.push(file);
            }
        }
    }
    Ok(all)
}

/// Returns the file itself, or all YAML and JSON files below a folder, sorted. Hidden folders, such as `.git`, and links to folders are
/// left out.
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
            let entry = entry.map_err(failed)?;
            let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
            let is_folder = entry.file_type().map_err(failed)?.is_dir();
            let path = entry.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if is_folder && !is_hidden {
                todo.push(path);
            } else if matches!(extension, Some("yaml" | "yml" | "json")) && path.is_file() {
                files.push(path.display().to_string());
            }
        }
    }
    files.sort();
    Ok(files)
}
