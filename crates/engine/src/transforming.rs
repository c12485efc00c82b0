//! The transforms of a plan: which one in which version, who agreed to one that leads one way, and
//! by which of them a chunk was made.

use crate::error::{Error, Kind, Result};
use crate::relayout::rekey;
use serde::{Deserialize, Serialize};
use transload_model::layout::Layout;
use transload_store::{DatabaseTrim, LayoutWish, Reshape as _, Transform, TrimRule, WayBack};

const OPERATION: &str = "look for the transforms";

/// A transform of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedTransform {
    /// Its name.
    pub id: String,
    /// Its version.
    pub version: u32,
    /// What it takes.
    pub from: String,
    /// What it gives.
    pub to: String,
    /// Whether another leads back.
    pub way_back: WayBack,
    /// How somebody agreed to it; present where none leads back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<String>,
}

impl PlannedTransform {
    /// Of a transform that was asked for in these words.
    pub(crate) fn of(transform: Transform, asked: &str) -> Self {
        let is_one_way = matches!(transform.way_back, WayBack::OneWay(_));
        let consent = is_one_way.then(|| format!("asked for with {asked}"));
        let Transform { id, version, from, to, way_back } = transform;
        Self { id: id.to_owned(), version, from, to, way_back, consent }
    }

    /// As chunks have it in the journal.
    pub(crate) fn label(&self) -> String {
        format!("{} {}", self.id, self.version)
    }

    fn is(&self, other: &Transform) -> bool {
        let same_text = self.id == other.id && self.from == other.from && self.to == other.to;
        same_text && self.version == other.version && self.way_back == other.way_back
    }

    /// Why nobody may carry it out, if so.
    pub(crate) fn wrong(&self) -> Option<String> {
        match (&self.way_back, &self.consent) {
            (WayBack::OneWay(_), None) => Some(format!(
                "transform {} leads one way, and nobody has agreed to it",
                self.label()
            )),
            (WayBack::OneWay(why), _) if why.is_empty() => {
                Some(format!("transform {} leads one way for no stated reason", self.label()))
            }
            (WayBack::Inverse(_), Some(_)) => Some(format!(
                "transform {} can be undone, and the plan has an agreement to one that can't",
                self.label()
            )),
            _ => None,
        }
    }
}

/// What a database goes through, first to last: it becomes another one as a whole, loses what is
/// left out (before, where the rule says so), and gets its new keys.
///
/// # Errors
/// [`Kind::Refused`] when no rule leads to the layout.
pub(crate) fn transforms(
    source: &dyn Layout,
    wish: Option<&LayoutWish>,
    trim: Option<&DatabaseTrim>,
) -> Result<Vec<Transform>> {
    let mut all = Vec::new();
    let is_first = |trim: &&DatabaseTrim| matches!(trim.rule, TrimRule::WholeFirst(_));
    all.extend(trim.filter(is_first).map(|trim| trim.transform.clone()));
    if let Some(LayoutWish::Becomes(reform)) = wish {
        all.push(reform.transform());
    }
    all.extend(trim.filter(|trim| !is_first(trim)).map(|trim| trim.transform.clone()));
    if let Some(LayoutWish::Gets(target)) = wish {
        all.push(rekey(source, &**target)?.transform());
    }
    Ok(all)
}

/// What this transload would carry out is what the plan says, in the versions that it says.
///
/// # Errors
/// [`Kind::Refused`] when it isn't: what one version began no other goes on with.
pub(crate) fn are_planned(
    database: &str,
    planned: &[PlannedTransform],
    transforms: &[Transform],
) -> Result<()> {
    transforms.iter().try_for_each(|one| is_planned(database, planned, one))?;
    let missing = planned.iter().find(|one| !transforms.iter().any(|other| one.is(other)));
    let Some(missing) = missing else { return Ok(()) };
    let what = format!("nothing asks for transform {} any more", missing.label());
    Err(Error::new(Kind::Refused, OPERATION, what)
        .with("database", database.to_owned())
        .next("`transload rollback HOME`, then a new plan"))
}

