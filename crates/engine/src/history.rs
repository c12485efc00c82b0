//! The plan in force and the plans before it: `.transload/plan.toml` and `.transload/plans/`.

use crate::error::{Error, Kind, Result};
use crate::plan::Plan;
use crate::watch::Watch;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Plans kept; more than anybody makes by hand.
const PLANS_MAX: u32 = 99_999;

/// A plan in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanEntry {
    /// Its number, from 1.
    pub number: u32,
    /// Its digest.
    pub digest: String,
    /// Its file.
    pub path: PathBuf,
    /// When it was made, in seconds since 1970.
    pub made_unix_seconds: u64,
    /// One line about it.
    pub about: String,
}

/// One field that differs between two plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// Dotted path, such as `limits.workers`.
    pub field: String,
    /// The value before; `None` when it is new.
    pub before: Option<String>,
    /// The value after; `None` when it is gone.
    pub after: Option<String>,
}

/// The plan in force.
#[must_use]
pub fn plan_path(state_dir: &Path) -> PathBuf {
    state_dir.join("plan.toml")
}

/// Makes `plan` the one in force and adds it to the history. Returns its digest.
///
/// # Errors
/// [`Kind::Refused`] when it can't be written.
pub fn keep_plan(state_dir: &Path, plan: &Plan, watch: &Watch) -> Result<String> {
    let (text, digest) = (plan.text()?, plan.digest()?);
    let plans = state_dir.join("plans");
    fs::create_dir_all(&plans).map_err(|error| refused(&plans, error))?;
    let history = plan_log(state_dir)?;
    if history.last().is_none_or(|last| last.digest != digest) {
        let number = history.last().map_or(1, |last| last.number + 1);
        if number > PLANS_MAX {
            return Err(Error::new(Kind::Refused, "keep the plan", "there are too many plans")
                .with("path", plans.display().to_string()));
        }
        write_durably(&plans.join(format!("{number:05}.toml")), text.as_bytes())
            .map_err(|error| refused(&plans, error))?;
        watch.step("plan added to the history");
    }
    let path = plan_path(state_dir);
    write_durably(&path, text.as_bytes()).map_err(|error| refused(&path, error))?;
    watch.step("plan put in its place");
    Ok(digest)
}

/// The plan in force.
///
/// # Errors
/// [`Kind::Refused`] when there is none, or it can't be read.
pub fn current_plan(state_dir: &Path) -> Result<Plan> {
    let path = plan_path(state_dir);
    if !path.exists() {
        return Err(Error::new(Kind::Refused, "read the plan", "there is no plan yet")
            .with("path", path.display().to_string())
            .next("`transload plan HOME --to ENGINE` makes one"));
    }
    Plan::read(&path)
}

/// Every plan ever kept, oldest first.
///
/// # Errors
/// [`Kind::Refused`] when the folder or a plan can't be read.
pub fn plan_log(state_dir: &Path) -> Result<Vec<PlanEntry>> {
    let plans = state_dir.join("plans");
    let folder = match fs::read_dir(&plans) {
        Ok(folder) => folder,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(refused(&plans, error)),
    };
    let mut entries = Vec::new();
    for entry in folder {
        let path = entry.map_err(|error| refused(&plans, error))?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(".toml"))
            .and_then(|stem| stem.parse::<u32>().ok());
        let Some(number) = number else { continue };
        let plan = Plan::read(&path)?;
        let moving = plan.moving().count();
        entries.push(PlanEntry {
            number,
            digest: plan.digest()?,
            path,
            made_unix_seconds: plan.made_unix_seconds,
            about: format!("{moving} databases to {}", plan.aim()),
        });
    }
    entries.sort_by_key(|entry| entry.number);
    Ok(entries)
}

/// The fields in which two plans differ, by their paths.
///
/// # Errors
/// [`Kind::Refused`] when a plan has no text.
pub fn plan_diff(before: &Plan, after: &Plan) -> Result<Vec<FieldChange>> {
    let (mut before, mut after) = (fields(before)?, fields(after)?);
    let mut names: Vec<String> = before.keys().chain(after.keys()).cloned().collect();
    names.sort_unstable();
    names.dedup();
    let change = |field: String| {
        let (before, after) = (before.remove(&field), after.remove(&field));
        (before != after).then_some(FieldChange { field, before, after })
    };
    Ok(names.into_iter().filter_map(change).collect())
}

fn fields(plan: &Plan) -> Result<BTreeMap<String, String>> {
    let value: toml::Table = toml::from_str(&plan.text()?)
        .map_err(|error| Error::new(Kind::Refused, "compare the plans", error.to_string()))?;
    let mut fields = BTreeMap::new();
    flatten("", &toml::Value::Table(value), &mut fields);
    Ok(fields)
}

/// Tables in arrays go by their `name`, `path` or `id` where they have one, so that an added
/// database doesn't show as a change of all that follow.
fn flatten(path: &str, value: &toml::Value, fields: &mut BTreeMap<String, String>) {
    let join = |part: &str| {
        if path.is_empty() { part.to_owned() } else { format!("{path}.{part}") }
    };
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                flatten(&join(key), value, fields);
            }
        }
        toml::Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let name = item
                    .get("name")
                    .or_else(|| item.get("path"))
                    .or_else(|| item.get("id"))
                    .and_then(toml::Value::as_str)
                    .map_or_else(|| index.to_string(), |name| format!("[{name}]"));
                flatten(&join(&name), item, fields);
            }
        }
        other => {
            fields.insert(path.to_owned(), other.to_string());
        }
    }
}

/// Writes a file so that a reader sees the old one or the new one, whole, also after a power
/// cut.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let staged = path.with_file_name(name);
    let mut file = File::create(&staged)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&staged, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn refused(path: &Path, error: std::io::Error) -> Error {
    Error::new(Kind::Refused, "keep the plan", error.to_string())
        .with("path", path.display().to_string())
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;

    #[test]
    fn every_plan_is_kept_and_the_last_one_is_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let first = plan();
        let mut second = plan();
        second.limits.workers = 2;
        keep_plan(folder.path(), &first, &Watch::default()).unwrap();
        keep_plan(folder.path(), &first, &Watch::default()).unwrap();
        let digest = keep_plan(folder.path(), &second, &Watch::default()).unwrap();
        let log = plan_log(folder.path()).unwrap();
        assert_eq!(log.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(log[1].digest, digest);
        assert_eq!(current_plan(folder.path()).unwrap(), second);
        assert_eq!(Plan::read(&log[0].path).unwrap(), first);
    }

    #[test]
    fn a_difference_names_the_field_and_both_values() {
        let mut after = plan();
        after.limits.workers = 2;
        after.databases.remove(0);
        let changes = plan_diff(&plan(), &after).unwrap();
        let workers = FieldChange {
            field: "limits.workers".into(),
            before: Some("4".into()),
            after: Some("2".into()),
        };
        assert!(changes.contains(&workers));
        let gone = changes.iter().filter(|change| change.after.is_none());
        assert!(gone.clone().count() > 3);
        assert!(gone.clone().all(|change| change.field.starts_with("databases.[blockstore.db]")));
        assert_eq!(plan_diff(&after, &after).unwrap(), []);
    }

    #[test]
    fn without_a_plan_the_next_step_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = current_plan(folder.path()).unwrap_err();
        assert_eq!(error.next_step(), Some("`transload plan HOME --to ENGINE` makes one"));
        assert_eq!(plan_log(folder.path()).unwrap(), []);
    }
}
