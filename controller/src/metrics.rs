//! What the controller counts and measures, in the [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/)
//! format.
//!
//! Events are counted where they happen; states (roles, queues, buckets, sessions) are looked up when the metrics are
//! asked for. [`TABLE`] is the list of all, for the reference and for the endpoint alike.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};
use rolectl_aws::api::CallObserver;

use crate::health::KINDS;

/// One metric, as the reference shows it.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// Name, without what the format adds for a kind (`_total`, `_info`).
    pub name: &'static str,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: &'static str,
    /// Names of labels.
    pub labels: &'static [&'static str],
    /// Its meaning.
    pub help: &'static str,
}

const fn described(
    name: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Described {
    Described {
        name,
        kind,
        labels,
        help,
    }
}

/// All metrics. `account` is the name of an `AwsAccount`, `session` of an `MfaSession`.
pub const TABLE: &[Described] = &[
    described("rolectl_build", "info", &["version"], "The running version"),
    described(
        "rolectl_aws_calls",
        "counter",
        &["account", "operation", "outcome"],
        "Calls to AWS. The outcome is ok, throttled, or the kind of failure",
    ),
    described(
        "rolectl_aws_call_duration_seconds",
        "histogram",
        &["operation"],
        "Time from the call to AWS's answer, without the wait for a turn",
    ),
    described(
        "rolectl_aws_rate",
        "gauge",
        &["account"],
        "Calls per second that the account's bucket gives out now; throttling halves it",
    ),
    described(
        "rolectl_aws_bucket_level",
        "gauge",
        &["account"],
        "Calls that could be made at once. Below zero: so many wait for their turn",
    ),
    described(
        "rolectl_sweep_duration_seconds",
        "gauge",
        &["account"],
        "How long the last sweep of the account took",
    ),
    described(
        "rolectl_sweep_age_seconds",
        "gauge",
        &["account"],
        "Time since the last sweep of the account that went through",
    ),
    described(
        "rolectl_sweep_overdue_seconds",
        "gauge",
        &["account"],
        "How long ago the next sweep of the account was due; 0 while it is not, while the session is locked, and while the account is suspended",
    ),
    described(
        "rolectl_orphaned_roles",
        "gauge",
        &["account"],
        "Roles in the account that carry an owner tag of this cluster and have no IamRole",
    ),
    described(
        "rolectl_violating_roles",
        "gauge",
        &["account"],
        "Roles in the account that break a guardrail, or whose namespace is no longer allowed",
    ),
    described(
        "rolectl_roles",
        "gauge",
        &["reason"],
        "IamRoles by the reason of their Ready condition. Of controllers with --sessions each counts a role that has no account yet",
    ),
    described(
        "rolectl_role_accounts",
        "gauge",
        &["account", "state"],
        "Roles in each account by their state there",
    ),
    described(
        "rolectl_restricted_roles",
        "gauge",
        &["account"],
        "Roles in sync that somebody has restricted from outside: by a policy that only denies, or by a permissions boundary",
    ),
    described(
        "rolectl_session_seconds_left",
        "gauge",
        &["session"],
        "Time until the open session ends; 0 while it is locked",
    ),
    described(
        "rolectl_queue_depth",
        "gauge",
        &["kind"],
        "Objects that wait to be reconciled",
    ),
    described(
        "rolectl_reconciles",
        "counter",
        &["kind", "outcome"],
        "Reconciles. error: the API server failed us; what a user can correct is in a status instead",
    ),
    described(
        "rolectl_reconcile_duration_seconds",
        "histogram",
        &["kind"],
        "Time that a reconcile took, waits for AWS included",
    ),
    described(
        "rolectl_status_writes",
        "counter",
        &["kind"],
        "Statuses written; none is written without a change",
    ),
    described(
        "rolectl_accounts",
        "gauge",
        &[],
        "AwsAccounts that the replicas look after together. More than the sum of `rolectl_accounts_held`: some have no replica",
    ),
    described(
        "rolectl_unreadable_objects",
        "gauge",
        &["kind"],
        "Objects that the controller cannot read: nested too deeply, too large, or not of its version of the CRDs. Their roles stay as they are in AWS",
    ),
    described(
        "rolectl_watch_failing_seconds",
        "gauge",
        &["kind"],
        "How long the list or the watch of a kind has been failing; 0 while it works. From 60 on /readyz fails",
    ),
    described(
        "rolectl_accounts_held",
        "gauge",
        &[],
        "AwsAccounts that this replica looks after",
    ),
];

/// A gauge that holds any number.
type Number = Gauge<f64, AtomicU64>;

/// Labels of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    account: String,
    operation: &'static str,
    outcome: &'static str,
}

