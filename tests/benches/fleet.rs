//! `cargo bench --bench fleet`: what a fleet of roles costs, on a real control plane and the AWS double.
//!
//! Each figure that depends on the machine comes with a ratio to something that ran in the same minutes: a bare
//! loop that makes the same AWS calls and the same Kubernetes writes and does nothing else, or Terraform.
//! Prints a table and writes `target/bench/fleet.json`.

// A benchmark talks to the person who runs it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt as _};
use rolectl_crds::{AwsAccount, FINALIZER, IamRole, RECONCILE_ANNOTATION};
use rolectl_tests::scenario::{Scenario, World};
use rolectl_tests::tools::{Build, target};
use rolectl_tests::wait::until_within;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Benchmark of a fleet
#[derive(Debug, Parser)]
struct Flags {
    /// How many roles
    #[arg(long, env = "BENCH_ROLES", default_value_t = 1000)]
    roles: usize,
    /// Over how many accounts
    #[arg(long, env = "BENCH_ACCOUNTS", default_value_t = 1)]
    accounts: usize,
    /// Every role in every account, not one account each
    #[arg(long, env = "BENCH_EVERYWHERE")]
    everywhere: bool,
    /// Which cases
    #[arg(
        long,
        env = "BENCH_CASES",
        value_delimiter = ',',
        default_value = "create,sweep,drift,apply_latency,resume,idle,terraform"
    )]
    cases: Vec<String>,
    /// Roles worked on at a time, by the controller and by the bare loop
    #[arg(long, env = "BENCH_IN_FLIGHT", default_value_t = 64)]
    in_flight: usize,
    /// Roles for Terraform, which is slow
    #[arg(long, env = "BENCH_TERRAFORM_ROLES", default_value_t = 200)]
    terraform_roles: usize,
    /// Leave out the bare loop, which takes as long as the case that it is compared with
    #[arg(long)]
    no_bare_loop: bool,
    /// cargo says so
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a case showed, by name and in order.
type Case = Vec<(&'static str, f64)>;

/// More than a case takes on a slow machine, for each thousand roles in an account.
const LONGEST: Duration = Duration::from_mins(1);
/// The controller trusts its own writes over reads for this long.
const GRACE: Duration = Duration::from_secs(11);

struct Bench {
    flags: Flags,
    s: Scenario<'static>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let flags = Flags::parse();
    let world: &'static World = Box::leak(Box::new(World::start_built("bench-world", Build::Release).await?));
    let s = Scenario::with(world, "fleet", flags.accounts, |a| {
        a["spec"]["requestsPerSecond"] = json!(1000);
        a["spec"]["burst"] = json!(1000);
    })
    .await?;
    for (_, id) in &s.targets {
        world.double.quotas(id, json!({"RolesQuota": 1_000_000})).await?;
    }
    let bench = Bench { flags, s };
    let results = bench.run().await?;
    let cases: Vec<Value> = results.iter().map(|(name, case)| as_json(name, case)).collect();
    let all = json!({"roles": bench.flags.roles, "accounts": bench.flags.accounts, "everywhere": bench.flags.everywhere, "cases": cases});
    let file = target().join("bench/fleet.json");
    std::fs::create_dir_all(file.parent().context("no folder")?)?;
    std::fs::write(&file, serde_json::to_string_pretty(&all)?)?;
    println!("\nwritten to {}", file.display());
    Ok(())
}

fn as_json(name: &str, case: &Case) -> Value {
    let mut map = serde_json::Map::from_iter([("name".to_owned(), json!(name))]);
    for (key, value) in case {
        map.insert((*key).to_owned(), json!((value * 1000.0).round() / 1000.0));
    }
    Value::Object(map)
}

impl Bench {
    async fn run(&self) -> Result<Vec<(String, Case)>> {
        let in_flight = self.flags.in_flight.to_string();
        self.s
            .start_controller_with(&[("ROLECTL_CONCURRENCY", &in_flight), ("RUST_LOG", "warn")])?;
        self.s.unlock().await?;
        for n in 0..self.s.targets.len() {
            self.s.account_is(n, "InSync").await?;
        }
        println!(
            "{} roles, {} accounts, {} in flight",
            self.flags.roles, self.flags.accounts, self.flags.in_flight
        );
        let mut results = vec![];
        // The first case makes the roles that all others need.
        for name in [
            "create",
            "sweep",
            "drift",
            "apply_latency",
            "resume",
            "idle",
            "terraform",
        ] {
            let wanted = name == "create" || self.flags.cases.iter().any(|c| c == name);
            if !wanted {
                continue;
            }
            eprint!("{name} ... ");
            std::io::stderr().flush()?;
            let case = match name {
                "create" => self.create().await,
                "sweep" => self.sweep().await,
                "drift" => self.drift().await,
                "apply_latency" => self.apply_latency().await,
                "resume" => self.resume().await,
                "idle" => self.idle().await,
                _ => self.terraform(&results).await,
            }
            .with_context(|| name.to_owned())?;
            let shown: Vec<String> = case
                .iter()
                .map(|(key, value)| format!("{key} {value:.3}"))
                .collect();
            eprintln!();
            println!("{name:14} {}", shown.join("  "));
            results.push((name.to_owned(), case));
        }
        Ok(results)
    }

    /// How long a case may take.
    fn longest(&self) -> Duration {
        LONGEST * u32::try_from(5 + self.pairs() / 1000).unwrap_or(u32::MAX)
    }

    fn pairs(&self) -> usize {
        self.flags.roles
            * if self.flags.everywhere {
                self.flags.accounts
            } else {
                1
            }
    }

    fn role(&self, n: usize, description: &str) -> Value {
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

    /// Applies all roles, so many at a time.
    async fn apply_all(&self, description: &str) -> Result<()> {
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

    /// Waits until every role is in sync with its newest spec.
    async fn all_ready(&self) -> Result<()> {
        self.all_are("Ready", |role| {
            conditions(role)
                .iter()
                .any(|c| c.type_ == "Ready" && c.status == "True")
        })
        .await
    }

    /// Waits until this holds for every role and its newest spec. By a watch, so that asking costs next to nothing.
    async fn all_are(&self, what: &str, is: fn(&IamRole) -> bool) -> Result<()> {
        let mut events = watcher(self.s.roles(), watcher::Config::default())
            .default_backoff()
            .boxed();
        let mut right = HashSet::new();
        let all = async {
            while right.len() < self.flags.roles {
                match events.next().await {
                    Some(Ok(Event::Apply(role) | Event::InitApply(role))) => {
                        let current = role.status.as_ref().and_then(|s| s.observed_generation)
                            == role.metadata.generation;
                        if current && is(&role) {
                            right.insert(role.name_any());
                        } else {
                            right.remove(&role.name_any());
                        }
                    }
                    Some(Ok(Event::Init)) => right.clear(),
                    // A watch that broke is begun anew.
                    Some(_) => {}
                    None => bail!("the watch ended"),
                }
            }
            Ok(())
        };
        let done = tokio::time::timeout(self.longest(), all).await;
        done.unwrap_or_else(|_| bail!("only {} of {} were {what}", right.len(), self.flags.roles))
    }

    /// AWS calls in all target accounts since `before`, by action.
    async fn calls(&self) -> Result<BTreeMap<String, usize>> {
        let mut all = BTreeMap::new();
        for n in 0..self.s.targets.len() {
            for (action, count) in self.s.calls(n, 0).await?.by_action() {
                *all.entry(action.to_owned()).or_default() += count;
            }
        }
        Ok(all)
    }

    async fn calls_since(&self, before: &BTreeMap<String, usize>) -> Result<f64> {
        let now = self.calls().await?;
        let n: usize = now
            .iter()
            .map(|(action, n)| n - before.get(action).copied().unwrap_or_default())
            .sum();
        Ok(n as f64)
    }

    /// 1. From the first apply to the last Ready, against the bare loop.
    async fn create(&self) -> Result<Case> {
        let before = self.calls().await?;
        let start = Instant::now();
        let (applied, ready) = tokio::join!(self.apply_all(""), self.all_ready());
        applied?;
        ready?;
        let wall = start.elapsed().as_secs_f64();
        let calls = self.calls_since(&before).await?;
        let cpu = cpu_seconds(self.s.controller_pid()?)?;
        let mut case = vec![
            ("wall_s", wall),
            ("calls", calls),
            ("calls_per_role", calls / self.pairs() as f64),
            ("controller_cpu_s", cpu),
        ];
        if !self.flags.no_bare_loop {
            let bare = self.bare_create().await?;
            case.extend([("bare_loop_s", bare), ("ratio_to_bare_loop", wall / bare)]);
        }
        Ok(case)
    }

    /// The same objects, AWS calls and Kubernetes writes by a loop that does nothing else.
    async fn bare_create(&self) -> Result<f64> {
        let bare = Scenario::with(self.s.world, "bare", self.flags.accounts, |_| {}).await?;
        let mut clients = vec![];
        for (n, (_, id)) in bare.targets.iter().enumerate() {
            self.s
                .world
                .double
                .quotas(id, json!({"RolesQuota": 1_000_000}))
                .await?;
            clients.push(bare.hands(n).await?);
        }
        let start = Instant::now();
        let statuses = statuses(&bare).await?;
        let (api, bare, clients) = (bare.roles(), &bare, &clients);
        stream::iter(0..self.flags.roles)
            .map(anyhow::Ok)
            .try_for_each_concurrent(self.flags.in_flight, |n| {
                let (api, statuses) = (api.clone(), statuses.clone());
                async move {
                    let role = bare.role(&name(n), spec(&json!({"names": ["x"]}), ""));
                    write_object(&api, &name(n), &role).await?;
                    for iam in self.of(clients, n) {
                        create_in_aws(iam, &name(n), bare).await?;
                    }
                    write_status(&statuses, &name(n)).await
                }
            })
            .await?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// The accounts that role `n` stands in.
    fn of<'c>(&self, clients: &'c [aws_sdk_iam::Client], n: usize) -> Vec<&'c aws_sdk_iam::Client> {
        if self.flags.everywhere {
            clients.iter().collect()
        } else {
            clients.get(n % clients.len()).into_iter().collect()
        }
    }

    /// Asks for a sweep of every account, and waits until each is through.
    async fn sweep_all(&self) -> Result<()> {
        let api: Api<AwsAccount> = Api::all(self.s.client.clone());
        let mut before = BTreeMap::new();
        for (name, _) in &self.s.targets {
            before.insert(name, api.get(name).await?.status.and_then(|s| s.last_sweep_time));
        }
        // Times are whole seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let asked = if self.flags.everywhere {
            1
        } else {
            self.s.targets.len().min(self.flags.roles)
        };
        for n in 0..asked {
            let value = jiff::Timestamp::now().as_nanosecond().to_string();
            let patch = Patch::Merge(json!({"metadata": {"annotations": {RECONCILE_ANNOTATION: value}}}));
            self.s
                .roles()
                .patch(&name(n), &PatchParams::default(), &patch)
                .await?;
        }
        until_within(self.longest(), "a sweep of every account", || async {
            for (name, before) in &before {
                let now = api
                    .get(name)
                    .await
                    .map_err(|e| e.to_string())?
                    .status
                    .and_then(|s| s.last_sweep_time);
                if now == *before {
                    return Err((*name).clone());
                }
            }
            Ok(())
        })
        .await
    }

    /// 2. A sweep that finds nothing to do.
    async fn sweep(&self) -> Result<Case> {
        tokio::time::sleep(GRACE).await;
        self.sweep_all().await?;
        let (before, pid) = (self.calls().await?, self.s.controller_pid()?);
        let cpu = cpu_seconds(pid)?;
        self.sweep_all().await?;
        let calls = self.calls_since(&before).await?;
        Ok(vec![
            ("calls", calls),
            ("calls_per_role", calls / self.pairs() as f64),
            ("cpu_s", cpu_seconds(pid)? - cpu),
        ])
    }

    /// 3. One role in a hundred is broken behind the controller's back; then one sweep is asked for.
    async fn drift(&self) -> Result<Case> {
        let broken: Vec<usize> = (0..self.flags.roles).step_by(100).collect();
        let mut clients = vec![];
        for n in 0..self.s.targets.len() {
            clients.push(self.s.hands(n).await?);
        }
        for n in &broken {
            for iam in self.of(&clients, *n) {
                iam.detach_role_policy()
                    .role_name(name(*n))
                    .policy_arn(POLICIES[0])
                    .send()
                    .await?;
            }
        }
        let start = Instant::now();
        let mended = async {
            until_within(self.longest(), "the broken roles to be mended", || async {
                for n in &broken {
                    for iam in self.of(&clients, *n) {
                        let attached = iam.list_attached_role_policies().role_name(name(*n)).send().await;
                        let attached = attached
                            .map_err(|e| format!("{e:?}"))?
                            .attached_policies
                            .unwrap_or_default();
                        if attached.len() != POLICIES.len() {
                            return Err(name(*n));
                        }
                    }
                }
                Ok(())
            })
            .await?;
            anyhow::Ok(start.elapsed().as_secs_f64())
        };
        let (asked, wall) = tokio::join!(self.sweep_all(), mended);
        asked?;
        self.all_ready().await?;
        Ok(vec![("roles", broken.len() as f64), ("wall_s", wall?)])
    }

    /// 4. From `kubectl apply` of one changed tag to that tag in AWS.
    async fn apply_latency(&self) -> Result<Case> {
        let iam = self.s.hands(0).await?;
        let step = self.s.targets.len();
        let mut took = vec![];
        for n in (0..self.flags.roles).step_by(step).take(50) {
            let mut role = self.role(n, "");
            role["spec"]["tags"]["changed"] = json!("yes");
            let start = Instant::now();
            self.s.apply(&role).await?;
            while !iam
                .list_role_tags()
                .role_name(name(n))
                .send()
                .await?
                .tags
                .iter()
                .any(|tag| tag.key == "changed")
            {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            took.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        took.sort_by(f64::total_cmp);
        let at = |share: f64| {
            took.get(((took.len() - 1) as f64 * share).round() as usize)
                .copied()
                .unwrap_or_default()
        };
        let start = Instant::now();
        self.s.world.plane.kubectl(&["get", "--raw", "/readyz"]).await?;
        Ok(vec![
            ("p50_ms", at(0.5)),
            ("p99_ms", at(0.99)),
            ("kubectl_alone_ms", start.elapsed().as_secs_f64() * 1000.0),
        ])
    }

    /// 5. Every role was changed while locked: from the unlock to the last of them right, against the bare loop.
    async fn resume(&self) -> Result<Case> {
        self.s.lock().await?;
        self.apply_all("changed while locked").await?;
        self.all_are("parked", |role| {
            conditions(role).iter().any(|c| c.reason == "SessionLocked")
        })
        .await?;
        let code = self.s.operator.code().await?;
        let start = Instant::now();
        self.s.unlock_with(&code).await?;
        self.all_ready().await?;
        let wall = start.elapsed().as_secs_f64();
        let bare = self.bare_resume().await?;
        Ok(vec![
            ("wall_s", wall),
            ("bare_loop_s", bare),
            ("ratio_to_bare_loop", wall / bare),
        ])
    }

    /// One read of each account, and for each role the one call and the one write that its change needs.
    async fn bare_resume(&self) -> Result<f64> {
        let bare = Scenario::new(self.s.world, "bare-resume", 0).await?;
        let api = bare.roles();
        for n in 0..self.flags.roles {
            let role = self.s.role(&name(n), spec(&json!({"names": ["x"]}), "x"));
            let mut role = role;
            role["metadata"]["namespace"] = json!("bare-resume");
            write_object(&api, &name(n), &role).await?;
        }
        let mut clients = vec![];
        for n in 0..self.s.targets.len() {
            clients.push(self.s.hands(n).await?);
        }
        let start = Instant::now();
        for iam in &clients {
            iam.list_roles()
                .max_items(1000)
                .into_paginator()
                .send()
                .try_collect()
                .await?;
            iam.get_account_authorization_details()
                .max_items(1000)
                .into_paginator()
                .send()
                .try_collect()
                .await?;
        }
        let clients = &clients;
        let statuses = statuses(&bare).await?;
        stream::iter(0..self.flags.roles)
            .map(anyhow::Ok)
            .try_for_each_concurrent(self.flags.in_flight, |n| {
                let statuses = statuses.clone();
                async move {
                    for iam in self.of(clients, n) {
                        iam.update_role()
                            .role_name(name(n))
                            .description("changed while locked")
                            .max_session_duration(3600)
                            .send()
                            .await?;
                    }
                    write_status(&statuses, &name(n)).await
                }
            })
            .await?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// 6. What the controller needs while nothing happens. CPU is what a quiet minute costs, and a sweep in 5 minutes.
    async fn idle(&self) -> Result<Case> {
        let pid = self.s.controller_pid()?;
        self.sweep_all().await?;
        let (cpu, start) = (cpu_seconds(pid)?, Instant::now());
        tokio::time::sleep(Duration::from_secs(20)).await;
        let quiet = (cpu_seconds(pid)? - cpu) / start.elapsed().as_secs_f64();
        let (rss, program) = (memory_mib(pid, "VmRSS:")?, memory_mib(pid, "RssFile:")?);
        let cpu = cpu_seconds(pid)?;
        self.sweep_all().await?;
        let sweep = cpu_seconds(pid)? - cpu;
        Ok(vec![
            ("rss_mib", rss),
            ("of_it_program_mib", program),
            ("peak_rss_mib", memory_mib(pid, "VmHWM:")?),
            ("cpu_percent", (quiet + sweep / 300.0) * 100.0),
        ])
    }

    /// 7. The same roles by Terraform, where it and its AWS provider are at hand.
    async fn terraform(&self, _results: &[(String, Case)]) -> Result<Case> {
        let dir = tempfile::tempdir()?;
        let n = self.flags.terraform_roles.min(self.flags.roles);
        let bare = Scenario::with(self.s.world, "terraform", 1, |_| {}).await?;
        let (_, account) = bare.targets.first().context("no account")?;
        let root = self.s.world.double.root(account).await?;
        std::fs::write(
            dir.path().join("main.tf"),
            terraform_file(&self.s.world.double.endpoint, n, &bare.main),
        )?;
        let run = async |args: &[&str]| {
            let start = Instant::now();
            let output = tokio::process::Command::new("terraform")
                .args(args)
                .current_dir(dir.path())
                .env("AWS_ACCESS_KEY_ID", root.access_key_id())
                .env("AWS_SECRET_ACCESS_KEY", root.secret_access_key())
                .output()
                .await?;
            ensure!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            anyhow::Ok(start.elapsed().as_secs_f64())
        };
        if run(&["init", "-no-color"]).await.is_err() {
            eprint!("left out: no terraform with the AWS provider here");
            return Ok(vec![]);
        }
        let apply = run(&["apply", "-auto-approve", "-no-color"]).await?;
        let plan = run(&["plan", "-no-color"]).await?;
        // Ours, of the same number of roles.
        let ours = Bench {
            flags: Flags {
                roles: n,
                accounts: 1,
                everywhere: false,
                cases: vec![],
                ..Flags::parse()
            },
            s: Scenario::with(self.s.world, "against-terraform", 1, |a| {
                a["spec"]["requestsPerSecond"] = json!(1000);
                a["spec"]["burst"] = json!(1000);
            })
            .await?,
        };
        ours.s.start_controller_with(&[("RUST_LOG", "warn")])?;
        ours.s.unlock().await?;
        ours.s.account_is(0, "InSync").await?;
        let start = Instant::now();
        let (applied, ready) = tokio::join!(ours.apply_all(""), ours.all_ready());
        applied?;
        ready?;
        let ours_apply = start.elapsed().as_secs_f64();
        tokio::time::sleep(GRACE).await;
        let start = Instant::now();
        ours.sweep_all().await?;
        // Less the pause that tells one second's sweep from the next.
        let ours_plan = start.elapsed().as_secs_f64() - 1.1;
        Ok(vec![
            ("apply_wall_s", apply),
            ("plan_wall_s", plan),
            ("ratio_apply", apply / ours_apply),
            ("ratio_plan", plan / ours_plan),
        ])
    }
}

fn conditions(role: &IamRole) -> &[Condition] {
    role.status
        .as_ref()
        .map(|s| s.conditions.as_slice())
        .unwrap_or_default()
}

const POLICIES: &[&str] = &[
    "arn:aws:iam::aws:policy/ReadOnlyAccess",
    "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess",
];

fn name(n: usize) -> String {
    format!("role-{n:05}")
}

fn inline() -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"]}]})
}

/// A role with 2 managed and 1 inline policies and 2 tags.
fn spec(accounts: &Value, description: &str) -> Value {
    json!({
        "accounts": accounts, "description": description, "managedPolicies": POLICIES,
        "inlinePolicies": {"reader": inline()}, "tags": {"team": "platform", "stage": "prod"},
    })
}

async fn create_in_aws(iam: &aws_sdk_iam::Client, name: &str, s: &Scenario<'_>) -> Result<()> {
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": format!("arn:aws:iam::{}:root", s.main)}, "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}]});
    let tag = |key: &str, value: &str| aws_sdk_iam::types::Tag::builder().key(key).value(value).build();
    iam.create_role()
        .role_name(name)
        .assume_role_policy_document(trust.to_string())
        .tags(tag("team", "platform")?)
        .tags(tag("stage", "prod")?)
        .tags(tag("iam.rolectl.dev/owner", "bench")?)
        .send()
        .await?;
    for arn in POLICIES {
        iam.attach_role_policy()
            .role_name(name)
            .policy_arn(*arn)
            .send()
            .await?;
    }
    iam.put_role_policy()
        .role_name(name)
        .policy_name("reader")
        .policy_document(inline().to_string())
        .send()
        .await?;
    Ok(())
}

