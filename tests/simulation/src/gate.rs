//! Freezes a process: none of its tasks is polled until it thaws.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Holds back all tasks of a process while it is closed.
#[derive(Debug, Default)]
pub struct Gate {
    is_closed: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Gate {
    /// Returns true if the process is frozen.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Freezes the process.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Lets the process continue.
    pub fn open(&self) {
        self.is_closed.store(false, Ordering::Relaxed);
        self.wakers.lock().drain(..).for_each(Waker::wake);
    }

    /// Forgets who waits: their tasks were aborted.
    pub fn clear(&self) {
        self.wakers.lock().clear();
    }

    /// A task of the process.
    pub fn guard<F: Future>(self: &Arc<Self>, task: F) -> Guarded<F> {
        Guarded {
            gate: self.clone(),
            task: Box::pin(task),
        }
    }
}

/// A task that is polled only while its process is not frozen.
#[derive(Debug)]
pub struct Guarded<F> {
    gate: Arc<Gate>,
    task: Pin<Box<F>>,
}

impl<F: Future> Future for Guarded<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.gate.is_closed() {
            self.gate.wakers.lock().push(context.waker().clone());
            return Poll::Pending;
        }
        self.task.as_mut().poll(context)
    }
}
