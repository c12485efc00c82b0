//! The program under test, run on a home.

use crate::home::NodeHome;
use serde_json::Value;
use std::process::{Command, Stdio};

/// How one call ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code.
    pub(crate) code: Option<i32>,
    /// Everything that it said.
    pub(crate) said: String,
    /// Its JSON document; null where there was none.
    pub(crate) document: Value,
}

/// Runs `transload COMMAND HOME ... --json` to its end.
pub(crate) fn call(command: &str, home: &NodeHome, more: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_transload"))
        .arg(command)
        .arg(home.path())
        .args(more)
        .arg("--json")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    Outcome {
        code: output.status.code(),
        said: [output.stderr, output.stdout].map(lossy).concat(),
        document,
    }
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// As [`call`], failing unless it did its work.
pub(crate) fn transload(command: &str, home: &NodeHome, more: &[&str]) -> Value {
    let outcome = call(command, home, more);
    assert_eq!(outcome.code, Some(0), "{command}: {}", outcome.said);
    outcome.document
}

/// Carries every database that a config key governs to an engine.
pub(crate) fn migrate(home: &NodeHome, engine: &str) {
    transload("migrate", home, &["--to", engine, "--yes"]);
}

/// A call that is refused before anything changes: with these words, and the home as it was.
pub(crate) fn refuses(command: &str, home: &NodeHome, more: &[&str], words: &str) {
    let before = home.contents();
    let outcome = call(command, home, more);
    assert_eq!(outcome.code, Some(3), "{command}: {}", outcome.said);
    assert!(outcome.said.contains(words), "{command} doesn't say {words:?}: {}", outcome.said);
    let now = home.contents();
    let names = before.keys().chain(now.keys());
    let changed: Vec<_> = names.filter(|name| before.get(*name) != now.get(*name)).collect();
    assert!(changed.is_empty(), "{command} was refused and changed {changed:?}");
}

/// The engine that every database governed by the node's config is in.
pub(crate) fn engines(home: &NodeHome) -> Vec<String> {
    let document = transload("inspect", home, &["--quick"]);
    let databases = document["databases"].as_array().unwrap();
    let governed = databases.iter().filter(|database| !database["configured"].is_null());
    governed.map(|database| database["engine"].as_str().unwrap().to_owned()).collect()
}

/// All of them are in this one.
pub(crate) fn stands_on(home: &NodeHome, engine: &str) {
    let engines = engines(home);
    assert!(!engines.is_empty() && engines.iter().all(|it| it == engine), "{engines:?}");
}
