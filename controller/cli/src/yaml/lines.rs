//! The lines on which the values of a document begin.

use std::collections::HashMap;

use granit_parser::{Event, Parser};

/// The lines of all values of a document. It takes memory in proportion to the document.
#[derive(Debug, Default)]
pub struct Lines {
    /// The line of each value, in the order of the document. The first is the document itself.
    lines: Vec<usize>,
    /// The number of a value below another one, by the number of that one and the key or index.
    below: HashMap<(usize, String), usize>,
}

/// A value that is not complete.
struct Open {
    number: usize,
    next: Next,
}

/// What comes next in a value.
enum Next {
    Key,
    /// The value of this key, which is on this line.
    Value(String, usize),
    Item(usize),
}

impl Lines {
    /// Reads a YAML or JSON document that begins on `first_line`. A value of a mapping is where its key is. What follows an error is
    /// missing.
    pub fn of(text: &str, first_line: usize) -> Self {
        let (mut found, mut open) = (Self::default(), Vec::<Open>::new());
        for event in Parser::new_from_str(text) {
            let Ok((event, span)) = event else { break };
            let line = first_line + span.start.line().saturating_sub(1);
            match event {
                Event::Scalar(text, ..) => {
                    if let Some(Open {
                        next: next @ Next::Key,
                        ..
                    }) = open.last_mut()
                    {
                        *next = Next::Value(text.into_owned(), line);
                    } else {
                        found.place(&mut open, line);
                    }
                }
                Event::Alias(..) => {
                    found.place(&mut open, line);
                }
                Event::MappingStart(..) => {
                    let number = found.place(&mut open, line);
                    open.push(Open {
                        number,
                        next: Next::Key,
                    });
                }
                Event::SequenceStart(..) => {
                    let number = found.place(&mut open, line);
                    open.push(Open {
                        number,
                        next: Next::Item(0),
                    });
                }
                Event::MappingEnd | Event::SequenceEnd => {
                    open.pop();
                }
                _ => {}
            }
        }
        found
    }

    /// Records the value that begins here. Returns its number.
    fn place(&mut self, open: &mut [Open], line: usize) -> usize {
        let number = self.lines.len();
        let mut line = line;
        if let Some(Open { number: parent, next }) = open.last_mut() {
            let step = match next {
                Next::Key => String::new(),
                Next::Value(key, at) => {
                    line = *at;
                    let key = std::mem::take(key);
                    *next = Next::Key;
                    key
                }
                Next::Item(index) => {
                    *index += 1;
                    (*index - 1).to_string()
                }
            };
            self.below.insert((*parent, step), number);
        }
        self.lines.push(line);
        number
    }

    /// Returns the line of the value at a path of keys and indexes, or of the last one on the path that exists.
    pub fn line<'a>(&self, path: impl Iterator<Item = &'a str>) -> Option<usize> {
        let mut number = 0;
        for step in path {
            let Some(next) = self.below.get(&(number, step.to_owned())) else {
                break;
            };
            number = *next;
        }
        self.lines.get(number).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(lines: &Lines, path: &str) -> Option<usize> {
        lines.line(path.split(' ').filter(|step| !step.is_empty()))
    }

    #[test]
    fn each_value_has_the_line_of_its_key() {
        let text = "# a role\nspec:\n  path: /\n  tags:\n    a/b: c\n  list:\n  - x: 1\n    y: 2\n  - z\nlast: |\n  text\n";
        let found = Lines::of(text, 11);
        for (path, wanted) in [
            ("", 12),
            ("spec", 12),
            ("spec path", 13),
            ("spec tags a/b", 15),
            ("spec list 0", 17),
            ("spec list 0 y", 18),
            ("spec list 1", 19),
            ("last", 20),
            ("spec missing below", 12),
        ] {
            assert_eq!(line(&found, path), Some(wanted), "{path}: {found:?}");
        }
        let json = Lines::of("{\"a\": {\n  \"b\": [1,\n 2]}}", 1);
        assert_eq!((line(&json, "a b"), line(&json, "a b 1")), (Some(2), Some(3)));
        // An unreadable rest hides nothing before it.
        assert_eq!(line(&Lines::of("a: 1\nb: [\n", 1), "a"), Some(1));
        assert_eq!(line(&Lines::of("", 1), "a"), None);
    }

    #[test]
    fn a_long_key_over_a_long_list_takes_no_more_memory_than_the_text() {
        let text = format!("{}:\n{}", "a".repeat(1000), "- 0\n".repeat(10_000));
        let found = Lines::of(&text, 1);
        let keys: usize = found.below.keys().map(|(_, step)| step.len()).sum();
        assert!(found.lines.len() > 10_000 && keys < 2 * text.len(), "{keys}");
    }
}
