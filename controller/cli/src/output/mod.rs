//! Prints tables for people, and JSON and YAML for programs.

mod jsonpath;
mod listing;
#[cfg(test)]
mod schema;
mod table;

use std::borrow::Cow;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

pub use self::listing::{List, ListingFlags, Row};
pub use self::table::{Cell, Colour, Layout, cut, lines, table};
use crate::failure::Failure;
use crate::stdio::{print, println};

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For programs.
    Yaml,
}

/// The version of the output for programs. Fields are added within a version, and neither removed nor changed.
pub const OUTPUT_VERSION: &str = "output.rolectl.dev/v1alpha1";

/// Output of a command for programs. `docs/reference/output.schema.json` describes each kind.
pub trait Document: Serialize + JsonSchema {
    /// The value of `kind`.
    const KIND: &'static str;
}

/// Returns the JSON of a value.
fn as_value<T: Serialize>(value: &T) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(|e| not_written(&e))
}

fn not_written(error: &dyn std::error::Error) -> Failure {
    Failure::new(
        format!("could not write the output: {error}"),
        "report this as a defect",
    )
}

/// Returns the output for programs: the fields of a document with their version and kind.
fn versioned<T: Document>(document: &T) -> Result<Value, Failure> {
    let mut all = Map::new();
    all.insert("apiVersion".to_owned(), OUTPUT_VERSION.into());
    all.insert("kind".to_owned(), T::KIND.into());
    if let Value::Object(fields) = as_value(document)? {
        all.extend(fields);
    }
    Ok(Value::Object(all))
}

/// Prints a document as JSON or YAML, with its version and kind.
pub fn machine<T: Document>(format: Format, document: &T) -> Result<(), Failure> {
    machine_as_it_is(format, &versioned(document)?)
}

/// Prints a value as JSON or YAML whose form another standard defines, such as a policy document or SARIF.
pub fn machine_as_it_is<T: Serialize>(format: Format, value: &T) -> Result<(), Failure> {
    let text = match format {
        Format::Yaml => serde_saphyr::to_string(value).map_err(|e| not_written(&e))?,
        Format::Json | Format::Table => serde_json::to_string_pretty(value).map_err(|e| not_written(&e))?,
    };
    println!("{}", text.trim_end());
    Ok(())
}

/// Returns a text from a file or from AWS for one line of output: control characters, which could move the cursor or begin a command of
/// a CI system, and characters that change the direction of writing are escaped.
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(is_unsafe) {
        return text.into();
    }
    let escaped = text.chars().map(|c| {
        if is_unsafe(c) {
            c.escape_unicode().to_string()
        } else {
            c.to_string()
        }
    });
    escaped.collect::<String>().into()
}

/// Asks the user to confirm an operation. Returns true if the answer is `yes`, and fails without a terminal.
pub fn agreed(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            "there is no terminal to ask on. Nothing was written",
            "look at what would be done, then run it with --yes",
        )
        .usage());
    }
    print!("{question} Only `yes` does: ");
    let failed = |e: std::io::Error| Failure::new(format!("could not ask: {e}"), "run it with --yes");
    std::io::stdout().flush().map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(answer.trim() == "yes")
}

/// Returns a number with its noun: `1 role`, `2 roles`.
pub fn counted(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_moves_no_cursor() {
        assert_eq!(printable("app é"), "app é");
        assert_eq!(printable("a\u{1b}[2K\n::stop"), "a\\u{1b}[2K\\u{a}::stop");
        assert_eq!(printable("\u{202e}a"), "\\u{202e}a");
    }
}
