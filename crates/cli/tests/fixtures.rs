//! Every node home of a folder, end to end through the program: what it says of the home equals
//! what the node itself answered, and every database survives the way to other engines and back.
//!
//! `TRANSLOAD_FIXTURES` names the folder (`NAME.tar.gz`, `NAME.answers.json`); the lane `fixtures`
//! of `cargo xtask test` sets it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]
#![allow(clippy::print_stdout, reason = "a lane says what it could not check")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Home {
    name: String,
    answers: Value,
    dir: tempfile::TempDir,
}

impl Home {
    fn path(&self) -> PathBuf {
        self.dir.path().join("home")
    }
}

/// The CometBFT and Cosmos homes of the folder, unpacked; none when no folder is named.
fn homes() -> Vec<Home> {
    let Some(folder) = std::env::var_os("TRANSLOAD_FIXTURES") else {
        println!("not checked: TRANSLOAD_FIXTURES names no folder of node homes");
        return Vec::new();
    };
    let mut homes = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(name) = file.strip_suffix(".answers.json") else { continue };
        let answers: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        if answers["abci_info"].is_null() {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let archive = path.with_file_name(format!("{name}.tar.gz"));
        let mut tar = Command::new("tar");
        tar.arg("xzf").arg(&archive).arg("-C").arg(dir.path());
        assert!(tar.status().unwrap().success(), "{archive:?}");
        homes.push(Home { name: name.to_owned(), answers, dir });
    }
    assert!(!homes.is_empty(), "the folder has no node home");
    homes.sort_by(|a, b| a.name.cmp(&b.name));
    homes
}

fn transload(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_transload")).args(arguments).output().unwrap()
}

fn json(arguments: &[&str], exit_code: i32) -> Value {
    let mut arguments = arguments.to_vec();
    arguments.push("--json");
    let output = transload(&arguments);
    assert_eq!(
        output.status.code(),
        Some(exit_code),
        "transload {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn hex_of_base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut length, mut bytes) = (0u32, 0, Vec::new());
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = ALPHABET.iter().position(|other| *other == letter).unwrap();
        bits = bits << 6 | u32::try_from(value).unwrap();
        length += 6;
        if length >= 8 {
            length -= 8;
            bytes.push((bits >> length & 0xff) as u8);
        }
    }
    hex::encode(bytes)
}

#[test]
fn inspect_says_what_the_node_answered() {
    for home in homes() {
        println!("{}", home.name);
        let seen = json(&["inspect", text(&home.path())], 0);
        let answers = &home.answers;
        let last = answers["last_height"].as_u64().unwrap().to_string();
        assert_eq!(seen["chain_id"], answers["chain_id"]);
        assert_eq!(seen["height_last"], last, "{}", home.name);
        let first = answers["first_height"].as_u64().unwrap().to_string();
        assert_eq!(seen["height_first"], first, "{}", home.name);
        let header = answers["heights"][&last]["app_hash"].as_str().unwrap();
        assert_eq!(seen["header_app_hash"].as_str().unwrap(), header.to_lowercase());
        // A node that was killed between two writes answers after it has replayed the last
        // block; its state is one height behind then.
        let state_height = seen["heights"]["state"].as_str().unwrap();
        if let (Some(app_hash), true) =
            (answers["abci_info"]["last_block_app_hash"].as_str(), state_height == last)
        {
            assert_eq!(seen["app_hash"].as_str().unwrap(), hex_of_base64(app_hash));
        }
        for (database, answer) in answers["databases"].as_object().unwrap() {
            let entry = seen["databases"]
                .as_array()
                .unwrap()
                .iter()
                .find(|entry| entry["name"] == **database)
                .unwrap_or_else(|| panic!("{}: {database} isn't listed", home.name));
            assert_eq!(entry["entries"], answer["pairs"].as_u64().unwrap().to_string());
            let engine = match answer["engine"].as_str().unwrap() {
                "pebbledb" => "pebble1",
                other => other,
            };
            assert_eq!(entry["engine"], engine, "{} {database}", home.name);
        }
    }
}

