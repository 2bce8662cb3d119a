//! A fleet of roles and the controller that manages it.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::{Result, bail};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use rolectl_crds::{AwsAccount, IamRole};
use rolectl_tests::scenario::{Scenario, World};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::Flags;
use crate::fixtures::{name, spec};

/// More than a case takes on a slow machine, for each thousand roles in an account.
const LONGEST: Duration = Duration::from_mins(1);
/// For this long the controller trusts its own writes over reads.
const GRACE: Duration = Duration::from_secs(11);
/// Higher than any run reaches, so that a case measures the program and not the ceiling of an account.
pub const REQUESTS_PER_SECOND: u32 = 1000;

/// The roles of one scenario.
pub struct Fleet {
    pub flags: Flags,
    pub s: Scenario<'static>,
}

/// A sweep of every account.
pub struct Sweep {
    /// The instant before the first request.
    pub requested: Instant,
    /// Time from the first request to the last status that shows a newer sweep.
    pub took: Duration,
}

impl Fleet {
    /// Starts a controller with accounts that are in sync and without roles.
    pub async fn start(flags: Flags, world: &'static World, name: &str) -> Result<Self> {
        let s = Scenario::with(world, name, flags.accounts, |account| {
            account["spec"]["requestsPerSecond"] = json!(REQUESTS_PER_SECOND);
            account["spec"]["burst"] = json!(REQUESTS_PER_SECOND);
        })
        .await?;
        allow_any_number_of_roles(&s).await?;
        let in_flight = flags.in_flight.to_string();
        s.start_controller_with(&[("ROLECTL_CONCURRENCY", &in_flight), ("RUST_LOG", "warn")])?;
        s.unlock().await?;
        for n in 0..s.targets.len() {
            s.account_is(n, "InSync").await?;
        }
        Ok(Self { flags, s })
    }

    /// How long a case may take.
    pub fn longest(&self) -> Duration {
        LONGEST * u32::try_from(5 + self.pairs() / 1000).unwrap_or(u32::MAX)
    }

    /// How many roles there are in AWS: one for each role and account.
    pub fn pairs(&self) -> usize {
        self.flags.roles
            * if self.flags.everywhere {
                self.flags.accounts
            } else {
                1
            }
    }

    /// The `IamRole` with this number.
    pub fn role(&self, n: usize, description: &str) -> Value {
        let targets = &self.s.targets;
        let names: Vec<&String> = if self.flags.everywhere {
            targets.iter().map(|(name, _)| name).collect()
        } else {
            targets
                .get(n % targets.len())
                .map(|(name, _)| name)
                .into_iter()
                .collect()
        };
        self.s.role(&name(n), spec(&json!({"names": names}), description))
    }

