//! `cargo bench --bench fleet` measures what a fleet of roles costs, on a real control plane and the AWS double.
//!
//! Each figure that depends on the machine comes with a ratio to something that ran in the same minutes: a bare
//! loop that makes the same AWS calls and the same Kubernetes writes and does nothing else, or Terraform.
//! Prints one line for each case and writes `target/bench/fleet.json`. docs/fleets.md defines every figure.

// A benchmark talks to the person who runs it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bare_loop;
mod cases;
mod fixtures;
mod fleet;
mod process;
mod terraform;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use rolectl_tests::scenario::World;
use rolectl_tests::tools::{Build, target};
use serde_json::{Value, json};

use crate::fleet::Fleet;

/// The controller's allocator, so that the bare loop's CPU seconds can be compared with the controller's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Benchmark of a fleet
#[derive(Clone, Debug, Parser)]
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
    /// Which cases; `create` always runs, because it creates the roles of the others
    #[arg(long, env = "BENCH_CASES", value_enum, value_delimiter = ',', default_values_t = Case::value_variants().to_vec())]
    cases: Vec<Case>,
    /// Roles worked on at a time, by the controller and by the bare loop
    #[arg(long, env = "BENCH_IN_FLIGHT", default_value_t = 64)]
    in_flight: usize,
    /// Roles that Terraform, the controller and `rolectl apply` create in the case `terraform`
    #[arg(long, env = "BENCH_TERRAFORM_ROLES", default_value_t = 200)]
    terraform_roles: usize,
    /// Terraform's `-parallelism`
    #[arg(long, env = "BENCH_TERRAFORM_PARALLELISM", default_value_t = 10)]
    terraform_parallelism: usize,
    /// Folder that holds `registry.terraform.io/` with Terraform's AWS provider, as `terraform init -plugin-dir` takes it
    #[arg(long, env = "TF_PLUGIN_DIR")]
    terraform_plugin_dir: Option<PathBuf>,
    /// Leave out the bare loop, which takes as long as the case that it is compared with
    #[arg(long)]
    no_bare_loop: bool,
    /// Cargo passes this flag to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// A case, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Case {
    Create,
    Sweep,
    Drift,
    ApplyLatency,
    Resume,
    Idle,
    Terraform,
}

/// The figures of a case, by name and in the order in which they are shown.
type Figures = Vec<(&'static str, f64)>;

#[tokio::main]
async fn main() -> Result<()> {
    let flags = Flags::parse();
    let world: &'static World = Box::leak(Box::new(World::start_built("bench-world", Build::Release).await?));
    let fleet = Fleet::start(flags.clone(), world, "fleet").await?;
    println!(
        "{} roles, {} accounts, {} in flight",
        flags.roles, flags.accounts, flags.in_flight
    );
    let mut results = vec![];
    for case in Case::value_variants() {
        if *case == Case::Create || flags.cases.contains(case) {
            let name = name_of(*case);
            if let Some(figures) = run(&fleet, *case).await.with_context(|| name.clone())? {
                results.push(as_json(&name, &figures));
            }
        }
    }
    let all = json!({"roles": flags.roles, "accounts": flags.accounts, "everywhere": flags.everywhere, "cases": results});
    let file = target().join("bench/fleet.json");
    std::fs::create_dir_all(file.parent().context("no folder")?)?;
    std::fs::write(&file, serde_json::to_string_pretty(&all)?)?;
    println!("\nwritten to {}", file.display());
    // The next run would share the machine with an API server that is still ending.
    world.plane.stop_apiserver()
}

/// Runs one case and prints its figures. Returns `None` for a case that is left out.
async fn run(fleet: &Fleet, case: Case) -> Result<Option<Figures>> {
    let name = name_of(case);
    eprint!("{name} ... ");
    std::io::stderr().flush()?;
    let figures = match case {
        Case::Create => cases::create(fleet).await?,
        Case::Sweep => cases::sweep(fleet).await?,
        Case::Drift => cases::drift(fleet).await?,
        Case::ApplyLatency => cases::apply_latency(fleet).await?,
        Case::Resume => cases::resume(fleet).await?,
        Case::Idle => cases::idle(fleet).await?,
        Case::Terraform => match &fleet.flags.terraform_plugin_dir {
            Some(plugins) => terraform::terraform(fleet, plugins).await?,
            None => {
                eprintln!("left out: TF_PLUGIN_DIR does not name a folder with Terraform's AWS provider");
                return Ok(None);
            }
        },
    };
    eprintln!();
    let shown: Vec<String> = figures
        .iter()
        .map(|(key, value)| format!("{key} {value:.3}"))
        .collect();
    println!("{name:14} {}", shown.join("  "));
    Ok(Some(figures))
}

fn name_of(case: Case) -> String {
    case.to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

fn as_json(name: &str, figures: &Figures) -> Value {
    let mut map = serde_json::Map::from_iter([("name".to_owned(), json!(name))]);
    for (key, value) in figures {
        map.insert((*key).to_owned(), json!((value * 1000.0).round() / 1000.0));
    }
    Value::Object(map)
}
