//! Snapshots of real nodes verify, and every forgery is found.

use super::record::{Record, SNAPSHOT, SnapshotId};
use super::verify::{Job, listed, verify};
use crate::iavl::commit::CommitInfo;
use crate::iavl::keys::{LATEST_KEY, commit_info_key};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use transload_codec::proto::{put_bytes, put_message, put_varint_field};
use transload_codec::varint::{put_uvarint, read_uvarint};
use transload_model::report::Verdict;
use transload_store::memory::MemoryStore;
use transload_store::{Kind, Store as _, VersionChoice};

const SAMPLES: [(&str, SnapshotId, &str); 2] = [
    (
        "format-2",
        SnapshotId { height: 150, format: 2 },
        "5b6ce05c4b7715750167a2519bff9be38b912ac458d463d34df0ea739c7a3ba6",
    ),
    (
        "format-3",
        SnapshotId { height: 250, format: 3 },
        "a9a366b0c33cc53c6ac8d7c8a4fcc3434e1ec1af9a423d8bf75847c40721395f",
    ),
];

/// A snapshot of a real node, to verify and to forge.
struct Sample {
    folder: TempDir,
    id: SnapshotId,
    record: Vec<u8>,
    /// Of the snapshot's height; `None` when it isn't kept.
    commit_info: Option<Vec<u8>>,
    /// Of some later height.
    latest_commit_info: Option<Vec<u8>>,
    app_hash: Option<Vec<u8>>,
    versions: VersionChoice,
    is_written: bool,
}

impl Sample {
    fn load((name, id, app_hash): (&str, SnapshotId, &str)) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/snapshots").join(name);
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(id.folder_in(folder.path())).unwrap();
        fs::copy(from.join("0"), id.folder_in(folder.path()).join("0")).unwrap();
        Self {
            folder,
            id,
            record: fs::read(from.join("record")).unwrap(),
            commit_info: Some(fs::read(from.join("commit-info")).unwrap()),
            latest_commit_info: None,
            app_hash: Some(hex::decode(app_hash).unwrap()),
            versions: VersionChoice::All,
            is_written: false,
        }
    }

    fn newest() -> Self {
        Self::load(SAMPLES[1])
    }

    fn chunk(&self, index: usize) -> PathBuf {
        self.id.folder_in(self.folder.path()).join(index.to_string())
    }

    fn verify_with(&self, go_on: bool) -> transload_store::Result<Verdict> {
        let metadata = MemoryStore::with([(self.id.key().to_vec(), self.record.clone())]);
        let infos = [(self.id.height, &self.commit_info), (999, &self.latest_commit_info)];
        let infos = infos
            .into_iter()
            .filter_map(|(height, info)| info.clone().map(|info| (commit_info_key(height), info)));
        let latest = if self.latest_commit_info.is_some() { 999 } else { self.id.height };
        let mut value = Vec::new();
        put_varint_field(&mut value, 1, latest);
        let application = MemoryStore::with(infos.chain([(LATEST_KEY.to_vec(), value)]));
        verify(&Job {
            metadata: &*metadata.snapshot().unwrap(),
            folder: self.folder.path(),
            application: Some(&*application.snapshot().unwrap()),
            app_hash_of: &|version| {
                assert_eq!(version, self.id.height);
                Ok(self.app_hash.clone())
            },
            versions: &self.versions,
            is_written: self.is_written,
            workers: 2,
            memory_bytes_max: 256 << 20,
            progress: &|_, _| go_on,
        })
    }

    fn verify(&self) -> Verdict {
        self.verify_with(true).unwrap()
    }

    /// The items of the stream, each with its length.
    fn items(&self) -> Vec<Vec<u8>> {
        let chunk = fs::read(self.chunk(0)).unwrap();
        let mut stream = Vec::new();
        ZlibDecoder::new(chunk.as_slice()).read_to_end(&mut stream).unwrap();
        let mut rest = stream.as_slice();
        let mut items = Vec::new();
        while !rest.is_empty() {
            let (length, taken) = read_uvarint(rest).unwrap();
            let (item, after) = rest[taken..].split_at(usize::try_from(length).unwrap());
            items.push(item.to_vec());
            rest = after;
        }
        items
    }

    /// Puts other items in place, with a record that has the right hashes.
    fn put_items(&mut self, items: &[Vec<u8>]) {
        let mut stream = Vec::new();
        for item in items {
            put_uvarint(&mut stream, item.len() as u64);
            stream.extend_from_slice(item);
        }
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(7));
        encoder.write_all(&stream).unwrap();
        let compressed = encoder.finish().unwrap();
        self.put_chunks(&[&compressed]);
    }

    /// Puts these chunks in place, with a record that has the right hashes.
    fn put_chunks(&mut self, chunks: &[&[u8]]) {
        let (mut record, mut metadata) = (Vec::new(), Vec::new());
        for (index, chunk) in chunks.iter().enumerate() {
            fs::write(self.chunk(index), chunk).unwrap();
            put_bytes(&mut metadata, 1, &Sha256::digest(chunk));
        }
        put_varint_field(&mut record, 1, self.id.height);
        put_varint_field(&mut record, 2, u64::from(self.id.format));
        put_varint_field(&mut record, 3, chunks.len() as u64);
        put_bytes(&mut record, 4, &Sha256::digest(chunks.concat()));
        put_message(&mut record, 5, &metadata);
        self.record = record;
    }

    /// Index of the first item of this kind at or after `from`.
    fn find(items: &[Vec<u8>], kind: u8, from: usize) -> usize {
        from + items[from..].iter().position(|item| item[0] == kind).unwrap()
    }
}

