//! The layout of `application.db`.
//!
//! | table | physical key | canonical key |
//! |---|---|---|
//! | `application/commit_info` | `s/` decimal version | version u64 |
//! | all others | see [`super::keys`] | the same |
//!
//! Entries of a tree are records under their stored keys: an engine change keeps them as they
//! are. (Between the 0.x and the 1.x form the nodes themselves differ; two such databases are
//! compared by the versions' root hashes, not by these tables.)

use crate::iavl::keys::{Entry, Key, VERSION_MAX, commit_info_key};
use crate::iavl::node::RootEntry;
use transload_codec::{decimal, key as canonical_key};
use transload_model::layout::{Layout, NoPhysicalForm, Placement, TableClass, TableSpec};
use transload_model::record::TableName;

/// Index of the table in the layout.
pub(crate) const COMMIT_INFO: usize = 0;
/// Index of the table in the layout.
pub(crate) const LATEST: usize = 1;
/// Index of the table in the layout.
pub(crate) const NODE: usize = 2;
/// Index of the table in the layout.
pub(crate) const ROOT: usize = 3;
/// Index of the table in the layout.
pub(crate) const LEGACY_NODE: usize = 4;
/// Index of the table in the layout.
pub(crate) const ORPHAN: usize = 5;
/// Index of the table in the layout.
pub(crate) const FAST: usize = 6;
/// Index of the table in the layout.
pub(crate) const META: usize = 7;
/// Index of the table in the layout.
pub(crate) const PRUNING: usize = 8;
/// Index of the table in the layout.
pub(crate) const UNKNOWN: usize = 9;

const TABLES: [(&str, TableClass, &str); 10] = [
    (
        "application/commit_info",
        TableClass::Authenticated,
        "root hashes of the stores, a version each; the next header covers them, not the time",
    ),
    ("application/latest", TableClass::Derived, "the last version committed"),
    ("application/iavl_node", TableClass::Authenticated, "tree nodes, IAVL 1.x form"),
    ("application/iavl_root", TableClass::Derived, "roots that are empty or name a node"),
    ("application/iavl_legacy_node", TableClass::Authenticated, "tree nodes, IAVL 0.x form"),
    (
        "application/iavl_orphan",
        TableClass::Derived,
        "nodes that later versions lack; pruning deletes what they name",
    ),
    (
        "application/iavl_fast",
        TableClass::Derived,
        "the latest value of each key; the node serves them without looking at the tree",
    ),
    ("application/iavl_meta", TableClass::EqualOnly, "for which version the fast index is"),
    ("application/pruning", TableClass::EqualOnly, "versions that wait to be pruned"),
    ("application/unknown", TableClass::EqualOnly, "entries that no known version writes"),
];

/// The table of this index.
pub(crate) fn table_name(table: usize) -> TableName {
    TableName::new(TABLES[table].0).expect("names of known tables are constants, read by tests")
}

/// The table of an entry.
pub(crate) fn table_of(key: &Key<'_>, value: &[u8]) -> usize {
    match key {
        Key::CommitInfo(_) => COMMIT_INFO,
        Key::Latest => LATEST,
        Key::Prune => PRUNING,
        Key::Unknown => UNKNOWN,
        Key::Store { entry, .. } => match entry {
            Entry::Node(id) => match id.version_and_nonce() {
                Some((_, 1)) if !matches!(RootEntry::decode(value), Ok(None)) => ROOT,
                Some(_) => NODE,
                None => LEGACY_NODE,
            },
            Entry::LegacyRoot(_) => ROOT,
            Entry::Orphan { .. } => ORPHAN,
            Entry::Fast(_) => FAST,
            Entry::Meta(_) => META,
            Entry::Unknown => UNKNOWN,
        },
    }
}

/// The layout of `application.db`.
#[derive(Debug)]
pub struct ApplicationLayout {
    tables: Vec<TableSpec>,
}

impl Default for ApplicationLayout {
    fn default() -> Self {
        Self::new()
    }
}