    /// The clients of the accounts that role `n` belongs to.
    pub fn of<'c>(&self, clients: &'c [aws_sdk_iam::Client], n: usize) -> Vec<&'c aws_sdk_iam::Client> {
        if self.flags.everywhere {
            clients.iter().collect()
        } else {
            clients.get(n % clients.len()).into_iter().collect()
        }
    }

    /// Applies all roles, `--in-flight` at a time.
    pub async fn apply_all(&self, description: &str) -> Result<()> {
        let api = self.s.roles();
        let params = PatchParams::apply("bench").force();
        stream::iter(0..self.flags.roles)
            .map(Ok)
            .try_for_each_concurrent(self.flags.in_flight, |n| {
                let (api, params, role) = (api.clone(), params.clone(), self.role(n, description));
                async move {
                    api.patch(&name(n), &params, &Patch::Apply(&role))
                        .await
                        .map(|_| ())
                }
            })
            .await?;
        Ok(())
    }

    /// Waits until every role is Ready with its newest spec.
    pub async fn all_ready(&self) -> Result<()> {
        self.all_are("Ready", |role| {
            conditions(role)
                .iter()
                .any(|c| c.type_ == "Ready" && c.status == "True")
        })
        .await
    }

    /// Waits until this is true of every role and its newest spec. Watches, so that waiting costs the API server little.
    pub async fn all_are(&self, what: &str, is: fn(&IamRole) -> bool) -> Result<()> {
        let mut events = watcher(self.s.roles(), watcher::Config::default())
            .default_backoff()
            .boxed();
        let mut right = HashSet::new();
        let all = async {
            while right.len() < self.flags.roles {
                match events.next().await {
                    Some(Ok(Event::Apply(role) | Event::InitApply(role))) => {
                        if is_current(&role) && is(&role) {
                            right.insert(role.name_any());
                        } else {
                            right.remove(&role.name_any());
                        }
                    }
                    Some(Ok(Event::Init)) => right.clear(),
                    // The watcher restarts a watch that broke.
                    Some(_) => {}
                    None => bail!("the watch ended"),
                }
            }
            Ok(())
        };
        let done = tokio::time::timeout(self.longest(), all).await;
        done.unwrap_or_else(|_| bail!("only {} of {} were {what}", right.len(), self.flags.roles))
    }

    /// AWS calls in all target accounts so far, by action.
    pub async fn calls(&self) -> Result<BTreeMap<String, usize>> {
        let mut all = BTreeMap::new();
        let counts = self.s.world.double.counts().await?;
        let ours = self.s.targets.iter().filter_map(|(_, id)| counts.get(id));
        for (action, count) in ours.flatten() {
            *all.entry(action.clone()).or_default() += count;
        }
        Ok(all)
    }

    /// How many AWS calls there were since `before`.
    pub async fn calls_since(&self, before: &BTreeMap<String, usize>) -> Result<f64> {
        let now = self.calls().await?;
        let n: usize = now
            .iter()
            .map(|(action, n)| n - before.get(action).copied().unwrap_or_default())
            .sum();
        Ok(n as f64)
    }

    /// Waits until the controller no longer trusts its own writes over reads.
    pub async fn grace(&self) {
        tokio::time::sleep(GRACE).await;
    }

    /// Requests a sweep of every account and waits for the end of each.
    pub async fn sweep_all(&self) -> Result<Sweep> {
        let api: Api<AwsAccount> = Api::all(self.s.client.clone());
        let mut before: BTreeMap<String, Option<Time>> = BTreeMap::new();
        for (name, _) in &self.s.targets {
            let account = api.get(name).await?;
            before.insert(name.clone(), account.status.and_then(|s| s.last_sweep_time));
        }
        // `lastSweepTime` has a resolution of one second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let ours = watcher::Config::default().labels(&format!("scenario={}", self.s.name));
        let mut events = watcher(api, ours).default_backoff().boxed();
        // The first list is read before the clock starts.
        while !matches!(events.next().await, Some(Ok(Event::InitDone)) | None) {}
        let requested = Instant::now();
        let asked = if self.flags.everywhere {
            1
        } else {
            self.s.targets.len().min(self.flags.roles)
        };
        for n in 0..asked {
            self.s.look_again(&name(n)).await?;
        }
        let swept = async {
            while !before.is_empty() {
                match events.next().await {
                    Some(Ok(Event::Apply(account) | Event::InitApply(account))) => {
                        let now = account.status.as_ref().and_then(|s| s.last_sweep_time.clone());
                        if before.get(&account.name_any()).is_some_and(|then| *then != now) {
                            before.remove(&account.name_any());
                        }
                    }
                    Some(_) => {}
                    None => bail!("the watch ended"),
                }
            }
            Ok(())
        };
        let done = tokio::time::timeout(self.longest(), swept).await;
        done.unwrap_or_else(|_| bail!("accounts without a new sweep: {:?}", before.keys()))?;
        Ok(Sweep {
            requested,
            took: requested.elapsed(),
        })
    }
}

/// Raises the quota of roles in every target account.
pub async fn allow_any_number_of_roles(s: &Scenario<'_>) -> Result<()> {
    for (_, id) in &s.targets {
        s.world
            .double
            .quotas(id, json!({"RolesQuota": 1_000_000}))
            .await?;
    }
    Ok(())
}

/// Tells if the status belongs to the newest spec.
pub fn is_current(role: &IamRole) -> bool {
    role.status.as_ref().and_then(|s| s.observed_generation) == role.metadata.generation
}

/// The conditions of a role; none without a status.
pub fn conditions(role: &IamRole) -> &[Condition] {
    role.status
        .as_ref()
        .map(|s| s.conditions.as_slice())
        .unwrap_or_default()
}
