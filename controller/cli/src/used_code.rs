//! Remembers the last used code, because AWS gives the same error for a used code and for a wrong one.
//!
//! A file in the user's state directory contains a digest of the code. A code is valid once, so a used one is no secret. If the
//! file cannot be read or written, AWS alone decides.

use std::path::PathBuf;

use jiff::Timestamp;
use rolectl_core::digest::sha256;

/// Maximum validity of a code in seconds, with the clock skew that AWS accepts.
const VALID_SECONDS: i64 = 120;

/// Returns the path of the file.
fn file() -> Option<PathBuf> {
    Some(std::env::home_dir()?.join(".local/state/rolectl/used-code"))
}

/// Returns the digest of a code and its device.
fn digest(serial: &str, code: &str) -> String {
    sha256(format!("{serial}:{code}"))
}

/// Returns how many seconds ago this code was used. Returns `None` if it is not the last used code, or can no longer be valid.
pub fn used_ago(serial: &str, code: &str, now: Timestamp) -> Option<i64> {
    let text = std::fs::read_to_string(file()?).ok()?;
    let (at, used) = text.trim().split_once(' ')?;
    let ago = now.duration_since(at.parse().ok()?).as_secs();
    (used == digest(serial, code) && (0..VALID_SECONDS).contains(&ago)).then_some(ago)
}

/// Records a code as used.
pub fn remember(serial: &str, code: &str, now: Timestamp) {
    let Some(file) = file() else { return };
    if let Some(dir) = file.parent() {
        let _ = std::fs::create_dir_all(dir);
    }
    let _ = std::fs::write(file, format!("{now} {}\n", digest(serial, code)));
}
