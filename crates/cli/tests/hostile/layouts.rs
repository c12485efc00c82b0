//! Key layouts that can't be changed, and the traps of the node's own setting: said or refused,
//! and nothing written.

use crate::holding::create;
use crate::homes::{Copy, Entries, call, changed, helper, imprint, refuses};
use std::path::PathBuf;
use transload_model::engine::Engine;

/// A ledger of CometBFT 1.x, cut short, in each layout.
const SAMPLES: [&str; 2] = ["v1-layout1", "v1-layout2"];

const LAID_OUT: [&str; 3] = ["blockstore.db", "evidence.db", "state.db"];

/// A goleveldb home of 1.x whose config sets `layout` and whose databases `arrange` has changed.
fn home(sample: &str, layout: &str, arrange: impl Fn(&str, &mut Entries)) -> Copy {
    let (copy, databases) = Copy::of_sample_in_memory(sample);
    for (name, mut entries) in databases {
        arrange(&name, &mut entries);
        create(Engine::Goleveldb, &copy.home().join("data").join(name), &entries);
    }
    let config = copy.home().join("config/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = format!("{text}[storage]\nexperimental_db_key_layout = \"{layout}\"\n");
    std::fs::write(config, text).unwrap();
    copy
}

/// What every reading command and the plan note about the setting.
fn notices(copy: &Copy) -> Vec<String> {
    let mut told: Option<Vec<String>> = None;
    for (command, more) in [
        ("inspect", &["--json"][..]),
        ("verify", &["--json"]),
        ("plan", &["--to", "pebble1", "--json"]),
    ] {
        let outcome = call(command, copy, more);
        let document = outcome.document();
        let list = match command {
            "plan" => &document["plan"]["home"]["notices"],
            _ => &document["notices"],
        };
        let list = list.as_array().unwrap_or_else(|| panic!("{command}: {}", outcome.said));
        let about = |text: &&str| text.contains("experimental_db_key_layout");
        let texts = list.iter().filter_map(|text| text.as_str());
        let found: Vec<String> = texts.filter(about).map(str::to_owned).collect();
        assert!(told.as_ref().is_none_or(|told| *told == found), "{command}: {found:?}");
        told = Some(found);
    }
    told.unwrap()
}

#[test]
fn a_setting_that_would_stamp_an_old_database_is_told_and_nothing_is_stamped() {
    if helper().is_none() {
        return;
    }
    let without_stamp = |_: &str, entries: &mut Entries| drop(entries.remove(&b"version"[..]));
    let copy = home(SAMPLES[0], "v2", without_stamp);
    let before = imprint(&copy.home().join("data"));
    let told = notices(&copy);
    for name in LAID_OUT {
        let words = |notice: &&String| notice.starts_with(name) && notice.contains("stamps it v2");
        assert_eq!(told.iter().filter(words).count(), 1, "{name}: {told:?}");
    }
    assert_eq!(told.len(), LAID_OUT.len(), "{told:?}");
    // With the setting that the layout has, a swap could not be told from none.
    refuses(
        &copy,
        &["--layout", "v2"],
        3,
        &["experimental_db_key_layout", "set the key to \"v1\""],
    );
    assert_eq!(changed(&before, &imprint(&copy.home().join("data"))), Vec::<PathBuf>::new());
    // An empty database is no trap: the node begins it in the layout that is set.
    let copy = home(SAMPLES[0], "v2", |_, entries| entries.clear());
    assert_eq!(notices_of_inspect(&copy), Vec::<String>::new());
    // The setting of 0.3x nodes means nothing.
    let copy = home(SAMPLES[0], "v1", without_stamp);
    assert_eq!(notices_of_inspect(&copy), Vec::<String>::new());
}

fn notices_of_inspect(copy: &Copy) -> Vec<String> {
    let document = call("inspect", copy, &["--quick", "--json"]).document();
    let texts = document["notices"].as_array().unwrap().iter().filter_map(|text| text.as_str());
    texts.filter(|text| text.contains("key_layout")).map(str::to_owned).collect()
}

