//! Approvals of changes: what an operator decided with a fresh MFA code, as the session's Secret has it.
//!
//! The decisions are written together with the session that the code opened, and carry a message authentication code under a key of that
//! session. So a decision counts only as long as its session (what it approved and has begun is finished by later
//! ones, too: [`Grants`]), and nobody who can write the Secret can add one without a code. Nothing that a
//! tenant can write takes part in it.

use std::collections::{BTreeMap, BTreeSet};

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use rolectl_core::digest::hex;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Version of the format.
const VERSION: u32 = 2;
/// Longest text of all decisions, in bytes. A Secret has room for 1 MiB.
const MAX_BYTES: usize = 512 * 1024;
/// How long a decision counts.
const VALID_FOR: SignedDuration = SignedDuration::from_hours(1);
/// How far the clock of the operator's machine may be ahead of the controller's.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);
/// Length of a digest, in characters.
const DIGEST: usize = 64;

/// What an operator decided about the changes of one role in one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Digest of the changes ([`rolectl_core::widening::hold`]).
    pub digest: String,
    /// The account.
    pub account_id: String,
    /// The role's owner, as its owner tag has it.
    pub owner: String,
    /// Digest of the role after the changes ([`rolectl_core::widening::goal_digest`]), by which the changes are finished if the controller
    /// restarts in their middle.
    pub goal: String,
    /// Digests of the single changes. No other change is made to finish them after a restart.
    pub changes: BTreeSet<String>,
    /// What was decided.
    pub verdict: Verdict,
    /// Why the changes are denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who decided, and when. The format has room for more than one.
    pub by: Vec<Approver>,
}

/// A decision of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The changes are made.
    Approved,
    /// The changes are not made.
    Denied,
}

/// An operator who decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approver {
    /// ARN of the session's principal.
    pub principal_arn: String,
    /// When.
    pub at: Timestamp,
}

/// All decisions of a session, as the Secret has them.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Written {
    version: u32,
    decisions: Vec<Decision>,
}

/// Decisions with their message authentication code, as the Secret has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The decisions, JSON.
    pub text: String,
    /// The code, hexadecimal.
    pub code: String,
}

/// Why decisions of a Secret do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalsError {
    /// The code is not that of the text under this session.
    #[error("the approvals in the Secret were not made with this session")]
    Forged,
    /// The text cannot be read.
    #[error("the approvals in the Secret cannot be read")]
    Unreadable,
    /// It is too long.
    #[error("the approvals in the Secret are too long")]
    TooLong,
}

/// The decisions that count in a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approvals(BTreeMap<String, Decision>);

impl Sealed {
    /// Seals decisions with the secret key of the session with which they are stored.
    ///
    /// # Errors
    /// When they are too many.
    pub fn new(decisions: Vec<Decision>, key: &SecretString) -> Result<Self, ApprovalsError> {
        let written = Written {
            version: VERSION,
            decisions,
        };
        let text = serde_json::to_string(&written).map_err(|_| ApprovalsError::Unreadable)?;
        if text.len() > MAX_BYTES {
            return Err(ApprovalsError::TooLong);
        }
        let code = hex(&mac(&text, key)?.finalize().into_bytes());
        Ok(Self { text, code })
    }

    /// Returns the decisions that `principal`, the principal of the session, made with this session.
    ///
    /// # Errors
    /// When they were not made with this session, or cannot be read.
    pub fn open(&self, key: &SecretString, principal: &str) -> Result<Approvals, ApprovalsError> {
        if self.text.len() > MAX_BYTES {
            return Err(ApprovalsError::TooLong);
        }
        let code = unhex(&self.code).ok_or(ApprovalsError::Forged)?;
        mac(&self.text, key)?
            .verify_slice(&code)
            .map_err(|_| ApprovalsError::Forged)?;
        let written: Written = serde_json::from_str(&self.text).map_err(|_| ApprovalsError::Unreadable)?;
        if written.version != VERSION {
            return Err(ApprovalsError::Unreadable);
        }
        let counts = |decision: &Decision| {
            decision.digest.len() == DIGEST
                && matches!(decision.by.as_slice(), [only] if only.principal_arn == principal)
        };
        let all = written.decisions.into_iter().filter(counts);
        Ok(Approvals(
            all.map(|decision| (decision.digest.clone(), decision)).collect(),
        ))
    }
}

