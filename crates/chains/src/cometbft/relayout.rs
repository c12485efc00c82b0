//! Going from one key layout to the other: which databases can, which software reads it, and the
//! traps that the node's own setting holds.
//!
//! A node (1.x: `store/store.go`, `state/store.go`, `internal/evidence/pool.go`) goes by a
//! database's `version` key; where that is missing it writes what its config says and moves
//! nothing.

use super::database::{APPLICATION, BLOCKSTORE, EVIDENCE, LIGHT, STATE, TX_INDEX};
use super::home::{LAYOUT_KEY, NodeBuild, Release, configured_layout, fast_index_is_off};
use super::layout::{BlockstoreLayout, EvidenceLayout, KeyForm, StateLayout, VERSION_KEY};
use crate::iavl::ApplicationLayout;
use crate::iavl::convert::{self, FastIndex, ToIavl1};
use transload_model::layout::Layout;
use transload_model::report::printable_key;
use transload_store::{Error, Home, HomeView, KeyRange, Kind, LayoutWish, Result, Snapshot};

const OPERATION: &str = "look for the layout";

/// The databases that have both layouts, and that the node's one key is for.
pub(crate) const TWO_LAYOUTS: [&str; 3] = [BLOCKSTORE, STATE, EVIDENCE];

/// What becomes of a database when its home goes to the layout called `name`.
///
/// # Errors
/// [`Kind::InvalidInput`] for an unknown name; [`Kind::Unsupported`] when the node doesn't read
/// that layout.
pub(crate) fn wish(
    home: &Home,
    database: &str,
    (current, snapshot): (&dyn Layout, &dyn Snapshot),
    name: &str,
    node: Option<&NodeBuild>,
) -> Result<LayoutWish> {
    if name == convert::NAME {
        return application(home, database, (current, snapshot), node);
    }
    let form = KeyForm::of_name(name).ok_or_else(|| {
        Error::new(
            Kind::InvalidInput,
            OPERATION,
            format!("no layout is called {name:?}; there are v1 and v2 for the node's stores, and iavl-1 for \
                 an application's state"),
        )
    })?;
    let target: Box<dyn Layout> = match database {
        BLOCKSTORE => Box::new(BlockstoreLayout::new(form)),
        STATE => Box::new(StateLayout::new(form)),
        EVIDENCE => Box::new(EvidenceLayout::new(form)),
        LIGHT => {
            return Ok(LayoutWish::Keeps(
                "v1 counts the blocks of all chains in one record and v2 those of each chain in \
                 its own, so no way that loses nothing leads from one to the other",
            ));
        }
        TX_INDEX => return Ok(LayoutWish::Keeps("it is the same in both layouts")),
        APPLICATION => return Ok(LayoutWish::Keeps("the application has its own layout")),
        _ => return Ok(LayoutWish::Keeps("it has one layout only")),
    };
    if target.id() == current.id() {
        return Ok(LayoutWish::HasIt);
    }
    if form == KeyForm::V2 {
        reads_v2(home, node)?;
    }
    Ok(LayoutWish::Gets(target))
}

/// What becomes of a database when the application's state goes to the form of IAVL 1.x.
fn application(
    home: &Home,
    database: &str,
    (current, snapshot): (&dyn Layout, &dyn Snapshot),
    node: Option<&NodeBuild>,
) -> Result<LayoutWish> {
    if database != APPLICATION {
        return Ok(LayoutWish::Keeps("it holds no trees of IAVL"));
    }
    if current.id() != ApplicationLayout::new().id() {
        return Ok(LayoutWish::Keeps("it is no multistore of the Cosmos SDK"));
    }
    if !convert::has_old_form(snapshot)? {
        return Ok(LayoutWish::HasIt);
    }
    reads_iavl_1(home, node)?;
    let fast_index =
        if fast_index_is_off(&home.root)? { FastIndex::LeaveOut } else { FastIndex::Carry };
    let caution = prunes_badly(node);
    Ok(LayoutWish::Becomes(Box::new(ToIavl1 { fast_index, caution })))
}

