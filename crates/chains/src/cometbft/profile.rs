//! The profile of CometBFT homes.

use super::{database, facts, home, verify};
use std::path::Path;
use transload_model::engine::Engine;
use transload_model::layout::Layout;
use transload_model::report::Verdict;
use transload_store::{
    ChainFacts, ConfigEdit, Database, Home, HomeView, Profile, Result, Snapshot, VerifyOptions,
};

/// Knows CometBFT and Tendermint homes, with and without a Cosmos SDK application.
#[derive(Clone, Copy, Debug, Default)]
pub struct CometBft;

impl Profile for CometBft {
    fn id(&self) -> &'static str {
        home::PROFILE_ID
    }

    fn recognise(&self, root: &Path) -> Result<Option<Home>> {
        home::recognise(root)
    }

    fn layout(
        &self,
        _home: &Home,
        database: &Database,
        snapshot: &dyn Snapshot,
    ) -> Result<Box<dyn Layout>> {
        database::layout_of(&database.name, snapshot)
    }

    fn facts(&self, view: HomeView<'_>) -> Result<ChainFacts> {
        facts::facts(view)
    }

    fn verify(
        &self,
        view: HomeView<'_>,
        options: &VerifyOptions,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> Result<Verdict> {
        verify::verify(view, options, progress)
    }

    fn config_edits(
        &self,
        home: &Home,
        moved: &[String],
        target: Engine,
    ) -> Result<Vec<ConfigEdit>> {
        home::config_edits(home, moved, target)
    }
}
