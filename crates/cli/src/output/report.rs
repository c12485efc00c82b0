//! The report of a migration, for people and as JSON.

use super::{pace, settlement, text};
use bytesize::ByteSize;
use serde::Serialize;
use std::fmt::Write as _;
use transload_engine::phase::{Phase, State};
use transload_engine::{Fate, Migration, ReportDatabase, ReportTrim, RunReport};

/// What `migrate`, `resume`, `rollback` and `finalize` print.
#[derive(Debug, Serialize)]
pub(crate) struct Document {
    schema: &'static str,
    state: String,
    /// The report of the last verification.
    pub(crate) report: Option<RunReport>,
}

impl Document {
    /// The document of a migration in `state`.
    pub(crate) fn new(report: Option<RunReport>, state: State) -> Self {
        Self { schema: "transload.migrate.v1", state: state.to_string(), report }
    }
}

/// The report as text.
pub(crate) fn text(report: &RunReport) -> String {
    let mut text = format!("\nreport of attempt {}\n", report.attempt);
    for phase in &report.phases {
        let seconds = phase.millis / 1_000;
        let _ = writeln!(text, "  {:<14}{seconds:>6}.{:03} s", phase.phase, phase.millis % 1_000);
    }
    for line in pace::wait_times(&report.waits) {
        let _ = writeln!(text, "  {line}");
    }
    let _ = writeln!(
        text,
        "  {} records, {} copied at {}/s, peak memory {} (helper processes come on top)",
        report.records,
        ByteSize(report.bytes_copied),
        ByteSize(report.copy_bytes_per_second),
        ByteSize(report.peak_memory_bytes)
    );
    for database in &report.databases {
        text.push_str(&what_became_of(database));
    }
    if let Some(settled) = &report.settlement {
        text.push_str(&settlement::report(settled));
    }
    let _ = writeln!(
        text,
        "\n{:<36}{:>10}{:>8}{:>9}",
        "check on the target", "checked", "failed", "skipped"
    );
    for check in &report.verdict.checks {
        let _ = writeln!(
            text,
            "{:<36}{:>10}{:>8}{:>9}  {}",
            check.name, check.checked, check.failed, check.skipped, check.note
        );
    }
    let _ = writeln!(text, "trust: {}", report.verdict.trust);
    for (what, tables) in [
        ("authenticated", &report.reach.authenticated),
        ("recomputed from those", &report.reach.derived),
        ("only compared", &report.reach.compared_only),
        ("not looked at", &report.reach.not_looked_at),
    ] {
        if !tables.is_empty() {
            let _ = writeln!(text, "{what}: {}", tables.join(", "));
        }
    }
    for limit in &report.verdict.limits {
        let _ = writeln!(text, "never authenticated: {limit}");
    }
    for notice in &report.verdict.notices {
        let _ = writeln!(text, "note: {notice}");
    }
    let converted = report
        .databases
        .iter()
        .any(|database| database.meaning.is_some() && database.to_layout.is_some());
    let trimmed = report.databases.iter().any(|database| database.trim.is_some());
    let where_it_is = match (converted, trimmed) {
        (false, false) => "on both sides",
        (true, false) => "on the target, whose nodes have other keys",
        (false, true) => "on the target, without what was left out",
        (true, true) => "on the target, whose nodes have other keys, without what was left out",
    };
    let _ = writeln!(text, "dataset root {} {where_it_is}\n", report.dataset_root);
    text
}

/// One database's lines.
fn what_became_of(database: &ReportDatabase) -> String {
    let (name, from, to) = (&database.name, database.from, database.to);
    let entries = database.entries_compared;
    if database.fate != Fate::Moves {
        return format!("  {name:<24}stays with {from}\n");
    }
    let engines = if from == to { to.to_string() } else { format!("{from} -> {to}") };
    let layout = database.to_layout.as_ref();
    let way = layout.map_or(engines.clone(), |layout| format!("{engines}, to {layout}"));
    let side = if database.trim.is_some() { ", where what is left out doesn't count" } else { "" };
    let mut text = match (&database.meaning, layout) {
        (Some(meaning), layout) => {
            let what = if layout.is_some() { "the conversion" } else { "what is left" };
            format!(
                "  {name:<24}{way}: {entries} entries read back and equal to {what}\n  {:<24}{}: \
                 {} records, root {} on both sides{side}\n",
                "", meaning.table, meaning.records, meaning.root
            )
        }
        (None, Some(_)) => format!(
            "  {name:<24}{way}: {entries} entries read back, every table's root equal on both \
             sides{side}\n"
        ),
        (None, None) => format!(
            "  {name:<24}{way}: {entries} entries read back on both sides and equal{side}\n"
        ),
    };
    for transform in &database.transforms {
        let _ = writeln!(text, "  {:<24}{}", "", text::transform(transform));
    }
    for note in database.meaning.iter().flat_map(|meaning| &meaning.notes) {
        let _ = writeln!(text, "  {:<24}{note}", "");
    }
    text + &database.trim.as_ref().map(left_out).unwrap_or_default()
}

/// What isn't in the new database, table by table.
fn left_out(trim: &ReportTrim) -> String {
    let mut text = String::new();
    for table in &trim.left_out {
        let heights = table.heights.map_or_else(String::new, |heights| {
            format!(", heights {} to {}", heights.first, heights.last)
        });
        let _ = writeln!(
            text,
            "  {:<24}left out of {}: {} records, {}{heights}, root {}",
            "",
            table.name,
            table.records,
            ByteSize(table.bytes),
            table.root
        );
    }
    for note in &trim.notes {
        let _ = writeln!(text, "  {:<24}{note}", "");
    }
    text
}

/// What a person should know and do now.
pub(crate) fn ending(migration: &Migration<'_>, state: State) -> String {
    let home =
        migration.plan().map_or_else(|| "HOME".into(), |plan| plan.home.path.display().to_string());
    match state {
        State::In(Phase::Soaking) => format!(
            "done: the home stands on the new databases; the old ones are kept whole.\n\
             next: start the node and watch it.\n\
             \x20     back:    transload rollback {home}\n\
             \x20     forward: transload finalize {home}   (frees the old databases for good)\n"
        ),
        State::In(Phase::RolledBack) => format!(
            "done: the home stands on the old databases again.\n\
             next: the node can be started as it was. `transload finalize {home}` frees the copy.\n"
        ),
        State::In(Phase::Finalized) => {
            "done: what was kept beside the databases in use is gone.\n".into()
        }
        other => format!("the migration is {other}\n"),
    }
}
