//! The profile of CometBFT homes.

use super::home::NodeBuild;
use super::{database, facts, home, kin, relayout, trim, verify};
use std::path::Path;
use transload_model::layout::Layout;
use transload_model::report::Verdict;
use transload_store::{
    ChainFacts, ConfigEdit, Database, DatabaseTrim, Home, HomeView, LayoutWish, Profile, Result,
    Snapshot, SwapChange, TrimWish, VerifyOptions,
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

    fn layout_wish(
        &self,
        home: &Home,
        database: &Database,
        current: &dyn Layout,
        snapshot: &dyn Snapshot,
        name: &str,
    ) -> Result<LayoutWish> {
        relayout::wish(home, &database.name, (current, snapshot), name, None)
    }

    fn kept_versions(&self, view: HomeView<'_>) -> Result<Option<(u64, u64)>> {
        trim::kept_versions(view)
    }

    fn trims(&self, view: HomeView<'_>, wish: &TrimWish) -> Result<Vec<DatabaseTrim>> {
        trim::trims(view, wish, None)
    }

    fn another_chain(&self, own: HomeView<'_>, other: HomeView<'_>) -> Result<Option<String>> {
        kin::another_chain(own, other)
    }

    fn notices(&self, view: HomeView<'_>) -> Result<Vec<String>> {
        relayout::notices(view)
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

    fn config_edits(&self, home: &Home, change: &SwapChange<'_>) -> Result<Vec<ConfigEdit>> {
        home::config_edits(home, change, None)
    }
}

/// The same profile with the build info of the very node that will open the home: what the node
/// can open follows from it instead of from the version in the config.
#[derive(Clone, Debug)]
pub struct CometBftWithNode {
    build: NodeBuild,
}

impl CometBftWithNode {
    /// Reads the build info of the program at `path`.
    ///
    /// # Errors
    /// [`transload_store::Kind::UnknownFormat`] when it isn't a Go program with readable build
    /// info; [`transload_store::Kind::NotFound`], [`transload_store::Kind::Io`].
    pub fn new(path: &Path) -> Result<Self> {
        Ok(Self { build: NodeBuild::of(path)? })
    }
}

impl Profile for CometBftWithNode {
    fn id(&self) -> &'static str {
        CometBft.id()
    }

    fn recognise(&self, root: &Path) -> Result<Option<Home>> {
        CometBft.recognise(root)
    }

    fn layout(
        &self,
        home: &Home,
        database: &Database,
        snapshot: &dyn Snapshot,
    ) -> Result<Box<dyn Layout>> {
        CometBft.layout(home, database, snapshot)
    }

    fn layout_wish(
        &self,
        home: &Home,
        database: &Database,
        current: &dyn Layout,
        snapshot: &dyn Snapshot,
        name: &str,
    ) -> Result<LayoutWish> {
        relayout::wish(home, &database.name, (current, snapshot), name, Some(&self.build))
    }

    fn kept_versions(&self, view: HomeView<'_>) -> Result<Option<(u64, u64)>> {
        CometBft.kept_versions(view)
    }

    fn trims(&self, view: HomeView<'_>, wish: &TrimWish) -> Result<Vec<DatabaseTrim>> {
        trim::trims(view, wish, Some(&self.build))
    }

    fn another_chain(&self, own: HomeView<'_>, other: HomeView<'_>) -> Result<Option<String>> {
        CometBft.another_chain(own, other)
    }

    fn notices(&self, view: HomeView<'_>) -> Result<Vec<String>> {
        CometBft.notices(view)
    }

    fn facts(&self, view: HomeView<'_>) -> Result<ChainFacts> {
        CometBft.facts(view)
    }

    fn verify(
        &self,
        view: HomeView<'_>,
        options: &VerifyOptions,
        progress: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> Result<Verdict> {
        CometBft.verify(view, options, progress)
    }

    fn config_edits(&self, home: &Home, change: &SwapChange<'_>) -> Result<Vec<ConfigEdit>> {
        home::config_edits(home, change, Some(&self.build))
    }
}
