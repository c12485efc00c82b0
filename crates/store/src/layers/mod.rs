//! Layers: stores around stores. Each passes the contract suite like any driver.

mod meter;

pub use meter::{Meter, MeterReading};
