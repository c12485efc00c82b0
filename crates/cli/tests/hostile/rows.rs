//! The table of bad inputs.

use crate::homes::{Copy, set_key, transload};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// One bad input.
pub(crate) struct Row {
    /// What is wrong with it.
    pub(crate) what: &'static str,
    /// Makes it of a good home.
    pub(crate) arrange: fn(&Copy),
    /// Mounts under which the program runs, in a namespace of its own.
    pub(crate) mounts: Option<&'static str>,
    /// Whether it runs as a user who owns nothing.
    pub(crate) nobody: bool,
    /// The arguments; HOME and BESIDE stand for the copy's home and the folder around it.
    pub(crate) call: &'static [&'static str],
    /// The exit code.
    pub(crate) code: i32,
    /// What standard error must tell.
    pub(crate) says: &'static [&'static str],
}

const fn row(
    what: &'static str,
    arrange: fn(&Copy),
    call: &'static [&'static str],
    code: i32,
    says: &'static [&'static str],
) -> Row {
    Row { what, arrange, mounts: None, nobody: false, call, code, says }
}

impl Row {
    const fn by_nobody(mut self) -> Self {
        self.nobody = true;
        self
    }
}

const MIGRATE: &[&str] = &["migrate", "HOME", "--to", "pebble1", "--yes"];
/// A hash that no header has.
const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const INSPECT: &[&str] = &["inspect", "HOME", "--quick"];

