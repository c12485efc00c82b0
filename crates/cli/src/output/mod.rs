//! What a person or a program sees: text, JSON, progress, errors.
//!
//! Standard output carries the result and nothing else; everything else goes to standard error.

pub(crate) mod error;
pub(crate) mod json;
pub(crate) mod pace;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod settlement;
pub(crate) mod text;
