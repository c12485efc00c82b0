//! Which databases get another layout, and whether that fits together.

use crate::error::{Error, Kind, Result};
use crate::home::{OpenDatabase, OpenHome};
use crate::plan::{Plan, PlannedDatabase};
use crate::planning::PlanRequest;
use crate::trimming::Trims;
use std::collections::BTreeMap;
use transload_model::engine::Engine;
use transload_model::layout::Layout;
use transload_store::{Home, LayoutWish, Profile, Rekey};

/// What the profile says of each database, where a layout is asked for.
pub(crate) type Wishes = BTreeMap<String, LayoutWish>;

/// Asks the profile what becomes of each database.
///
/// # Errors
/// [`Kind::Usage`] for a layout that nobody knows; [`Kind::Refused`] for one that this home's
/// node doesn't read.
pub(crate) fn wishes(
    request: &PlanRequest,
    profile: &dyn Profile,
    open: &OpenHome<'_>,
) -> Result<Wishes> {
    let mut wishes = Wishes::new();
    let Some(name) = &request.layout else { return Ok(wishes) };
    for database in open.databases() {
        let wish = ask(profile, open.home(), database, name)?;
        wishes.insert(database.database.name.clone(), wish);
    }
    Ok(wishes)
}

fn ask(profile: &dyn Profile, home: &Home, open: &OpenDatabase, name: &str) -> Result<LayoutWish> {
    profile.layout_wish(home, &open.database, &*open.layout, &*open.snapshot, name).map_err(
        |error| {
            let kind = match error.kind() {
                transload_store::Kind::InvalidInput => Kind::Usage,
                _ => Kind::Refused,
            };
            Error::store(kind, "look for the layout", error)
        },
    )
}

/// The engine that databases have after the swap: the one asked for, or the one that those have
/// which change.
///
/// # Errors
/// [`Kind::Refused`] when these have several.
pub(crate) fn target_engine(
    request: &PlanRequest,
    open: &OpenHome<'_>,
    wishes: &Wishes,
    trims: &Trims,
) -> Result<Engine> {
    if let Some(engine) = request.engine {
        return Ok(engine);
    }
    let mut engine = None;
    for database in open.databases() {
        let name = &database.database.name;
        let relaid = wishes.get(name).and_then(LayoutWish::target_id).is_some();
        if !relaid && trims.of(name).is_none() {
            continue;
        }
        let own = crate::planning::engine_of(&database.database, database.recognised.engine);
        if engine.is_some_and(|engine| engine != own) {
            return Err(Error::new(
                Kind::Refused,
                "make the plan",
                "the databases that change have several engines",
            )
            .with("database", name.clone())
            .next("bring them to one engine at the same time: --to ENGINE"));
        }
        engine = Some(own);
    }
    engine.ok_or_else(|| nothing_moves(request, wishes, trims))
}

/// The refusal of a plan that would do nothing.
pub(crate) fn nothing_moves(request: &PlanRequest, wishes: &Wishes, trims: &Trims) -> Error {
    let what = match (request.engine, &request.layout) {
        (None, None) => "nothing is left out of this home",
        (_, None) => {
            "no database of this home moves: each has the engine already, or stays with \
                      its own"
        }
        (None, Some(_)) => {
            "no database of this home gets another layout: each has it already, or \
                            keeps its own"
        }
        (Some(_), Some(_)) => {
            "no database of this home changes: each has engine and layout \
                               already, or keeps its own"
        }
    };
    let mut error = Error::new(Kind::Refused, "make the plan", what);
    if let Some(engine) = request.engine {
        error = error.with("engine", engine.name());
    }
    if let Some(layout) = &request.layout {
        error = error.with("layout", layout.clone());
    }
    for notice in &trims.notices {
        error = error.with("left out", notice.clone());
    }
    for name in request.only.iter().flatten() {
        if let Some(LayoutWish::Keeps(why)) = wishes.get(name) {
            error = error.with("database", format!("{name} keeps its layout: {why}"));
        }
    }
    error.next("transload inspect HOME shows every database's engine and layout")
}

/// The layout that was asked for changes nothing, where something else moves: the databases that
/// have it already.
pub(crate) fn layout_is_there(request: &PlanRequest, wishes: &Wishes) -> Option<String> {
    let layout = request.layout.as_deref()?;
    if wishes.values().any(|wish| wish.target_id().is_some()) {
        return None;
    }
    let has_it = wishes.iter().filter(|(_, wish)| matches!(wish, LayoutWish::HasIt));
    let names: Vec<&str> = has_it.map(|(name, _)| name.as_str()).collect();
    Some(match names.as_slice() {
        [] => format!("--layout {layout} changes nothing: every database keeps its own"),
        names => format!("--layout {layout} changes nothing: {} has it already", names.join(", ")),
    })
}

/// One config key speaks of the layout of all of them.
pub(crate) fn refuse_half_a_layout(databases: &[PlannedDatabase], wishes: &Wishes) -> Result<()> {
    let gets =
        |one: &PlannedDatabase| wishes.get(&one.name).and_then(LayoutWish::target_id).is_some();
    let left: Vec<&str> = databases
        .iter()
        .filter(|one| gets(one) && one.to_layout.is_none())
        .map(|one| one.name.as_str())
        .collect();
    if left.is_empty() || databases.iter().all(|one| one.to_layout.is_none()) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Refused,
        "make the plan",
        format!("the layout of {} must change as well: these go together", left.join(", ")),
    )
    .next("leave --only away, or name all of them"))
}

/// The rule from one layout to the other.
///
/// # Errors
/// [`Kind::Refused`] when there is none.
pub(crate) fn rekey<'a>(source: &'a dyn Layout, target: &'a dyn Layout) -> Result<Rekey<'a>> {
    Rekey::new(source, target)
        .map_err(|error| Error::store(Kind::Refused, "change the layout", error))
}

/// What a database becomes by the plan; `None` where it keeps its layout.
///
/// # Errors
/// [`Kind::Refused`] when the database or the profile isn't what the plan speaks of.
pub(crate) fn planned_wish(
    plan: &Plan,
    profile: &dyn Profile,
    home: &Home,
    open: &OpenDatabase,
) -> Result<Option<LayoutWish>> {
    let name = &open.database.name;
    let planned = plan.databases.iter().find(|one| one.name == *name);
    let Some((planned, to)) = planned.and_then(|one| Some((one, one.to_layout.as_ref()?))) else {
        return Ok(None);
    };
    let other = |what: String| {
        Error::new(Kind::Refused, "look for the layout", what)
            .with("database", name.clone())
            .next("`transload plan HOME` makes a new plan")
    };
    if open.layout.id() != planned.layout {
        let what = format!("it has {} now, the plan says {}", open.layout.id(), planned.layout);
        return Err(other(what));
    }
    let asked = plan.to_layout.as_deref().unwrap_or_default();
    let wish = ask(profile, home, open, asked)?;
    if wish.target_id().as_ref() == Some(to) {
        return Ok(Some(wish));
    }
    Err(other(format!("{asked} doesn't mean {to} for it, as the plan says")))
}