macro_rules! label {
    ($type:ident, $($field:ident: $inner:ty),+) => {
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        #[allow(missing_docs)]
        pub struct $type {
            $(pub $field: $inner,)+
        }
    };
}
label!(OfAccount, account: String);
label!(OfSession, session: String);
label!(OfOperation, operation: &'static str);
label!(OfKind, kind: &'static str);
label!(OfReason, reason: String);
label!(Reconciled, kind: &'static str, outcome: &'static str);
label!(StateInAccount, account: String, state: &'static str);

/// Sets the gauges before the metrics are read.
type LookUp = Box<dyn Fn(&Metrics) + Send + Sync>;

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    /// Which of them there are, by account.
    called: Mutex<HashMap<String, HashSet<CallLabels>>>,
    call_seconds: Family<OfOperation, Histogram, fn() -> Histogram>,
    reconciles: Family<Reconciled, Counter>,
    reconcile_seconds: Family<OfKind, Histogram, fn() -> Histogram>,
    status_writes: Family<OfKind, Counter>,
    /// [`TABLE`]: `rolectl_aws_rate`.
    pub rate: Family<OfAccount, Number>,
    /// [`TABLE`]: `rolectl_aws_bucket_level`.
    pub bucket_level: Family<OfAccount, Number>,
    /// [`TABLE`]: `rolectl_sweep_duration_seconds`.
    pub sweep_seconds: Family<OfAccount, Number>,
    /// [`TABLE`]: `rolectl_sweep_age_seconds`.
    pub sweep_age: Family<OfAccount, Number>,
    /// [`TABLE`]: `rolectl_sweep_overdue_seconds`.
    pub sweep_overdue: Family<OfAccount, Number>,
    /// [`TABLE`]: `rolectl_orphaned_roles`.
    pub orphaned: Family<OfAccount, Gauge>,
    /// [`TABLE`]: `rolectl_violating_roles`.
    pub violating: Family<OfAccount, Gauge>,
    /// [`TABLE`]: `rolectl_roles`.
    pub roles: Family<OfReason, Gauge>,
    /// [`TABLE`]: `rolectl_role_accounts`.
    pub role_accounts: Family<StateInAccount, Gauge>,
    /// [`TABLE`]: `rolectl_restricted_roles`.
    pub restricted: Family<OfAccount, Gauge>,
    /// [`TABLE`]: `rolectl_session_seconds_left`.
    pub session_left: Family<OfSession, Number>,
    /// [`TABLE`]: `rolectl_queue_depth`.
    pub queue: Family<OfKind, Gauge>,
    /// [`TABLE`]: `rolectl_accounts`.
    pub accounts: Gauge,
    /// [`TABLE`]: `rolectl_unreadable_objects`.
    pub unreadable: Family<OfKind, Gauge>,
    watch_failing: Family<OfKind, Number>,
    /// [`TABLE`]: `rolectl_accounts_held`.
    pub accounts_held: Gauge,
    look_up: OnceLock<LookUp>,
    /// One who asks at a time: looking up clears what stood before.
    asked: Mutex<()>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(exponential_buckets(0.005, 2.0, 14));
        let mut registry = Registry::default();
        Self {
            calls: registered(&mut registry, "rolectl_aws_calls", Family::default()),
            called: Mutex::default(),
            call_seconds: registered(
                &mut registry,
                "rolectl_aws_call_duration_seconds",
                Family::new_with_constructor(histogram),
            ),
            reconciles: registered(&mut registry, "rolectl_reconciles", Family::default()),
            reconcile_seconds: registered(
                &mut registry,
                "rolectl_reconcile_duration_seconds",
                Family::new_with_constructor(histogram),
            ),
            status_writes: registered(&mut registry, "rolectl_status_writes", Family::default()),
            rate: registered(&mut registry, "rolectl_aws_rate", Family::default()),
            bucket_level: registered(&mut registry, "rolectl_aws_bucket_level", Family::default()),
            sweep_seconds: registered(&mut registry, "rolectl_sweep_duration_seconds", Family::default()),
            sweep_age: registered(&mut registry, "rolectl_sweep_age_seconds", Family::default()),
            sweep_overdue: registered(&mut registry, "rolectl_sweep_overdue_seconds", Family::default()),
            orphaned: registered(&mut registry, "rolectl_orphaned_roles", Family::default()),
            violating: registered(&mut registry, "rolectl_violating_roles", Family::default()),
            roles: registered(&mut registry, "rolectl_roles", Family::default()),
            role_accounts: registered(&mut registry, "rolectl_role_accounts", Family::default()),
            restricted: registered(&mut registry, "rolectl_restricted_roles", Family::default()),
            session_left: registered(&mut registry, "rolectl_session_seconds_left", Family::default()),
            queue: registered(&mut registry, "rolectl_queue_depth", Family::default()),
            accounts: registered(&mut registry, "rolectl_accounts", Gauge::default()),
            unreadable: registered(&mut registry, "rolectl_unreadable_objects", Family::default()),
            watch_failing: registered(&mut registry, "rolectl_watch_failing_seconds", Family::default()),
            accounts_held: registered(&mut registry, "rolectl_accounts_held", Gauge::default()),
            look_up: OnceLock::new(),
            asked: Mutex::default(),
            registry: {
                let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
                registry.register("rolectl_build", help("rolectl_build"), build);
                registry
            },
        }
    }
}

fn help(name: &str) -> &'static str {
    let known = TABLE.iter().find(|d| d.name == name);
    known.map_or("", |d| d.help)
}

