//! What a process used, from proc(5).

use anyhow::{Context as _, Result};

/// User and system time of a process and all its threads, in seconds.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name, in parentheses, may contain spaces.
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

/// User and system time of this process, in seconds.
pub fn own_cpu_seconds() -> Result<f64> {
    cpu_seconds(std::process::id())
}

/// A field of `/proc/PID/status` in MiB, such as `VmRSS:`.
pub fn memory_mib(pid: u32, what: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find(|l| l.starts_with(what))
        .with_context(|| format!("no {what}"))?;
    let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib / 1024.0)
}
