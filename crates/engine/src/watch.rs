//! What every long operation is handed: where its events go, how it is asked to stop, how fast it
//! may go, and the hook that crash tests put at each durable step.

use crate::error::{Error, Kind, Result};
use crate::pacing::Pacing;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use transload_observe::{Discard, Event, PaceLimits, Sink};

/// A flag that asks all workers to stop at the next good place. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    asked: Arc<AtomicBool>,
}

impl Cancel {
    /// Nobody has asked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop. Safe in a signal handler: one atomic store.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// The flag itself, for those who know no more than that.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asked)
    }
}

/// Told the name of each durable step: just after it became durable, or just before it is tried
/// (`begin ...`). A crash test kills the process in it.
pub type StepHook = Arc<dyn Fn(&str) + Send + Sync>;

/// A log of the steps of the swap, durable before `begin` and `done` return.
pub trait StepLog {
    /// The step is about to be tried.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the log can't be written; then the step must not be tried.
    fn begin(&self, step: &str) -> Result<()>;

    /// The step has happened and is durable.
    ///
    /// # Errors
    /// [`Kind::Stopped`] when the log can't be written; the state is recomputed from the disk.
    fn done(&self, step: &str) -> Result<()>;

    /// Within a step, a single change of the disk has just been made. Nothing is kept of it.
    fn call(&self, call: &str);
}

/// Sink, stop flag, step hook and pace.
#[derive(Clone)]
pub struct Watch {
    /// Where events go.
    pub sink: Arc<dyn Sink>,
    /// The stop flag.
    pub cancel: Cancel,
    /// The step hook.
    pub hook: StepHook,
    /// How fast to go.
    pub pacing: Pacing,
}

impl Default for Watch {
    fn default() -> Self {
        Self::new(Arc::new(Discard), Cancel::new(), Arc::new(|_| ()))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("cancel", &self.cancel).finish_non_exhaustive()
    }
}

impl Watch {
    /// A watch without limits on the pace.
    #[must_use]
    pub fn new(sink: Arc<dyn Sink>, cancel: Cancel, hook: StepHook) -> Self {
        let pacing = Pacing::new(PaceLimits::default(), &cancel);
        Self { sink, cancel, hook, pacing }
    }

    /// The same with a pace of its own, within `limits`.
    #[must_use]
    pub fn at_pace(&self, limits: PaceLimits) -> Self {
        Self { pacing: Pacing::new(limits, &self.cancel), ..self.clone() }
    }

    /// Tells an event.
    pub fn tell(&self, event: Event) {
        self.sink.event(&event);
    }

    /// Names a durable step.
    pub fn step(&self, step: &str) {
        (self.hook)(step);
    }

    /// Fails with [`Kind::Stopped`] once somebody has asked to stop.
    ///
    /// # Errors
    /// [`Kind::Stopped`].
    pub fn go_on(&self, operation: &'static str) -> Result<()> {
        if self.cancel.is_asked() {
            return Err(Error::new(Kind::Stopped, operation, "stopped as asked"));
        }
        Ok(())
    }
}
