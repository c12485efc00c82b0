//! Versions of the application's state below one are left out, as its own pruning would leave them
//! out.

use super::OPERATION;
use crate::cometbft::database::{self, APPLICATION};
use crate::cometbft::home::{NodeBuild, snapshots_folder};
use crate::cometbft::relayout::may_miss_nonce_0;
use crate::iavl::convert::{self, has_old_form};
use crate::iavl::prune::{self, KeepVersions};
use crate::iavl::{ApplicationLayout, layout};
use crate::snapshots;
use std::collections::BTreeMap;
use std::sync::Arc;
use transload_model::layout::Layout as _;
use transload_store::{
    DatabaseTrim, Error, HomeView, Reform as _, Result, Snapshot, TrimRule, TrimWish,
};

/// The versions of the application's state that the home keeps; `None` where the application keeps
/// no multistore.
///
/// # Errors
/// Those of reading.
pub(crate) fn kept_versions(view: HomeView<'_>) -> Result<Option<(u64, u64)>> {
    match multistore(view)? {
        Some(snapshot) => prune::kept_versions(&*snapshot),
        None => Ok(None),
    }
}

pub(super) fn multistore(view: HomeView<'_>) -> Result<Option<Arc<dyn Snapshot>>> {
    let Some(snapshot) = view.databases.snapshot(APPLICATION) else { return Ok(None) };
    Ok(database::holds_multistore(&*snapshot)?.then_some(snapshot))
}

/// What becomes of the application's database when no version below `first` is kept; nothing where
/// it begins there anyway.
///
/// # Errors
/// [`transload_store::Kind::Unsupported`] when there are no versions, when one is still needed, and
/// for the form of IAVL 0.x that doesn't become that of 1.x at the same time.
pub(super) fn below(
    view: HomeView<'_>,
    first: u64,
    wish: &TrimWish,
    node: Option<&NodeBuild>,
) -> Result<Option<DatabaseTrim>> {
    let (Some(snapshot), Some((before, last))) = (multistore(view)?, kept_versions(view)?) else {
        let what = format!("no versions of the state are kept in {APPLICATION}");
        return Err(Error::unsupported(OPERATION, what).help("leave --keep-versions away"));
    };
    if first <= before {
        return Ok(None);
    }
    if wish.layout.as_deref() != Some(convert::NAME) && has_old_form(&*snapshot)? {
        let what = format!(
            "{APPLICATION} is in the form of IAVL 0.x: which of its nodes go with a version is said \
             by orphan records, and those of the versions that stay can't be written as the \
             library would have written them"
        );
        return Err(Error::unsupported(OPERATION, what).help(
            "take the state to the form of 1.x at the same time: --layout iavl-1 --keep-versions N",
        ));
    }
    refuse_what_is_needed(view, wish, (before, first, last))?;
    let rule = KeepVersions { first, last };
    let words = format!("what versions {first} to {last} have is carried, the rest is left out");
    let tables = ApplicationLayout::new();
    let tables = [layout::NODE, layout::ROOT].map(|table| tables.tables()[table].name.clone());
    let mut notes = vec![format!(
        "versions {before} to {} of the application's state are left out: it answers no query at \
         these heights, proves nothing there, and can't be rolled back below {first}. CommitInfo of \
         all versions stays, as the SDK's own pruning leaves it",
        first - 1
    )];
    notes.extend(may_miss_nonce_0(node).map(|has| {
        format!(
            "{has}: before 1.2.2 it misses a leaf at nonce 0 that a later version's tree has as a \
             part (cosmos/iavl#1007). Its own pruning leaves such leaves as well, where the whole \
             tree of a version was one leaf; have a later release open the state where it matters"
        )
    }));
    Ok(Some(DatabaseTrim {
        database: APPLICATION.to_owned(),
        transform: rule.transform(),
        rule: TrimRule::Whole(Arc::new(rule)),
        asked: format!("--keep-versions, first_version = {first}"),
        becomes: tables.map(|table| (table, words.clone())).into_iter().collect::<BTreeMap<_, _>>(),
        kept_share: None,
        notes,
    }))
}

/// Versions that somebody still needs aren't left out.
fn refuse_what_is_needed(
    view: HomeView<'_>,
    wish: &TrimWish,
    (before, first, last): (u64, u64, u64),
) -> Result<()> {
    let mut needs: Vec<(u64, String)> = Vec::new();
    if let Some(metadata) = view.databases.snapshot(database::SNAPSHOTS)
        && let Some(folder) = snapshots_folder(view.home)
    {
        needs.extend(snapshots::listed(&*metadata, folder)?.into_iter().map(|snapshot| {
            let why = "a state-sync snapshot is of it, and the SDK's own pruning spares it";
            (snapshot.height, why.to_owned())
        }));
    }
    needs.extend(wish.trust_height.map(|height| {
        (height, "its header is the one that you trust (--trust-height)".to_owned())
    }));
    let asked = "it is to be checked (--versions)".to_owned();
    needs.extend(wish.versions.iter().map(|version| (*version, asked.clone())));
    needs.retain(|(version, _)| (before..first).contains(version));
    let Some(lowest) = needs.iter().map(|(version, _)| *version).min() else { return Ok(()) };
    let mut error =
        Error::unsupported(OPERATION, format!("the versions below {first} can't be left out"));
    for (version, why) in needs {
        error = error.with("needed", format!("version {version}: {why}"));
    }
    Err(error.help(match lowest > before {
        true => {
            format!("the least that can be kept now is --keep-versions {}", last - lowest + 1)
        }
        false => "nothing can be left out now: leave --keep-versions away".to_owned(),
    }))
}
