//! What a migration asks the system to make durable, and when: counted with `strace`, since no
//! test can take the power away from a real disk.

use crate::calls::can_trace;
use crate::settings::Settings;
use crate::verdict::MIGRATE;
use crate::ward::{GOVERNED, Ward};
use rustix::process::geteuid;
use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

/// Some user that isn't this one.
const OTHER_USER: u32 = 12_345;

/// Before a file or a folder gets the name by which it is found, its content and its owner and
/// mode are synced: after a power cut there must be no name that leads to nothing, and no
/// database that the node may not open.
pub(crate) fn before_names(settings: &Settings) {
    if !can_trace(settings) {
        return;
    }
    let ward = Ward::new();
    let owned_by_another = geteuid().is_root();
    if owned_by_another {
        give_away(&ward.home().join("data/state.db"));
    }
    let log = ward.beside("calls");
    let words = strace(&log);
    let run = ward.run(&words, "migrate", &MIGRATE);
    assert_eq!(run.code, Some(0), "{}", run.in_words());
    let mut seen = Seen::default();
    let text = std::fs::read_to_string(&log).unwrap();
    for call in calls(&text) {
        seen.call(&call);
    }
    assert!(seen.faults.is_empty(), "{:#?}", seen.faults);
    // The calls that this is about were among them.
    let renamed = |ending: &str| seen.renamed.iter().filter(|path| path.ends_with(ending)).count();
    assert!(renamed("status.json.new") > 1, "{:?}", seen.renamed);
    assert_eq!(GOVERNED.map(|name| renamed(&format!("targets/{name}"))), [1; 4]);
    assert!(seen.attributes_changed >= GOVERNED.len(), "{}", seen.attributes_changed);
    if !owned_by_another {
        println!("not checked: owners, which only root can give");
    }
}

fn give_away(path: &Path) {
    lchown(path, Some(OTHER_USER), Some(OTHER_USER)).unwrap();
    for entry in std::fs::read_dir(path).unwrap() {
        lchown(entry.unwrap().path(), Some(OTHER_USER), Some(OTHER_USER)).unwrap();
    }
}

fn strace(log: &Path) -> Vec<String> {
    const CALLS: &str = "trace=?write,?pwrite64,?writev,?chmod,?fchmod,?fchmodat,?fchmodat2,?chown,\
        ?lchown,?fchown,?fchownat,?fsync,?fdatasync,?rename,?renameat,?renameat2";
    let log = log.display().to_string();
    // Descriptors with their paths, which may be long.
    ["strace", "-qq", "-f", "-y", "--seccomp-bpf", "-e", "signal=none", "-s", "4096", "-o", &log]
        .into_iter()
        .chain(["-e", CALLS, "--"])
        .map(str::to_owned)
        .collect()
}

/// A call that was made, with what it was given.
struct Call<'t> {
    name: &'t str,
    words: String,
}

/// The calls that succeeded, in the order of their ends.
fn calls(text: &str) -> Vec<Call<'_>> {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(begin) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(thread, begin);
            continue;
        }
        let (first, last) = match rest.strip_prefix("<... ").and_then(|r| r.split_once(" resumed>"))
        {
            Some((_, last)) => (begun.remove(thread).unwrap_or_default(), last),
            None => (rest, ""),
        };
        let whole = format!("{first}{last}");
        if whole.contains(" = -1 ") {
            continue;
        }
        if let (Some((name, _)), Some((_, words))) = (first.split_once('('), whole.split_once('('))
        {
            calls.push(Call { name, words: words.to_owned() });
        }
    }
    calls
}

/// What is changed and not yet synced.
#[derive(Default)]
struct Seen {
    contents: BTreeSet<PathBuf>,
    attributes: BTreeSet<PathBuf>,
    attributes_changed: usize,
    renamed: Vec<String>,
    faults: Vec<String>,
}

impl Seen {
    fn call(&mut self, call: &Call<'_>) {
        match call.name {
            "write" | "pwrite64" | "writev" => {
                self.contents.extend(descriptor(&call.words));
            }
            "fchmod" | "fchown" => self.changed(descriptor(&call.words)),
            "chmod" | "fchmodat" | "fchmodat2" | "chown" | "lchown" | "fchownat" => {
                self.changed(quoted(&call.words).into_iter().next());
            }
            "fsync" | "fdatasync" => {
                let Some(path) = descriptor(&call.words) else { return };
                self.contents.remove(&path);
                if call.name == "fsync" {
                    self.attributes.remove(&path);
                }
            }
            "rename" | "renameat" | "renameat2" => {
                if let [from, to] = quoted(&call.words).as_slice() {
                    self.rename(from, to);
                    if call.words.contains("RENAME_EXCHANGE") {
                        self.rename(to, from);
                    }
                }
            }
            other => panic!("{other} wasn't asked for"),
        }
    }

    fn changed(&mut self, path: Option<PathBuf>) {
        self.attributes_changed += 1;
        self.attributes.extend(path);
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        self.renamed.push(from.display().to_string());
        // What the target's engine does inside its own folder is its own affair.
        let is_engines = from.ancestors().skip(1).any(|folder| {
            GOVERNED.iter().any(|name| folder.ends_with(Path::new("targets").join(name)))
        });
        if is_engines {
            return;
        }
        if self.contents.contains(from) {
            self.faults.push(format!("{} gets its name before its content", to.display()));
        }
        let bare = self.attributes.iter().filter(|path| path.starts_with(from));
        self.faults.extend(
            bare.map(|path| format!("{} may still have another owner or mode", path.display())),
        );
    }
}

/// The path of the descriptor that comes first.
fn descriptor(words: &str) -> Option<PathBuf> {
    let (_, rest) = words.split_once('<')?;
    Some(rest.split_once('>')?.0.into())
}

/// The texts in quotes.
fn quoted(words: &str) -> Vec<PathBuf> {
    words.split('"').skip(1).step_by(2).map(PathBuf::from).collect()
}
