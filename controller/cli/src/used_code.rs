//! Remembers the last code that was used, to tell "used" from "wrong", which AWS does not.
//!
//! A digest in the user's state directory. A code works once, so a used one is no secret any more. All of this is
//! a courtesy: where the file cannot be read or written, AWS has the only word.

use std::path::PathBuf;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

/// How long a code can be valid at most, with AWS's allowance for clocks.
const LIFE_SECONDS: i64 = 120;

fn file() -> Option<PathBuf> {
    Some(std::env::home_dir()?.join(".local/state/rolectl/used-code"))
}

fn digest(serial: &str, code: &str) -> String {
    format!("{:x}", Sha256::digest(format!("{serial}:{code}")))
}

/// How many seconds ago this very code was used, if it was.
pub fn used_ago(serial: &str, code: &str, now: Timestamp) -> Option<i64> {
    let text = std::fs::read_to_string(file()?).ok()?;
    let (at, used) = text.trim().split_once(' ')?;
    let ago = now.duration_since(at.parse().ok()?).as_secs();
    (used == digest(serial, code) && (0..LIFE_SECONDS).contains(&ago)).then_some(ago)
}

/// The code is spent.
pub fn remember(serial: &str, code: &str, now: Timestamp) {
    let Some(file) = file() else { return };
    if let Some(dir) = file.parent() {
        let _ = std::fs::create_dir_all(dir);
    }
    let _ = std::fs::write(file, format!("{now} {}\n", digest(serial, code)));
}
