//! What a node would serve to others that join: state-sync snapshots, whole and damaged.

use crate::homes::{Copy, changed, helper, imprint, transload};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn verify(home: &Path) -> (i32, Value) {
    let outcome = transload(&["verify", home.to_str().unwrap(), "--json"]);
    (outcome.code, outcome.document())
}

fn check(document: &Value, name: &str) -> (String, String) {
    let checks = document["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["name"] == name).expect(name);
    let count = |field: &str| found[field].as_str().unwrap().to_owned();
    (count("checked"), count("failed"))
}

fn chunk(home: &Path) -> PathBuf {
    home.join("data/snapshots/300/3/0")
}

#[test]
fn snapshots_of_both_formats_are_listed_and_verified_against_the_headers() {
    for (name, heights) in
        [("cosmos-simapp", ["300", "250"]), ("cosmos-simapp-sdk46-pruned", ["150", "100"])]
    {
        let copy = Copy::of(name);
        let home = copy.home();
        let quick = transload(&["inspect", home.to_str().unwrap(), "--quick", "--json"]);
        assert_eq!(quick.code, 0, "{}", quick.said);
        let listed = quick.document()["snapshots"].clone();
        let listed: Vec<_> = listed.as_array().unwrap().iter().map(|it| &it["height"]).collect();
        assert_eq!(listed, heights, "{name}");
        let text = transload(&["inspect", home.to_str().unwrap(), "--quick"]).shown;
        assert!(text.contains(&format!("height {}, format ", heights[0])), "{text}");
        let (code, document) = verify(&home);
        assert_eq!(code, 0, "{name}: {}", document["findings"]);
        let both = ("2".to_owned(), "0".to_owned());
        assert_eq!(check(&document, "snapshot_chunks"), both, "{name}");
        assert_eq!(check(&document, "snapshot_app_hash"), both, "{name}");
        let tables = document["tables"].as_array().unwrap();
        let table = tables.iter().find(|table| table["name"] == "snapshots/metadata").unwrap();
        assert_eq!((&table["class"], &table["records"]), (&"derived".into(), &"2".into()));
    }
}

#[test]
fn a_damaged_snapshot_is_a_finding_and_nothing_is_swapped() {
    let copy = Copy::of("cosmos-simapp");
    let home = copy.home();
    let mut bytes = std::fs::read(chunk(&home)).unwrap();
    bytes[5_000] ^= 1;
    std::fs::write(chunk(&home), bytes).unwrap();
    let (code, document) = verify(&home);
    assert_eq!(code, 4);
    let findings = document["findings"].as_array().unwrap();
    let [only] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!(only["check"], "snapshot_chunks");
    assert_eq!(only["database"], "snapshots/metadata.db");
    let what = only["what"].as_str().unwrap();
    assert!(what.starts_with("the snapshot at height 300 (format 3): chunk 0"), "{what}");
    if helper().is_none() {
        return;
    }
    let plan = transload(&["plan", home.to_str().unwrap(), "--to", "pebble1", "--json"]);
    let listed = plan.document()["plan"]["home"]["snapshots"].clone();
    assert_eq!(listed[0]["height"], "300", "{}", plan.said);
    let before = imprint(&home);
    let migrate = transload(&["migrate", home.to_str().unwrap(), "--to", "pebble1", "--yes"]);
    assert_eq!(migrate.code, 4, "{}", migrate.said);
    assert!(migrate.said.contains("chunk 0"), "{}", migrate.said);
    assert_eq!(changed(&before, &imprint(&home)), Vec::<PathBuf>::new());
}
