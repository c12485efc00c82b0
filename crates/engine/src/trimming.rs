//! What is left out on the way: asked of the profile when the plan is made, and again each time
//! when it is carried out and before the swap, so that what is needed by then isn't left out.

use crate::error::{Error, Kind, Result};
use crate::home::{OpenDatabase, OpenHome};
use crate::plan::{Plan, PlannedDatabase, PlannedTrim, PlannedVerify};
use crate::planning::PlanRequest;
use std::collections::BTreeMap;
use transload_store::{DatabaseTrim, HomeView, KeyRange, Profile, TrimWish, VersionChoice};

const OPERATION: &str = "look for what to leave out";

/// What is left out of each database.
#[derive(Default)]
pub(crate) struct Trims {
    /// What was asked, with what follows from it; absent when everything is carried.
    pub(crate) planned: Option<PlannedTrim>,
    found: BTreeMap<String, DatabaseTrim>,
    /// What a person should know of it.
    pub(crate) notices: Vec<String>,
}

impl Trims {
    /// What is left out of this one.
    pub(crate) fn of(&self, database: &str) -> Option<&DatabaseTrim> {
        self.found.get(database)
    }

    /// Nothing may be left out of some databases and kept in those that speak of it.
    ///
    /// # Errors
    /// [`Kind::Refused`] when one of them isn't asked for, or can't move.
    pub(crate) fn refuse_what_stays(&self, databases: &[PlannedDatabase]) -> Result<()> {
        let stays = |one: &&PlannedDatabase| self.of(&one.name).is_some() && !one.moves();
        let Some(stays) = databases.iter().find(stays) else { return Ok(()) };
        Err(Error::new(
            Kind::Refused,
            "make the plan",
            format!("something of {} would be left out, and it stays as it is", stays.name),
        )
        .with("database", stays.name.clone())
        .next("where --only is given, it must name this database as well"))
    }
}

/// Asks the profile what is left out of each database.
///
/// # Errors
/// [`Kind::Usage`] for a name that nobody knows; [`Kind::Refused`] when something of it is needed.
pub(crate) fn trims(
    request: &PlanRequest,
    profile: &dyn Profile,
    open: &OpenHome<'_>,
) -> Result<Trims> {
    let Some(asked) = &request.trim else { return Ok(Trims::default()) };
    let mut trims = Trims::default();
    let first_height = match asked.keep_heights {
        Some(kept) => first_height(kept, open, &mut trims.notices)?,
        None => None,
    };
    let first_version = match asked.keep_versions {
        Some(kept) => first_version(kept, profile, open, &mut trims.notices)?,
        None => None,
    };
    let trim = PlannedTrim { first_height, first_version, ..asked.clone() };
    let found = ask(profile, open.view(), (&trim, request.layout.as_deref()), &request.verify)?;
    trims.planned = Some(trim);
    for found in found {
        let Some(database) = open.database(&found.database) else { continue };
        if is_empty(database)? {
            trims
                .notices
                .push(format!("{} is empty: there is nothing to leave out", found.database));
            continue;
        }
        trims.notices.extend(found.notes.iter().cloned());
        trims.found.insert(found.database.clone(), found);
    }
    Ok(trims)
}

/// The first of the last heights; `None` when the home has no others.
fn first_height(kept: u64, open: &OpenHome<'_>, notices: &mut Vec<String>) -> Result<Option<u64>> {
    let refuse = |what: &str| Err(Error::new(Kind::Refused, OPERATION, what));
    let facts = open.facts();
    let (Some(first), Some(last)) = (facts.height_first, facts.height_last) else {
        return refuse("the home doesn't say which heights it keeps, so none can be left out");
    };
    if kept == 0 {
        return refuse("--keep-heights 0 would leave nothing of the chain");
    }
    let from = first_of_the_last(kept, (first, last));
    if from.is_none() {
        notices.push(format!(
            "the home keeps the heights {first} to {last}, no more than the {kept} of \
             --keep-heights: there is nothing to leave out"
        ));
    }
    Ok(from)
}

