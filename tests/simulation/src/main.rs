//! `cargo run --release -p simulation -- --seeds 1000000` runs random schedules, and prints how many a second.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use simulation::run::{Watch, run, shrink};
use simulation::schedule::Schedule;

/// Runs random schedules until a rule is broken
#[derive(Parser)]
struct Flags {
    /// How many
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// From this seed on
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Runs one schedule and prints what happens in it
    #[arg(long)]
    seed: Option<u64>,
    /// Leaves out events of a schedule that fails without them, too
    #[arg(long)]
    shrink: bool,
    /// How many broken rules to show before it ends
    #[arg(long, default_value_t = 5)]
    failures: u64,
    /// How many threads
    #[arg(long, default_value_t = 2)]
    threads: u64,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    if let Some(seed) = flags.seed {
        return one(seed, flags.shrink);
    }
    let (next, failed, calls) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let (began, slowest) = (Instant::now(), Mutex::new((0, 0)));
    std::thread::scope(|scope| {
        for _ in 0..flags.threads {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= flags.seeds || failed.load(Ordering::Relaxed) >= flags.failures {
                        return;
                    }
                    let seed = flags.from + n;
                    let outcome = run(&Schedule::draw(seed), &Watch::default());
                    calls.fetch_add(outcome.calls, Ordering::Relaxed);
                    if let Ok(mut slowest) = slowest.lock() {
                        *slowest = (*slowest).max((outcome.settled.as_secs(), seed));
                    }
                    if let Some(broken) = outcome.violation {
                        failed.fetch_add(1, Ordering::Relaxed);
                        println!("seed {seed}: {broken}");
                    }
                    if n > 0 && n.is_multiple_of(1000) {
                        eprintln!(
                            "{n} schedules, {:.0} a second",
                            n as f64 / began.elapsed().as_secs_f64()
                        );
                    }
                }
            });
        }
    });
    let ran = next.load(Ordering::Relaxed).min(flags.seeds);
    let slowest = slowest.lock().map(|slowest| *slowest).unwrap_or_default();
    println!(
        "{ran} schedules, {:.0} a second, {:.0} calls each; the slowest settled {} s after its faults (seed {})",
        ran as f64 / began.elapsed().as_secs_f64(),
        calls.load(Ordering::Relaxed) as f64 / ran.max(1) as f64,
        slowest.0,
        slowest.1
    );
    if failed.load(Ordering::Relaxed) == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn one(seed: u64, shrinks: bool) -> ExitCode {
    let mut schedule = Schedule::draw(seed);
    if shrinks {
        schedule = shrink(&schedule);
    }
    let outcome = run(
        &schedule,
        &Watch {
            traces: true,
            ..Watch::default()
        },
    );
    for event in &schedule.events {
        println!("{:9.3} {:?}", event.at.as_secs_f64(), event.act);
    }
    println!();
    for line in &outcome.trace {
        println!("{line}");
    }
    println!(
        "\n{} calls, {} changes, settled after {:?}",
        outcome.calls, outcome.writes, outcome.settled
    );
    match outcome.violation {
        Some(broken) => {
            println!("seed {seed}: {broken}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}
