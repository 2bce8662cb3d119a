//! The order in which the controller makes the changes of a plan in the accounts of a role.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kube::ResourceExt as _;
use schemars::JsonSchema;
use serde::Serialize;

use rolectl_core::names::full_name;
use rolectl_core::rollout::{Wave, needs_turn, wave_of};
use rolectl_crds::{AwsAccount, IamRole};

use super::super::read::Seen;

/// The waves of a role whose changes are made in an order.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PlannedRollout")]
pub(super) struct RolloutLine {
    namespace: String,
    name: String,
    waves: Vec<PlannedWave>,
}

/// Accounts that are changed before those of the next wave.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct PlannedWave {
    /// `spec.wave` of the accounts.
    wave: u32,
    /// Position in `spec.rollout.waves`, from 1. Absent if the role has no waves of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    role_wave: Option<u32>,
    accounts: Vec<String>,
}

/// Returns the waves of each role that has several, or a `spec.rollout`, of the accounts in which it is to be changed.
pub(super) fn rollouts(seen: &[Seen]) -> Vec<RolloutLine> {
    let mut roles: BTreeMap<String, (&IamRole, Vec<&AwsAccount>)> = BTreeMap::new();
    for seen in seen {
        for proposal in seen
            .proposals
            .iter()
            .filter(|proposal| proposal.to_do().is_some())
        {
            let found = roles
                .entry(full_name(&proposal.role))
                .or_insert_with(|| (&proposal.role, vec![]));
            found.1.push(&seen.account);
        }
    }
    let lines = roles.into_values().map(|(role, accounts)| line(role, &accounts));
    lines.flatten().collect()
}

fn line(role: &IamRole, accounts: &[&AwsAccount]) -> Option<RolloutLine> {
    if !accounts.iter().any(|account| needs_turn(role, account)) {
        return None;
    }
    let mut waves: BTreeMap<Wave, Vec<String>> = BTreeMap::new();
    for account in accounts {
        let wave = waves.entry(wave_of(role, account)).or_default();
        wave.push(account.name_any());
    }
    if waves.len() < 2 && role.spec.rollout.is_none() {
        return None;
    }
    let waves = waves.into_iter().map(|(wave, mut accounts)| {
        accounts.sort();
        PlannedWave {
            wave: wave.account,
            role_wave: Some(wave.role).filter(|position| *position > 0),
            accounts,
        }
    });
    Some(RolloutLine {
        namespace: role.namespace().unwrap_or_default(),
        name: role.name_any(),
        waves: waves.collect(),
    })
}

/// Names that are shown of one wave.
const SHOWN: usize = 10;

impl RolloutLine {
    /// Writes the waves for people.
    pub(super) fn write(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "The controller changes role {}/{} in waves:",
            self.namespace, self.name
        );
        for PlannedWave {
            wave,
            role_wave,
            accounts,
        } in &self.waves
        {
            let wave = Wave {
                account: *wave,
                role: role_wave.unwrap_or_default(),
            };
            let names: Vec<&str> = accounts.iter().take(SHOWN).map(String::as_str).collect();
            let more = match accounts.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let _ = writeln!(text, "  wave {wave}: {}{more}", names.join(", "));
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn account(name: &str, wave: u32) -> AwsAccount {
        serde_json::from_value(
            json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
            "metadata": {"name": name}, "spec": {"accountId": "222222222222", "wave": wave}}),
        )
        .unwrap()
    }

    fn role(rollout: &Value) -> IamRole {
        serde_json::from_value(
            json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "IamRole",
            "metadata": {"name": "app", "namespace": "team"},
            "spec": {"ensure": "Absent", "accounts": {"selector": {}}, "rollout": rollout}}),
        )
        .unwrap()
    }

    #[test]
    fn waves_are_shown_where_there_are_several_or_a_rollout() {
        let (a, b, c) = (account("a", 0), account("b", 0), account("c", 7));
        let shown = |rollout: &Value, accounts: &[&AwsAccount]| {
            let mut text = String::new();
            if let Some(line) = line(&role(rollout), accounts) {
                line.write(&mut text);
            }
            text
        };
        assert_eq!(shown(&Value::Null, &[&a, &b]), "");
        assert_eq!(shown(&Value::Null, &[&c]), "", "one wave waits for nothing");
        assert_eq!(
            shown(&Value::Null, &[&c, &b, &a]),
            "The controller changes role team/app in waves:\n  wave 0: a, b\n  wave 7: c\n\n"
        );
        assert_eq!(
            shown(&json!({"waves": [{"names": ["c"]}]}), &[&a, &b, &c]),
            "The controller changes role team/app in waves:\n  wave 0.2: a, b\n  wave 7.1: c\n\n",
            "the owner's order comes first"
        );
        assert_eq!(
            shown(&json!({"waves": [{"names": ["b"]}]}), &[&a, &b]),
            "The controller changes role team/app in waves:\n  wave 0.1: b\n  wave 0.2: a\n\n"
        );
        assert_eq!(
            shown(&json!({"maxConcurrent": 1}), &[&a]),
            "The controller changes role team/app in waves:\n  wave 0: a\n\n"
        );
    }
}
