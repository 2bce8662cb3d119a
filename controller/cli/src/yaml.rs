//! Reads JSON and YAML as kubectl does, so that a file means the same here and in the cluster.
//!
//! kubectl reads scalars by [rules of YAML 1.1](https://github.com/yaml/go-yaml/blob/v2/resolve.go) that other programs no
//! longer have: `0123` is 83, `yes` is true, `1_000` is 1000. `scalars.json` lists what kubectl makes of a scalar; a test
//! compares it with a real one. Only one thing is stricter: a key that is written twice is an error.

use std::collections::HashMap;
use std::fmt;

use granit_parser::{Event, Parser, ScalarStyle, Tag};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep values may be nested, as `serde_json` has it.
const DEPTH: usize = 128;
/// How many values one document may have once its aliases are filled in.
const VALUES: usize = 1_000_000;

/// One document of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The line on which it begins, from 1.
    pub line: usize,
    /// What it is, or why it cannot be read.
    pub value: Result<Value, String>,
}

/// Form of a file, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// JSON and nothing else.
    Json,
    /// YAML, or JSON where a document begins with a brace.
    Yaml,
}

/// The documents of a text that are not empty. One that cannot be read does not hide the others.
pub fn documents(text: &str, form: Form) -> Vec<Document> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut all = vec![];
    if form == Form::Json {
        all.extend(json_stream(text));
        return all;
    }
    for (line, piece) in split(text) {
        let value = match piece {
            Err(message) => Err(message),
            Ok(piece) if piece.trim_start().starts_with('{') => {
                all.extend(json_stream_at(&piece, line));
                continue;
            }
            Ok(piece) => yaml(&piece, line),
        };
        if value != Ok(Value::Null) {
            all.push(Document { line, value });
        }
    }
    all
}

/// The pieces between lines that begin with `---`, as kubectl cuts them, with the line on which each begins. After the dashes
/// only a comment may follow.
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

fn json_stream(text: &str) -> Vec<Document> {
    json_stream_at(text, 1)
}

/// JSON values one after another.
fn json_stream_at(text: &str, first_line: usize) -> Vec<Document> {
    let mut all = vec![];
    let mut rest = text;
    loop {
        let trimmed = rest.trim_start();
        let begin = text.len() - trimmed.len();
        if trimmed.is_empty() {
            return all;
        }
        let lines_before = text.get(..begin).unwrap_or_default().matches('\n').count();
        let line = first_line + lines_before;
        let mut stream = serde_json::Deserializer::from_str(trimmed);
        let value = Json.deserialize(&mut stream);
        match value {
            Ok(value) => {
                all.push(Document {
                    line,
                    value: Ok(value),
                });
                // How much was read is told by a stream of ignored values.
                let mut skip =
                    serde_json::Deserializer::from_str(trimmed).into_iter::<serde::de::IgnoredAny>();
                let _ = skip.next();
                let Some(next) = trimmed.get(skip.byte_offset()..) else {
                    return all;
                };
                rest = next;
            }
            Err(error) => {
                let at = line + error.line().saturating_sub(1);
                // Its own place in the text is counted from the document.
                let what = error.to_string();
                let what = what.split(" at line ").next().unwrap_or_default().to_owned();
                all.push(Document {
                    line,
                    value: Err(format!("line {at}: JSON: {what}")),
                });
                return all;
            }
        }
    }
}

/// A JSON value, with numbers as the API server keeps them, in which no key is written twice.
struct Json;

impl<'de> DeserializeSeed<'de> for Json {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Json {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        unsigned(value).map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        number(value).map_err(E::custom)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = vec![];
        while let Some(item) = items.next_element_seed(Self)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(Self)?;
            if all.contains_key(&key) {
                return Err(A::Error::custom(twice(&key)));
            }
            all.insert(key, value);
        }
        Ok(Value::Object(all))
    }
}

fn twice(key: &str) -> String {
    format!("key `{}` is written twice", key.escape_debug())
}

/// One YAML document.
fn yaml(text: &str, first_line: usize) -> Result<Value, String> {
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        anchors: HashMap::new(),
        values: 0,
        line: first_line,
        first_line,
    };
    reader
        .document()
        .map_err(|message| format!("line {}: {message}", reader.line))
}

