//! The engine's tests, in one binary.

#![allow(clippy::unwrap_used, reason = "a test whose world can't be built must fail")]

mod ailing;
mod campaign;
mod chain;
mod convert;
mod crash;
mod faults;
mod files;
mod luck;
mod pace;
mod plain_swap;
mod relaid;
mod run;
mod transforms;
mod verify;
