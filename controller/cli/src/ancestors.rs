//! Finds out if this program was started by itself.

use std::fs;
use std::path::PathBuf;

/// Most generations that are looked at.
const GENERATIONS: usize = 16;

/// Returns true if a parent, or a parent of one, runs this program, too. AWS tools start `rolectl credential-process`; if it looks for its
/// key in a profile that starts it again, perhaps through a script, there would be no end. False on systems without `/proc`.
pub fn has_itself() -> bool {
    let Ok(own) = fs::read_link("/proc/self/exe") else {
        return false;
    };
    let mut process = PathBuf::from("/proc/self");
    for _ in 0..GENERATIONS {
        let Some(parent) = fs::read_to_string(process.join("stat"))
            .ok()
            .and_then(|stat| parent(&stat))
        else {
            return false;
        };
        process = PathBuf::from(format!("/proc/{parent}"));
        if fs::read_link(process.join("exe")).is_ok_and(|exe| exe == own) {
            return true;
        }
    }
    false
}

/// Returns the parent in the text of `/proc/PID/stat`: the second field after the name, which is in parentheses and can contain anything.
fn parent(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_read_behind_any_name() {
        assert_eq!(parent("12 (a b) S 7 12 0"), Some(7));
        assert_eq!(parent("12 (a) R 9) S 7 12 0"), Some(7));
        assert_eq!(parent("12 (a) S"), None);
        assert!(!has_itself());
    }
}