#[test]
fn a_stamp_that_is_not_the_setting_is_told() {
    if helper().is_none() {
        return;
    }
    for (sample, set, stamp) in [(SAMPLES[0], "v2", "v1"), (SAMPLES[1], "v1", "v2")] {
        let copy = home(sample, set, |_, _| ());
        let told = notices(&copy);
        assert_eq!(told.len(), 3, "{told:?}");
        let words = format!("stamped with key layout {stamp}");
        assert!(told.iter().all(|notice| notice.contains(&words)), "{told:?}");
    }
}

#[test]
fn a_key_that_the_other_layout_takes_for_another_record_is_refused_by_name() {
    if helper().is_none() {
        return;
    }
    // The meta of height 1 in v2, and a seen commit in v1: neither is known in the other layout.
    for (sample, now, to, key, shown) in [
        (SAMPLES[0], "v1", "v2", &b"\x80\x81"[..], "\\x80\\x81"),
        (SAMPLES[1], "v2", "v1", b"SC:7", "SC:7"),
    ] {
        let copy = home(sample, now, |name, entries| {
            if name == "blockstore.db" {
                entries.insert(key.to_vec(), b"?".to_vec());
            }
        });
        let words = ["another meaning", "blockstore/unknown", "blockstore.db", shown];
        refuses(&copy, &["--layout", to], 3, &words);
    }
}

#[test]
fn half_a_layout_a_layout_that_is_there_and_one_that_nobody_knows_are_refused() {
    if helper().is_none() {
        return;
    }
    let copy = home(SAMPLES[1], "v2", |_, _| ());
    refuses(&copy, &["--layout", "v2"], 3, &["no database of this home gets another layout"]);
    refuses(&copy, &["--layout", "v2", "--to", "goleveldb"], 3, &["no database of this home"]);
    refuses(&copy, &["--layout", "v3"], 2, &["no layout is called \"v3\"", "v1 and v2"]);
    refuses(&copy, &["--layout", ""], 2, &["no layout is called"]);
    let one = ["--layout", "v1", "--only", "state.db"];
    refuses(&copy, &one, 3, &["blockstore.db, evidence.db", "go together"]);
    let index = ["--layout", "v1", "--only", "tx_index.db"];
    refuses(&copy, &index, 3, &["tx_index.db keeps its layout", "the same in both"]);
}

#[test]
fn another_aim_than_the_one_under_way_is_refused() {
    if helper().is_none() {
        return;
    }
    let copy = home(SAMPLES[0], "v1", |_, _| ());
    let begun = call("migrate", &copy, &["--layout", "v2"]);
    assert_eq!(begun.code, 5, "nobody says yes: {}", begun.said);
    for other in
        [&["--to", "pebble1"][..], &["--layout", "v1"], &["--layout", "v2", "--to", "pebble1"]]
    {
        let refused = call("migrate", &copy, other);
        assert_eq!(refused.code, 3, "{other:?}: {}", refused.said);
        let words = "a migration to layout v2 is under way";
        assert!(refused.said.contains(words), "{other:?}: {}", refused.said);
    }
    let before = std::fs::read_to_string(copy.home().join("config/config.toml")).unwrap();
    let done = call("migrate", &copy, &["--layout", "v2", "--yes"]);
    assert_eq!(done.code, 0, "{}", done.said);
    let config = std::fs::read_to_string(copy.home().join("config/config.toml")).unwrap();
    assert_eq!(config, before.replace("layout = \"v1\"", "layout = \"v2\""));
}

#[test]
fn a_setting_that_was_changed_meanwhile_is_not_overwritten() {
    if helper().is_none() {
        return;
    }
    let copy = home(SAMPLES[0], "v1", |_, _| ());
    let begun = call("migrate", &copy, &["--layout", "v2"]);
    assert_eq!(begun.code, 5, "{}", begun.said);
    let config = copy.home().join("config/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("layout = \"v1\"", "layout = \"v7\"")).unwrap();
    let before = imprint(&copy.home().join("data"));
    let refused = call("resume", &copy, &["--yes"]);
    assert_eq!(refused.code, 5, "{}", refused.said);
    assert!(refused.said.contains("config"), "{}", refused.said);
    assert_eq!(changed(&before, &imprint(&copy.home().join("data"))), Vec::<PathBuf>::new());
    std::fs::write(&config, text).unwrap();
    let done = call("resume", &copy, &["--yes"]);
    assert_eq!(done.code, 0, "{}", done.said);
}