fn is_planned(database: &str, planned: &[PlannedTransform], transform: &Transform) -> Result<()> {
    if planned.iter().any(|one| one.is(transform)) {
        return Ok(());
    }
    let same = planned.iter().find(|one| one.id == transform.id);
    let (what, then) = match same {
        Some(one) if one.version != transform.version => (
            format!(
                "this transload has transform {} in version {}, and the plan was made with \
                 version {}: what one version has begun no other goes on with",
                transform.id, transform.version, one.version
            ),
            one.label(),
        ),
        Some(one) => (
            format!("transform {transform} isn't what the plan says of it"),
            format!("{} -> {}", one.from, one.to),
        ),
        None => (
            format!(
                "the plan doesn't name transform {transform}: another transload made it, perhaps \
                 an earlier one, whose plans name none"
            ),
            planned.iter().map(PlannedTransform::label).collect::<Vec<_>>().join(", "),
        ),
    };
    Err(Error::new(Kind::Refused, OPERATION, what)
        .with("database", database.to_owned())
        .with("plan", then)
        .with("this transload", format!("{transform}: {} -> {}", transform.from, transform.to))
        .next(
            "go on with the transload that made the plan, or make a new plan (after `transload \
             rollback HOME`, where something was copied already)",
        ))
}

/// A chunk counts only where it was made by the transforms of the plan.
///
/// # Errors
/// [`Kind::Refused`] when the journal says that others made it.
pub(crate) fn made_as_planned(chunk: u64, made_by: &[String], planned: &[String]) -> Result<()> {
    if made_by == planned {
        return Ok(());
    }
    let shown = |labels: &[String]| match labels {
        [] => "none".to_owned(),
        labels => labels.join(", "),
    };
    Err(Error::new(Kind::Refused, OPERATION, "a chunk was made by other transforms")
        .with("chunk", chunk.to_string())
        .with("journal", shown(made_by))
        .with("plan", shown(planned))
        .next("`transload rollback HOME`, then a new plan"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transform(version: u32) -> Transform {
        let (from, to) = ("a".to_owned(), "b".to_owned());
        let way_back = WayBack::OneWay("it forgets".into());
        Transform { id: "forget", version, from, to, way_back }
    }

    #[test]
    fn another_version_is_refused_with_both_numbers() {
        let planned = [PlannedTransform::of(transform(1), "the test")];
        are_planned("a.db", &planned, &[transform(1)]).unwrap();
        let error = are_planned("a.db", &planned, &[transform(2)]).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        let text = error.to_string();
        assert!(text.contains("version 2") && text.contains("version 1"), "{text}");
        assert!(are_planned("a.db", &[], &[transform(1)]).is_err());
        assert!(are_planned("a.db", &planned, &[]).is_err());
        let elsewhere = Transform { to: "c".into(), ..transform(1) };
        assert!(are_planned("a.db", &planned, &[elsewhere]).is_err());
    }

    #[test]
    fn one_that_leads_one_way_needs_consent_and_a_reason() {
        let planned = PlannedTransform::of(transform(1), "forget");
        assert_eq!(planned.consent.as_deref(), Some("asked for with forget"));
        assert_eq!(planned.wrong(), None);
        let without = PlannedTransform { consent: None, ..planned.clone() };
        assert!(without.wrong().unwrap().contains("nobody has agreed"));
        let unreasoned =
            PlannedTransform { way_back: WayBack::OneWay(String::new()), ..planned.clone() };
        assert!(unreasoned.wrong().unwrap().contains("no stated reason"));
        let way_back = WayBack::Inverse("remember".into());
        assert!(PlannedTransform { way_back, ..planned }.wrong().is_some());
    }

    #[test]
    fn a_chunk_of_other_transforms_is_not_taken() {
        let planned = ["forget 1".to_owned()];
        made_as_planned(3, &planned, &planned).unwrap();
        for other in [vec![], vec!["forget 2".to_owned()]] {
            assert_eq!(made_as_planned(3, &other, &planned).unwrap_err().kind(), Kind::Refused);
        }
    }
}