/// Rows that need no engine but the built-in reader.
pub(crate) const BUILTIN_ROWS: &[Row] = &[
    row(
        "a missing path",
        as_it_is,
        &["inspect", "BESIDE/nope"],
        3,
        &["nothing at this path", "nope"],
    ),
    row("a missing home", as_it_is, &["migrate", "BESIDE/nope", "--to", "pebble1"], 3, &["nope"]),
    row("an empty directory", empty_beside, &["inspect", "BESIDE/empty"], 3, &["folder is empty"]),
    row(
        "a file that is no database",
        as_it_is,
        &["root", "HOME/config/genesis.json"],
        3,
        &["no database", "genesis.json"],
    ),
    row(
        "a file instead of a home",
        as_it_is,
        &["migrate", "HOME/config/genesis.json", "--to", "pebble1"],
        3,
        &["no folder", "genesis.json"],
    ),
    row(
        "a rate without its unit",
        as_it_is,
        &["migrate", "HOME", "--to", "pebble1", "--read-limit", "50"],
        2,
        &["50 is 50 bytes a second", "at least 64.0 KiB, or none"],
    ),
    row(
        "a rate that is no rate",
        as_it_is,
        &["plan", "HOME", "--to", "pebble1", "--write-limit", "fast"],
        2,
        &["\"fast\" is no rate", "20MiB"],
    ),
    row(
        "more processor time than there is",
        as_it_is,
        &["verify", "HOME", "--cpu-limit", "150%"],
        2,
        &["\"150%\" is not from 1% to 100% of all cores"],
    ),
    row(
        "a write limit where nothing is written",
        as_it_is,
        &["verify", "HOME", "--write-limit", "20MiB"],
        2,
        &["--write-limit"],
    ),
    row(
        "other limits while nothing runs",
        as_it_is,
        &["throttle", "HOME", "--write", "20MiB"],
        3,
        &["no transload runs on this home", "transload resume HOME --read-limit"],
    ),
    row(
        "an engine that doesn't exist",
        as_it_is,
        &["migrate", "HOME", "--to", "berkeley"],
        2,
        &["\"berkeley\" is no engine", "goleveldb, pebble1, pebble2"],
    ),
    row(
        "a layout that doesn't exist",
        as_it_is,
        &["migrate", "HOME", "--layout", "v9"],
        2,
        &["no layout is called \"v9\"", "there are v1 and v2"],
    ),
    row(
        "a layout that the node doesn't read",
        as_it_is,
        &["migrate", "HOME", "--layout", "v2", "--yes"],
        3,
        &["0.38.12 doesn't know key layout v2", "--node-binary"],
    ),
    row(
        "the layout that the home has already",
        as_it_is,
        &["migrate", "HOME", "--layout", "v1"],
        3,
        &["no database of this home gets another layout"],
    ),
    row("neither engine nor layout", as_it_is, &["migrate", "HOME"], 2, &["--to"]),
    row(
        "an unknown option",
        as_it_is,
        &["migrate", "HOME", "--to", "pebble1", "--force"],
        2,
        &["--force"],
    ),
    row("an unknown command", as_it_is, &["frobnicate", "HOME"], 2, &["frobnicate"]),
    row("too little memory", as_it_is, &["root", "HOME", "--memory", "1MiB"], 2, &["at least"]),
    row(
        "half a trust anchor",
        as_it_is,
        &["verify", "HOME", "--trust-height", "5"],
        2,
        &["--trust-hash"],
    ),
    row(
        "a directory that two engines have touched",
        touched_by_two,
        INSPECT,
        3,
        &["two engines have opened this directory", "state.db"],
    ),
    row(
        "a comparator that nobody knows",
        |copy| in_manifest(copy, b"leveldb.BytewiseComparator", b"leveldb.BackwardComparator"),
        INSPECT,
        3,
        &["leveldb.BackwardComparator"],
    ),
    row(
        "a manifest that was cut off",
        cut_manifest,
        INSPECT,
        4,
        &["state.db", "MANIFEST-", "nothing was changed"],
    ),
    row("a format newer than this program", newer_pebble, &["root", "BESIDE/newer"], 3, &["999"]),
    row(
        "a config that is a pipe",
        |copy| in_place_of(&copy.home().join("config/config.toml"), pipe),
        INSPECT,
        3,
        &["no regular file", "config.toml"],
    ),
    row(
        "a pipe among a database's files",
        |copy| in_place_of(&copy.home().join("data/state.db/LOCK"), pipe),
        INSPECT,
        3,
        &["pipe, socket or device", "state.db"],
    ),
    row(
        "a database that is a folder of nothing",
        |copy| {
            in_place_of(&copy.home().join("data/state.db"), |path| fs::create_dir(path).unwrap())
        },
        INSPECT,
        3,
        &["folder is empty", "state.db"],
    ),
    row(
        "a negative height",
        as_it_is,
        &["verify", "HOME", "--trust-height", "-1", "--trust-hash", "00"],
        2,
        &["-1"],
    ),
    row(
        "a height of more than 64 bits",
        as_it_is,
        &["verify", "HOME", "--trust-height", "99999999999999999999", "--trust-hash", ZEROS],
        2,
        &["too large"],
    ),
    row(
        "a hash that is none",
        as_it_is,
        &["verify", "HOME", "--trust-height", "5", "--trust-hash", "xyz"],
        2,
        &["xyz"],
    ),
    row("versions that are none", as_it_is, &["verify", "HOME", "--versions", ","], 2, &["latest"]),
    row(
        "a proof that is none",
        as_it_is,
        &["check", "HOME/config/app.toml", "--root", ZEROS],
        3,
        &["read the proof"],
    ),
    row("a table that is none", as_it_is, &["prove", "HOME", "no/table", "00"], 2, &["no/table"]),
    row(
        "a key that is no hex",
        as_it_is,
        &["prove", "HOME", "blockstore/meta", "xy"],
        2,
        &["hex digits"],
    ),
    row(
        "a home that another user keeps closed",
        |copy| {
            for folder in [copy.beside(""), copy.home()] {
                fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
            }
            fs::set_permissions(copy.home().join("data"), Permissions::from_mode(0o700)).unwrap();
        },
        INSPECT,
        3,
        &["Permission denied", "data"],
    )
    .by_nobody(),
    row("a config that is no TOML", broken_config, INSPECT, 3, &["not TOML", "config.toml"]),
    row("a config that is no text", binary_config, INSPECT, 3, &["not UTF-8", "config.toml"]),
    row("a status without a migration", as_it_is, &["status", "HOME"], 3, &["no migration"]),
    row("nothing to go on with", as_it_is, &["resume", "HOME", "--yes"], 3, &["error: "]),
    row("nothing to go back to", as_it_is, &["rollback", "HOME", "--yes"], 3, &["error: "]),
    row("nothing to free", as_it_is, &["finalize", "HOME", "--yes"], 3, &["error: "]),
];

