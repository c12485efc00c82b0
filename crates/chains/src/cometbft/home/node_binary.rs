//! What a node's program says about itself: Go's build info, read from the file without running
//! it.
//!
//! Layout (Go 1.18 and later, `debug/buildinfo`): at an address divisible by 16 the 14 bytes
//! `FF " Go buildinf:"`, the pointer size, a flags byte with bit 1 set, 16 bytes of padding, then
//! two strings, each a varint length and its bytes: Go's version, and the module info between
//! two 16-byte marks. Module info is lines of tab-separated fields: `path`, `mod`, `dep`, `=>`
//! (which replaces the line before), `build`.

use super::software::Release;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use transload_model::engine::Engine;
use transload_store::{Error, Kind, Result};

const MAGIC: &[u8; 14] = b"\xff Go buildinf:";

/// Where the magic may stand.
const ALIGNMENT: usize = 16;

/// The file is searched in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

/// Programs larger than this aren't searched; nodes have about 100 MiB.
const PROGRAM_BYTES_MAX: u64 = 4 << 30;

/// Module info is shorter; the SDK's has about 30 KiB.
const INFO_BYTES_MAX: usize = 4 << 20;

/// Places that look like build info and hold none, after which no more are looked at: a program
/// that reads build info itself has the magic once more, and each look reads what follows.
const FALSE_MAGICS_MAX: usize = 16;

/// Marks before and after the module info.
const MARK_BYTES: usize = 16;

/// From the magic to the strings.
const HEADER_BYTES: usize = 32;

/// The flag that says that the strings follow right here.
const FLAG_INLINE: u8 = 2;

const OPERATION: &str = "read the node's build info";

const COMETBFT_DB: &str = "github.com/cometbft/cometbft-db";
const COSMOS_DB: &str = "github.com/cosmos/cosmos-db";

/// Which library opens a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DbLibrary {
    /// The node's own: `cometbft-db`, earlier `tm-db`.
    Node,
    /// The application's: `cosmos-db`, earlier `tm-db`.
    App,
}

/// A program's build info.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeBuild {
    path: PathBuf,
    modules: BTreeMap<String, String>,
    tags: Vec<String>,
}

impl fmt::Display for NodeBuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the node's program {}", self.path.display())
    }
}

impl NodeBuild {
    /// Reads the build info of the program at `path`.
    ///
    /// # Errors
    /// [`Kind::UnknownFormat`] when there is none; [`Kind::NotFound`], [`Kind::Io`].
    pub fn of(path: &Path) -> Result<Self> {
        let io = |error| Error::io(OPERATION, path, error);
        let unknown = |what: &str| {
            Error::new(Kind::UnknownFormat, OPERATION, what.to_owned())
                .with("path", path.display().to_string())
        };
        // Opening a pipe would wait for its writer for ever.
        let metadata = std::fs::metadata(path).map_err(io)?;
        if !metadata.is_file() {
            return Err(unknown("it is no regular file"));
        }
        let length = metadata.len();
        if length > PROGRAM_BYTES_MAX {
            return Err(unknown("the file is too large for a program"));
        }
        let file = File::open(path).map_err(io)?;
        let mut search = Search { file, length, at: 0, piece: Vec::new(), piece_at: 0 };
        for _ in 0..=FALSE_MAGICS_MAX {
            let Some(at) = search.next_magic().map_err(io)? else {
                return Err(unknown(
                    "this is no Go program with build info (Go 1.18 or later, not stripped of it)",
                ));
            };
            if let Some(text) = search.info_at(at).map_err(io)? {
                return Ok(Self::parse(path, &text));
            }
        }
        Err(unknown("too many places of the file look like Go's build info and hold none"))
    }

