//! Shows the progress of a long operation on one line of stderr.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};

use parking_lot::Mutex;

use crate::output::{cut, printable};

/// Most names of what is waited for.
const NAMED: usize = 2;

/// A line that counts completed items, and names those that are waited for. Does nothing unless stderr is a terminal.
pub(super) struct Progress {
    what: &'static str,
    all: usize,
    state: Mutex<State>,
    is_shown: bool,
}

#[derive(Default)]
struct State {
    done: usize,
    /// The items that have begun, each with a note.
    pending: BTreeMap<String, Option<String>>,
}

impl Progress {
    /// Shows the line with no item completed.
    pub(super) fn new(what: &'static str, all: usize) -> Self {
        let progress = Self {
            what,
            all,
            state: Mutex::default(),
            is_shown: std::io::stderr().is_terminal(),
        };
        progress.show();
        progress
    }

    /// An item has begun. `note` says why it may take long.
    pub(super) fn begin(&self, name: &str, note: Option<String>) {
        self.state.lock().pending.insert(name.to_owned(), note);
        self.show();
    }

    /// An item is completed.
    pub(super) fn step(&self, name: &str) {
        {
            let mut state = self.state.lock();
            state.done += 1;
            state.pending.remove(name);
        }
        self.show();
    }

    fn show(&self) {
        if self.is_shown {
            let width = crate::stdio::stderr_width().unwrap_or(80);
            let line = line(self.what, self.all, &self.state.lock());
            write(&format!("\r\x1b[K{}", cut(&line, width.saturating_sub(1))));
        }
    }

    /// Removes the line.
    pub(super) fn end(&self) {
        if self.is_shown {
            write("\r\x1b[K");
        }
    }
}

/// Returns the line: `[12/60] reading accounts, waiting for dev, prod (at most 1 request per second) and 3 more`.
fn line(what: &str, all: usize, state: &State) -> String {
    let mut line = format!("[{}/{all}] {what}", state.done);
    let names = state.pending.iter().take(NAMED).map(|(name, note)| {
        let note = note.as_ref().map(|note| format!(" ({note})"));
        format!("{}{}", printable(name), note.unwrap_or_default())
    });
    let names: Vec<String> = names.collect();
    if !names.is_empty() {
        line.push_str(", waiting for ");
        line.push_str(&names.join(", "));
    }
    match state.pending.len().saturating_sub(NAMED) {
        0 => line,
        more => format!("{line} and {more} more"),
    }
}

/// Writes a text with its control sequences. They move the cursor and set no colour, so `NO_COLOR` does not apply.
fn write(text: &str) {
    // An error means that nobody reads stderr.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_counts_and_names_what_is_waited_for_and_why() {
        let mut state = State::default();
        assert_eq!(line("reading accounts", 60, &state), "[0/60] reading accounts");
        state.done = 12;
        let slow = Some("at most 1 request per second".to_owned());
        state.pending.insert("prod".to_owned(), slow);
        assert_eq!(
            line("reading accounts", 60, &state),
            "[12/60] reading accounts, waiting for prod (at most 1 request per second)"
        );
        for name in ["a", "b"] {
            state.pending.insert(name.to_owned(), None);
        }
        assert_eq!(
            line("reading accounts", 60, &state),
            "[12/60] reading accounts, waiting for a, b and 1 more"
        );
    }
}
