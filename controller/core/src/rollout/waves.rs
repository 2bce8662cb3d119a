//! What the objects say about a rollout: the waves of the accounts, and the request of a person.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use kube::ResourceExt as _;
use rolectl_crds::{AwsAccount, DriftPolicy, IamRole, ROLLOUT_ANNOTATION, ShardWave};

use crate::selection::{in_selection, operator_error};

/// A wave of a rollout. Waves are made in this order: what the owner of an account says comes before what the author of a role says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wave {
    /// `spec.wave` of the accounts.
    pub account: u32,
    /// Position in `spec.rollout.waves` of the role, from 1. 0 if the role has no waves.
    pub role: u32,
}

/// When each wave was complete, as far as this process has seen it.
pub type Completed = BTreeMap<Wave, Instant>;

impl Wave {
    /// After all others.
    pub(super) const LAST: Self = Self {
        account: u32::MAX,
        role: u32::MAX,
    };

    /// Returns the wave of these numbers.
    pub const fn of(counts: &ShardWave) -> Self {
        Self {
            account: counts.wave,
            role: counts.role_wave,
        }
    }

    /// The numbers of a wave without accounts.
    pub(super) fn empty(self) -> ShardWave {
        ShardWave {
            wave: self.account,
            role_wave: self.role,
            ..ShardWave::default()
        }
    }
}

impl fmt::Display for Wave {
    /// `10`, or `10.2` for the second wave of the role among accounts with `wave: 10`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            0 => write!(f, "{}", self.account),
            role => write!(f, "{}.{role}", self.account),
        }
    }
}

/// Returns the wave of the account in the rollouts of this role.
///
/// The waves of the role are counted from 1, and accounts that none of them selects are in one more. They order only accounts with the same
/// `spec.wave`: an author must not bring a change to an account before the owner of the accounts wants it there.
pub fn wave_of(role: &IamRole, account: &AwsAccount) -> Wave {
    let waves = waves_of(role);
    let found = waves.iter().position(|wave| in_selection(wave, account));
    let number = match found {
        Some(index) => index.saturating_add(1),
        None if waves.is_empty() => 0,
        None => waves.len().saturating_add(1),
    };
    Wave {
        account: account.spec.wave,
        role: u32::try_from(number).unwrap_or(u32::MAX),
    }
}

fn waves_of(role: &IamRole) -> &[rolectl_crds::AccountSelection] {
    role.spec.rollout.as_ref().map_or(&[], |rollout| &rollout.waves)
}

/// Returns true if the account must wait for its turn before a new generation of the role is applied. It depends on the two objects
/// alone, so that whoever applies a spec can check it without the other accounts.
pub fn needs_turn(role: &IamRole, account: &AwsAccount) -> bool {
    let writes = role.spec.drift == DriftPolicy::Correct;
    writes && (role.spec.rollout.is_some() || account.spec.wave > 0)
}

/// Returns true if the part of a change that only takes access away is made in accounts that wait, too.
pub fn narrows_at_once(role: &IamRole) -> bool {
    role.spec
        .rollout
        .as_ref()
        .is_none_or(|rollout| rollout.narrow_at_once)
}

/// Returns the error in the selector of a wave, with the name of its field. An account must not change its wave by a typing error.
pub fn wave_error(role: &IamRole) -> Option<String> {
    let mut waves = waves_of(role).iter().enumerate();
    waves.find_map(|(index, wave)| {
        let problem = operator_error(wave.selector.as_ref()?)?;
        Some(format!("spec.rollout.waves[{index}].selector: {problem}"))
    })
}

/// The request of a person about the rollout of one generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Command {
    /// None.
    #[default]
    None,
    /// The rollout continues despite this many failures, or despite all of them.
    Resume(Option<u32>),
    /// The change begins in no further account.
    Abort,
}

impl Command {
    /// Returns the request in the annotation of the role. One about another generation is none.
    pub fn of(role: &IamRole) -> Self {
        let text = role.annotations().get(ROLLOUT_ANNOTATION);
        Self::parse(text.map_or("", String::as_str), role.metadata.generation)
    }

    pub(super) fn parse(text: &str, generation: Option<i64>) -> Self {
        let mut words = text.splitn(3, '-');
        let (verb, of, failures) = (words.next(), words.next(), words.next());
        if generation.is_none() || of.and_then(|of| of.parse().ok()) != generation {
            return Self::None;
        }
        match (verb, failures.map(str::parse)) {
            (Some("resume"), None) => Self::Resume(None),
            (Some("resume"), Some(Ok(failures))) => Self::Resume(Some(failures)),
            (Some("abort"), None) => Self::Abort,
            _ => Self::None,
        }
    }

    /// Returns the annotation's value for this request about a generation.
    pub fn value(self, generation: i64) -> Option<String> {
        match self {
            Self::None => None,
            Self::Resume(None) => Some(format!("resume-{generation}")),
            Self::Resume(Some(failures)) => Some(format!("resume-{generation}-{failures}")),
            Self::Abort => Some(format!("abort-{generation}")),
        }
    }
}
