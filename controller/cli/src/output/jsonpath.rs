//! Templates of `-o jsonpath`, in the form of [kubectl](https://kubernetes.io/docs/reference/kubectl/jsonpath/): text, `{.path}`,
//! `{"text"}`, and `{range .path} ... {end}`.

use std::iter::Peekable;
use std::vec;

use jsonpath_rust::JsonPath as _;
use serde_json::Value;

/// Longest template, in bytes.
const MAX_TEMPLATE: usize = 4096;
/// Most ranges within each other.
const MAX_DEPTH: usize = 8;

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A path in the form of RFC 9535.
    Path(String),
    Range(String, Vec<Self>),
}

/// A piece of a template before the ranges are put together.
enum Token {
    Text(String),
    Expression(String),
}

impl Template {
    /// Parses a template. As with kubectl, one path without braces is a template, too.
    pub fn parse(template: &str) -> Result<Self, String> {
        if template.len() > MAX_TEMPLATE {
            return Err(format!("a template has at most {MAX_TEMPLATE} bytes"));
        }
        if template.is_empty() {
            return Err("a template is missing, such as jsonpath='{.items[*].name}'".to_owned());
        }
        let tokens = if template.contains('{') {
            tokens(template)?
        } else {
            vec![Token::Expression(template.to_owned())]
        };
        let mut tokens = tokens.into_iter().peekable();
        let parts = parts(&mut tokens, 0)?;
        match tokens.next() {
            None => Ok(Self(parts)),
            Some(_) => Err("{end} without {range}".to_owned()),
        }
    }

    /// Returns the text of the template for a value.
    pub fn fill(&self, value: &Value) -> Result<String, String> {
        let mut text = String::new();
        fill(&self.0, value, &mut text)?;
        Ok(text)
    }
}

fn tokens(mut template: &str) -> Result<Vec<Token>, String> {
    let mut all = vec![];
    while let Some((text, rest)) = template.split_once('{') {
        if !text.is_empty() {
            all.push(Token::Text(text.to_owned()));
        }
        let end = end_of_expression(rest).ok_or("a { has no }")?;
        let (expression, rest) = rest.split_at(end);
        all.push(Token::Expression(expression.trim().to_owned()));
        template = rest.get(1..).unwrap_or_default();
    }
    if !template.is_empty() {
        all.push(Token::Text(template.to_owned()));
    }
    Ok(all)
}

/// Returns the position of the brace that ends an expression. Braces in quotes are text.
fn end_of_expression(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut is_escaped = false;
    for (position, c) in text.char_indices() {
        match (c, quote) {
            _ if is_escaped => is_escaped = false,
            ('\\', Some(_)) => is_escaped = true,
            ('}', None) => return Some(position),
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

fn parts(tokens: &mut Peekable<vec::IntoIter<Token>>, depth: usize) -> Result<Vec<Part>, String> {
    let mut all = vec![];
    loop {
        match tokens.peek() {
            None if depth == 0 => return Ok(all),
            None => return Err("{range} without {end}".to_owned()),
            Some(Token::Expression(text)) if text == "end" => return Ok(all),
            Some(_) => {}
        }
        match tokens.next() {
            None => return Ok(all),
            Some(Token::Text(text)) => all.push(Part::Text(text)),
            Some(Token::Expression(expression)) => {
                if let Some(path) = expression.strip_prefix("range ") {
                    if depth == MAX_DEPTH {
                        return Err(format!("more than {MAX_DEPTH} ranges within each other"));
                    }
                    let body = parts(tokens, depth + 1)?;
                    tokens.next();
                    all.push(Part::Range(rooted(path.trim())?, body));
                } else if let Some(text) = literal(&expression) {
                    all.push(Part::Text(text));
                } else {
                    all.push(Part::Path(rooted(&expression)?));
                }
            }
        }
    }
}

/// Returns the text of `"text"`, with its escapes resolved.
fn literal(expression: &str) -> Option<String> {
    if expression.starts_with('"') {
        return serde_json::from_str(expression).ok();
    }
    let inner = expression.strip_prefix('\'')?.strip_suffix('\'')?;
    Some(inner.replace("\\n", "\n").replace("\\t", "\t"))
}

/// Returns a path of kubectl in the form of RFC 9535, which begins with `$`. `Err` if it is none.
fn rooted(path: &str) -> Result<String, String> {
    let bare = path.strip_prefix(['$', '@']).unwrap_or(path);
    let rooted = match bare.chars().next() {
        None | Some('.' | '[') => format!("${bare}"),
        Some(_) => format!("$.{bare}"),
    };
    // `{.}` is the whole value.
    let rooted = if rooted == "$." { "$".to_owned() } else { rooted };
    match jsonpath_rust::parser::parse_json_path(&rooted) {
        Ok(_) => Ok(rooted),
        Err(_) => Err(format!("{path:?} is no path, such as .items[*].name")),
    }
}

fn fill(parts: &[Part], value: &Value, text: &mut String) -> Result<(), String> {
    let find = |path: &str| value.query(path).map_err(|e| format!("{path}: {e}"));
    for part in parts {
        match part {
            Part::Text(literal) => text.push_str(literal),
            Part::Path(path) => {
                let found = find(path)?;
                let found: Vec<String> = found.into_iter().map(plain).collect();
                text.push_str(&found.join(" "));
            }
            Part::Range(path, body) => {
                for item in find(path)? {
                    fill(body, item, text)?;
                }
            }
        }
    }
    Ok(())
}

/// Returns a value as kubectl prints it: a string without quotes, nothing for null.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn filled(template: &str) -> Result<String, String> {
        let value = json!({"kind": "List", "items": [
            {"name": "app", "state": "InSync", "changes": []},
            {"name": "web", "state": "Drifted", "changes": ["a", "b"], "n": 2, "arn": null}]});
        Template::parse(template)?.fill(&value)
    }

    #[test]
    fn a_template_of_kubectl_is_filled() {
        for (template, text) in [
            ("{.items[*].name}", "app web"),
            (".items[0].name", "app"),
            ("kind", "List"),
            ("{$.kind}: {.items[1].n}{.items[1].arn}{'\\n'}", "List: 2\n"),
            (
                r#"{range .items[*]}{.name}{"\t"}{@.state}{"\n"}{end}"#,
                "app\tInSync\nweb\tDrifted\n",
            ),
            (r#"{.items[?(@.state=="Drifted")].name}"#, "web"),
            ("{.items[?(@.name=='web')].changes}", r#"["a","b"]"#),
            ("{range .items[*]}{range .changes[*]}<{@}>{end}{end}", "<a><b>"),
            ("{.nothing}", ""),
            (r#"{"}"}"#, "}"),
            ("{..state}", "InSync Drifted"),
        ] {
            assert_eq!(filled(template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn a_template_with_a_mistake_is_refused_with_the_mistake() {
        for (template, says) in [
            ("", "a template is missing"),
            ("{.items", "a { has no }"),
            ("{range .items[*]}{.name}", "{range} without {end}"),
            ("{.kind}{end}", "{end} without {range}"),
            ("{.items[}", "is no path"),
        ] {
            let error = filled(template).unwrap_err();
            assert!(error.contains(says), "{template}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_template_is_filled_or_refused_without_a_panic(template in r"([{}.@$*\[\]a-z \x22\x27\\]|range |end|items|\PC){0,40}") {
            let _ = filled(&template);
        }
    }
}