fn registered<M: Metric + Clone>(registry: &mut Registry, name: &str, metric: M) -> M {
    registry.register(name, help(name), metric.clone());
    metric
}

impl Metrics {
    /// Sets the function that sets the gauges. The first call counts.
    pub fn on_scrape(&self, look_up: impl Fn(&Self) + Send + Sync + 'static) {
        let _ = self.look_up.set(Box::new(look_up));
    }

    /// All metrics as text.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let _alone = self.asked.lock();
        if let Some(look_up) = self.look_up.get() {
            look_up(self);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Drops the series of accounts that this process no longer looks after.
    pub fn retain_accounts(&self, accounts: &HashSet<&str>) {
        let mut called = self.called.lock();
        for (_, gone) in called.extract_if(|account, _| !accounts.contains(account.as_str())) {
            for labels in gone {
                self.calls.remove(&labels);
            }
        }
    }

    /// One reconcile is through.
    pub fn reconciled(&self, kind: &'static str, ok: bool, seconds: f64) {
        let outcome = if ok { "ok" } else { "error" };
        self.reconciles.get_or_create(&Reconciled { kind, outcome }).inc();
        self.reconcile_seconds
            .get_or_create(&OfKind { kind })
            .observe(seconds);
    }

    /// Shows how long the watches of these kinds have been failing. The others work.
    pub fn watches_fail(&self, failing: &[(&'static str, Duration)]) {
        for kind in KINDS {
            let lasts = failing.iter().find(|(failing, _)| *failing == kind);
            let seconds = lasts.map_or(0.0, |(_, lasts)| lasts.as_secs_f64());
            self.watch_failing.get_or_create(&OfKind { kind }).set(seconds);
        }
    }

    /// One status was written.
    pub fn wrote_status(&self, kind: &'static str) {
        self.status_writes.get_or_create(&OfKind { kind }).inc();
    }
}

impl CallObserver for Metrics {
    fn called(&self, account: &str, operation: &'static str, outcome: &'static str, seconds: f64) {
        let labels = CallLabels {
            account: account.to_owned(),
            operation,
            outcome,
        };
        self.calls.get_or_create(&labels).inc();
        let mut called = self.called.lock();
        if !called.get(account).is_some_and(|all| all.contains(&labels)) {
            called.entry(account.to_owned()).or_default().insert(labels);
        }
        drop(called);
        self.call_seconds
            .get_or_create(&OfOperation { operation })
            .observe(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_account_while_it_is_looked_after() {
        let metrics = Metrics::default();
        for (account, outcome) in [("dev", "ok"), ("dev", "ok"), ("dev", "throttled"), ("prod", "ok")] {
            metrics.called(account, "GetRole", outcome, 0.1);
        }
        let count = |account: &str| {
            let text = metrics.text().unwrap();
            let calls = text
                .lines()
                .filter(|line| line.starts_with("rolectl_aws_calls_total"));
            let of_account = format!("account=\"{account}\"");
            let numbers = calls
                .filter(|line| line.contains(&of_account))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
            numbers.sum::<u64>()
        };
        assert_eq!((count("dev"), count("prod")), (3, 1));
        metrics.retain_accounts(&HashSet::from(["prod"]));
        assert_eq!((count("dev"), count("prod")), (0, 1));
    }

    #[test]
    fn every_metric_of_the_table_is_served_and_no_other() {
        let metrics = Metrics::default();
        // What has no label yet is not shown.
        metrics.called("dev", "GetRole", "ok", 0.1);
        metrics.reconciled("IamRole", true, 0.1);
        metrics.wrote_status("IamRole");
        metrics.on_scrape(|metrics| {
            let (account, session) = ("dev".to_owned(), "main".to_owned());
            let of_account = OfAccount {
                account: account.clone(),
            };
            for family in [
                &metrics.rate,
                &metrics.bucket_level,
                &metrics.sweep_seconds,
                &metrics.sweep_age,
                &metrics.sweep_overdue,
            ] {
                family.get_or_create(&of_account).set(1.0);
            }
            metrics.restricted.get_or_create(&of_account).set(1);
            for family in [&metrics.orphaned, &metrics.violating] {
                family.get_or_create(&of_account).set(1);
            }
            metrics
                .session_left
                .get_or_create(&OfSession { session })
                .set(1.0);
            metrics.queue.get_or_create(&OfKind { kind: "IamRole" }).set(1);
            metrics
                .unreadable
                .get_or_create(&OfKind { kind: "IamRole" })
                .set(1);
            metrics.watches_fail(&[("IamRole", Duration::from_secs(2))]);
            let reason = "InSync".to_owned();
            metrics.roles.get_or_create(&OfReason { reason }).set(1);
            let state = "InSync";
            metrics
                .role_accounts
                .get_or_create(&StateInAccount { account, state })
                .set(1);
        });
        let text = metrics.text().unwrap();
        let served: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .map(|(name, _)| name)
            .collect();
        for d in TABLE {
            assert!(served.contains(&d.name), "{} is not served", d.name);
            let kind = format!("# TYPE {} {}\n", d.name, d.kind);
            assert!(text.contains(&kind), "{kind}");
            let sample = text.lines().find(|line| line.starts_with(d.name)).unwrap();
            for label in d.labels {
                assert!(sample.contains(&format!("{label}=")), "{label} in {sample}");
            }
        }
        assert_eq!(served.len(), TABLE.len(), "{served:?}");
    }
}
