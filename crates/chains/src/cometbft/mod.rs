//! Homes of CometBFT and Tendermint nodes: 0.34, 0.37, 0.38 and 1.x, plain or under a Cosmos
//! SDK application, in both key layouts.

mod database;
pub mod decoders;
mod facts;
pub mod home;
mod kin;
pub mod layout;
mod profile;
mod relayout;
pub mod signature;
mod trim;
mod verify;
pub mod wire;

pub use profile::{CometBft, CometBftWithNode};
