//! What a step is called that changes or drops something on the way: a name, a version, what it
//! leads from and to, and whether another leads back.
//!
//! A plan holds the transforms that it was made with and the journal those by which each chunk
//! was made, so that another version of one never goes on with what this one began. A transform
//! gets the next version when it gives anything else for the same entries than before.
//!
//! Promises of every transform: it is deterministic (what it gives follows from the entries
//! alone; whoever compares makes it again); one that judges or rewrites entry by entry is
//! idempotent or says what leads back; it changes no value of an authenticated table.

use crate::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use transload_model::layout::{Layout, Placement, TableClass};
use transload_model::report::printable_key;

/// Whether a transform can be undone by another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WayBack {
    /// By the one of this name, without a loss.
    Inverse(String),
    /// By none, for this reason.
    OneWay(String),
}

/// A versioned transform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transform {
    /// Its name.
    pub id: &'static str,
    /// Its version, from 1.
    pub version: u32,
    /// What it takes: a layout's id.
    pub from: String,
    /// What it gives: a layout's id, or what is left.
    pub to: String,
    /// Whether another leads back.
    pub way_back: WayBack,
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.version)
    }
}

/// Refuses another value for an entry whose own one is under a certificate.
///
/// # Errors
/// [`Kind::InvalidInput`] with the table, when `layout` places the entry in an authenticated one.
pub fn refuse_another_value(
    layout: &dyn Layout,
    (key, value): (&[u8], &[u8]),
    given: &[u8],
) -> Result<()> {
    if given == value {
        return Ok(());
    }
    let Placement::Record { table, .. } = layout.place(key, value, &mut Vec::new()) else {
        return Ok(());
    };
    let Some(table) = layout.tables().get(table) else { return Ok(()) };
    if table.class != TableClass::Authenticated {
        return Ok(());
    }
    let what = "a value under a certificate may not be transformed: what validators signed would \
                no longer be what is stored";
    Err(Error::new(Kind::InvalidInput, "transform an entry", what)
        .with("table", table.name.to_string())
        .with("key", printable_key(key))
        .help("the plan can't be carried out; leave the option away that asks for it"))
}
