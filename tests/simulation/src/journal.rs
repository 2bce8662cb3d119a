//! What happened in a run: the first broken invariant, and a trace where it is asked for.

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Name of the invariant.
    pub invariant: &'static str,
    /// Where and how it is broken.
    pub message: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.message)
    }
}

/// The result of a check.
pub type Checked = Result<(), Violation>;

/// Returns the violation of an invariant.
pub fn violated<T>(invariant: &'static str, message: impl Into<String>) -> Result<T, Violation> {
    Err(Violation {
        invariant,
        message: message.into(),
    })
}

/// The record of a run.
#[derive(Debug)]
pub struct Journal {
    violation: Mutex<Option<Violation>>,
    trace: Option<Mutex<Vec<String>>>,
    began: Instant,
    /// Notified when an invariant is broken or a replica crashes: whoever drives the run looks at once.
    pub changed: Notify,
}

impl Journal {
    /// A record that begins now. Without `traces` it keeps the first violation only.
    pub fn new(traces: bool) -> Self {
        Self {
            violation: Mutex::default(),
            trace: traces.then(Mutex::default),
            began: Instant::now(),
            changed: Notify::new(),
        }
    }

    /// Adds a line to the trace.
    pub fn note(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let line = format!("{:9.3} {}", self.began.elapsed().as_secs_f64(), line());
            trace.lock().push(line);
        }
    }

    /// Records a broken invariant. Only the first counts.
    pub fn record(&self, violation: Violation) {
        self.note(|| format!("VIOLATED {violation}"));
        self.violation.lock().get_or_insert(violation);
        self.changed.notify_one();
    }

    /// Records the violation if the check has failed.
    pub fn check(&self, checked: Checked) {
        if let Err(violation) = checked {
            self.record(violation);
        }
    }

    /// The first broken invariant.
    pub fn violation(&self) -> Option<Violation> {
        self.violation.lock().clone()
    }

    /// Takes the trace.
    pub fn take_trace(&self) -> Vec<String> {
        let trace = self.trace.as_ref();
        trace
            .map(|trace| std::mem::take(&mut *trace.lock()))
            .unwrap_or_default()
    }
}
