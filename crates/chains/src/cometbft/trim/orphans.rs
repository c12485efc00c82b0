//! What no version of the application's state reaches is left out, whatever the form of its nodes.

use super::OPERATION;
use super::versions::multistore;
use crate::cometbft::database::APPLICATION;
use crate::iavl::drop_orphans::DropOrphans;
use crate::iavl::{ApplicationLayout, layout};
use std::collections::BTreeMap;
use std::sync::Arc;
use transload_model::layout::Layout as _;
use transload_store::{DatabaseTrim, Error, HomeView, Reform as _, Result, TrimRule, TrimWish};

/// What becomes of the application's database.
///
/// # Errors
/// [`transload_store::Kind::Unsupported`] where there is no multistore, and where versions are
/// left out at the same time.
pub(super) fn dropped(view: HomeView<'_>, wish: &TrimWish) -> Result<DatabaseTrim> {
    if multistore(view)?.is_none() {
        let what =
            "the home's application keeps no multistore of the Cosmos SDK: it has no orphans";
        return Err(Error::unsupported(OPERATION, what).help("leave --drop-orphans away"));
    }
    if wish.first_version.is_some() {
        let what = format!(
            "--drop-orphans and --keep-versions both leave something out of {APPLICATION}, and the \
             report has one list of what is gone from a database: it couldn't say which went why"
        );
        return Err(Error::unsupported(OPERATION, what).help(
            "do one after the other: --drop-orphans first, and --keep-versions once that is \
             finalized",
        ));
    }
    let words = "what no kept version reaches is left out";
    let tables = ApplicationLayout::new();
    let tables = [layout::NODE, layout::LEGACY_NODE, layout::ORPHAN]
        .map(|table| (tables.tables()[table].name.clone(), words.to_owned()));
    Ok(DatabaseTrim {
        database: APPLICATION.to_owned(),
        transform: DropOrphans.transform(),
        rule: TrimRule::WholeFirst(Arc::new(DropOrphans)),
        asked: "--drop-orphans".to_owned(),
        becomes: BTreeMap::from(tables),
        kept_share: None,
        notes: vec![format!(
            "nodes that no kept version of the application's state has are left out, and orphans \
             whose node isn't there then. Whether {APPLICATION} has any shows when its trees are \
             walked, as the copy begins: a migration that would do nothing else ends there"
        )],
    })
}
