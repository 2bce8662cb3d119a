//! An `MfaSession`, as a row.

use jiff::Timestamp;
use kube::ResourceExt as _;
use schemars::JsonSchema;
use serde::Serialize;

use rolectl_crds::{MfaSession, Phase};

use super::{or_dash, ready};
use crate::output::{Cell, Colour, Document, List, Row};
use crate::times::{from_now, moment};

/// An `MfaSession`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionRow {
    pub name: String,
    /// The main account.
    pub account_id: String,
    pub phase: Phase,
    /// When the session ends.
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
    /// ARN of the principal who unlocked it.
    pub unlocked_by: Option<String>,
    /// Version of the controller that serves the session.
    pub controller_version: Option<String>,
    pub message: String,
}

impl From<MfaSession> for SessionRow {
    fn from(session: MfaSession) -> Self {
        let name = session.name_any();
        let status = session.status.unwrap_or_default();
        Self {
            name,
            account_id: session.spec.account_id,
            phase: status.phase,
            expires_at: status.expires_at.map(|time| time.0),
            unlocked_by: status.unlocked_by,
            controller_version: status.controller_version,
            message: ready(&status.conditions).message,
        }
    }
}

impl SessionRow {
    /// Returns true if the session serves its accounts.
    pub const fn is_unlocked(&self) -> bool {
        matches!(self.phase, Phase::Unlocked | Phase::Expiring)
    }

    /// Returns the phase in its colour.
    pub fn coloured_phase(&self) -> Cell {
        let colour = match self.phase {
            Phase::Unlocked => Colour::Green,
            Phase::Expiring => Colour::Yellow,
            _ => Colour::Red,
        };
        Cell::coloured(&self.phase.to_string(), colour)
    }
}

impl Document for List<SessionRow> {
    const KIND: &'static str = "SessionList";
}

impl Row for SessionRow {
    const COLUMNS: &'static [&'static str] = &["NAME", "PHASE", "EXPIRES", "UNLOCKED BY"];
    const WIDE: &'static [&'static str] = &["ACCOUNT ID", "AT", "CONTROLLER"];

    fn cells(&self) -> Vec<Cell> {
        let now = Timestamp::now();
        let expires = self.expires_at.map(|at| from_now(at.duration_since(now)));
        vec![
            Cell::from(&self.name),
            self.coloured_phase(),
            or_dash(expires.as_deref()),
            or_dash(self.unlocked_by.as_deref()),
        ]
    }

    fn wide_cells(&self) -> Vec<Cell> {
        let expires = self.expires_at.map(|at| moment(at, Timestamp::now()));
        vec![
            Cell::from(&self.account_id),
            or_dash(expires.as_deref()),
            or_dash(self.controller_version.as_deref()),
        ]
    }

    fn resource(&self) -> String {
        format!("mfasession.iam.rolectl.dev/{}", self.name)
    }

    fn identity(&self) -> (&str, &str) {
        ("", &self.name)
    }
}