#[test]
fn verify_finds_nothing_wrong_in_homes_of_real_nodes() {
    for home in homes() {
        println!("{}", home.name);
        let seen = json(&["verify", text(&home.path())], 0);
        let count = |name: &str| -> u64 {
            let checks = seen["checks"].as_array().unwrap();
            let check = checks.iter().find(|check| check["name"] == name);
            check.unwrap_or_else(|| panic!("no check {name}"))["checked"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap()
        };
        let last = home.answers["last_height"].as_u64().unwrap();
        let first = home.answers["first_height"].as_u64().unwrap();
        assert_eq!(count("header_hash"), last - first + 1, "{}", home.name);
        assert!(count("commit_signatures") >= last - first, "{}", home.name);
        for check in seen["checks"].as_array().unwrap() {
            assert_eq!(check["failed"], "0", "{} {check}", home.name);
            assert_eq!(check["skipped"], "0", "{} {check}", home.name);
        }
    }
}

#[test]
fn every_database_goes_to_other_engines_and_back_with_the_same_root() {
    for home in homes() {
        println!("{}", home.name);
        let seen = json(&["inspect", "--quick", text(&home.path())], 0);
        for database in seen["databases"].as_array().unwrap() {
            let name = database["name"].as_str().unwrap();
            let own = database["engine"].as_str().unwrap();
            let source = home.path().join("data").join(name);
            round_trips(&source, own);
        }
    }
}

/// There and back through every engine of this build that takes the keys.
fn round_trips(source: &Path, own: &str) {
    let root = json(&["root", text(source)], 0)["dataset_root"].clone();
    let dir = tempfile::tempdir().unwrap();
    for engine in json(&["engines"], 0)["engines"].as_array().unwrap() {
        let name = engine["engine"].as_str().unwrap();
        if engine["writes"] != true || name == own {
            continue;
        }
        let there = dir.path().join(format!("{name}.there"));
        let back = dir.path().join(format!("{name}.back"));
        let output = transload(&["convert", text(source), "--to", name, text(&there), "--json"]);
        // LMDB takes keys of 511 bytes at most, and says so before it makes anything.
        if output.status.code() == Some(3) && name == "lmdb" {
            assert!(!there.exists());
            continue;
        }
        assert_eq!(
            output.status.code(),
            Some(0),
            "{source:?} -> {name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(json(&["root", text(&there)], 0)["dataset_root"], root, "{source:?} {name}");
        let converted = json(&["convert", text(&there), "--to", own, text(&back)], 0);
        assert_eq!(converted["dataset_root"], root, "{source:?} back from {name}");
    }
}

#[test]
fn two_homes_of_one_chain_have_the_same_roots_in_authenticated_tables() {
    let homes = homes();
    let tables = |home: &Home| json(&["root", text(&home.path())], 0)["tables"].clone();
    let mut compared = 0;
    for (index, one) in homes.iter().enumerate() {
        for two in &homes[index + 1..] {
            let same = one.answers["chain_id"] == two.answers["chain_id"]
                && one.answers["last_height"] == two.answers["last_height"]
                && one.answers["first_height"] == two.answers["first_height"];
            if !same {
                continue;
            }
            println!("{} and {}", one.name, two.name);
            let (mine, theirs) = (tables(one), tables(two));
            for table in mine.as_array().unwrap() {
                let other = theirs
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|other| other["name"] == table["name"])
                    .unwrap();
                if table["class"] == "authenticated" {
                    assert_eq!(table["root"], other["root"], "{}", table["name"]);
                    compared += 1;
                } else if table["root"] != other["root"] {
                    println!("  {} ({}) differs", table["name"], table["class"]);
                }
            }
        }
    }
    if compared == 0 {
        println!("not checked: the folder has no two homes of one chain");
    }
}
