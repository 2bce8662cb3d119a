//! Writes JSON values as native HCL, in the layout of `terraform fmt`.

use std::fmt::Write as _;

use rolectl_core::policy::ELEMENTS;
use serde_json::Value;

/// The elements of a policy document in front of those of its statements.
const OF_DOCUMENT: [&str; 3] = ["Version", "Id", "Statement"];

/// Returns the place of an element in the order in which people write them. Other keys follow in the order of their names.
fn place(key: &str) -> usize {
    let mut order = OF_DOCUMENT.iter().chain(ELEMENTS);
    order
        .position(|element| *element == key)
        .unwrap_or(OF_DOCUMENT.len() + ELEMENTS.len())
}

/// Returns a text as a quoted HCL string, in which nothing is a template.
pub fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // `$${` and `%%{` are the characters themselves.
            '$' | '%' if rest.peek() == Some(&'{') => quoted.extend([c, c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns a value as an HCL expression that begins in a line with this indentation.
pub fn expression(value: &Value, indent: usize) -> String {
    match value {
        Value::String(text) => string(text),
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| place(key));
            let fields = fields
                .into_iter()
                .map(|(key, value)| (name(key), expression(value, indent + 2)));
            format!(
                "{{\n{}{:indent$}}}",
                attributes(&fields.collect::<Vec<_>>(), indent + 2),
                ""
            )
        }
        Value::Array(items) => match items.as_slice() {
            [] => "[]".to_owned(),
            [only] if !only.is_object() && !only.is_array() => format!("[{}]", expression(only, indent)),
            items => {
                let mut text = "[\n".to_owned();
                for (n, item) in items.iter().enumerate() {
                    let comma = if n + 1 < items.len() { "," } else { "" };
                    let item = expression(item, indent + 2);
                    let _ = writeln!(text, "{:width$}{item}{comma}", "", width = indent + 2);
                }
                let _ = write!(text, "{:indent$}]", "");
                text
            }
        },
        // Numbers, booleans and null are written as in JSON.
        other => other.to_string(),
    }
}

/// Returns attributes, one in a line each. `terraform fmt` aligns the equals signs of neighbours whose values have one line.
pub fn attributes(all: &[(String, String)], indent: usize) -> String {
    let mut text = String::new();
    let is_long = |value: &str| value.contains('\n');
    for neighbours in all.chunk_by(|(_, one), (_, other)| !is_long(one) && !is_long(other)) {
        let width = neighbours
            .iter()
            .map(|(name, _)| name.chars().count())
            .max()
            .unwrap_or_default();
        for (name, value) in neighbours {
            let _ = writeln!(text, "{:indent$}{name:width$} = {value}", "");
        }
    }
    text
}

/// Returns the name of an attribute of an object, in quotes if it is no identifier.
fn name(key: &str) -> String {
    let mut letters = key.chars();
    let is_identifier = letters
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_identifier {
        key.to_owned()
    } else {
        string(key)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_string_is_no_template_and_ends_where_it_ends() {
        for (text, quoted) in [
            ("a", r#""a""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("${a} %{b} $a %", r#""$${a} %%{b} $a %""#),
            ("$${a}", r#""$$${a}""#),
            ("a\n\t\u{1b}", r#""a\n\t\u001b""#),
        ] {
            assert_eq!(string(text), quoted);
        }
    }

    #[test]
    fn an_object_has_aligned_equals_signs_and_the_order_of_a_policy() {
        let policy = json!({"Statement": [{"Action": "a:b", "Effect": "Allow", "Sid": "S", "Resource": ["x"],
            "Condition": {"Bool": {"aws:x": "true", "b": "c"}}}], "Version": "2012-10-17", "Empty": [], "None": {}});
        assert_eq!(
            expression(&policy, 2),
            r#"{
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "S"
        Effect   = "Allow"
        Action   = "a:b"
        Resource = ["x"]
        Condition = {
          Bool = {
            "aws:x" = "true"
            b       = "c"
          }
        }
      }
    ]
    Empty = []
    None  = {}
  }"#
        );
    }
}