impl ApplicationLayout {
    /// The layout.
    #[must_use]
    pub fn new() -> Self {
        let tables = TABLES
            .iter()
            .enumerate()
            .map(|(table, (_, class, about))| TableSpec {
                name: table_name(table),
                class: *class,
                about,
            })
            .collect();
        Self { tables }
    }
}

impl Layout for ApplicationLayout {
    fn id(&self) -> &'static str {
        "cosmos-application"
    }

    fn tables(&self) -> &[TableSpec] {
        &self.tables
    }

    fn place(&self, key: &[u8], value: &[u8], canonical: &mut Vec<u8>) -> Placement {
        canonical.clear();
        let parsed = Key::parse(key);
        let mut stream = 0;
        if let Key::CommitInfo(version) = parsed {
            canonical_key::put_u64(canonical, version);
            stream = decimal::digits(version);
        } else {
            canonical.extend_from_slice(key);
        }
        Placement::Record { table: table_of(&parsed, value), stream, ordered_prefix_bytes: None }
    }

    fn physical(
        &self,
        table: usize,
        canonical: &[u8],
        physical: &mut Vec<u8>,
    ) -> Result<(), NoPhysicalForm> {
        physical.clear();
        if table != COMMIT_INFO {
            physical.extend_from_slice(canonical);
            return Ok(());
        }
        let version = canonical.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        match version.filter(|version| canonical.len() == 8 && *version <= VERSION_MAX) {
            Some(version) => {
                physical.extend_from_slice(&commit_info_key(version));
                Ok(())
            }
            None => Err(NoPhysicalForm {
                layout: self.id(),
                table: self.tables[table].name.clone(),
                key: hex::encode(canonical),
                reason: "it is no version",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<u64>().prop_map(|version| format!("s/{version}").into_bytes()),
            "s/[a-z0-9:/]{0,12}".prop_map(String::into_bytes),
            (any::<u64>(), 0..3_u32).prop_map(|(version, nonce)| {
                [b"s/k:bank/s".as_slice(), &version.to_be_bytes(), &nonce.to_be_bytes()].concat()
            }),
            ("[nofrmsx]", proptest::collection::vec(any::<u8>(), 0..50)).prop_map(
                |(kind, rest)| { [b"s/k:acc/".as_slice(), kind.as_bytes(), &rest].concat() }
            ),
        ]
    }

    proptest! {
        #[test]
        fn there_and_back_is_the_identity(
            key in any_key(),
            value in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let layout = ApplicationLayout::new();
            let (mut canonical, mut physical) = (b"left".to_vec(), b"over".to_vec());
            let Placement::Record { table, .. } = layout.place(&key, &value, &mut canonical) else {
                panic!("every entry is a record");
            };
            layout.physical(table, &canonical, &mut physical).unwrap();
            prop_assert_eq!(physical, key);
        }
    }

    #[test]
    fn versions_are_in_numeric_order_by_streams() {
        let layout = ApplicationLayout::new();
        let mut canonical = Vec::new();
        let mut placed: Vec<(u32, Vec<u8>)> = Vec::new();
        for version in [9_u64, 10, 99, 100, 318] {
            let place = layout.place(&commit_info_key(version), b"", &mut canonical);
            let Placement::Record { table: COMMIT_INFO, stream, .. } = place else {
                panic!("{place:?}");
            };
            placed.push((stream, canonical.clone()));
        }
        assert!(placed.is_sorted());
        let mut physical = Vec::new();
        assert!(layout.physical(COMMIT_INFO, b"short", &mut physical).is_err());
        assert!(layout.physical(COMMIT_INFO, &[0xff; 8], &mut physical).is_err());
    }

    #[test]
    fn a_root_is_told_from_a_node_by_its_value() {
        let key = [b"s/k:bank/s".as_slice(), &5_u64.to_be_bytes(), &1_u32.to_be_bytes()].concat();
        let parsed = Key::parse(&key);
        assert_eq!(table_of(&parsed, b""), ROOT);
        assert_eq!(table_of(&parsed, b"s\0\0\0\0\0\0\0\x04"), ROOT);
        assert_eq!(table_of(&parsed, &[0, 2, 1, b'k', 0]), NODE);
    }
}
