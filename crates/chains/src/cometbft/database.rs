//! The node's databases: which layout each has, and reading them by canonical key.

use super::layout::{
    BlockstoreLayout, EvidenceLayout, KeyForm, LightLayout, StateLayout, TxIndexLayout, VERSION_KEY,
};
use crate::iavl::ApplicationLayout;
use crate::iavl::keys::{LATEST_KEY, STORES_PREFIX};
use crate::snapshots::SnapshotsLayout;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use transload_model::layout::{Layout, RawLayout};
use transload_model::record::TableName;
use transload_model::report::printable_key;
use transload_store::{Error, HomeView, KeyRange, Kind, Result, Snapshot};

pub(crate) const BLOCKSTORE: &str = "blockstore.db";
pub(crate) const STATE: &str = "state.db";
pub(crate) const EVIDENCE: &str = "evidence.db";
pub(crate) const TX_INDEX: &str = "tx_index.db";
pub(crate) const APPLICATION: &str = "application.db";
pub(crate) const LIGHT: &str = "light-client-db.db";
pub(crate) const SNAPSHOTS: &str = "snapshots/metadata.db";

const OPERATION: &str = "tell the layout of a database";

/// The layout of a database: what is stored wins over what is configured, as in the node.
///
/// # Errors
/// [`Kind::UnknownFormat`] for a layout that isn't supported, with what was seen.
pub(crate) fn layout_of(name: &str, snapshot: &dyn Snapshot) -> Result<Box<dyn Layout>> {
    Ok(match name {
        BLOCKSTORE => Box::new(BlockstoreLayout::new(blockstore_form(snapshot)?)),
        STATE => Box::new(StateLayout::new(state_form(snapshot)?)),
        EVIDENCE => Box::new(EvidenceLayout::new(evidence_form(snapshot)?)),
        LIGHT => Box::new(LightLayout::new(stored_form(snapshot, LIGHT)?)),
        TX_INDEX => Box::new(TxIndexLayout::new()),
        SNAPSHOTS => Box::new(SnapshotsLayout::new()),
        APPLICATION if holds_multistore(snapshot)? => Box::new(ApplicationLayout::new()),
        name => Box::new(RawLayout::new(raw_table(name)?)),
    })
}

pub(crate) fn blockstore_form(snapshot: &dyn Snapshot) -> Result<KeyForm> {
    refuse_celestia(snapshot)?;
    let form = stored_form(snapshot, BLOCKSTORE)?;
    refuse_mixed(snapshot, form, BLOCKSTORE, &[b"H:", b"P:", b"BH:"])?;
    Ok(form)
}

pub(crate) fn state_form(snapshot: &dyn Snapshot) -> Result<KeyForm> {
    let form = stored_form(snapshot, STATE)?;
    refuse_mixed(snapshot, form, STATE, &[b"validatorsKey:", b"abciResponsesKey:"])?;
    Ok(form)
}

pub(crate) fn evidence_form(snapshot: &dyn Snapshot) -> Result<KeyForm> {
    let form = stored_form(snapshot, EVIDENCE)?;
    refuse_mixed(snapshot, form, EVIDENCE, &[b"\x00", b"\x01"])?;
    Ok(form)
}

/// An unversioned database is never taken for the new layout: releases before 1.0 wrote the old
/// one and no version.
pub(crate) fn stored_form(snapshot: &dyn Snapshot, name: &str) -> Result<KeyForm> {
    match snapshot.get(VERSION_KEY)?.as_deref() {
        None | Some(b"" | b"v1") => Ok(KeyForm::V1),
        Some(b"v2") => Ok(KeyForm::V2),
        Some(other) => Err(Error::new(
            Kind::UnknownFormat,
            OPERATION,
            format!("its version key says {:?}; known are v1 and v2", printable_key(other)),
        )
        .with("database", name)),
    }
}

/// A node that opens an unversioned database with the setting `v2` stamps it and moves nothing:
/// what it then writes stands beside keys that it no longer finds.
fn refuse_mixed(
    snapshot: &dyn Snapshot,
    form: KeyForm,
    name: &str,
    old_prefixes: &[&[u8]],
) -> Result<()> {
    if form == KeyForm::V1 {
        return Ok(());
    }
    for prefix in old_prefixes {
        if has_prefix(snapshot, prefix)? {
            return Err(Error::new(
                Kind::UnknownFormat,
                OPERATION,
                format!(
                    "it is stamped with key layout v2 and holds keys of v1 ({}): a node was \
                     started with experimental_db_key_layout = \"v2\" on a v1 database",
                    printable_key(prefix)
                ),
            )
            .with("database", name));
        }
    }
    Ok(())
}

/// celestia-core keeps transaction hashes under `TH:`, and its DataHash is the root of a
/// data-availability square.
fn refuse_celestia(snapshot: &dyn Snapshot) -> Result<()> {
    if !has_prefix(snapshot, b"TH:")? {
        return Ok(());
    }
    Err(Error::new(
        Kind::UnknownFormat,
        OPERATION,
        "it holds TH: keys: this is celestia-core, whose blocks commit to a data-availability \
         square; its headers would be judged by the wrong rule, so the home isn't supported",
    )
    .with("database", BLOCKSTORE))
}

/// Whether an application's database is a Cosmos SDK multistore. Other applications keep what
/// they like under the same name; theirs is carried as it is.
pub(crate) fn holds_multistore(snapshot: &dyn Snapshot) -> Result<bool> {
    Ok(snapshot.get(LATEST_KEY)?.is_some() || has_prefix(snapshot, STORES_PREFIX)?)
}

fn has_prefix(snapshot: &dyn Snapshot, prefix: &[u8]) -> Result<bool> {
    Ok(snapshot.cursor(&KeyRange::prefix(prefix))?.next()?.is_some())
}

