//! The conditions of all kinds, by the rules of
//! [kstatus](https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use rolectl_crds::{ConditionType, Reason};

/// The status of a condition, see the
/// [API conventions](https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// The condition applies.
    True,
    /// The condition does not apply.
    False,
    /// The controller cannot determine the condition.
    Unknown,
}

impl Truth {
    /// Returns the status as the Kubernetes API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// The content of the `Ready` condition. `Reconciling` and `Stalled` follow from its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Status of `Ready`. `None` keeps the status of the earlier condition.
    pub ready: Option<Truth>,
    /// Reason of `Ready`.
    pub reason: Reason,
    /// Message of `Ready`, for people.
    pub message: String,
}

/// Returns the conditions of an object. `lastTransitionTime` changes only with the status of a condition, so the same verdict
/// returns the same conditions.
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
    let earlier = || find(prior, ConditionType::Ready).map(|c| c.status.as_str());
    let ready = ready
        .map(Truth::as_str)
        .or_else(earlier)
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

/// Returns the reason of `Ready`. `None` if the object has no such condition yet.
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
    fn ready_is_always_present_and_reconciling_and_stalled_never_both() {
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
    fn the_transition_time_changes_only_with_the_status() {
        let first = conditions(&[], Some(1), verdict(Reason::Progressing), Timestamp::UNIX_EPOCH);
        let later = Timestamp::from_second(100).unwrap();
        let same = conditions(&first, Some(1), verdict(Reason::Progressing), later);
        assert_eq!(first, same, "the same verdict returns the same conditions");
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
    fn suspended_keeps_the_status_of_ready() {
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
