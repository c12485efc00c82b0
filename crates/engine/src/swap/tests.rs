//! The swap is stopped after every step, in both directions, and goes on to either side.

use super::standing::{Place, judge};
use super::*;
use crate::moves::{Fence, Move, SwapMethod};
use crate::swap::config::Setting;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use transload_model::engine::Engine;
use transload_store::{ConfigEdit, ConfigFile, SignerState};

const DATABASES: [&str; 3] = ["application.db", "blockstore.db", "state.db"];

struct Rig {
    dir: tempfile::TempDir,
    swap: SwapPlan,
    verified: Verified,
}

/// Fails at the n-th call, before or after the step.
struct Stop {
    calls_left: RefCell<u32>,
}

impl Stop {
    fn after(calls: u32) -> Self {
        Self { calls_left: RefCell::new(calls) }
    }

    fn call(&self) -> Result<()> {
        let mut left = self.calls_left.borrow_mut();
        *left = left.checked_sub(1).ok_or_else(|| Error::new(Kind::Stopped, "test", "killed"))?;
        Ok(())
    }
}

impl StepLog for Stop {
    fn begin(&self, _step: &str) -> Result<()> {
        self.call()
    }

    fn done(&self, _step: &str) -> Result<()> {
        self.call()
    }
}

fn never() -> Stop {
    Stop::after(u32::MAX)
}

impl Rig {
    fn new(method: SwapMethod) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path();
        let attempt_dir = home.join(".transload/attempts/1");
        for folder in
            ["config", "data", ".transload/attempts/1/targets", ".transload/attempts/1/old"]
        {
            fs::create_dir_all(home.join(folder)).unwrap();
        }
        let mut moves = Vec::new();
        for database in DATABASES {
            let live = home.join("data").join(database);
            let target = attempt_dir.join("targets").join(database);
            for (path, content) in [(&live, "old"), (&target, "new")] {
                fs::create_dir(path).unwrap();
                fs::write(path.join("CURRENT"), format!("{content} {database}")).unwrap();
            }
            moves.push(Move {
                database: database.into(),
                live,
                target,
                kept: attempt_dir.join("old").join(database),
                from: Engine::Goleveldb,
                to: Engine::Pebble1,
            });
        }
        let mut edits = Vec::new();
        for (file, name, key) in [
            (ConfigFile::App, "app.toml", "app-db-backend"),
            (ConfigFile::Node, "config.toml", "db_backend"),
        ] {
            let path = home.join("config").join(name);
            fs::write(&path, format!("# mine\n{key} = \"goleveldb\" # here\nother = 1\n")).unwrap();
            edits.push(ConfigEdit {
                file,
                path,
                key: key.into(),
                old: Some("goleveldb".into()),
                guard: "transload-cutover-in-progress".into(),
                new: "pebbledb".into(),
            });
        }
        let swap = SwapPlan { moves, edits, method, attempt_dir, fence: None };
        Self { dir, swap, verified: Verified::for_test(&DATABASES) }
    }

    fn forward(&self, log: &dyn StepLog) -> Result<()> {
        FileSwap.cut_over(&self.swap, &self.verified, log)
    }

    fn backward(&self, log: &dyn StepLog) -> Result<()> {
        FileSwap.roll_back(&self.swap, log)
    }

    /// Every file of the home outside `.transload`.
    fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        for folder in ["config", "data"] {
            let mut open = vec![self.dir.path().join(folder)];
            while let Some(path) = open.pop() {
                if path.is_dir() {
                    open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                } else {
                    let name = path.strip_prefix(self.dir.path()).unwrap().display().to_string();
                    files.insert(name, fs::read_to_string(&path).unwrap());
                }
            }
        }
        files
    }

    /// What a node started at this moment would find: whole old, whole new, or a refusal.
    fn a_node_started_now_runs_on_one_side_or_refuses(&self) {
        let config: String =
            self.swap.edits.iter().map(|edit| fs::read_to_string(&edit.path).unwrap()).collect();
        if config.contains("transload-cutover-in-progress") {
            return;
        }
        let mut contents: Vec<String> = Vec::new();
        for one in &self.swap.moves {
            assert!(fs::symlink_metadata(&one.live).is_ok(), "a path is absent");
            if one.live.is_file() {
                let text = fs::read_to_string(&one.live).unwrap();
                assert!(text.contains("transload"), "a guard names transload");
                return;
            }
            contents.push(fs::read_to_string(one.live.join("CURRENT")).unwrap());
        }
        let side = &contents[0][..3];
        assert!(contents.iter().all(|content| content.starts_with(side)), "{contents:?}");
        let engine = if side == "old" { "goleveldb" } else { "pebbledb" };
        assert_eq!(config.matches(engine).count(), 2, "{side} under {config}");
    }
}

const METHODS: [SwapMethod; 2] = [SwapMethod::Exchange, SwapMethod::Rename];

