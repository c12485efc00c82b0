//! What a running migration tells about itself.
//!
//! One closed [`Event`] enum feeds every bar, log line, status file and metric; [`Progress`]
//! turns events into rates and a remaining time.
//!
//! Invariant: nothing here prints, reads a clock or starts a thread; the time comes with each
//! event from whoever owns a clock.

mod event;
mod pace;
mod progress;
mod sink;
mod work;

pub use event::{Event, Stage};
pub use pace::{PaceLimits, Wait, WaitReason, WaitTime};
pub use progress::{Progress, View};
pub use sink::{Discard, Fan, Recorder, Sink};
