//! A change of layout beside the plain move of the same databases to the same engine.
//!
//! Round by round and in turn a home is migrated to Pebble without and with the change, and rolled
//! back. What counts are the phases that the report times: the copy, with whatever is made ready
//! for it, and the reading back of both sides, with the chain's checks, which both ways have.

use crate::measure::median;
use crate::{Result, memory, say};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A home on goleveldb that no node uses: it is migrated to Pebble and rolled back
    home: PathBuf,
    /// The layout that the home's databases change to
    #[arg(long)]
    to: String,
    /// The node's program, where the home's config doesn't tell that it reads the layout
    #[arg(long)]
    node_binary: Option<PathBuf>,
    /// Moves only this database of the home; may be given several times
    #[arg(long)]
    only: Vec<String>,
    /// Rounds; the medians are compared
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// The transload program
    #[arg(long, default_value = "transload")]
    transload: PathBuf,
}

/// What one migration took.
struct Way {
    copy_seconds: f64,
    seconds: f64,
    peak_bytes: u64,
}

/// Pairs both ways on the home and reports the ratios of the medians.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let layout = arguments.to.as_str();
    let with_change = ["--layout", layout];
    let (mut plain, mut changed) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        plain.push(migrate(arguments, &[])?);
        changed.push(migrate(arguments, &with_change)?);
    }
    say(&format!("{:<16}{:>10}{:>10}", "median", "copy", "all"));
    for (name, ways) in [("plain", &plain), (layout, &changed)] {
        say(&format!("{name:<16}{:>10.3}{:>10.3}", copies(ways), wholes(ways)));
    }
    say("\nratios (above 1: the change of layout is faster)");
    for (what, ratio) in [
        ("copy: plain / changed", copies(&plain) / copies(&changed)),
        ("copy and verification: plain / changed", wholes(&plain) / wholes(&changed)),
    ] {
        say(&format!("{what:<56}{ratio:>6.2}"));
    }
    let peak_bytes = changed.iter().map(|way| way.peak_bytes).max().unwrap_or(0);
    say(&format!("\npeak anonymous memory {} MiB, all processes together", peak_bytes >> 20));
    Ok(())
}

fn copies(ways: &[Way]) -> f64 {
    median(&mut ways.iter().map(|way| way.copy_seconds).collect::<Vec<_>>())
}

fn wholes(ways: &[Way]) -> f64 {
    median(&mut ways.iter().map(|way| way.seconds).collect::<Vec<_>>())
}

/// Migrates the home and takes it back to where it was.
fn migrate(arguments: &Arguments, change: &[&str]) -> Result<Way> {
    let mut command = Command::new(&arguments.transload);
    command
        .arg("migrate")
        .arg(&arguments.home)
        .args(["--to", "pebble1", "--json", "--yes"])
        .args(change);
    if let Some(program) = &arguments.node_binary {
        command.arg("--node-binary").arg(program);
    }
    for name in &arguments.only {
        command.arg("--only").arg(name);
    }
    let (done, peak_bytes) = memory::run(&mut command)?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&[done.stderr, done.stdout].concat()).into_owned());
    }
    let document: Value =
        serde_json::from_slice(&done.stdout).map_err(|error| error.to_string())?;
    let copy_seconds = phase_seconds(&document, "copying")?;
    let verify_seconds = phase_seconds(&document, "verifying")?;
    let mut back = Command::new(&arguments.transload);
    let back = back.arg("rollback").arg(&arguments.home).arg("--yes").output();
    let back = back.map_err(|error| error.to_string())?;
    if !back.status.success() {
        return Err(String::from_utf8_lossy(&back.stderr).into_owned());
    }
    Ok(Way { copy_seconds, seconds: copy_seconds + verify_seconds, peak_bytes })
}

/// How long a phase took, from the document that `transload migrate --json` prints.
fn phase_seconds(document: &Value, name: &str) -> Result<f64> {
    let missing = || format!("migrate gave no time for {name}");
    let phases = document["report"]["phases"].as_array().ok_or_else(missing)?;
    let phase = phases.iter().find(|phase| phase["phase"] == name).ok_or_else(missing)?;
    let millis = phase["millis"].as_str().ok_or_else(missing)?;
    millis.parse::<u32>().map(|millis| f64::from(millis) / 1e3).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_phase_has_its_time_and_a_missing_one_none() {
        let phases = json!([{"phase": "copying", "millis": "1500"}]);
        let document = json!({"report": {"phases": phases}});
        assert_eq!(phase_seconds(&document, "copying"), Ok(1.5));
        assert!(phase_seconds(&document, "verifying").is_err());
    }
}