#[test]
fn there_and_back_returns_every_byte_and_time() {
    for method in METHODS {
        let rig = Rig::new(method);
        let before = rig.files();
        let config = rig.swap.edits[0].path.clone();
        let time = fs::metadata(&config).unwrap().modified().unwrap();
        rig.forward(&never()).unwrap();
        assert_eq!(FileSwap.standing(&rig.swap).unwrap(), Standing::New);
        let after = rig.files();
        assert!(after["data/state.db/CURRENT"].starts_with("new"));
        assert!(after["config/app.toml"].contains("# mine\napp-db-backend = \"pebbledb\" # here"));
        rig.backward(&never()).unwrap();
        assert_eq!(rig.files(), before);
        assert_eq!(fs::metadata(&config).unwrap().modified().unwrap(), time);
        assert_eq!(FileSwap.standing(&rig.swap).unwrap(), Standing::Old);
        rig.forward(&never()).unwrap();
        assert_eq!(rig.files(), after, "it can be swapped in again");
    }
}

#[test]
fn stopped_at_every_step_it_goes_on_to_either_side() {
    for method in METHODS {
        let mut stops = 0;
        for calls in 0.. {
            let rig = Rig::new(method);
            let before = rig.files();
            let whole = rig.forward(&Stop::after(calls)).is_ok();
            rig.a_node_started_now_runs_on_one_side_or_refuses();
            if calls % 2 == 0 {
                rig.forward(&never()).unwrap();
                assert_eq!(FileSwap.standing(&rig.swap).unwrap(), Standing::New);
            } else {
                rig.backward(&never()).unwrap();
                assert_eq!(rig.files(), before);
            }
            if whole {
                break;
            }
            stops += 1;
        }
        // Record, two guards and two values of config files, two exchanges a database.
        assert_eq!(stops, 2 * (1 + 4 + 2 * 3));
    }
}

#[test]
fn a_rollback_stopped_at_every_step_goes_on_to_either_side() {
    for method in METHODS {
        for calls in 0.. {
            let rig = Rig::new(method);
            let before = rig.files();
            rig.forward(&never()).unwrap();
            let whole = rig.backward(&Stop::after(calls)).is_ok();
            rig.a_node_started_now_runs_on_one_side_or_refuses();
            if calls % 2 == 0 && !whole {
                rig.forward(&never()).unwrap();
                assert_eq!(FileSwap.standing(&rig.swap).unwrap(), Standing::New);
            } else {
                rig.backward(&never()).unwrap();
                assert_eq!(rig.files(), before);
            }
            if whole {
                break;
            }
        }
    }
}

#[test]
fn an_exchange_cut_off_between_renames_is_ended() {
    let rig = Rig::new(SwapMethod::Rename);
    let before = rig.files();
    assert!(rig.forward(&Stop::after(7)).is_err());
    // What a power cut in the middle of the three renames leaves.
    let one = &rig.swap.moves[0];
    let (live, kept) = (&one.live, &one.kept);
    let waiting = kept.with_file_name("application.db.transload-waiting");
    fs::rename(live, &waiting).unwrap();
    rig.backward(&never()).unwrap();
    assert_eq!(rig.files(), before);
}

#[test]
fn what_the_steps_cannot_leave_is_for_a_person() {
    let rig = Rig::new(SwapMethod::Exchange);
    assert!(rig.forward(&Stop::after(8)).is_err());
    let stranger = &rig.swap.moves[1].live;
    fs::rename(stranger, rig.dir.path().join("aside")).unwrap();
    fs::create_dir(stranger).unwrap();
    assert!(matches!(FileSwap.standing(&rig.swap).unwrap(), Standing::Unknown(_)));
    let error = rig.forward(&never()).unwrap_err();
    assert_eq!(error.kind(), Kind::OutcomeUnknown);
    assert_eq!(rig.backward(&never()).unwrap_err().kind(), Kind::OutcomeUnknown);
}

#[test]
fn a_config_file_rewritten_meanwhile_stops_the_swap() {
    let rig = Rig::new(SwapMethod::Exchange);
    assert!(rig.forward(&Stop::after(8)).is_err());
    let path = &rig.swap.edits[1].path;
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, format!("{text}\nby_ansible = true\n")).unwrap();
    assert_eq!(rig.forward(&never()).unwrap_err().kind(), Kind::Stopped);
    rig.a_node_started_now_runs_on_one_side_or_refuses();
    fs::write(path, text).unwrap();
    rig.forward(&never()).unwrap();
}

#[test]
fn keys_that_an_operator_edits_while_soaking_survive_a_rollback() {
    let rig = Rig::new(SwapMethod::Exchange);
    rig.forward(&never()).unwrap();
    let path = &rig.swap.edits[1].path;
    let text = fs::read_to_string(path).unwrap().replace("other = 1", "other = 2");
    fs::write(path, text).unwrap();
    rig.backward(&never()).unwrap();
    assert_eq!(
        fs::read_to_string(path).unwrap(),
        "# mine\ndb_backend = \"goleveldb\" # here\nother = 2\n"
    );
}

