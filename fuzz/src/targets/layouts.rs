//! Key layouts: every key is placed, comes back as it was, and stands in canonical order among
//! those of its table and stream.

use crate::input::Input;
use transload_chains::cometbft::layout::{
    BlockstoreLayout, EvidenceLayout, KeyForm, LightLayout, StateLayout, TxIndexLayout,
};
use transload_chains::iavl::ApplicationLayout;
use transload_model::layout::{Layout, Placement};

fn layout(number: u8) -> Box<dyn Layout> {
    match number % 10 {
        0 => Box::new(BlockstoreLayout::new(KeyForm::V1)),
        1 => Box::new(BlockstoreLayout::new(KeyForm::V2)),
        2 => Box::new(StateLayout::new(KeyForm::V1)),
        3 => Box::new(StateLayout::new(KeyForm::V2)),
        4 => Box::new(EvidenceLayout::new(KeyForm::V1)),
        5 => Box::new(EvidenceLayout::new(KeyForm::V2)),
        6 => Box::new(LightLayout::new(KeyForm::V1)),
        7 => Box::new(LightLayout::new(KeyForm::V2)),
        8 => Box::new(TxIndexLayout::new()),
        _ => Box::new(ApplicationLayout::new()),
    }
}

/// A record's table and stream, its canonical key, and how much of that is in scan order.
type Placed = (usize, u32, Vec<u8>, Option<usize>);

fn place(layout: &dyn Layout, key: &[u8], value: &[u8]) -> Option<Placed> {
    // What an earlier call left must not show.
    let mut canonical = b"left".to_vec();
    let Placement::Record { table, stream, ordered_prefix_bytes } =
        layout.place(key, value, &mut canonical)
    else {
        return None;
    };
    assert!(table < layout.tables().len());
    let mut physical = b"over".to_vec();
    layout.physical(table, &canonical, &mut physical).expect("a placed record has a form");
    assert_eq!(physical, key, "{} of {}", layout.tables()[table].name, layout.id());
    Some((table, stream, canonical, ordered_prefix_bytes))
}

/// A layout by its number, a value of 32 or fewer bytes, and two keys.
pub(crate) fn cometbft(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let layout = layout(input.byte());
    let value = input.piece();
    let (one, other) = (input.piece(), input.rest());
    assert!(one.starts_with(layout.align_split(one)));
    let placed = (place(&*layout, one, value), place(&*layout, other, value));
    if let (Some(one_placed), Some(other_placed)) = placed {
        if (one_placed.0, one_placed.1) != (other_placed.0, other_placed.1) || one == other {
            return;
        }
        assert_ne!(one_placed.2, other_placed.2, "two keys are one record");
        let ordered = |(_, _, canonical, prefix): &Placed| {
            canonical[..prefix.unwrap_or(canonical.len()).min(canonical.len())].to_vec()
        };
        let (one_key, other_key) = (ordered(&one_placed), ordered(&other_placed));
        if one_key != other_key {
            assert_eq!(one.cmp(other), one_key.cmp(&other_key), "{}", layout.id());
        }
    }
    // Any bytes may be asked for as a record.
    for table in 0..layout.tables().len() {
        let mut physical = Vec::new();
        if layout.physical(table, other, &mut physical).is_ok() {
            let mut canonical = Vec::new();
            let _ = layout.place(&physical, value, &mut canonical);
        }
    }
}
