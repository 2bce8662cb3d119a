//! The call log: what was asked of AWS, by account and action.
use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::Serialize;

/// One call.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    /// Milliseconds since the epoch.
    pub at: i64,
    /// Account of the calling credential; empty when it is not known.
    pub account: String,
    /// ARN of the calling credential's principal; for an assumed role it ends in the session's name.
    pub principal: String,
    /// What the caller's SDK names as its application, `AWS_SDK_UA_APP_ID`.
    pub app: String,
    /// API action.
    pub action: String,
    /// HTTP status of the answer.
    pub status: u16,
}

/// All calls since the start or the last clearing.
#[derive(Debug, Default)]
pub struct Calls(Mutex<Vec<Call>>);

/// Counts, and the calls behind them.
#[derive(Debug, Serialize)]
pub struct Log {
    pub total: usize,
    /// By account, then by action.
    pub counts: BTreeMap<String, BTreeMap<String, usize>>,
    pub calls: Vec<Call>,
}

impl Calls {
    pub fn record(&self, account: &str, principal: &str, app: &str, action: &str, status: u16) {
        let at = chrono::Utc::now().timestamp_millis();
        self.0.lock().push(Call {
            at,
            account: account.to_owned(),
            principal: principal.to_owned(),
            app: app.to_owned(),
            action: action.to_owned(),
            status,
        });
    }

    /// Calls of one account (or of all), without the first `skip` of them.
    pub fn log(&self, account: Option<&str>, skip: usize) -> Log {
        let calls: Vec<Call> = self
            .0
            .lock()
            .iter()
            .filter(|c| account.is_none_or(|a| a == c.account))
            .skip(skip)
            .cloned()
            .collect();
        let mut counts: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for call in &calls {
            *counts
                .entry(call.account.clone())
                .or_default()
                .entry(call.action.clone())
                .or_default() += 1;
        }
        Log {
            total: calls.len(),
            counts,
            calls,
        }
    }

    pub fn clear(&self) {
        self.0.lock().clear();
    }
}