#[test]
fn only_verified_databases_are_swapped_in() {
    let rig = Rig::new(SwapMethod::Exchange);
    let some = Verified::for_test(&DATABASES[..2]);
    let error = FileSwap.cut_over(&rig.swap, &some, &never()).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
}

#[test]
fn freeing_removes_only_what_the_home_does_not_stand_on() {
    let rig = Rig::new(SwapMethod::Exchange);
    assert!(rig.forward(&Stop::after(8)).is_err());
    assert_eq!(FileSwap.free(&rig.swap, &never()).unwrap_err().kind(), Kind::Refused);
    rig.forward(&never()).unwrap();
    let after = rig.files();
    FileSwap.free(&rig.swap, &never()).unwrap();
    assert_eq!(rig.files(), after);
    assert!(rig.swap.moves.iter().all(|one| !one.kept.exists() && !one.target.exists()));
}

#[test]
fn every_combination_is_judged_and_mixed_sides_are_never_whole() {
    let places = [Place::Old, Place::Guarded, Place::New];
    let settings = [Setting::Old, Setting::Guard, Setting::New];
    for one in places {
        for two in places {
            for app in settings {
                for node in settings {
                    let standing = judge(&[one, two], &[app, node]);
                    let whole = matches!(standing, Standing::Old | Standing::New);
                    assert_eq!(
                        whole,
                        one == two
                            && app == node
                            && (one, app) != (Place::Guarded, Setting::Guard)
                            && matches!(
                                (one, app),
                                (Place::Old, Setting::Old) | (Place::New, Setting::New)
                            )
                    );
                    let node_starts = app != Setting::Guard
                        && node != Setting::Guard
                        && one != Place::Guarded
                        && two != Place::Guarded;
                    if node_starts && !whole {
                        assert!(matches!(standing, Standing::Unknown(_)));
                    }
                }
            }
        }
    }
}

#[test]
fn the_fence_refuses_to_go_back_where_blocks_or_signatures_could_be_lost() {
    let mut rig = Rig::new(SwapMethod::Exchange);
    let state = |height| Some(SignerState { height, round: 0, step: 3 });
    let home = |signer, remote_signer: Option<&str>| Home {
        profile: String::new(),
        software: String::new(),
        software_evidence: String::new(),
        root: rig.dir.path().to_owned(),
        data_dir: rig.dir.path().to_owned(),
        databases: Vec::new(),
        files: Vec::new(),
        signer,
        remote_signer: remote_signer.map(str::to_owned),
        notices: Vec::new(),
    };
    let cases = [
        (home(state(5), None), Some(true), true),
        (home(state(6), None), Some(true), false),
        (home(state(6), None), None, false),
        (home(state(6), None), Some(false), true),
        (home(state(4), None), Some(false), false),
        (home(None, None), Some(false), false),
        (home(state(5), Some("tcp://x")), Some(false), false),
    ];
    for (home, only_validator, allowed) in cases {
        rig.swap.fence = Some(Fence { signer: state(5), remote_signer: false, only_validator });
        let answer = FileSwap.may_roll_back(&rig.swap, &home);
        assert_eq!(answer.is_ok(), allowed, "{:?} {only_validator:?}", home.signer);
    }
}

#[test]
fn a_held_lock_is_refused_and_given_back() {
    let rig = Rig::new(SwapMethod::Exchange);
    let database = rig.swap.moves[0].live.clone();
    fs::write(database.join("LOCK"), "").unwrap();
    let held = FileSwap.hold(std::slice::from_ref(&database)).unwrap();
    let refusal = FileSwap.hold(std::slice::from_ref(&database)).err().unwrap();
    assert_eq!(refusal.kind(), Kind::Refused);
    drop(held);
    FileSwap.hold(&[database]).unwrap();
}

#[test]
fn a_fingerprint_notices_a_write_in_place() {
    let rig = Rig::new(SwapMethod::Exchange);
    let database = &rig.swap.moves[0].live;
    let before = FileSwap.fingerprint(database).unwrap();
    assert_eq!(FileSwap.fingerprint(database).unwrap(), before);
    let current = database.join("CURRENT");
    let time = fs::metadata(&current).unwrap().modified().unwrap();
    fs::write(&current, "OLD application.db").unwrap();
    fs::File::open(&current).unwrap().set_modified(time).unwrap();
    assert_ne!(FileSwap.fingerprint(database).unwrap(), before);
}

#[test]
fn exchange_works_here_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    FileSwap.probe_exchange(dir.path(), dir.path()).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let refusal = FileSwap.probe_exchange(dir.path(), &dir.path().join("absent")).unwrap_err();
    assert_eq!(refusal.kind(), Kind::Refused);
}
