//! What is left out on the way: asked of the profile when the plan is made, and again each time
//! when it is carried out, so that what is needed meanwhile is refused then.

use crate::error::{Error, Kind, Result};
use crate::home::{OpenDatabase, OpenHome};
use crate::plan::{Plan, PlannedDatabase, PlannedTrim, PlannedVerify};
use crate::planning::PlanRequest;
use std::collections::BTreeMap;
use transload_store::{DatabaseTrim, HomeView, KeyRange, Profile, TrimWish};

const OPERATION: &str = "look for what to leave out";

/// What is left out of each database.
#[derive(Default)]
pub(crate) struct Trims {
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
    let Some(trim) = &request.trim else { return Ok(Trims::default()) };
    let mut trims = Trims::default();
    for found in ask(profile, open.view(), trim, &request.verify)? {
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
    trim: &PlannedTrim,
    verify: &PlannedVerify,
) -> Result<Vec<DatabaseTrim>> {
    let wish =
        TrimWish { drop: trim.drop.clone(), first_height: None, trust_height: verify.trust_height };
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
    let found = ask(profile, open.view(), trim, &plan.verify)?;
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
    Ok(rules)
}