/// Rows that get as far as the target's engine.
pub(crate) const HELPER_ROWS: &[Row] = &[
    row(
        "a home whose files belong to another user",
        |copy| {
            let data = copy.beside("");
            let status =
                std::process::Command::new("chmod").args(["-R", "a+rwX"]).arg(data).status();
            assert!(status.unwrap().success());
        },
        MIGRATE,
        3,
        &["belongs to user 0", "run transload as that user, or as root"],
    )
    .by_nobody(),
    row(
        "a node whose release lacks the engine",
        |copy| {
            let config = copy.home().join("config/config.toml");
            let text = fs::read_to_string(&config).unwrap();
            fs::write(config, text.replace("version = \"0.38.12\"", "version = \"0.38.11\""))
                .unwrap();
        },
        MIGRATE,
        3,
        &["0.38.11", "ebble"],
    ),
    row(
        "a manifest that was cut off",
        cut_manifest,
        MIGRATE,
        4,
        &["state.db", "MANIFEST-", "nothing was changed"],
    ),
    row(
        "a target inside the node's data",
        as_it_is,
        &["migrate", "HOME", "--to", "pebble1", "--target-dir", "HOME/data", "--yes"],
        3,
        &["not empty"],
    ),
    row(
        "a chunk of a byte",
        as_it_is,
        &["migrate", "HOME", "--to", "pebble1", "--chunk", "1", "--yes"],
        2,
        &["at least"],
    ),
    row(
        "a program of the node that is none",
        as_it_is,
        &["migrate", "HOME", "--to", "pebble1", "--node-binary", "HOME/config/app.toml"],
        3,
        &["no Go program", "app.toml"],
    ),
    row(
        "invariants that are no TOML",
        as_it_is,
        &["migrate", "HOME", "--to", "pebble1", "--invariants", "HOME/config/genesis.json"],
        3,
        &["genesis.json"],
    ),
    row(
        "a folder for targets that is a file",
        as_it_is,
        &["migrate", "HOME", "--to", "pebble1", "--target-dir", "HOME/config/app.toml", "--yes"],
        3,
        &["app.toml"],
    ),
    row(
        "the state folder's name taken by a file",
        |copy| fs::write(copy.home().join(".transload"), "").unwrap(),
        MIGRATE,
        3,
        &[".transload", "Not a directory"],
    ),
    row(
        "the engine that the home has already",
        as_it_is,
        &["migrate", "HOME", "--to", "goleveldb"],
        3,
        &["no database of this home moves"],
    ),
    row(
        "an engine that the node doesn't have",
        as_it_is,
        &["migrate", "HOME", "--to", "pebble2", "--yes"],
        3,
        &["pebble2"],
    ),
    row(
        "two config keys that disagree",
        |copy| set_key(&copy.home().join("config/app.toml"), "app-db-backend", "pebbledb"),
        MIGRATE,
        3,
        &["app-db-backend says pebbledb", "application.db is goleveldb by its files"],
    ),
    row(
        "a config that names another engine than the files",
        |copy| set_key(&copy.home().join("config/config.toml"), "db_backend", "rocksdb"),
        MIGRATE,
        3,
        &["db_backend says rocksdb"],
    ),
    row(
        "two engines in one directory",
        touched_by_two,
        MIGRATE,
        3,
        &["two engines have opened this directory"],
    ),
    row(
        "a target that isn't empty",
        empty_beside_with_a_file,
        &["convert", "HOME/data/state.db", "--to", "pebble1", "BESIDE/empty"],
        3,
        &["empty"],
    ),
    row(
        "a target inside the source",
        as_it_is,
        &["convert", "HOME/data/state.db", "--to", "pebble1", "HOME/data/state.db/new"],
        3,
        &["source"],
    ),
    row(
        "a target folder with something else in it",
        empty_beside_with_a_file,
        &["migrate", "HOME", "--to", "pebble1", "--target-dir", "BESIDE/empty", "--yes"],
        3,
        &["not empty"],
    ),
    row(
        "the journal of another home",
        journal_of_another,
        &["resume", "HOME", "--yes"],
        3,
        &["journal belongs to another home"],
    ),
    row(
        "a plan that was edited",
        edited_plan,
        &["resume", "HOME", "--yes"],
        3,
        &["the plan is not the one in the journal", "00001.toml"],
    ),
    row(
        "a database that the home doesn't have",
        as_it_is,
        &["migrate", "HOME", "--to", "pebble1", "--only", "nothing.db"],
        3,
        &["nothing.db"],
    ),
];

