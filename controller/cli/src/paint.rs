//! Colours for output on a terminal.

use anstream::{AutoStream, ColorChoice};

/// Adds colours to a text if the output shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(bool);

impl Paint {
    /// Returns the colours for stdout: none unless it is a terminal, and none with [NO_COLOR](https://no-color.org).
    pub fn of_stdout() -> Self {
        Self(AutoStream::choice(&std::io::stdout()) != ColorChoice::Never)
    }

    /// Returns no colours.
    pub const fn none() -> Self {
        Self(false)
    }

    /// Returns colours, whatever stdout is.
    #[cfg(test)]
    pub const fn always() -> Self {
        Self(true)
    }

    /// Returns true if the output shows colours.
    pub const fn is_on(self) -> bool {
        self.0
    }

    /// Wraps a text in an ANSI code.
    fn with(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    pub fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Colours a line of a plan by its first sign: `+` adds, `-` removes, `~` changes, `!` reports an error.
    pub fn by_sign(self, line: &str) -> String {
        match line.trim_start().chars().next() {
            Some('+') => self.green(line),
            Some('-' | '!') => self.red(line),
            Some('~') => self.yellow(line),
            _ => line.to_owned(),
        }
    }
}
