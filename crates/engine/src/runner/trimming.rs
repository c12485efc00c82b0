//! Databases of which something is left out: what is kept stands in the place of what they are,
//! and what is left out is counted and hashed.

use super::Migration;
use crate::error::Result;
use crate::home::{OpenDatabase, OpenHome, TrimmedFrom};
use crate::relayout::planned_wish;
use crate::report::{HeightRange, LeftOutTable, ReportTrim};
use crate::tally::{TallyOptions, tally};
use crate::transforming::{are_planned, transforms};
use crate::trimming::planned_trims;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use transload_observe::{Event, Stage};
use transload_store::{DatabaseTrim, Heights, LeftOut, Snapshot, Transform, TrimRule, Trimmed};

/// The transforms that this transload has for each database.
pub(super) type TransformsNow = BTreeMap<String, Vec<Transform>>;

impl Migration<'_> {
    /// Puts what is kept in the place of the sources. The copy and the verification each ask the
    /// profile anew.
    pub(super) fn trim(&self, open: &mut OpenHome<'_>) -> Result<()> {
        let mut rules = planned_trims(self.planned()?, self.profile, open)?;
        self.are_as_planned(&self.transforms_now(open, &rules)?)?;
        for one in open.databases_mut() {
            let Some(trim) = rules.remove(&one.database.name) else { continue };
            let original = Arc::clone(&one.snapshot);
            if let TrimRule::Entries(rule) = &trim.rule {
                let (whole, layout) = (Arc::clone(&original), Arc::clone(&one.layout));
                one.snapshot = Arc::new(Trimmed::new(whole, Arc::clone(rule), layout));
            }
            one.trimmed = Some(TrimmedFrom { trim, original });
        }
        Ok(())
    }

    /// What this transload would do to each database that moves.
    pub(super) fn transforms_now(
        &self,
        open: &OpenHome<'_>,
        trims: &BTreeMap<String, DatabaseTrim>,
    ) -> Result<TransformsNow> {
        let plan = self.planned()?;
        let mut now = TransformsNow::new();
        for planned in plan.moving() {
            let Some(one) = open.database(&planned.name) else { continue };
            let wish = planned_wish(plan, self.profile, &self.home, one)?;
            let transforms = transforms(&*one.layout, wish.as_ref(), trims.get(&planned.name))?;
            now.insert(planned.name.clone(), transforms);
        }
        Ok(now)
    }

    /// Refuses to go on with what another version of a transform has begun.
    pub(super) fn are_as_planned(&self, now: &TransformsNow) -> Result<()> {
        for planned in self.planned()?.moving() {
            if let Some(transforms) = now.get(&planned.name) {
                are_planned(&planned.name, &planned.transforms, transforms)?;
            }
        }
        Ok(())
    }

    /// Reads what was left out of a database, table by table; `None` for one that is carried whole.
    pub(super) fn left_out(&self, source: &OpenDatabase) -> Result<Option<ReportTrim>> {
        let Some(TrimmedFrom { trim, original }) = &source.trimmed else { return Ok(None) };
        let (view, counted): (Arc<dyn Snapshot>, _) = match &trim.rule {
            TrimRule::Entries(rule) => {
                let view = Arc::new(LeftOut::new(Arc::clone(original), Arc::clone(rule)));
                (Arc::<LeftOut>::clone(&view), Counted::ByReading(view))
            }
            TrimRule::Whole(_) | TrimRule::WholeFirst(_) => {
                match source.reformed.as_ref().and_then(|one| one.left_out.as_ref()) {
                    Some(gone) => (Arc::clone(&gone.snapshot), Counted::Before(&gone.heights)),
                    None => return Ok(None),
                }
            }
        };
        let limits = self.planned()?.limits;
        let options =
            TallyOptions { workers: limits.workers_that_fit(), chunk_bytes: limits.chunk_bytes };
        let (stage, line) = (Stage::Verifying, left_out_line(&source.database.name));
        self.watch.tell(Event::DatabaseBegan {
            stage,
            database: line.clone(),
            // How many chunks there are is known only inside; one stands for all.
            chunks: 1,
            chunks_done: 0,
            bytes_estimate: source.recognised.bytes_on_disk,
        });
        let sum = Mutex::new((0, 0));
        let progress = |more_entries, more_bytes| {
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            *sum = (sum.0 + more_entries, sum.1 + more_bytes);
            let ((entries, bytes), database) = (*sum, line.clone());
            self.watch.tell(Event::Advanced { stage, database, chunk: 0, entries, bytes });
            !self.watch.cancel.is_asked()
        };
        let tally = tally(&*view, &*source.layout, options, &progress)
            .map_err(|error| error.with("database", source.database.name.clone()))?;
        let heights = match counted {
            Counted::ByReading(view) => view.heights(),
            Counted::Before(heights) => heights.clone(),
        };
        let tables = tally.tables.iter().enumerate().filter(|(_, table)| table.records > 0);
        let left_out = tables.map(|(index, table)| LeftOutTable {
            name: table.name.clone(),
            records: table.records,
            bytes: table.bytes,
            root: hex::encode(table.root()),
            heights: heights
                .get(&index)
                .map(|(first, last)| HeightRange { first: *first, last: *last }),
        });
        Ok(Some(ReportTrim { left_out: left_out.collect(), notes: trim.notes.clone() }))
    }
}

/// Who knows of which heights the entries are that were left out.
enum Counted<'a> {
    /// The view, once it was read.
    ByReading(Arc<LeftOut>),
    /// Whoever made the view.
    Before(&'a BTreeMap<usize, Heights>),
}

/// How events call the reading of what was left out.
pub(super) fn left_out_line(database: &str) -> String {
    format!("{database} (left out)")
}