/// IAVL 1.x reads both forms; what came before reads the old one only. The SDK has it since 0.50,
/// whose node is 0.38; an application may have been built with it before.
fn reads_iavl_1(home: &Home, node: Option<&NodeBuild>) -> Result<()> {
    let why = match node.map(|build| (build, build.module(IAVL))) {
        Some((_, Some(version))) if release(version) >= [1, 0, 0] => return Ok(()),
        Some((build, Some(version))) => format!("{build} contains {IAVL} {version}, not 1.x"),
        Some((build, None)) => format!("{build} doesn't contain {IAVL}"),
        None => match Release::of_software(&home.software) {
            Some(release) if release >= Release::V038 => return Ok(()),
            _ => format!(
                "{} ({}) goes with an application whose IAVL reads the old form only",
                home.software, home.software_evidence
            ),
        },
    };
    Err(Error::new(Kind::Unsupported, OPERATION, why)
        .help("give the program of the node that will open it: --node-binary PATH"))
}

/// Pruning moves the root of a version to nonce 0. Where it is a single leaf that a later version
/// has as a child, the library looks for it there since 1.2.2 only; before, reading ends there as
/// if it were the last key, and writing halts the node.
fn prunes_badly(node: Option<&NodeBuild>) -> Option<String> {
    let has = may_miss_nonce_0(node)?;
    Some(format!(
        "{has}: before 1.2.2 it loses a leaf that was the whole tree of a version when it prunes \
         that version and a later one has grown on it (cosmos/iavl#1007; in databases of its own \
         as well). Let no such release prune the converted one"
    ))
}

/// Which library the application has, where it isn't known to look for a child at nonce 0.
pub(crate) fn may_miss_nonce_0(node: Option<&NodeBuild>) -> Option<String> {
    match node.and_then(|build| build.module(IAVL)) {
        Some(version) if release(version) >= PRUNES_WELL => None,
        Some(version) => Some(format!("the application's IAVL is {version}")),
        None => Some("which IAVL the application has isn't known".to_owned()),
    }
}

/// The library's module.
const IAVL: &str = "github.com/cosmos/iavl";

/// The first release with the fix of cosmos/iavl#1007.
const PRUNES_WELL: [u32; 3] = [1, 2, 2];

/// The numbers of `v1.2.3`, whatever follows them; 0 for those that are missing.
fn release(version: &str) -> [u32; 3] {
    let plain = version.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default();
    let mut numbers = plain.split('.').map(|number| number.parse().unwrap_or(0));
    [(); 3].map(|()| numbers.next().unwrap_or(0))
}

/// Only 1.x knows the new layout; earlier releases would find an empty home.
fn reads_v2(home: &Home, node: Option<&NodeBuild>) -> Result<()> {
    let built = node.and_then(NodeBuild::release);
    let why = match built.or_else(|| Release::of_software(&home.software)) {
        Some(Release::V1) => return Ok(()),
        Some(_) => format!("{} doesn't know key layout v2; CometBFT 1.x does", home.software),
        None => format!(
            "the release of the node isn't known ({}), so whether it knows key layout v2 isn't \
             either",
            home.software_evidence
        ),
    };
    Err(Error::new(Kind::Unsupported, OPERATION, why)
        .help("where the node is newer than its config says, give its program: --node-binary PATH"))
}

/// Databases whose `version` key and the node's setting don't agree.
///
/// # Errors
/// Those of reading.
pub(crate) fn notices(view: HomeView<'_>) -> Result<Vec<String>> {
    let mut notices = Vec::new();
    if Release::of_software(&view.home.software) != Some(Release::V1) {
        return Ok(notices);
    }
    // The default of every 1.x.
    let set = configured_layout(&view.home.root)?.unwrap_or_else(|| KeyForm::V1.name().to_owned());
    for name in TWO_LAYOUTS {
        let Some(snapshot) = view.databases.snapshot(name) else { continue };
        match snapshot.get(VERSION_KEY)? {
            Some(version) if version == set.as_bytes() => {}
            Some(version) if !version.is_empty() => notices.push(format!(
                "{name} is stamped with key layout {}, and config.toml sets {LAYOUT_KEY} = \
                 {set:?}: the node goes by the stamp, so the setting changes nothing; \
                 `transload migrate HOME --layout NAME` would",
                printable_key(&version)
            )),
            _ if set == KeyForm::V2.name() && !is_empty(&*snapshot)? => notices.push(format!(
                "{name} has key layout v1 and no stamp, and config.toml sets {LAYOUT_KEY} = \
                 \"v2\": a node that starts now stamps it v2, moves nothing, and no longer finds \
                 its records. Set the key to \"v1\" first; `transload migrate HOME --layout v2` \
                 then takes the database there"
            )),
            _ => {}
        }
    }
    Ok(notices)
}

fn is_empty(snapshot: &dyn Snapshot) -> Result<bool> {
    Ok(snapshot.cursor(&KeyRange::all())?.next()?.is_none())
}
