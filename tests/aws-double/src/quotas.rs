//! Quotas: AWS's defaults, and what a test sets for one account.
use std::collections::HashMap;

use fakecloud_core::quota::{IAM_SERVICE_CODE, IAM_SUMMARY_QUOTAS, QuotaProvider};
use parking_lot::RwLock;

/// Every quota is enforced.
#[derive(Default)]
pub struct Quotas(RwLock<HashMap<(String, String), f64>>);

impl Quotas {
    /// Sets quotas by their names in `GetAccountSummary`. Returns how many of the names are known.
    pub fn set(&self, account: &str, wanted: HashMap<String, f64>) -> usize {
        let known = wanted.into_iter().filter_map(|(name, value)| {
            let quota = IAM_SUMMARY_QUOTAS.iter().find(|q| q.summary_key == name)?;
            Some(((account.to_owned(), quota.quota_code.to_owned()), value))
        });
        let known: Vec<_> = known.collect();
        let n = known.len();
        self.0.write().extend(known);
        n
    }
}

impl QuotaProvider for Quotas {
    fn applied_value(&self, account: &str, _: &str, service: &str, code: &str) -> Option<f64> {
        if service != IAM_SERVICE_CODE {
            return None;
        }
        let set = self.0.read().get(&(account.to_owned(), code.to_owned())).copied();
        set.or_else(|| {
            IAM_SUMMARY_QUOTAS
                .iter()
                .find(|q| q.quota_code == code)
                .map(|q| q.default)
        })
    }

    fn enforced_limit(&self, account: &str, region: &str, service: &str, code: &str) -> Option<f64> {
        self.applied_value(account, region, service, code)
    }
}
