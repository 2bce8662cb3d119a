//! The result of one check, and the report of all.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{counted, printable};
use crate::paint::Paint;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Ok,
    /// Something is missing or unusual, and most verbs work.
    Warning,
    /// Verbs fail, or the controller does not work.
    Failed,
    /// There is nothing to check: it needs what another check did not find, or is of no use to this user.
    Skipped,
}

impl Outcome {
    /// Returns the sign of a line: a symbol on a terminal, and else a word.
    const fn sign(self, symbols: bool) -> &'static str {
        match (self, symbols) {
            (Self::Ok, true) => "✓",
            (Self::Warning, true) => "!",
            (Self::Failed, true) => "✗",
            (Self::Skipped, true) => "-",
            (Self::Ok, false) => "ok  ",
            (Self::Warning, false) => "warn",
            (Self::Failed, false) => "fail",
            (Self::Skipped, false) => "skip",
        }
    }
}

/// The result of one check. No text has control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Check {
    pub name: &'static str,
    pub result: Outcome,
    pub message: String,
    /// What the user does next. `None` if nothing is to be done.
    pub next: Option<String>,
}

impl Check {
    fn new(name: &'static str, result: Outcome, message: &str, next: Option<&str>) -> Self {
        Self {
            name,
            result,
            message: one_line(message),
            next: next.map(one_line),
        }
    }

    pub fn ok(name: &'static str, message: impl AsRef<str>) -> Self {
        Self::new(name, Outcome::Ok, message.as_ref(), None)
    }

    pub fn warning(name: &'static str, message: impl AsRef<str>, next: impl AsRef<str>) -> Self {
        Self::new(name, Outcome::Warning, message.as_ref(), Some(next.as_ref()))
    }

    pub fn failed(name: &'static str, message: impl AsRef<str>, next: impl AsRef<str>) -> Self {
        Self::new(name, Outcome::Failed, message.as_ref(), Some(next.as_ref()))
    }

    pub fn skipped(name: &'static str, why: impl AsRef<str>) -> Self {
        Self::new(name, Outcome::Skipped, why.as_ref(), None)
    }

    /// Returns the failed check of a failed request.
    pub fn of_failure(name: &'static str, failure: &Failure) -> Self {
        Self::failed(name, failure.what(), failure.next())
    }

    const fn is_problem(&self) -> bool {
        matches!(self.result, Outcome::Failed | Outcome::Warning)
    }
}

/// Returns a text as one line without control characters.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    printable(&lines.join(" ")).into_owned()
}

/// Returns true if a check has failed.
pub fn has_failure(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.result == Outcome::Failed)
}

/// Returns the lines for people. `symbols` is false where the output is no terminal, or has no colours.
pub fn lines(checks: &[Check], paint: Paint, symbols: bool) -> String {
    let width = checks
        .iter()
        .map(|check| check.name.len())
        .max()
        .unwrap_or_default();
    // Writing to a String does not fail.
    let mut text = String::new();
    for check in checks {
        let sign = check.result.sign(symbols);
        let sign = match check.result {
            Outcome::Ok => paint.green(sign),
            Outcome::Failed => paint.red(sign),
            Outcome::Warning => paint.bold(sign),
            Outcome::Skipped => sign.to_owned(),
        };
        let _ = writeln!(text, "{sign}  {:width$}  {}", check.name, check.message);
        if let Some(next) = &check.next {
            let indent = if symbols { 3 } else { 6 } + width + 2;
            let _ = writeln!(text, "{:indent$}next: {next}", "");
        }
    }
    text
}

/// Returns the last line: the number of problems, and the first thing to do.
pub fn summary(checks: &[Check]) -> String {
    let problems = checks.iter().filter(|check| check.is_problem()).count();
    // A failure can be the cause of the warnings.
    let of = |result| checks.iter().find(move |check| check.result == result);
    match of(Outcome::Failed).or_else(|| of(Outcome::Warning)) {
        None => "No problems.".to_owned(),
        Some(first) => format!(
            "{}. First: {}",
            counted(problems, "problem"),
            first.next.as_deref().unwrap_or(&first.message)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_thing_to_do_is_that_of_the_first_failure() {
        let fine = Check::ok("a", "fine");
        let warning = Check::warning("b", "odd", "look");
        let failure = Check::failed("c", "broken", "repair");
        assert_eq!(summary(std::slice::from_ref(&fine)), "No problems.");
        assert_eq!(
            summary(&[warning.clone(), fine.clone()]),
            "1 problem. First: look"
        );
        assert_eq!(
            summary(&[warning.clone(), failure.clone()]),
            "2 problems. First: repair"
        );
        assert!(has_failure(&[failure]) && !has_failure(&[warning, fine]));
    }

    #[test]
    fn a_text_from_outside_moves_no_cursor_in_a_report() {
        let check = Check::failed("c", "a\u{1b}[2K", "b\n  c");
        assert_eq!(check.message, "a\\u{1b}[2K");
        assert_eq!(check.next.as_deref(), Some("b c"));
    }
}
