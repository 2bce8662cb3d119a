//! Writes to stdout and stderr. A reader that has gone or a full disk is no panic: a command that is writing to AWS comes to its end, and
//! the exit code says that its output is not complete.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;

use parking_lot::Mutex;

use crate::failure::Failure;

/// The first error of stdout. Nothing is written after it.
static ERROR: OnceLock<io::Error> = OnceLock::new();
/// Most different lines that are printed once.
const MAX_LINES: usize = 1000;
/// Exit code of a program whose reader has gone, as a shell gives it for SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// Prints to stdout.
macro_rules! print {
    ($($text:tt)*) => { $crate::stdio::write_out(format_args!($($text)*)) };
}

/// Prints a line to stdout.
macro_rules! println {
    () => { $crate::stdio::write_out(format_args!("\n")) };
    ($($text:tt)*) => { $crate::stdio::write_out(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints a line to stderr.
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::stdio::write_err(format_args!($($text)*)) };
}

pub(crate) use {eprintln, print, println};

/// Writes to stdout, without colours where the user wants none.
pub fn write_out(text: fmt::Arguments<'_>) {
    if ERROR.get().is_some() {
        return;
    }
    let mut stdout = anstream::stdout().lock();
    if let Err(error) = stdout.write_fmt(text) {
        let _ = ERROR.set(error);
    }
}

/// Writes a line to stderr. An error means that nobody reads it.
pub fn write_err(text: fmt::Arguments<'_>) {
    let mut stderr = anstream::stderr().lock();
    let _ = writeln!(stderr, "{text}");
}

/// Returns the columns and the lines of the terminal that stdout is. `None` if it is no terminal.
pub fn terminal_size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
}

/// Returns the columns of the terminal that stderr is. `None` if it is no terminal.
pub fn stderr_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
    (size.ws_col > 0).then(|| size.ws_col.into())
}

/// Prints a line to stderr, unless the command has printed it before: with `--watch` it reads the same again and again.
pub fn tell_once(text: &str) {
    static PRINTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut printed = PRINTED.lock();
    if printed.len() < MAX_LINES && printed.insert(text.to_owned()) {
        eprintln!("{text}");
    }
}

/// Returns true if nothing can be written to stdout any more.
pub fn is_closed() -> bool {
    ERROR.get().is_some()
}

/// Writes what is left. Returns the exit code: that of the command, unless its output could not be written.
pub fn finish(code: ExitCode) -> ExitCode {
    if let Err(error) = io::stdout().flush() {
        let _ = ERROR.set(error);
    }
    match ERROR.get() {
        None => code,
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(BROKEN_PIPE),
        Some(error) => {
            let failure = Failure::new(
                format!("could not write the output: {error}"),
                "free disk space; the changes of the command were made",
            );
            eprintln!("{failure}");
            ExitCode::from(failure.code())
        }
    }
}
