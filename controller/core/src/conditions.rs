//! Conditions by the rules of [kstatus](https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md),
//! the same for all kinds. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use rolectl_crds::{ConditionType, Reason};

/// `True`, `False` or `Unknown`, as the API writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It cannot be told.
    Unknown,
}

impl Truth {
    /// As the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What `Ready` is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Status of `Ready`. `None` leaves it as it was.
    pub ready: Option<Truth>,
    /// Its reason, from which `Stalled` and `Reconciling` follow.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

/// The conditions of an object. Nothing in them changes unless the verdict does.
pub fn conditions(
    prior: &[Condition],
    generation: Option<i64>,
    verdict: Verdict,
    now: Timestamp,
) -> Vec<Condition> {
    let Verdict {
        ready,
        reason,
        message,
    } = verdict;
    let condition = |kind: ConditionType, status: &str| {
        let since = find(prior, kind)
            .filter(|c| c.status == status)
            .map_or(Time(now), |c| c.last_transition_time.clone());
        Condition {
            type_: kind.as_str().to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message: message.clone(),
            observed_generation: generation,
            last_transition_time: since,
        }
    };
    let as_it_was = || find(prior, ConditionType::Ready).map(|c| c.status.as_str());
    let ready = ready
        .map(Truth::as_str)
        .or_else(as_it_was)
        .unwrap_or(Truth::Unknown.as_str());
    let mut all = vec![condition(ConditionType::Ready, ready)];
    if reason.is_reconciling() {
        all.push(condition(ConditionType::Reconciling, Truth::True.as_str()));
    }
    if reason.is_stalled() {
        all.push(condition(ConditionType::Stalled, Truth::True.as_str()));
    }
    all
}

/// The reason of `Ready`, if there is one yet.
pub fn ready_reason(conditions: &[Condition]) -> Option<&str> {
    find(conditions, ConditionType::Ready).map(|c| c.reason.as_str())
}

fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|c| c.type_ == kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(reason: Reason) -> Verdict {
        Verdict {
            ready: Some(Truth::False),
            reason,
            message: "m".into(),
        }
    }

    #[test]
    fn ready_is_always_there_and_reconciling_and_stalled_never_both() {
        for reason in Reason::ALL {
            let all = conditions(&[], Some(1), verdict(*reason), Timestamp::UNIX_EPOCH);
            let has = |kind: ConditionType| all.iter().any(|c| c.type_ == kind.as_str());
            assert!(has(ConditionType::Ready), "{reason}");
            assert!(
                !(has(ConditionType::Reconciling) && has(ConditionType::Stalled)),
                "{reason}"
            );
            assert_eq!(has(ConditionType::Stalled), reason.is_stalled(), "{reason}");
        }
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let first = conditions(&[], Some(1), verdict(Reason::Progressing), Timestamp::UNIX_EPOCH);
        let later = Timestamp::from_second(100).unwrap();
        let same = conditions(&first, Some(1), verdict(Reason::Progressing), later);
        assert_eq!(first, same, "a second look that finds the same writes the same");
        let ready = conditions(
            &first,
            Some(1),
            Verdict {
                ready: Some(Truth::True),
                reason: Reason::InSync,
                message: "m".into(),
            },
            later,
        );
        assert_eq!(ready[0].last_transition_time, Time(later));
        assert_eq!(ready.len(), 1);
    }

    #[test]
    fn suspended_leaves_ready_as_it_was() {
        let ready = conditions(
            &[],
            None,
            Verdict {
                ready: Some(Truth::True),
                reason: Reason::InSync,
                message: String::new(),
            },
            Timestamp::UNIX_EPOCH,
        );
        let suspended = conditions(
            &ready,
            None,
            Verdict {
                ready: None,
                reason: Reason::Suspended,
                message: String::new(),
            },
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(
            (suspended[0].status.as_str(), suspended[0].reason.as_str()),
            ("True", "Suspended")
        );
    }
}
