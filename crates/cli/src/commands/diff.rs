//! `transload diff`: where two homes or databases differ.

use super::root::read_through;
use crate::args::Diff;
use crate::context::Context;
use crate::exit::Exit;
use serde::Serialize;
use std::fmt::Write as _;
use transload_engine::{KeyDifference, Result, compare, compare_keys};

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    left: String,
    right: String,
    left_root: String,
    right_root: String,
    equal: Vec<String>,
    different: Vec<Table>,
}

#[derive(Serialize)]
struct Table {
    name: String,
    left_records: Option<String>,
    right_records: Option<String>,
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Key {
    /// `only_left`, `only_right` or `changed`.
    how: &'static str,
    /// The canonical key, hex.
    key: String,
}

/// Runs the command.
pub(crate) fn run(context: &Context, args: &Diff) -> Result<Exit> {
    let (left_scratch, right_scratch) =
        (context.scratch(&args.left)?, context.scratch(&args.right)?);
    let left = context.open(&args.left, None, left_scratch.path())?;
    let right = context.open(&args.right, None, right_scratch.path())?;
    let (_, left_dataset) = read_through(context, &left)?;
    let (_, right_dataset) = read_through(context, &right)?;
    let comparison = compare(&left_dataset, &right_dataset);
    let mut different = Vec::new();
    for table in &comparison.different {
        let keys = compare_keys(&left, &right, table, args.keys)?;
        different.push(Table {
            name: table.table.to_string(),
            left_records: table.left_records.map(|records| records.to_string()),
            right_records: table.right_records.map(|records| records.to_string()),
            keys: keys.iter().map(key).collect(),
        });
    }
    let document = Document {
        schema: "transload.diff.v1",
        left: args.left.display().to_string(),
        right: args.right.display().to_string(),
        left_root: hex::encode(left_dataset.root()),
        right_root: hex::encode(right_dataset.root()),
        equal: comparison.equal.iter().map(ToString::to_string).collect(),
        different,
    };
    context.print(&document, || text(&document));
    Ok(if comparison.is_equal() { Exit::Done } else { Exit::Difference })
}

fn key(difference: &KeyDifference) -> Key {
    let how = match difference {
        KeyDifference::OnlyLeft(_) => "only_left",
        KeyDifference::OnlyRight(_) => "only_right",
        KeyDifference::Changed(_) => "changed",
    };
    Key { how, key: hex::encode(difference.key()) }
}

fn text(document: &Document) -> String {
    let mut text = format!(
        "left   {} {}\nright  {} {}\n{} tables are equal, {} differ\n",
        document.left_root,
        document.left,
        document.right_root,
        document.right,
        document.equal.len(),
        document.different.len()
    );
    for table in &document.different {
        let records = |side: &Option<String>| side.clone().unwrap_or_else(|| "no table".into());
        let _ = writeln!(
            text,
            "{}: {} records left, {} right",
            table.name,
            records(&table.left_records),
            records(&table.right_records)
        );
        for key in &table.keys {
            let _ = writeln!(text, "  {:<11}{}", key.how.replace('_', " "), key.key);
        }
    }
    text
}
