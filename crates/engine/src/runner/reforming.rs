//! Databases that are changed as a whole: what they will be is made ready in the place of what
//! they are, and what they say is compared on both sides.

use super::Migration;
use crate::error::{Error, Kind, Result};
use crate::home::{OpenDatabase, OpenHome, Reformed};
use crate::planning::Scratch;
use crate::relayout::planned_wish;
use crate::report::Meaning;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use transload_model::commitment::TableCommitment;
use transload_observe::{Event, Stage};
use transload_store::{KeyRange, LayoutWish, Reform, ReformOptions, Side, Snapshot, TrimRule};

impl Migration<'_> {
    /// Puts what they will be in the place of the sources that are changed as a whole: what is
    /// left of one before it becomes another layout, the one that it becomes, and what is left of
    /// that. The copy and the verification each make it anew, from the source.
    pub(super) fn reform(&self, open: &mut OpenHome<'_>, scratch: &Scratch) -> Result<()> {
        let plan = self.planned()?;
        for one in open.databases_mut() {
            let name = one.database.name.clone();
            if !plan.moving().any(|planned| planned.name == name) {
                continue;
            }
            let trim = one.trimmed.as_ref().map(|trimmed| trimmed.trim.rule.clone());
            let mut rules: Vec<Arc<dyn Reform>> = Vec::new();
            if let Some(TrimRule::WholeFirst(rule)) = &trim {
                rules.push(Arc::clone(rule));
            }
            if let Some(LayoutWish::Becomes(rule)) =
                planned_wish(plan, self.profile, &self.home, one)?
            {
                rules.push(rule.into());
            }
            if let Some(TrimRule::Whole(rule)) = &trim {
                rules.push(Arc::clone(rule));
            }
            for rule in rules {
                self.reform_one(one, rule, scratch)?;
            }
            self.refuse_for_nothing(one)?;
        }
        Ok(())
    }

    fn reform_one(
        &self,
        one: &mut OpenDatabase,
        rule: Arc<dyn Reform>,
        scratch: &Scratch,
    ) -> Result<()> {
        let before = Arc::clone(&one.snapshot);
        let stage = Stage::Converting;
        self.watch.tell(Event::StageBegan { stage });
        let made = self.converting(&one.database.name, scratch, &|options, progress| {
            rule.reform(Arc::clone(&before), options, progress)
        })?;
        self.watch.tell(Event::StageEnded { stage });
        one.snapshot = made.snapshot;
        let earlier = one.reformed.take();
        let (original, mut notes, left_out) = match earlier {
            Some(earlier) => (earlier.original, earlier.notes, earlier.left_out),
            None => (before, Vec::new(), None),
        };
        notes.extend(made.notes);
        let left_out = made.left_out.or(left_out);
        one.reformed = Some(Reformed { rule, original, notes, left_out });
        Ok(())
    }

    /// A plan that does nothing but leave something out of this database isn't carried out where
    /// there is nothing: what there is shows only now, when the whole was read.
    fn refuse_for_nothing(&self, one: &OpenDatabase) -> Result<()> {
        let plan = self.planned()?;
        let name = &one.database.name;
        let is_all = plan.moving().all(|moves| {
            moves.name == *name && moves.from == plan.engine && moves.to_layout.is_none()
        });
        let gone = one.reformed.as_ref().and_then(|reformed| reformed.left_out.as_ref());
        let (true, Some(gone)) = (is_all, gone) else { return Ok(()) };
        let first = gone.snapshot.cursor(&KeyRange::all()).and_then(|mut cursor| {
            let first = cursor.next()?;
            Ok(first.is_some())
        });
        if first.map_err(|error| Error::reading("look for what to leave out", error))? {
            return Ok(());
        }
        let what = "there is nothing to leave out, and the plan does nothing else: nothing was \
                    copied";
        Err(Error::new(Kind::Refused, "look for what to leave out", what)
            .with("database", name.clone())
            .next(
                "`transload rollback HOME` ends the migration; the node can be started as it was",
            ))
    }

    /// Compares what a converted database says before and after; `None` for one that is carried
    /// entry by entry.
    pub(super) fn compare_meaning(
        &self,
        source: &OpenDatabase,
        target: &dyn Snapshot,
        scratch: &Scratch,
    ) -> Result<Option<Meaning>> {
        let Some(reformed) = &source.reformed else { return Ok(None) };
        let name = &source.database.name;
        let stage = Stage::Converting;
        self.watch.tell(Event::StageBegan { stage });
        let before = (&*reformed.original, Side::Before);
        let before = self.meaning(name, &*reformed.rule, before, scratch)?;
        let after = self.meaning(name, &*reformed.rule, (target, Side::After), scratch)?;
        self.watch.tell(Event::StageEnded { stage });
        let (root_before, root_after) = (before.root(), after.root());
        if root_before != root_after {
            return Err(Error::new(
                Kind::Difference,
                "compare what the database says",
                "its logical root is another one after the conversion",
            )
            .with("database", name.clone())
            .with("table", before.name.to_string())
            .with(
                "source",
                format!("{} records, root {}", before.records, hex::encode(root_before)),
            )
            .with("target", format!("{} records, root {}", after.records, hex::encode(root_after)))
            .next("the target isn't trusted; `transload rollback HOME` clears it away"));
        }
        Ok(Some(Meaning {
            table: after.name.clone(),
            records: after.records,
            root: hex::encode(root_after),
            notes: reformed.notes.clone(),
        }))
    }

    fn meaning(
        &self,
        name: &str,
        rule: &dyn Reform,
        (snapshot, side): (&dyn Snapshot, Side),
        scratch: &Scratch,
    ) -> Result<TableCommitment> {
        self.converting(name, scratch, &|options, progress| {
            rule.meaning(snapshot, side, options, progress)
        })
    }

    /// Does some of the conversion's work in an empty folder, under the plan's limits.
    fn converting<T>(
        &self,
        database: &str,
        scratch: &Scratch,
        work: &dyn Fn(&ReformOptions, &Progress<'_>) -> transload_store::Result<T>,
    ) -> Result<T> {
        let limits = self.planned()?.limits;
        let folder: PathBuf = scratch.path.join("converting");
        let failed = |error: std::io::Error| {
            Error::new(Kind::Stopped, "make a scratch folder", error.to_string())
                .with("path", folder.display().to_string())
        };
        fs::create_dir_all(&folder).map_err(failed)?;
        let options = ReformOptions {
            scratch_dir: folder.clone(),
            memory_bytes_max: limits.driver_bytes(),
            workers: limits.workers_that_fit(),
        };
        let progress = |done: u64, total: u64| {
            self.watch.tell(Event::PartsDone { done, total });
            !self.watch.cancel.is_asked()
        };
        work(&options, &progress)
            .map_err(|error| Error::reading("convert", error).with("database", database.to_owned()))
    }
}

type Progress<'a> = dyn Fn(u64, u64) -> bool + Sync + 'a;