/// The object, and the finalizer on it, without anybody to take it off.
async fn write_object(api: &Api<IamRole>, name: &str, role: &Value) -> Result<()> {
    let made = api
        .patch(name, &PatchParams::apply("bench").force(), &Patch::Apply(role))
        .await?;
    let patch = json!({"metadata": {"finalizers": [FINALIZER], "resourceVersion": made.resource_version()}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

/// The admission policy `rolectl-status` lets nobody but the controller write a status.
async fn statuses(s: &Scenario<'_>) -> Result<Api<IamRole>> {
    let client = s.world.plane.client("rolectl-controller").await?;
    Ok(Api::namespaced(client, &s.name))
}

async fn write_status(api: &Api<IamRole>, name: &str) -> Result<()> {
    let status = json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "IamRole", "metadata": {"name": name}, "status": {
        "observedGeneration": 1, "summary": "1/1",
        "conditions": [{"type": "Ready", "status": "True", "reason": "InSync", "message": "in sync in 1 account", "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        "accounts": [{"name": "x", "accountId": "000000000000", "state": "InSync", "arn": "arn:aws:iam::000000000000:role/x", "roleId": "AROAXXXXXXXXXXXXXXXXX", "lastAppliedGeneration": 1}]}});
    api.patch_status(
        name,
        &PatchParams::apply("bench-status").force(),
        &Patch::Apply(&status),
    )
    .await?;
    Ok(())
}

/// User and system time of a process.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |n: usize| {
        fields
            .get(n)
            .and_then(|f| f.parse::<f64>().ok())
            .context("no time in stat")
    };
    // Fields 14 and 15 of proc(5), in hundredths on Linux.
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

fn memory_mib(pid: u32, what: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find(|l| l.starts_with(what))
        .with_context(|| format!("no {what}"))?;
    let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib / 1024.0)
}

fn terraform_file(endpoint: &str, roles: usize, main: &str) -> String {
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": format!("arn:aws:iam::{main}:root")}}]});
    format!(
        r#"
terraform {{
  required_providers {{
    aws = {{
      source = "hashicorp/aws"
    }}
  }}
}}
provider "aws" {{
  region                      = "us-east-1"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
  endpoints {{
    iam = "{endpoint}"
    sts = "{endpoint}"
  }}
}}
resource "aws_iam_role" "r" {{
  count              = {roles}
  name               = format("role-%05d", count.index)
  assume_role_policy = jsonencode({trust})
  tags               = {{ team = "platform", stage = "prod" }}
}}
resource "aws_iam_role_policy_attachment" "a" {{
  count      = {roles}
  role       = aws_iam_role.r[count.index].name
  policy_arn = "{}"
}}
resource "aws_iam_role_policy_attachment" "b" {{
  count      = {roles}
  role       = aws_iam_role.r[count.index].name
  policy_arn = "{}"
}}
resource "aws_iam_role_policy" "i" {{
  count  = {roles}
  name   = "reader"
  role   = aws_iam_role.r[count.index].name
  policy = jsonencode({})
}}
"#,
        POLICIES[0],
        POLICIES[1],
        inline(),
    )
}