impl Approvals {
    /// Returns what was decided about the changes with this digest, if the decision still counts at `now`.
    pub fn decision(&self, digest: &str, now: Timestamp) -> Option<&Decision> {
        let decision = self.0.get(digest)?;
        let made = decision.by.first()?.at;
        // A denial stays as long as the session.
        (decision.verdict == Verdict::Denied || is_recent(made, now)).then_some(decision)
    }
}

/// Changes that were begun because a decision approved them. Each decision counts for one change, which is finished even if it is interrupted:
/// by the session's end, by a later session, or by a restart of the controller.
#[derive(Debug, Default)]
pub struct Grants(Mutex<InnerGrants>);

#[derive(Debug, Default)]
struct InnerGrants {
    /// The changes, by account id and owner.
    under_way: BTreeMap<(String, String), UnderWay>,
    /// Digests that were used, and when.
    used: BTreeMap<String, Timestamp>,
}

/// Changes that may be made until the role is as it was approved.
#[derive(Clone, Debug)]
struct UnderWay {
    /// Digest of the changes.
    digest: String,
    /// Digest of the role after them.
    goal: String,
    /// When they began. If this process did not begin them: when they were approved.
    at: Timestamp,
    /// Digests of the single changes, if this process did not begin them. Another one may have, before a restart.
    only: Option<BTreeSet<String>>,
}

impl Grants {
    /// A session with these decisions was opened. What they approved may have begun in another process: before a restart, or while another
    /// replica looked after the account.
    pub fn follow(&self, approvals: &Approvals, now: Timestamp) {
        let mut grants = self.0.lock();
        for decision in approvals.0.values() {
            let made = decision.by.first().map(|by| by.at);
            let Some(at) = made.filter(|at| decision.verdict == Verdict::Approved && is_recent(*at, now))
            else {
                continue;
            };
            if grants.used.contains_key(&decision.digest) {
                continue;
            }
            let key = (decision.account_id.clone(), decision.owner.clone());
            grants.under_way.entry(key).or_insert_with(|| UnderWay {
                digest: decision.digest.clone(),
                goal: decision.goal.clone(),
                at,
                only: Some(decision.changes.clone()),
            });
        }
    }

    /// The changes with this digest begin now, after which the role has the digest in `goal`.
    pub fn begin(&self, account_id: &str, owner: &str, (goal, now): (&str, Timestamp), digest: &str) {
        let mut grants = self.0.lock();
        // No decision counts for longer, also one that was made by a clock that is ahead.
        grants
            .used
            .retain(|_, at| now.duration_since(*at) <= VALID_FOR + CLOCK_SKEW);
        grants.used.insert(digest.to_owned(), now);
        let key = (account_id.to_owned(), owner.to_owned());
        let under_way = UnderWay {
            digest: digest.to_owned(),
            goal: goal.to_owned(),
            at: now,
            only: None,
        };
        grants.under_way.insert(key, under_way);
    }

    /// Returns true if any changes are under way.
    pub fn are_any_under_way(&self) -> bool {
        !self.0.lock().under_way.is_empty()
    }

    /// The role is as it should be, and has the digest in `goal`: what was approved is done.
    pub fn end(&self, account_id: &str, owner: &str, goal: &str, now: Timestamp) {
        let mut grants = self.0.lock();
        let key = (account_id.to_owned(), owner.to_owned());
        // Where the object has not arrived yet that was approved, the decision still counts.
        if let Some(done) = grants.under_way.remove(&key).filter(|done| done.goal == goal) {
            grants.used.insert(done.digest, now);
        }
    }

    /// Returns true if the changes that lead to this role have begun within the hour and are not done. Another goal ends them: an author who
    /// comes back to the first one waits again. `changes` are the digests of what waits.
    pub fn is_under_way(
        &self,
        account_id: &str,
        owner: &str,
        (goal, changes): (&str, &[String]),
        now: Timestamp,
    ) -> bool {
        let key = (account_id.to_owned(), owner.to_owned());
        let mut grants = self.0.lock();
        let is_part = |only: &BTreeSet<String>| changes.iter().all(|change| only.contains(change));
        let is_it = grants.under_way.get(&key).is_some_and(|under_way| {
            under_way.goal == goal
                && is_recent(under_way.at, now)
                && under_way.only.as_ref().is_none_or(is_part)
        });
        if !is_it {
            grants.under_way.remove(&key);
        }
        is_it
    }

