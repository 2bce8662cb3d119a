//! The line of `rolectl status --short`.

use jiff::Timestamp;
use rolectl_crds::Phase;

use crate::objects::SessionRow;
use crate::output::printable;
use crate::times::remaining;

/// Returns each session with the time that is left, for a shell's prompt: `main 3h12m, test locked`.
pub fn line(sessions: &[SessionRow], now: Timestamp) -> String {
    let one = |session: &SessionRow| {
        let left = session.expires_at.map(|at| at.duration_since(now));
        let state = match left.filter(|left| session.is_unlocked() && left.is_positive()) {
            Some(left) => remaining(left),
            // The controller may not have written yet that it has ended.
            None if session.is_unlocked() => "expired".to_owned(),
            None if session.phase == Phase::Expired => "expired".to_owned(),
            None => "locked".to_owned(),
        };
        format!("{} {state}", printable(&session.name))
    };
    sessions.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_shows_what_is_left_of_each_session() {
        let session = |name: &str, phase: Phase, ends: Option<i64>| SessionRow {
            name: name.to_owned(),
            account_id: "111111111111".to_owned(),
            phase,
            expires_at: ends.and_then(|second| Timestamp::from_second(second).ok()),
            unlocked_by: None,
            controller_version: None,
            message: String::new(),
        };
        let sessions = [
            session("prod", Phase::Unlocked, Some(11_520)),
            session("soon", Phase::Expiring, Some(59)),
            session("test", Phase::Locked, None),
            session("over", Phase::Unlocked, Some(-1)),
            session("old", Phase::Expired, Some(-100)),
        ];
        assert_eq!(
            line(&sessions, Timestamp::UNIX_EPOCH),
            "prod 3h12m, soon 59s, test locked, over expired, old expired"
        );
        assert_eq!(line(&[], Timestamp::UNIX_EPOCH), "");
    }
}
