//! The conversion as a change of layout that a plan can ask for.

use super::{ConversionReport, ConvertOptions, FastIndex, Gaps, Unreachable, prepare};
use crate::iavl::ApplicationLayout;
use crate::iavl::keys::store_prefix;
use crate::iavl::logical::logical_root;
use crate::iavl::verify::store_names;
use std::sync::Arc;
use transload_model::commitment::TableCommitment;
use transload_model::layout::Layout as _;
use transload_model::report::{Verdict, printable_key};
use transload_store::{
    KeyRange, Reform, ReformOptions, Reformed, Result, Side, Snapshot, Transform, WayBack,
};

/// What a plan calls the layout.
pub const NAME: &str = "iavl-1";

/// What it gives for the same entries has changed so often, this one included.
const VERSION: u32 = 1;

/// The layout's id.
pub const LAYOUT: &str = "cosmos-application-iavl-1";

/// Entries of a store that only the 0.x form has: nodes, orphans, roots.
const OLD_KINDS: [u8; 3] = [b'n', b'o', b'r'];

/// Whether some store has entries of the 0.x form.
///
/// # Errors
/// Those of reading.
pub fn has_old_form(snapshot: &dyn Snapshot) -> Result<bool> {
    for name in store_names(snapshot, &mut Verdict::nothing())? {
        for kind in OLD_KINDS {
            let range = KeyRange::prefix(&[store_prefix(&name), vec![kind]].concat());
            if snapshot.cursor(&range)?.next()?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// An application's state goes to the form of IAVL 1.x.
#[derive(Clone, Debug)]
pub struct ToIavl1 {
    /// What becomes of the fast index.
    pub fast_index: FastIndex,
    /// What an operator should know of the library that will read it.
    pub caution: Option<String>,
}

impl Reform for ToIavl1 {
    fn transform(&self) -> Transform {
        Transform {
            id: NAME,
            version: VERSION,
            from: ApplicationLayout::new().id().to_owned(),
            to: LAYOUT.to_owned(),
            way_back: WayBack::OneWay(
                "the form of IAVL 0.x has orphans, and which of them a database had no longer \
                 follows from the form of 1.x"
                    .to_owned(),
            ),
        }
    }

    fn caution(&self) -> Option<&str> {
        self.caution.as_deref()
    }

    fn reform(
        &self,
        source: Arc<dyn Snapshot>,
        options: &ReformOptions,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> Result<Reformed> {
        let options = ConvertOptions {
            scratch_dir: options.scratch_dir.clone(),
            memory_bytes_max: options.memory_bytes_max,
            workers: options.workers,
            fast_index: self.fast_index,
            unreachable: Unreachable::Refuse,
            gaps: Gaps::Refuse,
        };
        let converted = prepare(source, &options, progress)?;
        let notes = notes(converted.report(), self.fast_index);
        Ok(Reformed { snapshot: Arc::new(converted), notes, left_out: None })
    }

    fn meaning(
        &self,
        snapshot: &dyn Snapshot,
        _side: Side,
        options: &ReformOptions,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> Result<TableCommitment> {
        logical_root(snapshot, &options.scratch_dir, options.memory_bytes_max, progress)
    }
}

/// What the new form doesn't have, store by store.
fn notes(report: &ConversionReport, fast_index: FastIndex) -> Vec<String> {
    let mut notes = Vec::new();
    for store in &report.stores {
        let name = printable_key(&store.store);
        if store.orphans > 0 {
            notes.push(format!(
                "store {name}: {} orphans are left out, the new form has none; {} of them named \
                 nodes that aren't there",
                store.orphans, store.orphans_nowhere
            ));
        }
        if store.given_up > 0 {
            let first = store.left_out_listed.first();
            notes.push(format!(
                "store {name}: {} nodes that no version has and an orphan names are left out, the \
                 first is {first:?}",
                store.given_up
            ));
        }
    }
    if fast_index == FastIndex::LeaveOut {
        notes.push(
            "the fast index is left out: app.toml sets iavl-disable-fastnode = true".to_owned(),
        );
    }
    notes
}