/// First bytes of items.
const STORE: u8 = 0x0a;
const NODE: u8 = 0x12;

fn counts(verdict: &Verdict, name: &str) -> (u64, u64, u64) {
    let check = verdict.checks.iter().find(|check| check.name == name).expect(name);
    (check.checked, check.failed, check.skipped)
}

fn whole(sample: &Sample) -> Verdict {
    let verdict = sample.verify();
    assert_eq!((verdict.failed(), verdict.skipped()), (0, 0), "{verdict:#?}");
    verdict
}

/// The only checks that fail, with what they say.
fn found(sample: &Sample, check: &str, words: &str) {
    let verdict = sample.verify();
    let is_it = |finding: &&transload_model::report::Finding| {
        finding.check == check
            && finding.height == Some(sample.id.height)
            && finding.what.contains(words)
            && finding.what.contains(&format!("(format {})", sample.id.format))
    };
    assert!(verdict.findings.iter().any(|finding| is_it(&finding)), "{words}: {verdict:#?}");
    assert!(verdict.notices.iter().any(|notice| notice.contains("snapshots delete")));
}

#[test]
fn snapshots_of_real_nodes_verify_up_to_the_application_hash() {
    for sample in SAMPLES {
        let name = sample.0;
        let sample = Sample::load(sample);
        let info = sample.commit_info.clone().unwrap();
        let info = CommitInfo::decode(&info).unwrap();
        let stores = info.stores.iter().filter(|store| store.has_tree()).count() as u64;
        assert!(stores > 10, "{name}: {info:?}");
        let verdict = whole(&sample);
        assert_eq!(counts(&verdict, "snapshot_records"), (1, 0, 0), "{name}");
        assert_eq!(counts(&verdict, "snapshot_chunks"), (1, 0, 0), "{name}");
        assert_eq!(counts(&verdict, "snapshot_app_hash"), (1, 0, 0), "{name}");
        assert_eq!(counts(&verdict, "snapshot_stores"), (stores, 0, 0), "{name}");
        assert!(counts(&verdict, "snapshot_nodes").0 > 100, "{name}: {verdict:#?}");
        assert!(verdict.covered.iter().any(|table| table.as_str() == "snapshots/metadata"));
        assert_eq!(SNAPSHOT.check(&sample.record), Ok(()), "{name}");
        // In two files, as a large one.
        let mut sample = sample;
        let chunk = fs::read(sample.chunk(0)).unwrap();
        let (left, right) = chunk.split_at(chunk.len() / 3);
        sample.put_chunks(&[left, right]);
        assert_eq!(counts(&whole(&sample), "snapshot_chunks"), (2, 0, 0));
    }
}

#[test]
fn snapshots_are_listed_with_what_their_files_take() {
    let sample = Sample::newest();
    let older = SnapshotId { height: 100, format: 3 };
    let damaged = SnapshotId { height: 300, format: 3 };
    let metadata = MemoryStore::with([
        (older.key().to_vec(), sample.record.clone()),
        (sample.id.key().to_vec(), sample.record.clone()),
        (damaged.key().to_vec(), b"damaged".to_vec()),
    ]);
    let list = listed(&*metadata.snapshot().unwrap(), sample.folder.path()).unwrap();
    let told: Vec<_> = list.iter().map(|one| (one.height, one.chunks, one.bytes)).collect();
    assert_eq!(told, [(250, 1, 21_309), (100, 1, 0)], "newest first");
    assert_eq!(list[0].hash, hex::encode(Record::decode(&sample.record).unwrap().hash));
}

