//! Builds a value from the events of a YAML parser.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Value};

use super::{duplicate_key, scalar};

/// Maximum nesting of values, the limit of `serde_json`.
const DEPTH: usize = 128;
/// Maximum number of values in one document with its aliases filled in.
const VALUES: usize = 1_000_000;

/// Reads one YAML document. The error begins with the line that cannot be read.
pub(super) fn read(text: &str, first_line: usize) -> Result<Value, String> {
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
    events: Parser<'a, StrInput<'a>>,
    /// Values that have an anchor, by its id.
    anchors: HashMap<usize, Value>,
    /// Number of values so far, with aliases filled in.
    values: usize,
    /// The line of the last event.
    line: usize,
    first_line: usize,
}

/// A key or a value.
struct Node {
    value: Value,
    /// True for the plain scalar `<<`, which as a key merges other mappings.
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
                let value = scalar::value(&text, style == ScalarStyle::Plain, tag.as_deref())?;
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
        let mut written = HashSet::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(Value::Object(all)),
                event => self.node(event, depth + 1)?,
            };
            let event = self.next()?;
            let value = self.node(event, depth + 1)?.value;
            if key.merges {
                // As in kubectl, a later entry wins, merged or not.
                for source in sources(value)? {
                    all.extend(source);
                }
                continue;
            }
            let key = key_text(key.value)?;
            if !written.insert(key.clone()) {
                return Err(duplicate_key(&key));
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

/// Returns the number of values in a value, including itself.
fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(entries) => 1 + entries.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

/// Returns the number of levels that a value is nested.
fn height(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(height).max().unwrap_or_default(),
        Value::Object(entries) => 1 + entries.values().map(height).max().unwrap_or_default(),
        _ => 1,
    }
}

/// Returns the mappings that `<<` merges, in the order in which they are applied. Of several, the first one wins, so it comes
/// last.
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

/// Returns a key as a string, since JSON has no other keys.
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
