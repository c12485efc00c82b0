//! Where events go.

use crate::Event;
use std::sync::{Arc, Mutex, PoisonError};

/// Takes events, from any thread. It must be quick: workers wait for it.
pub trait Sink: Send + Sync {
    /// Takes one event.
    fn event(&self, event: &Event);
}

/// Drops every event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl Sink for Discard {
    fn event(&self, _event: &Event) {}
}

/// Hands each event to several sinks.
#[derive(Clone, Default)]
pub struct Fan {
    sinks: Vec<Arc<dyn Sink>>,
}

impl Fan {
    /// Hands events to `sinks`, in this order.
    #[must_use]
    pub fn new(sinks: Vec<Arc<dyn Sink>>) -> Self {
        Self { sinks }
    }
}

impl Sink for Fan {
    fn event(&self, event: &Event) {
        for sink in &self.sinks {
            sink.event(event);
        }
    }
}

/// Events kept by a [`Recorder`]; beyond it the oldest are dropped.
const RECORDED_EVENTS_MAX: usize = 65_536;

/// Keeps the latest events in memory, for tests and support archives.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    events: Arc<Mutex<std::collections::VecDeque<Event>>>,
}

impl Recorder {
    /// An empty recorder; clones share what they keep.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was kept, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl Sink for Recorder {
    fn event(&self, event: &Event) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() >= RECORDED_EVENTS_MAX {
            events.pop_front();
        }
        events.push_back(event.clone());
    }
}