#[test]
fn a_flipped_byte_is_found_in_its_chunk() {
    let mut sample = Sample::newest();
    let mut chunk = fs::read(sample.chunk(0)).unwrap();
    let middle = chunk.len() / 2;
    chunk[middle] ^= 1;
    fs::write(sample.chunk(0), &chunk).unwrap();
    found(&sample, "snapshot_chunks", "chunk 0, of 21309 bytes, hasn't the hash");
    // With its hash corrected, the compressed stream is damaged.
    sample.put_chunks(&[&chunk]);
    found(&sample, "snapshot_nodes", "items: ");
    // Cut short.
    let chunk = fs::read(Sample::newest().chunk(0)).unwrap();
    let short = &chunk[..chunk.len() - 5];
    fs::write(sample.chunk(0), short).unwrap();
    found(&sample, "snapshot_chunks", "hasn't the hash");
    sample.put_chunks(&[short]);
    found(&sample, "snapshot_nodes", "the compressed stream ends too early");
    // Longer.
    let long = [chunk.as_slice(), b"more"].concat();
    sample.put_chunks(&[&long]);
    found(&sample, "snapshot_nodes", "4 bytes stand after the end of the stream");
}

#[test]
fn an_altered_leaf_is_found_by_the_application_hash_though_all_hashes_on_record_are_right() {
    for sample in SAMPLES {
        let mut sample = Sample::load(sample);
        let mut items = sample.items();
        let leaf = Sample::find(&items, NODE, 0);
        // The last byte of the value: version follows, in two bytes or three.
        let at = items[leaf].len() - 4;
        items[leaf][at] ^= 1;
        sample.put_items(&items);
        found(&sample, "snapshot_app_hash", "and the chain has");
        found(&sample, "snapshot_stores", "the root of store");
        // Without CommitInfo nothing is proven, and nothing passes.
        sample.commit_info = None;
        let verdict = sample.verify();
        assert_eq!(verdict.failed(), 0, "{verdict:#?}");
        assert_eq!(counts(&verdict, "snapshot_app_hash"), (0, 0, 1));
    }
}

#[test]
fn an_inner_key_that_no_hash_covers_is_found() {
    let mut sample = Sample::newest();
    let mut items = sample.items();
    // With a height, which a leaf leaves out: `20` before the last byte.
    let is_inner = |item: &Vec<u8>| item[0] == NODE && item[item.len() - 2] == 0x20;
    let inner = items.iter().position(is_inner).unwrap();
    items[inner][4] ^= 1;
    sample.put_items(&items);
    found(&sample, "snapshot_nodes", "an inner node's key isn't the smallest key");
}

#[test]
fn stores_that_are_missing_added_or_out_of_order_are_found() {
    let sample = Sample::newest();
    let items = sample.items();
    let (first, second) = (Sample::find(&items, STORE, 0), Sample::find(&items, STORE, 1));
    let mut sample = Sample::newest();
    sample.put_items(&items[second..]);
    found(&sample, "snapshot_stores", "which CommitInfo lists, isn't in it");
    found(&sample, "snapshot_app_hash", "and the chain has");
    let mut more = items.clone();
    more.push(b"\x0a\x05\x0a\x03zzz".to_vec());
    sample.put_items(&more);
    found(&sample, "snapshot_stores", "store zzz isn't one that CommitInfo lists");
    let mut twice = items.clone();
    twice.insert(second, items[first].clone());
    sample.put_items(&twice);
    found(&sample, "snapshot_nodes", "stores that aren't in the order of their names");
    let mut no_store = items.clone();
    no_store.remove(first);
    sample.put_items(&no_store);
    found(&sample, "snapshot_nodes", "a node that belongs to no store");
    let mut no_root = items.clone();
    no_root.remove(second - 1);
    sample.put_items(&no_root);
    found(&sample, "snapshot_nodes", "nodes end before their parents");
}

#[test]
fn extensions_are_said_to_be_beyond_any_hash() {
    let mut sample = Sample::newest();
    let mut items = sample.items();
    items.push(b"\x1a\x08\x0a\x04wasm\x10\x01".to_vec());
    items.push(b"\x22\x06\x0a\x04code".to_vec());
    sample.put_items(&items);
    let limits = whole(&sample).limits;
    assert!(limits.iter().any(|limit| limit.contains("the 4 bytes of the extension wasm")));
    items.push(b"\x0a\x05\x0a\x03zzz".to_vec());
    sample.put_items(&items);
    found(&sample, "snapshot_nodes", "a store after an extension");
    let mut sample = Sample::newest();
    let mut items = sample.items();
    items.push(b"\x22\x06\x0a\x04code".to_vec());
    sample.put_items(&items);
    found(&sample, "snapshot_nodes", "a payload that belongs to no extension");
}