    fn parse(path: &Path, text: &str) -> Self {
        let mut build = Self { path: path.to_owned(), modules: BTreeMap::new(), tags: Vec::new() };
        let mut last: Option<String> = None;
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields.as_slice() {
                ["mod" | "dep", module, version, ..] => {
                    build.modules.insert((*module).to_owned(), (*version).to_owned());
                    last = Some((*module).to_owned());
                }
                // The module keeps its name in imports; its code is the replacement's.
                ["=>", _, version, ..] => {
                    if let Some(module) = &last {
                        build.modules.insert(module.clone(), (*version).to_owned());
                    }
                }
                ["build", setting, ..] => {
                    if let Some(tags) = setting.strip_prefix("-tags=") {
                        let tags = tags.trim_matches('"').split([',', ' ']);
                        build.tags.extend(tags.filter(|tag| !tag.is_empty()).map(str::to_owned));
                    }
                }
                _ => {}
            }
        }
        build
    }

    /// The version of a module that is compiled in.
    #[must_use]
    pub fn module(&self, name: &str) -> Option<&str> {
        self.modules.get(name).map(String::as_str)
    }

    /// The release of CometBFT that is compiled in, where its version is one.
    #[must_use]
    pub fn release(&self) -> Option<Release> {
        Release::of_version(self.module("github.com/cometbft/cometbft")?)
    }

    /// Whether a build tag was set.
    #[must_use]
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|one| one == tag)
    }

    /// Whether the program opens `engine` through `library`.
    ///
    /// # Errors
    /// Why it doesn't, in one clause.
    pub fn opens(&self, engine: Engine, library: DbLibrary) -> std::result::Result<(), String> {
        let own = match library {
            DbLibrary::Node => COMETBFT_DB,
            DbLibrary::App => COSMOS_DB,
        };
        let (name, version) = [own, "github.com/tendermint/tm-db"]
            .into_iter()
            .find_map(|name| Some((name, self.module(name)?)))
            .ok_or_else(|| format!("it contains neither {own} nor tm-db"))?;
        match engine {
            Engine::Goleveldb => Ok(()),
            Engine::Rocksdb => self.has("rocksdb"),
            Engine::Bbolt if name != COSMOS_DB => self.has("boltdb"),
            Engine::Cleveldb if name != COSMOS_DB => self.has("cleveldb"),
            Engine::Pebble1 => self.opens_pebble(name, version),
            _ => Err(format!("{name} doesn't know {engine}")),
        }
    }

    fn has(&self, tag: &str) -> std::result::Result<(), String> {
        if self.has_tag(tag) { Ok(()) } else { Err(format!("it was built without the tag {tag}")) }
    }

    fn opens_pebble(&self, name: &str, version: &str) -> std::result::Result<(), String> {
        let numbers = numbers(version);
        let (knows, needs_tag) = match name {
            COMETBFT_DB => (numbers >= (0, 10), numbers < (1, 0)),
            COSMOS_DB => (true, true),
            _ => (false, true),
        };
        if !knows {
            return Err(format!("{name} {version} doesn't know Pebble"));
        }
        if needs_tag && !self.has_tag("pebbledb") {
            return Err(format!("it was built without the tag pebbledb ({name} {version})"));
        }
        match self.module("github.com/cockroachdb/pebble") {
            Some(_) => Ok(()),
            None => Err("it contains no Pebble 1".into()),
        }
    }
}

/// Major and minor number of `v1.2.3`; (0, 0) for anything else.
fn numbers(version: &str) -> (u32, u32) {
    let mut parts = version.trim_start_matches('v').split(['.', '-', '+']);
    let mut next = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
    (next(), next())
}

/// A search through a program, from its begin to its end, that reads each byte once and beyond
/// that only what follows a magic.
struct Search {
    file: File,
    length: u64,
    /// Where to look next, a multiple of the alignment.
    at: u64,
    /// Bytes of the file from `piece_at` on.
    piece: Vec<u8>,
    piece_at: u64,
}

impl Search {
    /// The next aligned magic whose flags say that the strings follow it.
    fn next_magic(&mut self) -> std::io::Result<Option<u64>> {
        while self.at < self.length {
            let skip = usize::try_from(self.at - self.piece_at).unwrap_or(usize::MAX);
            let Some(rest) = self.piece.get(skip..).filter(|rest| !rest.is_empty()) else {
                self.piece_at = self.at;
                read_at(&self.file, self.at, PIECE_BYTES, self.length, &mut self.piece)?;
                if self.piece.is_empty() {
                    break;
                }
                continue;
            };
            let found = rest.chunks_exact(ALIGNMENT).position(|window| {
                window.starts_with(MAGIC) && window[ALIGNMENT - 1] & FLAG_INLINE != 0
            });
            let whole = rest.len().next_multiple_of(ALIGNMENT) as u64;
            let Some(index) = found else {
                self.at += whole;
                continue;
            };
            let found = self.at + (index * ALIGNMENT) as u64;
            self.at = found + ALIGNMENT as u64;
            return Ok(Some(found));
        }
        Ok(None)
    }

