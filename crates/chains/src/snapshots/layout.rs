//! The layout of `snapshots/metadata.db`: one table, keys as they are stored.

use transload_model::layout::{Layout, NoPhysicalForm, Placement, TableClass, TableSpec};
use transload_model::record::TableName;

/// The table.
pub(super) const TABLE: &str = "snapshots/metadata";

/// The layout of `snapshots/metadata.db`.
#[derive(Debug)]
pub(crate) struct SnapshotsLayout {
    tables: [TableSpec; 1],
}

impl SnapshotsLayout {
    /// The layout.
    pub(crate) fn new() -> Self {
        let about = "hashes of the chunks of state-sync snapshots, recomputed from their files";
        Self { tables: [TableSpec { name: table_name(), class: TableClass::Derived, about }] }
    }
}

/// The name of the table.
pub(super) fn table_name() -> TableName {
    TableName::new(TABLE).expect("a constant, read by tests")
}

impl Layout for SnapshotsLayout {
    fn id(&self) -> &'static str {
        "cosmos-snapshots"
    }

    fn tables(&self) -> &[TableSpec] {
        &self.tables
    }

    fn place(&self, key: &[u8], _value: &[u8], canonical: &mut Vec<u8>) -> Placement {
        canonical.clear();
        canonical.extend_from_slice(key);
        Placement::Record { table: 0, stream: 0, ordered_prefix_bytes: None }
    }

    fn physical(
        &self,
        _table: usize,
        canonical: &[u8],
        physical: &mut Vec<u8>,
    ) -> Result<(), NoPhysicalForm> {
        physical.clear();
        physical.extend_from_slice(canonical);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_a_record_under_its_own_key() {
        let layout = SnapshotsLayout::new();
        let (mut canonical, mut physical) = (b"left".to_vec(), b"over".to_vec());
        let placed = layout.place(b"\x01key", b"value", &mut canonical);
        let Placement::Record { table, .. } = placed else { panic!("{placed:?}") };
        assert_eq!(layout.tables()[table].name.as_str(), TABLE);
        layout.physical(table, &canonical, &mut physical).unwrap();
        assert_eq!(physical, b"\x01key");
    }
}