/// Rows about file systems.
pub(crate) const MOUNT_ROWS: &[Row] = &[
    Row {
        what: "a read-only file system",
        arrange: as_it_is,
        nobody: false,
        mounts: Some("mount --bind HOME HOME && mount -o remount,ro,bind HOME"),
        call: MIGRATE,
        code: 3,
        says: &["Read-only file system", "must be writable"],
    },
    Row {
        what: "too little space",
        arrange: empty_beside,
        nobody: false,
        mounts: Some("mount -t tmpfs -o size=1m none BESIDE/empty"),
        call: &["migrate", "HOME", "--to", "pebble1", "--target-dir", "BESIDE/empty", "--yes"],
        code: 3,
        says: &["bytes free", "are needed", "--only"],
    },
    Row {
        what: "a database that is a mount point",
        arrange: as_it_is,
        nobody: false,
        mounts: Some("mount --bind HOME/data/state.db HOME/data/state.db"),
        call: MIGRATE,
        code: 3,
        says: &["several file systems or mounts", "database on another mount", "state.db"],
    },
    Row {
        what: "a home in a lower layer of an overlay",
        arrange: empty_beside,
        nobody: false,
        mounts: Some(
            "mount -t tmpfs none BESIDE/empty && mkdir BESIDE/empty/upper BESIDE/empty/work && \
             mount -t overlay -o lowerdir=HOME,upperdir=BESIDE/empty/upper,\
             workdir=BESIDE/empty/work none HOME",
        ),
        call: MIGRATE,
        code: 3,
        says: &["mounts or layers", "volume of its own"],
    },
    Row {
        what: "a home in the upper layer of an overlay",
        arrange: empty_beside,
        nobody: false,
        mounts: Some(
            "mount -t tmpfs none BESIDE/empty && cd BESIDE/empty && mkdir lower upper work merged \
             && mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none merged && \
             cp -a HOME merged/home",
        ),
        call: &["migrate", "BESIDE/empty/merged/home", "--to", "pebble1", "--yes"],
        code: 0,
        says: &["home stands on the target"],
    },
    Row {
        what: "a database that is a link to another volume",
        arrange: empty_beside,
        nobody: false,
        mounts: Some(
            "mount -t tmpfs none BESIDE/empty && cd BESIDE/empty && mkdir volume && \
             mount -t tmpfs none volume && cp -a HOME home && mv home/data/state.db volume && \
             ln -s ../../volume/state.db home/data/state.db",
        ),
        call: &["migrate", "BESIDE/empty/home", "--to", "pebble1", "--yes"],
        code: 3,
        says: &["several file systems or mounts", "volume/state.db", "--only"],
    },
    Row {
        what: "data that is a link to another volume",
        arrange: empty_beside,
        nobody: false,
        mounts: Some(
            "mount -t tmpfs none BESIDE/empty && cd BESIDE/empty && mkdir volume && \
             mount -t tmpfs none volume && cp -a HOME home && mv home/data volume && \
             ln -s ../volume/data home/data",
        ),
        call: &["migrate", "BESIDE/empty/home", "--to", "pebble1", "--yes"],
        code: 0,
        says: &["home stands on the target"],
    },
    Row {
        what: "targets on another file system",
        arrange: empty_beside,
        nobody: false,
        mounts: Some("mount -t tmpfs none BESIDE/empty"),
        call: &["migrate", "HOME", "--to", "pebble1", "--target-dir", "BESIDE/empty", "--yes"],
        code: 0,
        says: &["home stands on the target"],
    },
    Row {
        what: "data on a mount of its own",
        arrange: as_it_is,
        nobody: false,
        mounts: Some("mount --bind HOME/data HOME/data"),
        call: MIGRATE,
        code: 0,
        says: &["home stands on the target"],
    },
];

