//! Shows the progress of a long operation on one line of stderr.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A line that counts completed items. Does nothing unless stderr is a terminal.
pub(super) struct Progress {
    what: &'static str,
    all: usize,
    done: AtomicUsize,
    shown: bool,
}

impl Progress {
    /// Shows the line with no item completed.
    pub(super) fn new(what: &'static str, all: usize) -> Self {
        let progress = Self {
            what,
            all,
            done: AtomicUsize::new(0),
            shown: std::io::stderr().is_terminal(),
        };
        progress.show("");
        progress
    }

    /// Counts one item, and shows its name `last`.
    pub(super) fn step(&self, last: &str) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.show(last);
    }

    fn show(&self, last: &str) {
        if self.shown {
            let done = self.done.load(Ordering::Relaxed);
            write(&format!("\r\x1b[K{} {done}/{} {last}", self.what, self.all));
        }
    }

    /// Removes the line.
    pub(super) fn end(&self) {
        if self.shown {
            write("\r\x1b[K");
        }
    }
}

/// Writes a text with its control sequences. They move the cursor and set no colour, so `NO_COLOR` does not apply.
fn write(text: &str) {
    // An error means that nobody reads stderr.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