    /// The module info behind a magic; `None` when the bytes there are something else.
    fn info_at(&self, at: u64) -> std::io::Result<Option<String>> {
        let mut bytes = Vec::new();
        read_at(&self.file, at, HEADER_BYTES + INFO_BYTES_MAX, self.length, &mut bytes)?;
        let info = bytes.get(HEADER_BYTES..).and_then(|rest| {
            let (_go_version, rest) = string(rest)?;
            Some(string(rest)?.0)
        });
        let Some(info) = info else { return Ok(None) };
        let marked = info.len() > 2 * MARK_BYTES && info[info.len() - MARK_BYTES - 1] == b'\n';
        if !marked {
            return Ok(None);
        }
        let text = &info[MARK_BYTES..info.len() - MARK_BYTES];
        Ok(std::str::from_utf8(text).ok().map(str::to_owned))
    }
}

/// Up to `bytes_max` bytes at `at` of a file of `length` bytes, in the memory of `bytes`.
fn read_at(
    file: &File,
    at: u64,
    bytes_max: usize,
    length: u64,
    bytes: &mut Vec<u8>,
) -> std::io::Result<()> {
    let left = usize::try_from(length.saturating_sub(at)).unwrap_or(usize::MAX);
    bytes.resize(left.min(bytes_max), 0);
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], at + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(done);
    Ok(())
}

