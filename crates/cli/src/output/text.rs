//! The same documents as text for a terminal.

use super::json::HomeDocument;
use bytesize::ByteSize;
use std::fmt::Write as _;
use transload_engine::PlannedTransform;
use transload_model::report::CheckCount;
use transload_store::{StateSnapshot, WayBack};

/// A home as text.
#[must_use]
pub(crate) fn home(document: &HomeDocument) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name:<16}{value}");
        }
    };
    line("path", &document.path);
    line("profile", &document.profile);
    line("software", &document.software);
    line("engine", &document.engine);
    line("key layout", &document.layout);
    line("chain", document.chain_id.as_deref().unwrap_or_default());
    if let (Some(first), Some(last)) = (&document.height_first, &document.height_last) {
        line("heights", &format!("{first} to {last}"));
    }
    for (name, height) in &document.heights {
        line("", &format!("{name} at {height}"));
    }
    for (index, snapshot) in document.snapshots.iter().enumerate() {
        line(if index == 0 { "snapshots" } else { "" }, &state_snapshot(snapshot));
    }
    line("app hash", document.app_hash.as_deref().unwrap_or_default());
    line("dataset root", document.dataset_root.as_deref().unwrap_or_default());
    text.push('\n');
    databases(document, &mut text);
    tables(document, &mut text);
    verdict(document, &mut text);
    for notice in &document.notices {
        let _ = writeln!(text, "note: {notice}");
    }
    text
}

/// A state-sync snapshot in one line.
pub(crate) fn state_snapshot(snapshot: &StateSnapshot) -> String {
    let plural = if snapshot.chunks == 1 { "" } else { "s" };
    format!(
        "height {}, format {}, {} chunk{plural}, {}",
        snapshot.height,
        snapshot.format,
        snapshot.chunks,
        ByteSize(snapshot.bytes)
    )
}

/// A transform of a plan or report in one line.
pub(crate) fn transform(transform: &PlannedTransform) -> String {
    let PlannedTransform { id, version, from, to, way_back, consent } = transform;
    let back = match way_back {
        WayBack::Inverse(inverse) => format!("undone by {inverse}"),
        WayBack::OneWay(why) => {
            format!("one way: {why} ({})", consent.as_deref().unwrap_or("nobody agreed"))
        }
    };
    format!("transform {id} {version}: {from} -> {to}; {back}")
}

fn databases(document: &HomeDocument, text: &mut String) {
    let _ = writeln!(text, "{:<24}{:<12}{:>12}  held by", "database", "engine", "on disk");
    for database in &document.databases {
        let holder = database.holder.as_ref().map_or_else(
            || "-".to_owned(),
            |holder| format!("{} ({})", holder.command, holder.pid),
        );
        let _ = writeln!(
            text,
            "{:<24}{:<12}{:>12}  {holder}",
            database.name,
            database.engine,
            size(&database.disk_bytes),
        );
    }
    text.push('\n');
}

fn tables(document: &HomeDocument, text: &mut String) {
    let _ = writeln!(text, "{:<32}{:<15}{:>12}{:>12}  root", "table", "class", "records", "bytes");
    for table in &document.tables {
        let _ = writeln!(
            text,
            "{:<32}{:<15}{:>12}{:>12}  {}",
            table.name,
            table.class.to_string(),
            table.records.as_deref().unwrap_or("-"),
            table.bytes.as_deref().map_or_else(|| "-".to_owned(), size),
            table.root.as_deref().map_or("-", |root| &root[..16]),
        );
    }
    text.push('\n');
}

fn verdict(document: &HomeDocument, text: &mut String) {
    let Some(trust) = &document.trust else { return };
    let _ = writeln!(text, "{:<36}{:>12}{:>10}{:>10}", "check", "checked", "failed", "skipped");
    for check in &document.checks {
        let _ = write!(
            text,
            "{:<36}{:>12}{:>10}{:>10}",
            check.name, check.checked, check.failed, check.skipped
        );
        if check.note.is_empty() {
            text.push('\n');
        } else {
            let _ = writeln!(text, "  {}", check.note);
        }
    }
    let _ = writeln!(text, "\ntrust: {trust}");
    for limit in &document.limits {
        let _ = writeln!(text, "never authenticated: {limit}");
    }
    for finding in &document.findings {
        let _ = writeln!(text, "WRONG {finding}");
    }
    let sum = |count: fn(&CheckCount) -> u64| document.checks.iter().map(count).sum::<u64>();
    let (checked, failed) = (sum(|check| check.checked), sum(|check| check.failed));
    let skipped = sum(|check| check.skipped);
    let _ = match (failed, skipped) {
        (0, 0) => writeln!(text, "verdict: nothing wrong found; {checked} things checked"),
        (0, _) => writeln!(
            text,
            "verdict: nothing wrong found, but {skipped} things that should have been checked \
             were skipped; {checked} checked"
        ),
        _ => writeln!(text, "verdict: {failed} of {checked} things checked are WRONG"),
    };
}

fn size(bytes: &str) -> String {
    bytes.parse().map_or_else(|_| bytes.to_owned(), |bytes| ByteSize(bytes).to_string())
}
