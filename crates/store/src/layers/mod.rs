//! Layers: stores around stores, and a snapshot around a snapshot. Each passes the contract suite
//! like any driver.

mod fault;
mod meter;
mod overlay;
mod pace;
mod throttle;

pub use fault::{Call, Fault, Schedule, Trouble};
pub use meter::{Meter, MeterReading};
pub use overlay::{Changes, Overlay};
pub use pace::{Clock, Pace, Paces};
pub use throttle::Throttle;
