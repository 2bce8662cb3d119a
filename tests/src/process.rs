//! Child processes that never outlive us, however we end.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Runs its arguments as a child, sends it every signal named on standard input, and ends it when standard
/// input closes: the kernel closes it when the parent ends, even by SIGKILL.
const SUPERVISOR: &str = r#"
exec 3<&0
"$@" </dev/null &
child=$!
# A signal to the whole group (Ctrl-C, a test runner's time limit) must not take the watcher before its charge.
trap : INT TERM HUP
(
  trap '' INT TERM HUP
  while read -r signal <&3; do kill -s "$signal" "$child" 2>/dev/null; done
  kill -s TERM "$child" 2>/dev/null
  n=0
  while kill -0 "$child" 2>/dev/null && [ $n -lt 100 ]; do n=$((n+1)); sleep 0.1; done
  kill -s KILL "$child" 2>/dev/null
) >/dev/null 2>&1 &
watcher=$!
while :; do
  wait "$child"
  status=$?
  kill -0 "$child" 2>/dev/null || break
done
kill -s KILL "$watcher" 2>/dev/null
[ -n "$REMOVE_AT_END" ] && rm -rf "$REMOVE_AT_END"
exit $status
"#;

/// A supervised child.
#[derive(Debug)]
pub struct Process {
    name: String,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    supervisor: Child,
    signals: Option<ChildStdin>,
}

/// What to run.
pub struct Spawn<'a> {
    /// For messages.
    pub name: &'a str,
    /// Program.
    pub program: &'a Path,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment on top of a clean one.
    pub env: Vec<(String, String)>,
    /// Where its output goes.
    pub log: &'a Path,
    /// Removed once the child has ended.
    pub remove_at_end: Option<&'a Path>,
    /// Whether standard output is piped to us in place of the log.
    pub pipe: bool,
}

impl Process {
    /// Starts the child. With `pipe`, its standard output is returned too.
    pub fn spawn(spawn: Spawn<'_>) -> Result<(Self, Option<std::process::ChildStdout>)> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(spawn.log)?;
        let mut command = Command::new("sh");
        command
            .args(["-c", SUPERVISOR, "supervise"])
            .arg(spawn.program)
            .args(spawn.args)
            .env_clear()
            .envs(
                std::env::vars()
                    .filter(|(key, _)| ["PATH", "HOME", "TMPDIR", "LANG"].contains(&key.as_str())),
            )
            .envs(spawn.env)
            .stdin(Stdio::piped())
            .stdout(if spawn.pipe {
                Stdio::piped()
            } else {
                log.try_clone()?.into()
            })
            .stderr(log);
        if let Some(path) = spawn.remove_at_end {
            command.env("REMOVE_AT_END", path);
        }
        let mut supervisor = command
            .spawn()
            .with_context(|| format!("could not start {}", spawn.name))?;
        let signals = supervisor.stdin.take();
        let stdout = supervisor.stdout.take();
        let inner = Mutex::new(Inner { supervisor, signals });
        Ok((
            Self {
                name: spawn.name.to_owned(),
                inner,
            },
            stdout,
        ))
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Process id of the child itself.
    pub fn child_pid(&self) -> Result<u32> {
        let supervisor = self.inner().supervisor.id();
        let children = std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"))?;
        let is_program = |pid: &&str| {
            let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            exe.file_name()
                .is_some_and(|file| file.to_string_lossy().starts_with(&self.name))
        };
        let pid = children.split_whitespace().find(is_program);
        Ok(pid
            .with_context(|| format!("{} does not run", self.name))?
            .parse()?)
    }

    /// Sends a signal (`TERM`, `KILL`, `STOP`, `CONT`).
    pub fn signal(&self, signal: &str) -> Result<()> {
        let mut inner = self.inner();
        let pipe = inner.signals.as_mut().context("already ended")?;
        writeln!(pipe, "{signal}").with_context(|| format!("could not signal {}", self.name))
    }

    /// The exit status, once it has ended.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.inner().supervisor.try_wait().ok().flatten()
    }

    /// Waits for the end.
    pub async fn wait(&self) -> Result<ExitStatus> {
        crate::wait::until(&format!("the end of {}", self.name), || async {
            self.ended().ok_or("still runs")
        })
        .await
    }

    /// Ends the child and waits for it.
    pub fn stop(&self) {
        let mut inner = self.inner();
        drop(inner.signals.take());
        for _ in 0..120 {
            if !matches!(inner.supervisor.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}
