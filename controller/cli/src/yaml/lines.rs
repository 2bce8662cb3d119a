//! The lines on which the values of a document begin.

use std::collections::HashMap;

use granit_parser::{Event, Parser};

/// What is open at a place of the document.
enum Open {
    Mapping {
        at: String,
        /// The key whose value comes next, and its line.
        key: Option<(String, usize)>,
    },
    Sequence {
        at: String,
        next: usize,
    },
}

/// Returns the line of each value of a YAML or JSON document, by its JSON pointer. A value of a mapping is where its key is. What
/// follows an error is missing.
pub fn lines(text: &str, first_line: usize) -> HashMap<String, usize> {
    let (mut found, mut open) = (HashMap::new(), vec![]);
    for event in Parser::new_from_str(text) {
        let Ok((event, span)) = event else { break };
        let line = first_line + span.start.line().saturating_sub(1);
        match event {
            Event::Scalar(text, ..) => {
                if let Some(Open::Mapping { key: key @ None, .. }) = open.last_mut() {
                    *key = Some((text.into_owned(), line));
                } else {
                    place(&mut open, &mut found, line);
                }
            }
            Event::Alias(..) => {
                place(&mut open, &mut found, line);
            }
            Event::MappingStart(..) => {
                let at = place(&mut open, &mut found, line);
                open.push(Open::Mapping { at, key: None });
            }
            Event::SequenceStart(..) => {
                let at = place(&mut open, &mut found, line);
                open.push(Open::Sequence { at, next: 0 });
            }
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
            }
            _ => {}
        }
    }
    found
}

/// Records the line of the value that begins here. Returns its pointer.
fn place(open: &mut [Open], found: &mut HashMap<String, usize>, line: usize) -> String {
    let (at, line) = match open.last_mut() {
        None => (String::new(), line),
        Some(Open::Mapping { at, key }) => {
            let (key, line) = key.take().unwrap_or_default();
            (
                format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")),
                line,
            )
        }
        Some(Open::Sequence { at, next }) => {
            *next += 1;
            (format!("{at}/{}", *next - 1), line)
        }
    };
    found.insert(at.clone(), line);
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_the_line_of_its_key() {
        let text = "# a role\nspec:\n  path: /\n  tags:\n    a/b: c\n  list:\n  - x: 1\n    y: 2\n  - z\nlast: |\n  text\n";
        let found = lines(text, 11);
        for (pointer, line) in [
            ("", 12),
            ("/spec", 12),
            ("/spec/path", 13),
            ("/spec/tags/a~1b", 15),
            ("/spec/list/0", 17),
            ("/spec/list/0/y", 18),
            ("/spec/list/1", 19),
            ("/last", 20),
        ] {
            assert_eq!(found.get(pointer), Some(&line), "{pointer}: {found:?}");
        }
        let json = lines("{\"a\": {\n  \"b\": [1,\n 2]}}", 1);
        assert_eq!((json.get("/a/b"), json.get("/a/b/1")), (Some(&2), Some(&3)));
        // An unreadable rest hides nothing before it.
        assert_eq!(lines("a: 1\nb: [\n", 1).get("/a"), Some(&1));
    }
}