fn as_it_is(_: &Copy) {}

/// Puts something else where a file or folder was.
fn in_place_of(path: &Path, make: fn(&Path)) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
    make(path);
}

fn pipe(path: &Path) {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
}

fn empty_beside(copy: &Copy) {
    fs::create_dir(copy.beside("empty")).unwrap();
}

fn empty_beside_with_a_file(copy: &Copy) {
    empty_beside(copy);
    fs::write(copy.beside("empty/somebody's"), "keep").unwrap();
}

/// What a node leaves that was started with the wrong `db_backend`.
fn touched_by_two(copy: &Copy) {
    let database = copy.home().join("data/state.db");
    fs::write(database.join("OPTIONS-000008"), PEBBLE_OPTIONS).unwrap();
}

/// The beginning of an OPTIONS file as Pebble writes it.
const PEBBLE_OPTIONS: &str = "[Version]\n  pebble_version=0.1\n\n[Options]\n  \
    comparer=leveldb.BytewiseComparator\n  merger=pebble.concatenate\n";

fn cut_manifest(copy: &Copy) {
    let database = copy.home().join("data/state.db");
    let current = fs::read_to_string(database.join("CURRENT")).unwrap();
    let manifest = database.join(current.trim());
    let bytes = fs::read(&manifest).unwrap();
    fs::write(manifest, &bytes[..bytes.len() / 2]).unwrap();
}

/// Replaces bytes of the manifest of `state.db` and mends the record's checksum.
fn in_manifest(copy: &Copy, old: &[u8], new: &[u8]) {
    assert_eq!(old.len(), new.len());
    let database = copy.home().join("data/state.db");
    let current = fs::read_to_string(database.join("CURRENT")).unwrap();
    let manifest = database.join(current.trim());
    let mut bytes = fs::read(&manifest).unwrap();
    let place = bytes.windows(old.len()).position(|it| it == old).unwrap();
    bytes[place..place + new.len()].copy_from_slice(new);
    let length = usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
    let sum = masked_crc32c(&bytes[6..7 + length]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    fs::write(manifest, bytes).unwrap();
}

/// LevelDB's checksum: CRC-32C, rotated and shifted.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A Pebble database whose marker names a format that isn't invented yet.
fn newer_pebble(copy: &Copy) {
    let newer = copy.beside("newer");
    fs::create_dir(&newer).unwrap();
    fs::write(newer.join("OPTIONS-000003"), PEBBLE_OPTIONS).unwrap();
    fs::write(newer.join("MANIFEST-000001"), "").unwrap();
    fs::write(newer.join("marker.manifest.000001.MANIFEST-000001"), "").unwrap();
    fs::write(newer.join("marker.format-version.000099.999"), "").unwrap();
}

fn broken_config(copy: &Copy) {
    let config = copy.home().join("config/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + "\ndb_backend = \"\n").unwrap();
}

fn binary_config(copy: &Copy) {
    let bytes: Vec<u8> =
        (0..4_096_u32).map(|index| u8::try_from(index * 151 % 251).unwrap() | 0x80).collect();
    fs::write(copy.home().join("config/config.toml"), bytes).unwrap();
}

fn planned(home: &Path) {
    let outcome = transload(&["plan", home.to_str().unwrap(), "--to", "pebble1"]);
    assert_eq!(outcome.code, 0, "{}", outcome.said);
}

fn journal_of_another(copy: &Copy) {
    let other = Copy::of(crate::refusals::HOME);
    planned(&other.home());
    let state = copy.home().join(".transload");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([other.home().join(".transload"), state])
        .status();
    assert!(copied.unwrap().success());
}

fn edited_plan(copy: &Copy) {
    planned(&copy.home());
    let plan = copy.home().join(".transload/plan.toml");
    let text = fs::read_to_string(&plan).unwrap();
    let edited = text.replacen("pebble1", "pebble2", 1);
    assert_ne!(text, edited);
    fs::write(plan, edited).unwrap();
}
