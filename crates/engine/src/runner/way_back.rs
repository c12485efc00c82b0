//! Whether the way back is open, as far as the home's own databases tell: the fence as it is now,
//! and an application that has gone on.

use super::{Migration, notes};
use crate::error::{Error, Kind, Result};
use crate::moves::{Fence, Fingerprint, Standing, SwapPlan, WAY_OUT};
use crate::phase::Phase;
use crate::planning::Scratch;
use std::collections::BTreeMap;
use std::path::PathBuf;
use transload_store::AppState;

impl Migration<'_> {
    /// Refuses a rollback that would lose something, stall the chain or leave a home that its
    /// node can't start on.
    pub(super) fn may_go_back(&mut self) -> Result<()> {
        let swap = self.swap_plan(self.swapped_attempt()?)?;
        let now = self.fence_now(&swap)?;
        self.world.swapper.may_roll_back(&swap, &now)?;
        self.refuse_an_application_ahead(&swap, &now)
    }

    /// The fence as the home is now. Databases that are guarded or damaged say nothing, which
    /// must not keep anybody from going back to those that are whole: the fence then allows less.
    fn fence_now(&mut self, swap: &SwapPlan) -> Result<Fence> {
        let is_old = self.world.swapper.standing(swap)? == Standing::Old;
        if is_old || self.look_again().is_err() {
            return Ok(Fence::of(&self.home, None));
        }
        let scratch = Scratch::make(&self.state_dir, "facts", &self.watch)?;
        let facts = self.open_home(&scratch).ok().map(|open| open.facts().clone());
        Ok(Fence::of(&self.home, facts.as_ref()))
    }

    /// The application's databases that stay when the others change place: a rollback would not
    /// take them back.
    pub(super) fn app_that_stays(&self) -> Result<BTreeMap<String, Fingerprint>> {
        let AppState::Databases(names) = &self.home.app_state else { return Ok(BTreeMap::new()) };
        let plan = self.planned()?;
        let stays = |name: &&String| plan.moving().all(|moving| moving.name != **name);
        let path = |name: &String| -> Option<PathBuf> {
            let found = self.home.databases.iter().find(|database| database.name == *name);
            found.map(|database| database.path.clone())
        };
        let mut prints = BTreeMap::new();
        for (name, path) in names.iter().filter(stays).filter_map(|name| Some((name, path(name)?)))
        {
            // What a link leads to is what the application writes.
            let path = path.canonicalize().unwrap_or(path);
            prints.insert(name.clone(), self.world.swapper.fingerprint(&path)?);
        }
        Ok(prints)
    }

    /// A node starts with an application that is behind its blocks and never with one ahead.
    fn refuse_an_application_ahead(&self, swap: &SwapPlan, now: &Fence) -> Result<()> {
        // Until the swap is complete no node gets as far as to make a block.
        let may_have_run = self.state()?.phase() == Phase::Soaking;
        if !may_have_run || self.world.swapper.standing(swap)? == Standing::Old {
            return Ok(());
        }
        let then = swap.fence.and_then(|fence| fence.height_last);
        if now.height_last.is_some() && now.height_last == then {
            return Ok(());
        }
        let place = match &self.home.app_state {
            AppState::Elsewhere(address) => format!("in a process of its own at {address}"),
            AppState::Databases(_) => {
                let before: BTreeMap<String, Fingerprint> =
                    self.journal.note(notes::APP_AT_SWAP)?.unwrap_or_default();
                let gone_on = |(name, print): (String, Fingerprint)| {
                    (before.get(&name) != Some(&print)).then_some(name)
                };
                let names: Vec<String> =
                    self.app_that_stays()?.into_iter().filter_map(gone_on).collect();
                if names.is_empty() {
                    return Ok(());
                }
                format!("in {}, which stays where it is", names.join(" and "))
            }
        };
        Err(Error::new(
            Kind::Refused,
            "roll back",
            format!(
                "the node has made blocks since the swap and the application has gone on with \
                 them, {place}: it would be ahead of the old blocks, and the node would not start"
            ),
        )
        .next(WAY_OUT))
    }
}
