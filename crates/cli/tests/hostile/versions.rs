//! Only the last versions of an application's state are carried: what is gone is listed, what stays
//! is proven, and what is needed or can't be told apart is refused.

use crate::homes::{Copy, Outcome, call, changed, helper, imprint, refuses, transload};
use serde_json::Value;
use std::path::PathBuf;

/// SDK 0.50, IAVL 1.1: versions 1 to 318 and state-sync snapshots of heights 250 and 300.
pub(crate) const HOME: &str = "cosmos-simapp";

/// SDK 0.46, IAVL 0.19: versions 160 to 180, snapshots of heights 100 and 150.
pub(crate) const OLD_FORM: &str = "cosmos-simapp-sdk46-pruned";

/// The config of a release whose application reads the form of IAVL 1.x.
pub(crate) const NEXT_RELEASE: &str = "version = \"0.38.17\"\n";

/// A kvstore: no versions.
pub(crate) const NO_MULTISTORE: &str = "cometbft-0.38-kvstore";

pub(crate) fn records(copy: &Copy, table: &str) -> u64 {
    let document = call("inspect", copy, &["--json"]).document();
    let tables = document["tables"].as_array().unwrap();
    let found = tables.iter().find(|one| one["name"] == table).unwrap();
    found["records"].as_str().unwrap().parse().unwrap()
}

/// What the report of a migration says of the application's database.
pub(crate) fn application(outcome: &Outcome) -> Value {
    let document = outcome.document();
    let databases = document["report"]["databases"].as_array().unwrap();
    databases.iter().find(|one| one["name"] == "application.db").unwrap().clone()
}

fn left_out(application: &Value, table: &str) -> (u64, u64, u64) {
    let tables = application["trim"]["left_out"].as_array().unwrap();
    let found = tables.iter().find(|one| one["name"] == table).unwrap();
    let number = |value: &Value| value.as_str().unwrap().parse().unwrap();
    let heights = &found["heights"];
    (number(&found["records"]), number(&heights["first"]), number(&heights["last"]))
}

/// What `verify` says of the versions of the state.
fn kept_versions(copy: &Copy) -> String {
    let verified = call("verify", copy, &["--json"]);
    assert!(matches!(verified.code, 0 | 7), "{}", verified.said);
    let document = verified.document();
    let notices = document["notices"].as_array().unwrap();
    let about =
        |notice: &&Value| notice.as_str().unwrap().contains("versions of the state are kept");
    notices.iter().find(about).unwrap().as_str().unwrap().to_owned()
}

pub(crate) fn unchanged(copy: &Copy, before: &std::collections::BTreeMap<PathBuf, String>) {
    assert_eq!(changed(before, &imprint(&copy.home())), Vec::<PathBuf>::new());
}

#[test]
fn the_last_versions_stay_whole_the_others_are_listed_and_come_back() {
    if helper().is_none() {
        return;
    }
    for engine in [&[][..], &["--to", "pebble1"]] {
        let copy = Copy::of(HOME);
        let before = imprint(&copy.home());
        let tables = ["application/iavl_node", "application/iavl_root"];
        let source = tables.map(|table| records(&copy, table));
        let infos = records(&copy, "application/commit_info");
        let way = [&["--keep-versions", "69"], engine].concat();
        let begun = call("migrate", &copy, &way);
        assert_eq!(begun.code, 5, "nobody says yes: {}", begun.said);
        for words in [
            "versions 250 to 318 have is carried",
            "transform keep-versions 1",
            "one way: nothing makes the state of versions below 250 anew",
            "store bank: ",
            "of versions 1 to 249",
            "left out of application/iavl_node",
        ] {
            assert!(begun.said.contains(words), "no word of {words}: {}", begun.said);
        }
        unchanged(&copy, &before);
        let done = call("resume", &copy, &["--yes", "--json"]);
        assert!(matches!(done.code, 0 | 7), "{}", done.said);
        let report = application(&done);
        assert_eq!(report["transforms"][0]["id"], "keep-versions");
        assert_eq!(report["meaning"]["table"], "application/leaf");
        for (table, whole) in tables.into_iter().zip(source) {
            let (gone, first, last) = left_out(&report, table);
            assert_eq!(records(&copy, table) + gone, whole, "{table}");
            assert!(gone > 0 && first < 10 && last == 249, "{table}: {first} to {last}");
        }
        assert_eq!(records(&copy, "application/commit_info"), infos, "the SDK keeps them");
        assert!(kept_versions(&copy).contains("69 versions"), "{}", kept_versions(&copy));
        let nothing = call("plan", &copy, &["--keep-versions", "69"]);
        assert_eq!(nothing.code, 3, "{}", nothing.said);
        assert_eq!(call("rollback", &copy, &["--yes"]).code, 0);
        unchanged(&copy, &before);
    }
}

