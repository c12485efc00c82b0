//! Samples made by the libraries themselves (`testdata/iavl/make.py`).

use crate::{Entries, convert, convert_with, logical_root, read};
use std::path::PathBuf;
use transload_chains::iavl::convert::Gaps;
use transload_chains::iavl::keys::store_prefix;

pub(crate) fn sample(name: &str) -> Entries {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/iavl").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let prefix = store_prefix(b"test");
    let entries = text.lines().filter_map(|line| line.strip_prefix("entry ")).map(|line| {
        let (key, value) = line.split_once(' ').expect("key and value");
        let key = [prefix.clone(), hex::decode(key).expect("hex")].concat();
        (key, hex::decode(value).expect("hex"))
    });
    let entries: Entries = entries.collect();
    assert!(!entries.is_empty(), "{path:?} holds no entries");
    entries
}

/// What Go's checks of `testdata/iavl/current` read.
fn assert_golden(name: &str, entries: &Entries) {
    let skip = store_prefix(b"test").len();
    let mut text = String::new();
    for (key, value) in entries {
        text += &format!("entry {} {}\n", hex::encode(&key[skip..]), hex::encode(value));
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/iavl").join(name);
    let actual = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&actual, &text).unwrap();
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(known == text, "{path:?} isn't what {actual:?} is");
}

#[test]
fn histories_become_byte_for_byte_what_the_new_library_makes_of_them() {
    for name in ["grown-0", "grown-1", "grown-2", "initial", "genesis"] {
        let converted = convert(&sample(&format!("{name}.legacy")));
        let current = sample(&format!("{name}.current"));
        let differing: Vec<_> = converted
            .keys()
            .chain(current.keys())
            .filter(|key| converted.get(*key) != current.get(*key))
            .map(|key| key.escape_ascii().to_string())
            .collect();
        assert!(differing.is_empty(), "{name}: {differing:?}");
    }
}

#[test]
fn pruned_and_upgraded_histories_keep_their_meaning() {
    for name in ["pruned.legacy", "mixed.entries", "mixed-changed.entries", "mixed-pruned.entries"]
    {
        let source = sample(name);
        let converted = convert(&source);
        assert_eq!(logical_root(&converted), logical_root(&source), "{name}");
        assert_golden(&format!("{}.converted", name.split('.').next().unwrap()), &converted);
    }
}

#[test]
fn gaps_are_named_and_need_consent() {
    let source = sample("gaps.legacy");
    let error = crate::refusal(&source);
    assert_eq!(error.kind(), transload_store::Kind::Unsupported);
    assert!(error.message().contains("versions 10 to 14"), "{}", error.message());
    let (converted, _folder) = convert_with(&source, |options| options.gaps = Gaps::Keep).unwrap();
    assert_eq!(converted.report().stores[0].first_gap, Some((10, 14)));
    assert_eq!(logical_root(&read(&converted)), logical_root(&source));
}
