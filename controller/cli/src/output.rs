//! Prints tables for people, and JSON and YAML for programs.

use std::borrow::Cow;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::ValueEnum;
use comfy_table::Table;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

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

/// Prints a value as JSON or YAML.
pub fn machine<T: Serialize>(format: Format, value: &T) -> Result<(), Failure> {
    let broken = |e: String| {
        Failure::new(
            format!("could not write the output: {e}"),
            "report this as a defect",
        )
    };
    let text = match format {
        Format::Yaml => serde_saphyr::to_string(value).map_err(|e| broken(e.to_string()))?,
        Format::Json | Format::Table => {
            serde_json::to_string_pretty(value).map_err(|e| broken(e.to_string()))?
        }
    };
    println!("{}", text.trim_end());
    Ok(())
}

/// The version of the output for programs. Fields are added within a version, and neither removed nor changed.
pub const OUTPUT_VERSION: &str = "output.rolectl.dev/v1alpha1";

/// Returns the output for programs: the fields of `value` with their version and kind.
pub fn versioned(kind: &str, value: Value) -> Value {
    let mut all = Map::new();
    all.insert("apiVersion".to_owned(), OUTPUT_VERSION.into());
    all.insert("kind".to_owned(), kind.into());
    match value {
        Value::Object(fields) => all.extend(fields),
        value => drop(all.insert("items".to_owned(), value)),
    }
    Value::Object(all)
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

/// Returns a table in the layout of kubectl.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
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

/// Returns a time and its distance from now: `2026-01-02 03:04:05 UTC (in 11h 59m)`.
pub fn moment(at: Timestamp, now: Timestamp) -> String {
    format!(
        "{} ({})",
        at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        from_now(at.duration_since(now))
    )
}

/// Returns a distance in time as text: `in 11h 59m` or `5s ago`.
pub fn from_now(distance: SignedDuration) -> String {
    let seconds = distance.unsigned_abs().as_secs();
    let (hours, minutes) = (seconds / 3600, seconds % 3600 / 60);
    let text = match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, m) => format!("{m}m"),
        (h, m) => format!("{h}h {m}m"),
    };
    if distance.is_negative() {
        format!("{text} ago")
    } else {
        format!("in {text}")
    }
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

    #[test]
    fn a_moment_is_shown_absolute_and_from_now() {
        let now = Timestamp::UNIX_EPOCH;
        for (seconds, text) in [
            (43_199, "1970-01-01 11:59:59 UTC (in 11h 59m)"),
            (90, "1970-01-01 00:01:30 UTC (in 1m)"),
            (-5, "1969-12-31 23:59:55 UTC (5s ago)"),
        ] {
            assert_eq!(moment(Timestamp::from_second(seconds).unwrap(), now), text);
        }
    }
}
