//! Parses `--state`.

use rolectl_crds::{Phase, Reason};

use crate::objects::{NOT_SEEN, ORPHANED};

/// A state that is selected, or left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFilter {
    name: &'static str,
    is_left_out: bool,
}

/// Parses a state in upper or lower case. `!` in front of it leaves the state out.
pub fn state(text: &str) -> Result<StateFilter, String> {
    let text = text.trim();
    let (name, is_left_out) = match text.strip_prefix('!') {
        Some(name) => (name, true),
        None => (text, false),
    };
    let others = Phase::ALL.iter().map(|phase| phase.as_str());
    let mut others = others.chain([ORPHANED.as_str(), NOT_SEEN]);
    let name = match Reason::named(name) {
        Some(reason) => Some(reason.as_str()),
        None => others.find(|other| other.eq_ignore_ascii_case(name)),
    };
    match name {
        Some(name) => Ok(StateFilter { name, is_left_out }),
        None => Err("there is no such state; `rolectl explain` shows those of roles and accounts; sessions are Locked, Unlocked, Expiring or Expired".to_owned()),
    }
}

/// Returns true if the filters select a state: it is one of those that are named, if any is, and none of those that are left out.
pub fn selects(filters: &[StateFilter], state: &str) -> bool {
    let (left_out, named): (Vec<_>, Vec<_>) = filters.iter().partition(|filter| filter.is_left_out);
    let is_in = |filters: &[&StateFilter]| filters.iter().any(|filter| filter.name == state);
    !is_in(&left_out) && (named.is_empty() || is_in(&named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_selected_and_left_out_in_any_case() {
        for (filters, wanted, is_selected) in [
            ("", "InSync", true),
            ("drifted", "Drifted", true),
            ("drifted", "InSync", false),
            ("drifted,ownedbyother", "OwnedByOther", true),
            ("!insync", "Drifted", true),
            ("!insync", "InSync", false),
            ("!insync,!drifted", "Drifted", false),
            ("orphaned", "Orphaned", true),
            ("notseen", "NotSeen", true),
            ("locked", "Locked", true),
        ] {
            let parsed: Vec<StateFilter> = filters
                .split(',')
                .filter(|filter| !filter.is_empty())
                .map(|filter| state(filter).unwrap())
                .collect();
            assert_eq!(selects(&parsed, wanted), is_selected, "{filters} {wanted}");
        }
        for typo in ["drift", "!", "", "!!InSync"] {
            assert!(state(typo).is_err(), "{typo}");
        }
    }
}