/// The table of a database that is carried as it is: its name in lower case, and a digest of it
/// where characters had to go, so that two databases never share a table.
fn raw_table(name: &str) -> Result<TableName> {
    let stem = name.strip_suffix(".db").unwrap_or(name);
    let plain: String = stem
        .chars()
        .take(100)
        .map(|c| if matches!(c, 'a'..='z' | '0'..='9' | '_' | '-') { c } else { '_' })
        .collect();
    if plain == stem && stem != name {
        return table_name(&format!("raw/{plain}"));
    }
    let digest = hex::encode(&Sha256::digest(name)[..4]);
    table_name(&format!("raw/{plain}-{digest}"))
}

fn table_name(name: &str) -> Result<TableName> {
    TableName::new(name)
        .map_err(|error| Error::new(Kind::InvalidInput, OPERATION, error.to_string()))
}

/// A database that is read by canonical key.
pub(crate) struct Reader<L> {
    pub(crate) snapshot: Arc<dyn Snapshot>,
    pub(crate) layout: L,
}

impl<L: Layout> Reader<L> {
    /// The value of a canonical key of `table`.
    pub(crate) fn get(&self, table: usize, canonical: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.physical(table, canonical) {
            Some(key) => self.snapshot.get(&key),
            None => Ok(None),
        }
    }

    /// The value under a height.
    pub(crate) fn at(&self, table: usize, height: u64) -> Result<Option<Vec<u8>>> {
        self.get(table, &height.to_be_bytes())
    }

    /// The physical key; `None` when the canonical one has none here.
    pub(crate) fn physical(&self, table: usize, canonical: &[u8]) -> Option<Vec<u8>> {
        let mut key = Vec::new();
        self.layout.physical(table, canonical, &mut key).ok()?;
        Some(key)
    }
}

/// The block store, when the home has one.
pub(crate) fn blockstore(view: HomeView<'_>) -> Result<Option<Reader<BlockstoreLayout>>> {
    let Some(snapshot) = view.databases.snapshot(BLOCKSTORE) else { return Ok(None) };
    let layout = BlockstoreLayout::new(blockstore_form(&*snapshot)?);
    Ok(Some(Reader { snapshot, layout }))
}

/// The state store, when the home has one.
pub(crate) fn state(view: HomeView<'_>) -> Result<Option<Reader<StateLayout>>> {
    let Some(snapshot) = view.databases.snapshot(STATE) else { return Ok(None) };
    let layout = StateLayout::new(state_form(&*snapshot)?);
    Ok(Some(Reader { snapshot, layout }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_store::Store as _;
    use transload_store::memory::MemoryStore;

    fn layout_id(name: &str, entries: &[(&[u8], &[u8])]) -> Result<&'static str> {
        let entries = entries.iter().map(|(key, value)| (key.to_vec(), value.to_vec()));
        let store = MemoryStore::with(entries);
        Ok(layout_of(name, &*store.snapshot()?)?.id())
    }

    #[test]
    fn what_is_stored_decides_the_layout_and_no_version_means_v1() {
        assert_eq!(layout_id(BLOCKSTORE, &[]).unwrap(), "cometbft-blockstore-v1");
        assert_eq!(layout_id(STATE, &[(b"version", b"v1")]).unwrap(), "cometbft-state-v1");
        assert_eq!(layout_id(EVIDENCE, &[(b"version", b"v2")]).unwrap(), "cometbft-evidence-v2");
        assert_eq!(layout_id("evmindexer.db", &[]).unwrap(), "raw");
        assert_eq!(layout_id(SNAPSHOTS, &[]).unwrap(), "cosmos-snapshots");
        assert_eq!(layout_id(APPLICATION, &[(b"a", b"b")]).unwrap(), "raw");
        assert_eq!(layout_id(APPLICATION, &[(b"s/latest", b"")]).unwrap(), "cosmos-application");
        let error = layout_id(STATE, &[(b"version", b"v3")]).unwrap_err();
        assert_eq!(error.kind(), Kind::UnknownFormat);
    }

    #[test]
    fn a_v1_database_stamped_v2_is_refused() {
        // F11
        let entries: [(&[u8], &[u8]); 2] = [(b"H:1", b""), (b"version", b"v2")];
        let error = layout_id(BLOCKSTORE, &entries).unwrap_err();
        assert_eq!(error.kind(), Kind::UnknownFormat);
        let entries: [(&[u8], &[u8]); 2] = [(b"validatorsKey:1", b""), (b"version", b"v2")];
        assert_eq!(layout_id(STATE, &entries).unwrap_err().kind(), Kind::UnknownFormat);
        let entries: [(&[u8], &[u8]); 2] = [(b"\x0000000000000000BC/13", b""), (b"version", b"v2")];
        assert_eq!(layout_id(EVIDENCE, &entries).unwrap_err().kind(), Kind::UnknownFormat);
    }

    #[test]
    fn celestia_is_refused_by_name() {
        let error = layout_id(BLOCKSTORE, &[(b"TH:00", b"1")]).unwrap_err();
        assert_eq!(error.kind(), Kind::UnknownFormat);
        assert!(error.message().contains("celestia-core"));
    }

    #[test]
    fn raw_databases_never_share_a_table() {
        let names = ["kvstore.db", "a.b.db", "a_b.db", "A_B.db", "a/b.db", "a_b"];
        let tables: Vec<_> = names.iter().map(|name| raw_table(name).unwrap()).collect();
        assert_eq!(tables[0].as_str(), "raw/kvstore");
        for (index, table) in tables.iter().enumerate() {
            assert!(!tables[..index].contains(table), "{table}");
        }
    }
}