#[test]
fn two_plans_differ_in_the_version_that_is_the_first_and_in_what_is_agreed_to() {
    let copy = Copy::of(HOME);
    for kept in ["69", "70"] {
        let planned = call("plan", &copy, &["--keep-versions", kept, "--json"]);
        assert_eq!(planned.code, 0, "{}", planned.said);
    }
    let home = copy.home();
    let home = home.to_str().unwrap();
    let diff = transload(&["plan", "diff", home, "1", "2"]);
    for line in [
        "trim.keep_versions: 69 -> 70",
        "trim.first_version: 250 -> 249",
        "databases.[application.db].transforms.[keep-versions].consent: ",
    ] {
        assert!(diff.shown.contains(line), "no line {line}: {}", diff.shown);
    }
}

#[test]
fn a_state_goes_to_iavl_1_and_loses_its_older_versions_in_one_step() {
    if helper().is_none() {
        return;
    }
    let copy = Copy::of(OLD_FORM);
    let config = copy.home().join("config/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, [NEXT_RELEASE, &text].concat()).unwrap();
    let before = imprint(&copy.home());
    let way = ["--layout", "iavl-1", "--keep-versions", "8", "--yes", "--json"];
    let done = call("migrate", &copy, &way);
    assert!(matches!(done.code, 0 | 7), "{}", done.said);
    let report = application(&done);
    let ids: Vec<&Value> =
        report["transforms"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(ids, ["iavl-1", "keep-versions"]);
    assert_eq!(records(&copy, "application/iavl_legacy_node"), 0);
    assert!(kept_versions(&copy).contains("8 versions"), "{}", kept_versions(&copy));
    assert_eq!(call("rollback", &copy, &["--yes"]).code, 0);
    unchanged(&copy, &before);
}

#[test]
fn versions_that_are_needed_or_are_not_there_are_refused() {
    let copy = Copy::of(HOME);
    let keep = |versions: &'static str| ["--keep-versions", versions];
    refuses(&copy, &keep("0"), 3, &["would leave nothing of the application's state"]);
    let no_more = ["nothing is left out", "versions 1 to 318", "no more than the 318"];
    refuses(&copy, &keep("318"), 3, &no_more);
    refuses(&copy, &keep("18446744073709551615"), 3, &["there is nothing to leave out"]);
    let snapshot = ["version 250: a state-sync snapshot", "--keep-versions 69"];
    refuses(&copy, &keep("68"), 3, &snapshot);
    let hash = "00".repeat(32);
    let trusting = ["--keep-versions", "69", "--trust-height", "249", "--trust-hash", &hash];
    refuses(&copy, &trusting, 3, &["version 249: its header is the one that you trust"]);
    let checking = ["--keep-versions", "69", "--versions", "100,300"];
    refuses(&copy, &checking, 3, &["version 100: it is to be checked", "--keep-versions 219"]);
    refuses(&copy, &["--keep-versions", "x"], 2, &["invalid value"]);
    let other = ["--keep-versions", "69", "--only", "blockstore.db"];
    refuses(&copy, &other, 3, &["application.db would be left out"]);
    let old = Copy::of(OLD_FORM);
    refuses(&old, &keep("8"), 3, &["in the form of IAVL 0.x", "--layout iavl-1"]);
    refuses(&Copy::of(NO_MULTISTORE), &keep("8"), 3, &["keeps no versions"]);
}
