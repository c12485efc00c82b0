//! One module a command.

pub(crate) mod check;
pub(crate) mod convert;
pub(crate) mod detach;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod engines;
pub(crate) mod inspect;
pub(crate) mod migrate;
pub(crate) mod plan;
pub(crate) mod prove;
pub(crate) mod root;
pub(crate) mod shell;
pub(crate) mod status;
pub(crate) mod throttle;
pub(crate) mod verify;
pub(crate) mod wait;
pub(crate) mod wayback;
