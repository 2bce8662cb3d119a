//! Reads JSON and YAML as kubectl does, so that a file has the same meaning here and in the cluster.
//!
//! kubectl reads scalars by [rules of YAML 1.1](https://github.com/yaml/go-yaml/blob/v2/resolve.go) that other programs have
//! dropped: `0123` is 83, `yes` is true, `1_000` is 1000. `scalars.json` lists what kubectl makes of each scalar, and a test
//! compares that list with a real kubectl. This module is stricter in one point: a duplicate key is an error.

mod json;
mod lines;
mod number;
mod reader;
mod scalar;

use std::sync::Arc;

use serde_json::Value;

pub use lines::Lines;

/// One document of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The line on which the document begins, from 1.
    pub line: usize,
    /// The text of the document.
    pub text: Arc<str>,
    /// The value of the document, or why it cannot be read.
    pub value: Result<Value, String>,
}

/// The form of a text, which decides the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON and nothing else.
    Json,
    /// YAML, or JSON where a document begins with a brace.
    Yaml,
}

/// Returns the documents of a text that are not empty. A document that cannot be read does not hide the others.
pub fn documents(text: &str, form: Form) -> Vec<Document> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if form == Form::Json {
        return json::documents(text, 1);
    }
    let mut all = vec![];
    for (line, piece) in split(text) {
        let (text, value) = match piece {
            Err(message) => (String::new(), Err(message)),
            Ok(piece) if piece.trim_start().starts_with('{') => {
                all.extend(json::documents(&piece, line));
                continue;
            }
            Ok(piece) => {
                let value = reader::read(&piece, line);
                (piece, value)
            }
        };
        if value != Ok(Value::Null) {
            let text = text.into();
            all.push(Document { line, text, value });
        }
    }
    all
}

/// Splits a text at the lines that begin with `---`, as kubectl does, and returns each piece with the line on which it begins.
/// Only a comment may follow the dashes.
fn split(text: &str) -> Vec<(usize, Result<String, String>)> {
    let mut pieces = vec![(1, Ok(String::new()))];
    for (n, line) in text.split_inclusive('\n').enumerate() {
        let after = line.strip_prefix("---").map(str::trim);
        match after {
            Some(rest) if rest.is_empty() || rest.starts_with('#') => {
                pieces.push((n + 2, Ok(String::new())));
            }
            Some(rest) => pieces.push((
                n + 1,
                Err(format!(
                    "line {}: `{rest}` follows --- on the same line: begin a new line",
                    n + 1
                )),
            )),
            None => {
                if let Some((_, Ok(piece))) = pieces.last_mut() {
                    piece.push_str(line);
                }
            }
        }
    }
    pieces
}

/// Returns the error for a key that a mapping has twice.
fn duplicate_key(key: &str) -> String {
    format!("key `{}` is written twice", key.escape_debug())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn one(text: &str) -> Result<Value, String> {
        let mut all = documents(text, Form::Yaml);
        assert_eq!(all.len(), 1, "{text:?}: {all:?}");
        all.remove(0).value
    }

    #[test]
    fn a_scalar_means_what_it_means_to_kubectl() {
        let table = documents(include_str!("../scalars.json"), Form::Json)
            .remove(0)
            .value
            .unwrap();
        for line in table.as_array().unwrap() {
            let (text, wanted) = (line[0].as_str().unwrap(), &line[1]);
            let got = one(&format!("v: {text}\n")).map(|value| value["v"].clone());
            match wanted {
                Value::Object(_) => assert!(got.is_err(), "{text}: {got:?}"),
                wanted => assert_eq!(got.as_ref(), Ok(wanted), "{text}"),
            }
        }
    }

    #[test]
    fn keys_anchors_and_merges_are_as_in_kubectl() {
        for (text, wanted) in [
            (
                "1: a\n0x1F: c\nyes: b\n",
                json!({"1": "a", "31": "c", "true": "b"}),
            ),
            (
                "a: &a {x: 2, z: 4}\nm: {x: 1, <<: *a}\n",
                json!({"a": {"x": 2, "z": 4}, "m": {"x": 2, "z": 4}}),
            ),
            (
                "a: &a {x: 2}\nm: {<<: *a, x: 1}\n",
                json!({"a": {"x": 2}, "m": {"x": 1}}),
            ),
            ("a: &a [1, 2]\nb: *a\n", json!({"a": [1, 2], "b": [1, 2]})),
            (
                "a: |\n  x\n  y\nb: >\n  x\n  y\n",
                json!({"a": "x\ny\n", "b": "x y\n"}),
            ),
            (
                "a:\n- b: 1\n  c: \"0123\"\n",
                json!({"a": [{"b": 1, "c": "0123"}]}),
            ),
        ] {
            assert_eq!(one(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_with_its_line() {
        for (text, line, words) in [
            ("a: 1\na: 2\n", 2, "key `a` is written twice"),
            ("a: 1\n  b: 2\n", 2, ""),
            ("~: 1\n", 1, "null"),
            ("a: *b\n", 1, ""),
            ("a: &a [*a]\n", 1, "contains it"),
            ("a: 1\n--- b\n", 2, "follows ---"),
            ("{\"a\": 1,}", 1, "trailing comma"),
            ("{\n\"a\": 1,\n\"a\": 2}", 3, "key `a` is written twice"),
        ] {
            let all = documents(text, Form::Yaml);
            let error = all.iter().find_map(|d| d.value.as_ref().err()).unwrap();
            assert!(
                error.starts_with(&format!("line {line}: ")) && error.contains(words),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn an_unreadable_document_hides_no_other() {
        let text = "a: 1\n---\na: [\n---\n# nothing\n---\nb: 2\n";
        let all = documents(text, Form::Yaml);
        let found: Vec<(usize, bool)> = all.iter().map(|d| (d.line, d.value.is_ok())).collect();
        assert_eq!(found, [(1, true), (3, false), (7, true)]);
    }

    #[test]
    fn json_is_read_as_json() {
        let all = documents("{\"a\": 7200.0, \"b\": 1e3}\n{\"c\": 0.5}", Form::Json);
        let values: Vec<&Value> = all.iter().filter_map(|d| d.value.as_ref().ok()).collect();
        assert_eq!(values, [&json!({"a": 7200, "b": 1000}), &json!({"c": 0.5})]);
        for text in ["{\"a\": 1,}", "a: 1", "{\"a\": 01}", "[1, 2"] {
            let all = documents(text, Form::Json);
            assert!(all.iter().any(|d| d.value.is_err()), "{text}: {all:?}");
        }
    }

    #[test]
    fn what_nests_or_multiplies_without_end_is_refused() {
        let deep = "[".repeat(100_000);
        assert!(one(&format!("a: {deep}")).is_err());
        assert!(one(&format!("{{\"a\": {deep}")).is_err());
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..10 {
            let before = format!("*a{}", n - 1);
            let line = format!("a{n}: &a{n} [{}]\n", vec![before; 10].join(", "));
            bomb.push_str(&line);
        }
        assert!(one(&bomb).unwrap_err().contains("aliases"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[-a&*<>!:{}\\[\\]#|?,'\"0-9._ \n]{0,80}") {
            let _ = documents(&text, Form::Yaml);
            let _ = documents(&text, Form::Json);
        }

        #[test]
        fn json_means_the_same_in_both_forms(n in any::<i64>(), f in any::<f32>(), s in "\\PC{0,20}") {
            let text = json!({"n": n, "f": f, "s": s, "l": [n, null, true]}).to_string();
            prop_assert_eq!(documents(&text, Form::Yaml), documents(&text, Form::Json));
        }
    }
}