#[test]
fn missing_and_extra_files_are_named() {
    let sample = Sample::newest();
    fs::write(sample.chunk(1), b"one too many").unwrap();
    found(&sample, "snapshot_records", "file 1 is none of its 1 chunks");
    let mut sample = Sample::newest();
    fs::remove_file(sample.chunk(0)).unwrap();
    found(&sample, "snapshot_chunks", "chunk 0 isn't there");
    // A running node may have removed it in between.
    sample.is_written = true;
    let verdict = sample.verify();
    assert_eq!((verdict.failed(), counts(&verdict, "snapshot_chunks")), (0, (0, 0, 1)));
    fs::create_dir(sample.chunk(0)).unwrap();
    found(&sample, "snapshot_chunks", "chunk 0 is no file");
    fs::remove_dir_all(sample.folder.path().join("250")).unwrap();
    sample.is_written = false;
    found(&sample, "snapshot_chunks", "chunk 0 isn't there");
}

#[test]
fn a_folder_without_a_record_is_said_and_not_wrong() {
    let sample = Sample::newest();
    fs::create_dir_all(sample.folder.path().join("200/3")).unwrap();
    let notices = whole(&sample).notices;
    assert!(notices.iter().any(|notice| notice.contains("200/3")), "{notices:?}");
}

#[test]
fn forged_records_are_found() {
    let mut sample = Sample::newest();
    let hash = Record::decode(&sample.record).unwrap().hash;
    let at = sample.record.windows(32).position(|window| window == hash).unwrap();
    sample.record[at] ^= 1;
    found(&sample, "snapshot_chunks", "and its record has");
    let mut sample = Sample::newest();
    put_varint_field(&mut sample.record, 9, 1);
    found(&sample, "snapshot_records", "isn't canonical");
    sample.record.truncate(20);
    found(&sample, "snapshot_records", "can't be decoded");
    let mut sample = Sample::newest();
    let chunk = fs::read(sample.chunk(0)).unwrap();
    sample.id.height = 251;
    fs::create_dir_all(sample.chunk(0).parent().unwrap()).unwrap();
    fs::write(sample.chunk(0), chunk).unwrap();
    found(&sample, "snapshot_records", "its record is about the snapshot at height 250");
}

#[test]
fn what_certifies_a_snapshot_is_never_more_than_what_is_kept() {
    // No header: CommitInfo alone, which is said.
    let mut sample = Sample::newest();
    sample.app_hash = None;
    let verdict = whole(&sample);
    assert_eq!(counts(&verdict, "snapshot_app_hash"), (0, 0, 0));
    assert!(verdict.limits.iter().any(|limit| limit.contains("no header is kept")));
    // Neither.
    sample.commit_info = None;
    assert_eq!(counts(&sample.verify(), "snapshot_app_hash"), (0, 0, 1));
    // Before SDK 0.47 names of stores without a tree are in the hash: a later list has them.
    let mut sample = Sample::load(SAMPLES[0]);
    let info = sample.commit_info.take();
    assert_eq!(counts(&sample.verify(), "snapshot_app_hash"), (0, 0, 1));
    sample.latest_commit_info = info;
    assert_eq!(counts(&whole(&sample), "snapshot_app_hash"), (1, 0, 0));
}

#[test]
fn an_unknown_format_is_hashed_and_its_contents_are_skipped() {
    let mut sample = Sample::newest();
    let chunk = fs::read(sample.chunk(0)).unwrap();
    sample.id.format = 9;
    fs::create_dir_all(sample.chunk(0).parent().unwrap()).unwrap();
    sample.put_chunks(&[&chunk]);
    let verdict = sample.verify();
    assert_eq!(verdict.failed(), 0, "{verdict:#?}");
    assert_eq!(counts(&verdict, "snapshot_chunks"), (1, 0, 0));
    assert_eq!(counts(&verdict, "snapshot_app_hash"), (0, 0, 1));
}

#[test]
fn only_snapshots_of_the_versions_asked_for_are_checked() {
    let mut sample = Sample::newest();
    sample.versions = VersionChoice::Listed(vec![7, 8]);
    let verdict = sample.verify();
    assert_eq!(counts(&verdict, "snapshot_app_hash"), (0, 0, 1));
    assert_eq!(counts(&verdict, "snapshot_chunks"), (0, 0, 0));
    assert!(verdict.covered.is_empty());
    sample.versions = VersionChoice::Latest;
    assert_eq!(counts(&whole(&sample), "snapshot_app_hash"), (1, 0, 0));
    assert_eq!(sample.verify_with(false).unwrap_err().kind(), Kind::Cancelled);
}