/// The first of the last versions of the application's state; `None` when the home has no others.
fn first_version(
    kept: u64,
    profile: &dyn Profile,
    open: &OpenHome<'_>,
    notices: &mut Vec<String>,
) -> Result<Option<u64>> {
    let refuse = |what: &str| Err(Error::new(Kind::Refused, OPERATION, what));
    if kept == 0 {
        return refuse("--keep-versions 0 would leave nothing of the application's state");
    }
    let found = profile.kept_versions(open.view());
    let found = found.map_err(|error| Error::reading(OPERATION, error))?;
    let Some((first, last)) = found else {
        return refuse(
            "the home keeps no versions of an application's state, so none can be left out",
        );
    };
    let from = first_of_the_last(kept, (first, last));
    if from.is_none() {
        notices.push(format!(
            "the home keeps the versions {first} to {last} of the application's state, no more \
             than the {kept} of --keep-versions: there is nothing to leave out"
        ));
    }
    Ok(from)
}

/// `last - kept + 1`, where there is one and something below it.
fn first_of_the_last(kept: u64, (first, last): (u64, u64)) -> Option<u64> {
    last.checked_sub(kept - 1).filter(|from| *from > first)
}

fn is_empty(database: &OpenDatabase) -> Result<bool> {
    let first = database.snapshot.cursor(&KeyRange::all()).and_then(|mut cursor| {
        let first = cursor.next()?;
        Ok(first.is_none())
    });
    first.map_err(|error| Error::reading(OPERATION, error))
}

fn ask(
    profile: &dyn Profile,
    view: HomeView<'_>,
    (trim, layout): (&PlannedTrim, Option<&str>),
    verify: &PlannedVerify,
) -> Result<Vec<DatabaseTrim>> {
    let wish = TrimWish {
        drop: trim.drop.clone(),
        first_height: trim.first_height,
        first_version: trim.first_version,
        drop_orphans: trim.drop_orphans,
        trust_height: verify.trust_height,
        versions: match &verify.versions {
            VersionChoice::Listed(versions) => versions.clone(),
            VersionChoice::All | VersionChoice::Latest => Vec::new(),
        },
        layout: layout.map(str::to_owned),
    };
    profile.trims(view, &wish).map_err(|error| match error.kind() {
        transload_store::Kind::InvalidInput => Error::store(Kind::Usage, OPERATION, error),
        transload_store::Kind::Unsupported => Error::store(Kind::Refused, OPERATION, error),
        _ => Error::reading(OPERATION, error),
    })
}

/// What the plan leaves out of each database.
///
/// # Errors
/// [`Kind::Refused`] when the home isn't what the plan speaks of, or something of it is needed by
/// now; [`Kind::Difference`] or [`Kind::Stopped`] when it can't be read.
pub(crate) fn planned_trims(
    plan: &Plan,
    profile: &dyn Profile,
    open: &OpenHome<'_>,
) -> Result<BTreeMap<String, DatabaseTrim>> {
    let trimmed = || plan.moving().filter(|one| one.trimmed);
    let (Some(trim), true) = (&plan.trim, trimmed().next().is_some()) else {
        return Ok(BTreeMap::new());
    };
    let found = ask(profile, open.view(), (trim, plan.to_layout.as_deref()), &plan.verify)?;
    let mut found: BTreeMap<_, _> =
        found.into_iter().map(|one| (one.database.clone(), one)).collect();
    let mut rules = BTreeMap::new();
    for planned in trimmed() {
        let rule = found.remove(&planned.name).ok_or_else(|| {
            Error::new(Kind::Refused, OPERATION, "nothing is left out of it, as the plan says")
                .with("database", planned.name.clone())
                .next("`transload plan HOME` makes a new plan")
        })?;
        rules.insert(planned.name.clone(), rule);
    }
    // Empty when the plan was made, it had nothing to leave out.
    for database in open.databases() {
        let name = &database.database.name;
        if found.contains_key(name) && !is_empty(database)? {
            let what = "it was empty when the plan was made, and isn't any more: the plan doesn't \
                        say what is left out of it";
            return Err(Error::new(Kind::Refused, OPERATION, what)
                .with("database", name.clone())
                .next("`transload rollback HOME`, then a new plan: `transload plan HOME ...`"));
        }
    }
    Ok(rules)
}
