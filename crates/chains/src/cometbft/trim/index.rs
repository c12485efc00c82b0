//! The index of transactions: dropped whole, or from below a height.

use super::TX_INDEX_NAME;
use crate::cometbft::database::TX_INDEX;
use crate::cometbft::layout::{TxIndexLayout, tx_index as table};
use crate::cometbft::wire::results::TxResult;
use std::collections::BTreeMap;
use std::sync::Arc;
use transload_model::layout::{Layout as _, Placement};
use transload_store::{DatabaseTrim, Judged, Transform, Trim, TrimRule, WayBack};

/// What dropping the index is called.
const DROP_TX_INDEX: &str = "drop-tx_index";

/// What is left of the same entries has changed so often, this one included.
const DROP_TX_INDEX_VERSION: u32 = 1;

/// Leaves every entry out. `unindexable` is a height whose results aren't kept.
pub(super) fn dropped(unindexable: Option<u64>) -> DatabaseTrim {
    let layout = TxIndexLayout::new();
    let becomes = layout.tables().iter().map(|table| {
        let words = "dropped; `cometbft reindex-event` rebuilds it from blocks and their results";
        (table.name.clone(), words.to_owned())
    });
    let mut becomes: BTreeMap<_, _> = becomes.collect();
    for own in [table::MARKS, table::UNKNOWN] {
        becomes.insert(layout.tables()[own].name.clone(), "dropped for good".to_owned());
    }
    let mut notes = vec![
        "the index of transactions is dropped: searches find nothing of the heights below the \
         swap, until `cometbft reindex-event --home HOME`, with the node stopped and a program of \
         its release, has rebuilt it. It needs the block and the results of each height; what the \
         index held of heights that lack either is gone for good (events of transactions get other \
         numbers)"
            .to_owned(),
    ];
    if let Some(height) = unindexable {
        notes.push(format!(
            "the results of height {height} aren't kept (discard_abci_responses, pruning or state \
             sync): the index can't be rebuilt from there"
        ));
    }
    let database = TX_INDEX.to_owned();
    let transform = Transform {
        id: DROP_TX_INDEX,
        version: DROP_TX_INDEX_VERSION,
        from: layout.id().to_owned(),
        to: format!("{}, empty", layout.id()),
        way_back: WayBack::OneWay(
            "`cometbft reindex-event` makes it anew from blocks and their results, no transform \
             of transload does"
                .to_owned(),
        ),
    };
    DatabaseTrim {
        database,
        rule: TrimRule::Entries(Arc::new(Dropped { layout })),
        transform,
        asked: format!("--drop {TX_INDEX_NAME}"),
        becomes,
        kept_share: None,
        notes,
    }
}

#[derive(Debug)]
struct Dropped {
    layout: TxIndexLayout,
}

impl Trim for Dropped {
    fn judge(&self, key: &[u8], value: &[u8]) -> Judged {
        let (table, height) = placed(&self.layout, key, value);
        Judged::LeftOut { table, height }
    }

    fn keeps_nothing(&self) -> bool {
        true
    }
}

/// Leaves out what is of heights below the first.
#[derive(Debug)]
pub(super) struct IndexTrim {
    pub(super) layout: TxIndexLayout,
    pub(super) first: u64,
}

impl Trim for IndexTrim {
    fn judge(&self, key: &[u8], value: &[u8]) -> Judged {
        match placed(&self.layout, key, value) {
            (table, Some(height)) if height < self.first => {
                Judged::LeftOut { table, height: Some(height) }
            }
            _ => Judged::Kept,
        }
    }
}

/// An entry's table, and the height that it is of.
fn placed(layout: &TxIndexLayout, key: &[u8], value: &[u8]) -> (usize, Option<u64>) {
    let Placement::Record { table, .. } = layout.place(key, value, &mut Vec::new()) else {
        return (table::UNKNOWN, None);
    };
    let height = match table {
        table::RESULT => TxResult::decode(value)
            .ok()
            .and_then(|one| one.height.try_into().ok())
            .filter(|height| *height > 0),
        _ => table::height_of(table, key, value),
    };
    (table, height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_codec::proto::put_varint_field;

    #[test]
    fn every_entry_is_left_out_with_the_height_that_it_is_of() {
        let trim = dropped(None);
        let mut result = Vec::new();
        put_varint_field(&mut result, 1, 7);
        let hash = [3; 32];
        for (key, value, height) in [
            (&hash[..], &result[..], Some(7)),
            (b"tx.height/8/8/0$es$0", &hash, Some(8)),
            (b"app.key/a/9/0$es$1", &hash, Some(9)),
            (b"block_eventsblock.height\x00\x01\x8a", &[20], Some(10)),
            (b"TxIndexerRetainHeightKey", b"5", None),
            (b"whatever", b"", None),
        ] {
            let Judged::LeftOut { height: found, .. } =
                trim.rule.entries().unwrap().judge(key, value)
            else {
                panic!("{key:?} is kept");
            };
            assert_eq!(found, height, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn an_entry_that_is_of_no_height_is_kept() {
        let trim = IndexTrim { layout: TxIndexLayout::new(), first: 8 };
        let mut result = Vec::new();
        put_varint_field(&mut result, 1, 7);
        let out = Judged::LeftOut { table: table::RESULT, height: Some(7) };
        assert_eq!(trim.judge(&[3; 32], &result), out);
        for unread in [&b""[..], &[0xff]] {
            assert_eq!(trim.judge(&[3; 32], unread), Judged::Kept);
        }
    }

    #[test]
    fn what_can_not_be_rebuilt_is_said() {
        assert!(dropped(Some(12)).notes[1].contains("results of height 12"));
        assert_eq!(dropped(None).notes.len(), 1);
    }
}
