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
    pub counts: Counts,
    pub calls: Vec<Call>,
}

/// By account, then by action.
pub type Counts = BTreeMap<String, BTreeMap<String, usize>>;

fn counted<'a>(calls: impl IntoIterator<Item = &'a Call>) -> Counts {
    let mut counts = Counts::new();
    for call in calls {
        let of_account = counts.entry(call.account.clone()).or_default();
        *of_account.entry(call.action.clone()).or_default() += 1;
    }
    counts
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
        Log {
            total: calls.len(),
            counts: counted(&calls),
            calls,
        }
    }

    /// How many calls there were in each account: an answer that stays short with many accounts.
    pub fn counts(&self) -> Counts {
        counted(self.0.lock().iter())
    }

    pub fn clear(&self) {
        self.0.lock().clear();
    }
}