/// Builds a value from the events of the parser.
struct Reader<'a> {
    events: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Value>,
    /// How many values there are so far.
    values: usize,
    /// The line that is being read.
    line: usize,
    first_line: usize,
}

/// A key or a value, and whether it is the plain scalar `<<`.
struct Node {
    value: Value,
    merges: bool,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, String> {
        loop {
            match self.events.next() {
                None => return Ok(Event::StreamEnd),
                Some(Err(error)) => {
                    self.line = self.first_line + error.marker().line().saturating_sub(1);
                    return Err(error.info());
                }
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, span))) => {
                    self.line = self.first_line + span.start.line().saturating_sub(1);
                    return Ok(event);
                }
            }
        }
    }

    fn document(&mut self) -> Result<Value, String> {
        let mut found = None;
        loop {
            match self.next()? {
                Event::StreamEnd => return Ok(found.unwrap_or(Value::Null)),
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event if found.is_none() => found = Some(self.node(event, 0)?.value),
                _ => return Err("a second document begins without `---`".to_owned()),
            }
        }
    }

    fn count(&mut self, more: usize) -> Result<(), String> {
        self.values += more;
        if self.values > VALUES {
            return Err(format!(
                "the document has more than {VALUES} values with its aliases filled in"
            ));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Node, String> {
        if depth >= DEPTH {
            return Err(format!("nested more than {DEPTH} levels deep"));
        }
        self.count(1)?;
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let merges = style == ScalarStyle::Plain && tag.is_none() && text == "<<";
                let value = scalar(&text, style == ScalarStyle::Plain, tag.as_deref())?;
                (anchor, Node { value, merges })
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = vec![];
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break,
                        event => items.push(self.node(event, depth + 1)?.value),
                    }
                }
                (anchor, Node::plain(Value::Array(items)))
            }
            Event::MappingStart(_, anchor, _) => (anchor, Node::plain(self.mapping(depth)?)),
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned();
                let value = value.ok_or("an alias refers to what contains it")?;
                self.count(size(&value))?;
                if depth + height(&value) > DEPTH {
                    return Err(format!("nested more than {DEPTH} levels deep"));
                }
                (0, Node::plain(value))
            }
            _ => return Err("a value is missing".to_owned()),
        };
        if anchor != 0 {
            self.count(size(&node.value))?;
            self.anchors.insert(anchor, node.value.clone());
        }
        Ok(node)
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, String> {
        let mut all = Map::new();
        let mut written = std::collections::HashSet::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(Value::Object(all)),
                event => self.node(event, depth + 1)?,
            };
            let event = self.next()?;
            let value = self.node(event, depth + 1)?.value;
            if key.merges {
                // As kubectl has it: what comes later wins, merged or not.
                for source in sources(value)? {
                    all.extend(source);
                }
                continue;
            }
            let key = key_text(key.value)?;
            if !written.insert(key.clone()) {
                return Err(twice(&key));
            }
            all.insert(key, value);
        }
    }
}

impl Node {
    const fn plain(value: Value) -> Self {
        Self { value, merges: false }
    }
}

/// How many values there are in it.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(entries) => 1 + entries.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

/// How many levels deep it is nested.
fn height(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(height).max().unwrap_or_default(),
        Value::Object(entries) => 1 + entries.values().map(height).max().unwrap_or_default(),
        _ => 1,
    }
}

/// The mappings that `<<` merges. Of several the first wins.
fn sources(value: Value) -> Result<Vec<Map<String, Value>>, String> {
    let items = match value {
        Value::Array(items) => items,
        one => vec![one],
    };
    let maps = items.into_iter().rev().map(|item| match item {
        Value::Object(map) => Ok(map),
        _ => Err("`<<` merges mappings only".to_owned()),
    });
    maps.collect()
}

/// Keys are strings in JSON.
fn key_text(key: Value) -> Result<String, String> {
    match key {
        Value::String(text) => Ok(text),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) if number.is_i64() => Ok(number.to_string()),
        Value::Number(number) => Err(format!("the key {number} is a number: quote it")),
        Value::Null => Err("a key is empty or null: quote it".to_owned()),
        Value::Array(_) | Value::Object(_) => Err("a key is a list or a mapping".to_owned()),
    }
}

