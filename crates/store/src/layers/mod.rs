//! Layers: stores around stores. Each passes the contract suite like any driver.

mod fault;
mod meter;
mod pace;
mod throttle;

pub use fault::{Call, Fault, Schedule, Trouble};
pub use meter::{Meter, MeterReading};
pub use pace::{Clock, Pace, Paces};
pub use throttle::Throttle;
