//! Checks of the home and its databases.

use super::{Answer, Ground};
use crate::plan::{Fate, Plan};
use transload_model::engine::Engine;
use transload_store::FileTreatment;

/// The home is the one that was planned for, with the same databases.
pub(super) fn home_is_the_plan_s(ground: &Ground<'_>) -> Answer {
    let (plan, home) = (ground.plan, ground.home);
    let again = "`transload plan HOME --to ENGINE` makes a new plan";
    if plan.home.path != home.root {
        let text = format!(
            "the plan is for {}, this is {}",
            plan.home.path.display(),
            home.root.display()
        );
        return Answer::failed(text, again);
    }
    if plan.home.profile != home.profile || plan.home.software != home.software {
        let text = format!("the plan is for {}, this is {}", plan.home.software, home.software);
        return Answer::failed(text, again);
    }
    let mut planned: Vec<&str> = plan.databases.iter().map(|one| one.name.as_str()).collect();
    let mut found: Vec<&str> = home.databases.iter().map(|one| one.name.as_str()).collect();
    planned.sort_unstable();
    found.sort_unstable();
    if planned != found {
        let text = format!("the plan has databases {planned:?}, the home has {found:?}");
        return Answer::failed(text, again);
    }
    Answer::passed(format!("{} with {} databases", home.software, found.len()))
}

/// Every database is still what the plan says, by its own files.
pub(super) fn databases_recognised(ground: &Ground<'_>) -> Answer {
    for database in &ground.home.databases {
        let recognised = match ground.engines.recognise(&database.path) {
            Ok(recognised) => recognised,
            Err(error) => {
                return Answer::failed(
                    format!("{}: {error}", database.name),
                    "restore the database from a backup or from its peers; opening it with the \
                     wrong engine makes it worse",
                );
            }
        };
        if let Some(planned) = planned_engine(ground.plan, &database.name)
            && planned.told_by_files() != recognised.engine.told_by_files()
        {
            let text =
                format!("{} is {} now, the plan says {planned}", database.name, recognised.engine);
            return Answer::failed(text, "`transload plan HOME --to ENGINE` makes a new plan");
        }
    }
    Answer::passed("each database is its planned engine's, by its own files")
}

/// Every database that the node's config asks for is there.
pub(super) fn databases_present(ground: &Ground<'_>) -> Answer {
    if ground.home.absent.is_empty() {
        return Answer::passed("every database that a node with this config keeps is there");
    }
    Answer::warning(
        format!("not there: {}; the node will begin them empty", ground.home.absent.join(", ")),
        "where the node has kept them before, restore the home from a backup first",
    )
}

fn planned_engine(plan: &Plan, name: &str) -> Option<Engine> {
    plan.databases.iter().find(|database| database.name == name).map(|database| database.from)
}

/// The names that node configs use for engines. `None`: not a name that we know.
fn configured_as(name: &str, engine: Engine) -> Option<bool> {
    let engines: &[Engine] = match name {
        "goleveldb" | "cleveldb" | "leveldb" => &[Engine::Goleveldb, Engine::Cleveldb],
        "pebbledb" | "pebble" => &[Engine::Pebble1, Engine::Pebble2],
        "rocksdb" => &[Engine::Rocksdb],
        "boltdb" => &[Engine::Bbolt],
        "badgerdb" => &[Engine::Badgerdb],
        _ => return None,
    };
    Some(engines.contains(&engine))
}

/// Where a config key governs a database, it names the engine of the files.
pub(super) fn config_agrees_with_files(ground: &Ground<'_>) -> Answer {
    let mut unknown = Vec::new();
    for database in &ground.home.databases {
        let (Some(configured), Some(engine)) =
            (&database.configured, planned_engine(ground.plan, &database.name))
        else {
            continue;
        };
        match configured_as(configured, engine) {
            Some(true) => {}
            Some(false) => {
                let key = database.governed_by.as_deref().unwrap_or("the config");
                let text = format!(
                    "{key} says {configured}, but {} is {engine} by its files: the node would \
                     open it with the wrong engine",
                    database.name
                );
                return Answer::failed(text, "set the key to the engine that the files have");
            }
            None => unknown.push(format!("{} ({configured})", database.name)),
        }
    }
    if unknown.is_empty() {
        Answer::passed("config keys and files name the same engines")
    } else {
        let text = format!("engine names that are not known here: {}", unknown.join(", "));
        Answer::warning(text, "make sure that the node reads these databases as they are")
    }
}

/// Nobody holds a database of this home.
pub(super) fn no_node_runs(ground: &Ground<'_>) -> Answer {
    for database in &ground.home.databases {
        match ground.engines.holder(&database.path) {
            Ok(Some(holder)) if holder.pid != std::process::id() => {
                let text = format!(
                    "{} is held by process {} ({})",
                    database.name, holder.pid, holder.command
                );
                return Answer::failed(text, "stop the node, then begin again");
            }
            Ok(_) => {}
            Err(error) => {
                let text = format!("{}: {error}", database.name);
                return Answer::failed(text, "find out whether a node runs on this home");
            }
        }
    }
    Answer::passed("no process holds a database")
}

/// A remote signer keeps its own state, which nothing here sees.
pub(super) fn remote_signer(ground: &Ground<'_>) -> Answer {
    match &ground.home.remote_signer {
        None => Answer::passed("no remote signer is configured"),
        Some(address) => Answer::warning(
            format!("a remote signer connects at {address}; its state is not seen here"),
            "keep it running or stopped as your own rules say; a rollback asks about it",
        ),
    }
}

/// The signer's state and the consensus log stay where they are.
pub(super) fn signer_state_fenced(ground: &Ground<'_>) -> Answer {
    let moved: Vec<_> =
        ground.plan.databases.iter().filter(|one| one.fate == Fate::Moves).collect();
    for file in ground.plan.files.iter().filter(|file| file.treatment == FileTreatment::Fenced) {
        let path = ground.home.root.join(&file.path);
        if let Some(database) = moved.iter().find(|database| path.starts_with(&database.path)) {
            let text = format!("{} lies inside {}", file.path, database.name);
            return Answer::failed(text, "signer state is never moved; this home can't be");
        }
    }
    match &ground.home.signer {
        Some(signer) => Answer::passed(format!(
            "the signer stands at height {}, round {}, step {}, and stays there",
            signer.height, signer.round, signer.step
        )),
        None => match &ground.home.signer_unread {
            Some(file) => Answer::warning(
                format!("{} is no signer's state that can be read", file.display()),
                "nobody can say at which height the signer stands: look at the file before the \
                 node starts",
            ),
            None => Answer::passed("there is no signer state in this home"),
        },
    }
}
