//! `cargo run --release -p simulation -- --seeds 1000000` runs random schedules, and prints how many a second.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use parking_lot::Mutex;
use simulation::parallel::check_all;
use simulation::run::{RunOptions, run};
use simulation::schedule::Schedule;
use simulation::shrink::shrink;

/// Runs random schedules until invariants are broken
#[derive(Parser)]
struct Flags {
    /// How many schedules
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Runs the schedule of this seed only, and prints what happens in it
    #[arg(long)]
    seed: Option<u64>,
    /// Reduces the schedule to the events that break the same invariant
    #[arg(long, requires = "seed")]
    shrink: bool,
    /// How many violations to find before it ends
    #[arg(long, default_value_t = 5)]
    failures: usize,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    match flags.seed {
        Some(seed) => trace_one(seed, flags.shrink),
        None => run_many(&flags),
    }
}

fn run_many(flags: &Flags) -> ExitCode {
    let began = Instant::now();
    let (ran, calls) = (AtomicU64::new(0), AtomicU64::new(0));
    let slowest = Mutex::new((Duration::ZERO, 0));
    let (found, checked) = check_all(flags.seeds, flags.failures, |n| {
        let seed = flags.from + n;
        let outcome = run(&Schedule::draw(seed), &RunOptions::default());
        calls.fetch_add(outcome.calls, Ordering::Relaxed);
        {
            let mut slowest = slowest.lock();
            *slowest = (*slowest).max((outcome.converged, seed));
        }
        let ran = ran.fetch_add(1, Ordering::Relaxed) + 1;
        if ran.is_multiple_of(1000) {
            eprintln!("{ran} schedules, {:.0} a second", per_second(ran, began));
        }
        outcome.violation.map(|violation| (seed, violation))
    });
    for (seed, violation) in found.values() {
        println!("seed {seed}: {violation}");
    }
    let (slowest, seed) = slowest.into_inner();
    println!(
        "{checked} schedules, {:.0} a second, {:.0} calls each; the slowest converged {} s after its last fault (seed {})",
        per_second(checked, began),
        calls.into_inner() as f64 / checked.max(1) as f64,
        slowest.as_secs(),
        seed,
    );
    exit_code(found.is_empty())
}

fn per_second(count: u64, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}

fn trace_one(seed: u64, shrinks: bool) -> ExitCode {
    let mut schedule = Schedule::draw(seed);
    if shrinks {
        schedule = shrink(&schedule);
    }
    let options = RunOptions {
        traces: true,
        ..RunOptions::default()
    };
    let outcome = run(&schedule, &options);
    println!("{schedule:#?}\n");
    for line in &outcome.trace {
        println!("{line}");
    }
    println!(
        "\n{} calls, {} accepted writes, converged after {:?}",
        outcome.calls, outcome.writes, outcome.converged
    );
    if let Some(violation) = &outcome.violation {
        println!("seed {seed}: {violation}");
    }
    exit_code(outcome.violation.is_none())
}

fn exit_code(is_success: bool) -> ExitCode {
    if is_success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
