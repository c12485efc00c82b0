//! Another home of the same chain, from which records may be taken. It is read as any source is:
//! nothing of it is written or locked. What it says is believed of nobody: a check must say it.

use crate::error::{Error, Kind, Result};
use crate::home::{OpenHome, OpenOptions};
use crate::identity::HomeIdentity;
use std::path::{Path, PathBuf};
use transload_model::record::TableName;
use transload_store::{Engines, Profile};

const OPERATION: &str = "look at the peer";

/// A peer, opened.
pub(crate) struct Peer<'a> {
    pub(crate) path: PathBuf,
    open: OpenHome<'a>,
}

impl<'a> Peer<'a> {
    /// Opens the peer at `path` for the home `own`, which is open.
    ///
    /// # Errors
    /// [`Kind::Refused`] when there is no home of the same kind and chain, when it is the very
    /// home, or when it can't be read.
    pub(crate) fn open(
        path: &Path,
        own: &OpenHome<'_>,
        profile: &'a dyn Profile,
        engines: &dyn Engines,
        options: &OpenOptions,
    ) -> Result<Self> {
        let at = |error: Error| error.with("peer", path.display().to_string());
        let refused = |what: &str| {
            at(Error::new(Kind::Refused, OPERATION, what.to_owned())).next(
                "give another home of the same chain, the folder that holds its config and data",
            )
        };
        let real = path.canonicalize().map_err(|error| refused(&error.to_string()))?;
        if !real.is_dir() {
            return Err(refused("this is no folder"));
        }
        let is_own = HomeIdentity::of(&real)?.is_same_home(&HomeIdentity::of(&own.home().root)?);
        if is_own {
            return Err(refused("it is the home itself: it can't mend itself"));
        }
        let home = profile
            .recognise(&real)
            .map_err(|error| at(Error::store(Kind::Refused, OPERATION, error)))?;
        let Some(home) = home else { return Err(refused("no home of this kind is there")) };
        let open = OpenHome::open_recognised(profile, home, engines, options)
            .map_err(|error| at(error.into_kind(Kind::Refused)))?;
        let ids = (own.facts().chain_id.as_deref(), open.facts().chain_id.as_deref());
        let other = match ids {
            (Some(ours), Some(theirs)) if ours != theirs => {
                Some(format!("its chain is {theirs}, this home's is {ours}"))
            }
            _ => profile.another_chain(own.view(), open.view()).map_err(|error| {
                at(Error::store(Kind::Refused, OPERATION, error))
                    .next("`transload verify` shows what is wrong with either home")
            })?,
        };
        if let Some(why) = other {
            return Err(refused("it is a peer of another chain").with("because", why));
        }
        Ok(Self { path: real, open })
    }

    /// The value of a record, wherever the peer's own layout has it.
    ///
    /// # Errors
    /// [`Kind::Refused`] when the peer can't be read.
    pub(crate) fn value(
        &self,
        database: &str,
        table: &TableName,
        canonical: &[u8],
    ) -> Result<Option<Vec<u8>>> {
        let Some(found) = self.open.database(database) else { return Ok(None) };
        let tables = found.layout.tables();
        let Some(index) = tables.iter().position(|one| one.name == *table) else {
            return Ok(None);
        };
        let mut key = Vec::new();
        if found.layout.physical(index, canonical, &mut key).is_err() {
            return Ok(None);
        }
        found.snapshot.get(&key).map_err(|error| {
            Error::store(Kind::Refused, "read the peer", error)
                .with("peer", self.path.display().to_string())
                .with("database", database.to_owned())
        })
    }
}