/// What a scalar means.
fn scalar(text: &str, plain: bool, tag: Option<&Tag>) -> Result<Value, String> {
    let string = || Ok(Value::String(text.to_owned()));
    let Some(tag) = tag else {
        return if plain { resolve(text) } else { string() };
    };
    let Some(kind) = tag.core_suffix() else {
        return string();
    };
    let value = match kind {
        "str" | "timestamp" => return string(),
        "int" | "float" | "bool" | "null" => resolve(text)?,
        other => return Err(format!("the tag !!{other} is not supported: leave it out")),
    };
    let fits = match (&value, kind) {
        (Value::Number(number), "int") => !number.is_f64(),
        (Value::Number(_), "float") | (Value::Bool(_), "bool") | (Value::Null, "null") => true,
        _ => false,
    };
    if fits {
        Ok(value)
    } else {
        Err(format!("`{text}` is not of the type that its tag !!{kind} gives"))
    }
}

/// What a plain scalar means in kubectl.
fn resolve(text: &str) -> Result<Value, String> {
    Ok(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => return Err(format!("`{text}` has no form in JSON: quote it")),
        _ => match text.bytes().next() {
            Some(b'.') => match float(text) {
                Some(value) => number(value)?,
                None => Value::String(text.to_owned()),
            },
            Some(b'+' | b'-' | b'0'..=b'9') => {
                let digits = text.replace('_', "");
                match (integer(&digits), float(&digits)) {
                    (Some(value), _) => value?,
                    (None, Some(value)) => number(value)?,
                    (None, None) => Value::String(text.to_owned()),
                }
            }
            _ => Value::String(text.to_owned()),
        },
    })
}

/// An integer as Go's `ParseInt` and `ParseUint` read it with base 0.
fn integer(text: &str) -> Option<Result<Value, String>> {
    let (sign, digits) = match text.as_bytes() {
        [b'-', ..] => (Some('-'), text.get(1..)?),
        [b'+', ..] => (Some('+'), text.get(1..)?),
        _ => (None, text),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    let signed = if sign == Some('-') {
        format!("-{digits}")
    } else {
        digits.to_owned()
    };
    if let Ok(value) = i64::from_str_radix(&signed, base) {
        return Some(Ok(Value::from(value)));
    }
    // Go takes no sign here.
    let value = sign.is_none().then(|| u64::from_str_radix(digits, base).ok());
    value.flatten().map(unsigned)
}

/// A number with a fraction or an exponent, or one that is too large for an integer. `None`: it is a string.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let fits = match mantissa.split_once('.') {
        Some(("", fraction)) => are_digits(fraction),
        Some((whole, fraction)) => are_digits(whole) && (fraction.is_empty() || are_digits(fraction)),
        None => are_digits(mantissa),
    };
    let exponent_fits = exponent.is_none_or(|e| are_digits(e.strip_prefix(['+', '-']).unwrap_or(e)));
    if !fits || !exponent_fits {
        return None;
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// A number as the API server keeps it: what has no fraction and fits is an integer.
fn number(value: f64) -> Result<Value, String> {
    if value.abs() < 1e21
        && let Ok(whole) = value.to_string().parse::<i64>()
    {
        return Ok(Value::from(whole));
    }
    let number = Number::from_f64(value).ok_or("a number is not finite")?;
    Ok(Value::Number(number))
}

/// A number without sign, as the API server keeps it.
fn unsigned(value: u64) -> Result<Value, String> {
    // What is larger than an i64 loses digits there, too.
    #[allow(clippy::cast_precision_loss)]
    i64::try_from(value).map_or_else(|_| number(value as f64), |value| Ok(Value::from(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn one(text: &str) -> Result<Value, String> {
        let mut all = documents(text, Form::Yaml);
        assert_eq!(all.len(), 1, "{text:?}: {all:?}");
        all.remove(0).value
    }

    #[test]
    fn a_scalar_means_what_it_means_to_kubectl() {
        let table = documents(include_str!("scalars.json"), Form::Json)
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
        let told: Vec<(usize, bool)> = all.iter().map(|d| (d.line, d.value.is_ok())).collect();
        assert_eq!(told, [(1, true), (3, false), (7, true)]);
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
        fn no_text_makes_it_panic(text in "[-a&*<>!:{}\\[\\]#|?,'\"0-9._ \n]{0,80}") {
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
