//! The kept corpus and the seeds of every target, replayed without a fuzzer. What once found a
//! bug stands in `fuzz/corpus` with a remark and is among them.

use transload_fuzz::{TARGETS, Target, kept};

fn replay(target: &Target) {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    let kept = kept(target).expect("the corpus is hex");
    for input in seeds.iter().chain(&kept) {
        (target.run)(input);
    }
    // Every seed cut off in the middle, and the empty input.
    for input in &seeds {
        (target.run)(&input[..input.len() / 2]);
    }
    (target.run)(&[]);
}

#[test]
fn no_seed_and_no_kept_input_breaks_a_promise() {
    for target in TARGETS {
        println!("{}", target.name);
        replay(target);
    }
}

#[test]
fn every_corpus_belongs_to_a_target_and_names_are_used_once() {
    let mut names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TARGETS.len());
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");
    for entry in std::fs::read_dir(folder).expect("there is a corpus") {
        let file = entry.expect("it is read").file_name();
        let name = file.to_string_lossy();
        let name = name.strip_suffix(".hex").expect("only corpora are here");
        assert!(names.contains(&name), "no target has the corpus {name}");
    }
}