    /// An operator denied changes of the role: nothing that was approved before is finished.
    pub fn deny(&self, account_id: &str, owner: &str) {
        let key = (account_id.to_owned(), owner.to_owned());
        self.0.lock().under_way.remove(&key);
    }

    /// Returns true if the decision about this digest has been carried out.
    pub fn is_used(&self, digest: &str) -> bool {
        self.0.lock().used.contains_key(digest)
    }
}

/// Returns true for a time within the last hour, or a little ahead.
fn is_recent(time: Timestamp, now: Timestamp) -> bool {
    (-CLOCK_SKEW..=VALID_FOR).contains(&now.duration_since(time))
}

/// Begins the message authentication code of a text. The prefix keeps it apart from signatures that AWS makes with the same key.
fn mac(text: &str, key: &SecretString) -> Result<Hmac<Sha256>, ApprovalsError> {
    // HMAC takes a key of any length.
    let mac = Hmac::new_from_slice(key.expose_secret().as_bytes());
    let mut mac: Hmac<Sha256> = mac.map_err(|_| ApprovalsError::Unreadable)?;
    mac.update(b"rolectl approvals 1\n");
    mac.update(text.as_bytes());
    Ok(mac)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != DIGEST {
        return None;
    }
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    Some(
        digits?
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPERATOR: &str = "arn:aws:iam::111111111111:user/op";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn decision(digest: char, by: &str) -> Decision {
        Decision {
            digest: digest.to_string().repeat(DIGEST),
            account_id: "1".to_owned(),
            owner: "owner".to_owned(),
            goal: "goal".to_owned(),
            changes: ["one".to_owned(), "two".to_owned()].into(),
            verdict: Verdict::Approved,
            reason: None,
            by: vec![Approver {
                principal_arn: by.to_owned(),
                at: at("2026-01-01T12:00:00Z"),
            }],
        }
    }

    fn sealed(decisions: Vec<Decision>) -> Sealed {
        Sealed::new(decisions, &"key".into()).unwrap()
    }

    #[test]
    fn a_decision_counts_with_its_session_its_operator_and_for_an_hour() {
        let sealed = sealed(vec![decision('a', OPERATOR)]);
        let approvals = sealed.open(&"key".into(), OPERATOR).unwrap();
        let digest = "a".repeat(DIGEST);
        for (now, counts) in [
            ("2026-01-01T11:54:00Z", false),
            ("2026-01-01T11:56:00Z", true),
            ("2026-01-01T12:00:00Z", true),
            ("2026-01-01T13:00:00Z", true),
            ("2026-01-01T13:00:01Z", false),
        ] {
            assert_eq!(approvals.decision(&digest, at(now)).is_some(), counts, "{now}");
        }
        assert_eq!(
            approvals.decision(&"b".repeat(DIGEST), at("2026-01-01T12:00:00Z")),
            None
        );
        assert!(
            sealed
                .open(&"key".into(), "arn:aws:iam::111111111111:user/other")
                .unwrap()
                .0
                .is_empty()
        );
    }

    #[test]
    fn what_began_is_finished_within_the_hour_and_another_goal_ends_it() {
        let now = at("2026-01-01T12:00:00Z");
        let begun = || {
            let grants = Grants::default();
            grants.begin("1", "owner", ("goal", now), "digest");
            grants
        };
        let (grants, late) = (begun(), at("2026-01-01T13:00:01Z"));
        assert!(grants.is_used("digest") && grants.is_under_way("1", "owner", ("goal", &[]), now));
        assert!(!grants.is_under_way("1", "other", ("goal", &[]), now));
        assert!(!grants.is_under_way("1", "owner", ("goal", &[]), late));
        let grants = begun();
        assert!(!grants.is_under_way("1", "owner", ("another", &[]), now));
        assert!(
            !grants.is_under_way("1", "owner", ("goal", &[]), now),
            "the first goal waits again"
        );
        let grants = begun();
        grants.end("1", "owner", "goal", now);
        assert!(!grants.is_under_way("1", "owner", ("goal", &[]), now) && grants.is_used("digest"));
    }

    #[test]
    fn after_a_restart_what_was_approved_is_finished_once() {
        let (made, now) = (at("2026-01-01T12:00:00Z"), at("2026-01-01T12:30:00Z"));
        let denied = Decision {
            verdict: Verdict::Denied,
            owner: "other".to_owned(),
            ..decision('b', OPERATOR)
        };
        let sealed = sealed(vec![decision('a', OPERATOR), denied]);
        let approvals = sealed.open(&"key".into(), OPERATOR).unwrap();
        let digest = "a".repeat(DIGEST);
        let restarted_at = |now| {
            let grants = Grants::default();
            grants.follow(&approvals, now);
            grants
        };
        let restarted = || restarted_at(now);
        let finishes = |changes: &[&str]| {
            let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
            restarted().is_under_way("1", "owner", ("goal", &changes), now)
        };
        assert!(finishes(&["two"]) && finishes(&["one", "two"]));
        assert!(!finishes(&["two", "three"]), "nobody approved the third change");
        assert!(restarted().is_under_way("1", "owner", ("goal", &[]), now));
        for (account, owner, goal) in [
            ("2", "owner", "goal"),
            ("1", "other", "goal"),
            ("1", "owner", "another"),
        ] {
            assert!(
                !restarted().is_under_way(account, owner, (goal, &[]), now),
                "{account} {owner} {goal}"
            );
        }
        let late = made + SignedDuration::from_secs(3_601);
        assert!(!restarted_at(late).are_any_under_way());
        // The role was finished before the restart: the decision is used up.
        let grants = restarted();
        grants.end("1", "owner", "goal", now);
        assert!(grants.is_used(&digest) && !grants.is_under_way("1", "owner", ("goal", &[]), now));
        grants.follow(&approvals, now);
        assert!(!grants.are_any_under_way(), "the session is opened again");
        // The object has not arrived yet that was approved: the decision still counts.
        let grants = restarted();
        grants.end("1", "owner", "an older goal", now);
        assert!(!grants.is_used(&digest));
    }

    #[test]
    fn what_is_remembered_of_used_decisions_ends_when_they_no_longer_count() {
        let grants = Grants::default();
        let start = at("2026-01-01T12:00:00Z");
        for minute in 0..600 {
            let now = start + SignedDuration::from_mins(minute);
            grants.begin("1", "owner", ("goal", now), &format!("{minute}"));
        }
        assert!(grants.is_used("599") && !grants.is_used("500"));
        assert!(grants.0.lock().used.len() <= 67);
    }

    #[test]
    fn what_another_session_sealed_or_somebody_changed_is_refused() {
        let one = sealed(vec![decision('a', OPERATOR)]);
        assert_eq!(
            one.open(&"another key".into(), OPERATOR),
            Err(ApprovalsError::Forged)
        );
        let changed = Sealed {
            text: one.text.replace("aaaa", "bbbb"),
            ..one.clone()
        };
        assert_eq!(changed.open(&"key".into(), OPERATOR), Err(ApprovalsError::Forged));
        for code in ["", "zz", &"0".repeat(64), &"é".repeat(32)] {
            let forged = Sealed {
                code: code.to_owned(),
                ..one.clone()
            };
            assert_eq!(
                forged.open(&"key".into(), OPERATOR),
                Err(ApprovalsError::Forged),
                "{code}"
            );
        }
        let other = Sealed::new(vec![], &"key".into()).unwrap();
        let mixed = Sealed {
            code: other.code,
            ..one
        };
        assert_eq!(mixed.open(&"key".into(), OPERATOR), Err(ApprovalsError::Forged));
    }

    #[test]
    fn more_decisions_than_a_secret_has_room_for_are_refused_before_they_are_stored() {
        let many = std::iter::repeat_n(decision('a', OPERATOR), 10_000).collect();
        assert_eq!(Sealed::new(many, &"key".into()), Err(ApprovalsError::TooLong));
    }

    proptest! {
        #[test]
        fn any_text_with_a_right_code_is_read_or_refused_without_a_panic(text in ".{0,200}", json in any::<bool>()) {
            let text = if json { format!(r#"{{"version":2,"decisions":[{{"digest":{text:?},"accountId":"1","owner":{text:?},"goal":"","changes":[],"verdict":"Approved","by":[]}}]}}"#) } else { text };
            let code = hex(&mac(&text, &"key".into()).unwrap().finalize().into_bytes());
            let opened = Sealed { text, code }.open(&"key".into(), OPERATOR);
            prop_assert!(opened.is_err() || opened.unwrap().0.is_empty());
        }
    }
}