/// A varint length and that many bytes.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut length, mut shift) = (0usize, 0u32);
    for (index, byte) in bytes.iter().enumerate().take(5) {
        length |= usize::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte & 0x80 == 0 {
            let rest = &bytes[index + 1..];
            return (length <= rest.len()).then(|| rest.split_at(length));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that is nothing but padding, a false magic, and build info.
    fn program(info: &str) -> (tempfile::TempDir, PathBuf) {
        let mut bytes = vec![0x7f; PIECE_BYTES - 64];
        bytes.extend(MAGIC);
        bytes.extend([0; 50]);
        bytes.extend(MAGIC);
        bytes.extend([8, 2]);
        bytes.extend([0; 16]);
        let marked = [&[1; MARK_BYTES][..], info.as_bytes(), &[2; MARK_BYTES]].concat();
        for part in [&b"go1.26.1"[..], &marked] {
            let mut length = part.len();
            while length >= 0x80 {
                bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                length >>= 7;
            }
            bytes.push(u8::try_from(length).unwrap());
            bytes.extend(part);
        }
        bytes.extend([0; 100]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("noded");
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    fn build(dependencies: &[(&str, &str)], tags: &str) -> NodeBuild {
        let mut info = "path\texample.com/noded\nmod\texample.com/noded\t(devel)\t\n".to_owned();
        for (module, version) in dependencies {
            info.push_str(&format!("dep\t{module}\t{version}\th1:abc=\n"));
        }
        info.push_str(&format!("build\t-tags={tags}\nbuild\tCGO_ENABLED=0\n"));
        let (_folder, path) = program(&info);
        NodeBuild::of(&path).unwrap()
    }

    const PEBBLE: &str = "github.com/cockroachdb/pebble";

    #[test]
    fn modules_tags_and_replacements_are_read() {
        let (_folder, path) = program(
            "path\tx\ndep\tgithub.com/syndtr/goleveldb\tv1.0.0\th1:a\n=>\tgithub.com/o/goleveldb\t\
             v1.0.1\th1:b\nbuild\t-tags=\"netgo,pebbledb\"\n",
        );
        let build = NodeBuild::of(&path).unwrap();
        assert_eq!(build.module("github.com/syndtr/goleveldb"), Some("v1.0.1"));
        assert!(build.has_tag("pebbledb") && build.has_tag("netgo") && !build.has_tag("rocksdb"));
    }

    #[test]
    fn pebble_needs_library_tag_and_code() {
        let opens = |dependencies: &[(&str, &str)], tags| {
            build(dependencies, tags).opens(Engine::Pebble1, DbLibrary::Node).is_ok()
        };
        assert!(opens(&[(COMETBFT_DB, "v0.14.1"), (PEBBLE, "v1.1.1")], "pebbledb"));
        assert!(!opens(&[(COMETBFT_DB, "v0.14.1"), (PEBBLE, "v1.1.1")], ""));
        assert!(!opens(&[(COMETBFT_DB, "v0.9.5"), (PEBBLE, "v1.1.1")], "pebbledb"));
        assert!(opens(&[(COMETBFT_DB, "v1.0.1"), (PEBBLE, "v1.1.1")], ""));
        assert!(!opens(&[(COMETBFT_DB, "v1.0.1")], ""));
        assert!(!opens(&[(PEBBLE, "v1.1.1")], "pebbledb"));
    }

    #[test]
    fn bbolt_needs_the_tag_and_a_library_that_has_it() {
        let built = build(&[(COMETBFT_DB, "v0.14.1"), (COSMOS_DB, "v1.1.0")], "boltdb");
        assert!(built.opens(Engine::Bbolt, DbLibrary::Node).is_ok());
        assert!(built.opens(Engine::Bbolt, DbLibrary::App).is_err());
        let older = build(&[("github.com/tendermint/tm-db", "v0.6.7")], "boltdb");
        assert!(older.opens(Engine::Bbolt, DbLibrary::App).is_ok());
        let untagged = build(&[(COMETBFT_DB, "v0.14.1")], "pebbledb");
        let why = untagged.opens(Engine::Bbolt, DbLibrary::Node).unwrap_err();
        assert_eq!(why, "it was built without the tag boltdb");
    }

    #[test]
    fn node_and_application_are_judged_by_their_own_libraries() {
        let build = build(
            &[(COMETBFT_DB, "v0.9.5"), (COSMOS_DB, "v1.1.0"), (PEBBLE, "v1.1.1")],
            "pebbledb",
        );
        assert!(build.opens(Engine::Pebble1, DbLibrary::App).is_ok());
        assert!(build.opens(Engine::Pebble1, DbLibrary::Node).is_err());
        assert!(build.opens(Engine::Goleveldb, DbLibrary::Node).is_ok());
        assert!(build.opens(Engine::Rocksdb, DbLibrary::App).is_err());
        assert!(build.opens(Engine::Redb, DbLibrary::App).is_err());
    }

    #[test]
    fn a_file_full_of_false_magics_is_given_up_soon() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("noded");
        let without_strings = [MAGIC.as_slice(), &[8, 0]].concat().repeat(PIECE_BYTES / 16 + 3);
        let info =
            [MAGIC.as_slice(), &[8, 2], &[0; 16], b"\x01g\x25", &[1; 16], b"path\n", &[2; 16]];
        // Those that can't have strings are passed over, however many there are.
        std::fs::write(&path, [&without_strings[..], &info.concat()].concat()).unwrap();
        assert!(NodeBuild::of(&path).is_ok());
        // Behind each of the others, megabytes would be read.
        let before = |count: usize| [MAGIC.as_slice(), &[8, 2]].concat().repeat(count);
        for (count, found) in [(FALSE_MAGICS_MAX, true), (FALSE_MAGICS_MAX + 1, false)] {
            let gap = vec![0; 3 * ALIGNMENT];
            std::fs::write(&path, [before(count), gap, info.concat()].concat()).unwrap();
            match NodeBuild::of(&path) {
                Ok(_) => assert!(found),
                Err(error) => {
                    assert!(!found && error.to_string().contains("too many places"), "{error}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_regular_file_is_not_read() {
        assert_eq!(NodeBuild::of(Path::new("/dev/null")).unwrap_err().kind(), Kind::UnknownFormat);
    }

    #[test]
    fn what_is_no_go_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("noded");
        assert_eq!(NodeBuild::of(&path).unwrap_err().kind(), Kind::NotFound);
        let cut = [MAGIC.as_slice(), &[8, 2], &[0; 16], &[0xff; 9]].concat();
        for content in [&b""[..], b"#!/bin/sh\n", &MAGIC[..], &cut] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(NodeBuild::of(&path).unwrap_err().kind(), Kind::UnknownFormat);
        }
    }
}
