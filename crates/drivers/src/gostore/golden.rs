//! The vectors of `helpers/gostore/testdata/frames.json`, written and read by this side.

use super::connection::frame_header;
use super::protocol::{self, End, Mode, OpenRequest, Opened, Tally, Values, kind};
use std::collections::BTreeMap;
use transload_model::engine::Engine;
use transload_store::{Effect, KEY_BYTES_MAX, KeyRange, Kind, WriteBatch};

fn vectors() -> BTreeMap<String, Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../helpers/gostore/testdata/frames.json");
    let text = std::fs::read(path).expect("frames.json");
    let frames: BTreeMap<String, String> = serde_json::from_slice(&text).expect("a JSON object");
    frames.into_iter().map(|(name, hex)| (name, hex::decode(hex).expect("hex"))).collect()
}

fn payload(vectors: &BTreeMap<String, Vec<u8>>, name: &str, kind: u8) -> Vec<u8> {
    let frame = &vectors[name];
    assert_eq!(frame[4], kind, "{name}");
    frame[5..].to_vec()
}

fn open(engine: Engine, mode: Mode, memory_bytes_max: u64, path: &str) -> Vec<u8> {
    OpenRequest { engine, mode, memory_bytes_max, path: path.into() }.encode().expect("short")
}

fn entries() -> (Vec<u8>, End) {
    let mut payload = Vec::new();
    let mut tally = Tally::default();
    for (key, value) in [(&b"a"[..], &b"one"[..]), (b"b", b"")] {
        protocol::put_bytes(&mut payload, key);
        protocol::put_bytes(&mut payload, value);
        tally.add_entry();
    }
    tally.add_payload(&payload);
    (payload, tally.end())
}

/// What this side sends.
fn written() -> Vec<(&'static str, u8, Vec<u8>)> {
    let (data, end) = entries();
    let mut synced = WriteBatch::new();
    synced.put(b"k", b"v");
    synced.delete(b"d");
    synced.put(b"", b"");
    let write = |batch: &WriteBatch, sync| protocol::write(batch, sync).expect("small");
    vec![
        ("hello", kind::HELLO, protocol::hello(protocol::VERSION, protocol::VERSION)),
        ("hello_range", kind::HELLO, protocol::hello(2, 700)),
        ("attach", kind::ATTACH, Vec::new()),
        ("open_read_only", kind::OPEN, open(Engine::Pebble1, Mode::ReadOnly, 1 << 30, "/données")),
        ("open_create", kind::OPEN, open(Engine::Goleveldb, Mode::Create, 0, "/x")),
        ("open_reopen", kind::OPEN, open(Engine::Pebble2, Mode::Reopen, u64::MAX, "/x")),
        ("open_file", kind::OPEN, open(Engine::Bbolt, Mode::Create, 1 << 20, "/x.db")),
        ("snapshot", kind::SNAPSHOT, Vec::new()),
        ("release", kind::RELEASE, 7u32.to_be_bytes().to_vec()),
        ("get", kind::GET, protocol::get(7, b"key")),
        ("get_empty_key", kind::GET, protocol::get(7, b"")),
        ("get_many", kind::GET_MANY, protocol::get_many(7, &[b"key".to_vec(), Vec::new()])),
        ("scan_all", kind::SCAN, protocol::range_of(7, &KeyRange::all())),
        ("scan_range", kind::SCAN, protocol::range_of(7, &KeyRange::new(*b"a", *b"b\xff"))),
        ("scan_empty_end", kind::SCAN, protocol::range_of(7, &KeyRange::new(*b"", *b""))),
        (
            "split_points",
            kind::SPLIT_POINTS,
            protocol::split_points(7, 64 << 20, &KeyRange { start: b"H:".to_vec(), end: None }),
        ),
        (
            "approximate_bytes",
            kind::APPROXIMATE_BYTES,
            protocol::range_of(7, &KeyRange::new(*b"a", *b"b")),
        ),
        ("write_buffered", kind::WRITE, write(&WriteBatch::new(), false)),
        ("write_synced", kind::WRITE, write(&synced, true)),
        ("bulk", kind::BULK, protocol::bulk(&KeyRange::new(*b"a", *b"c"))),
        (
            "take_in",
            kind::TAKE_IN,
            protocol::take_in(&[("table-0-0.sst".into(), 1 << 26), ("table-0-1.sst".into(), 7)]),
        ),
        ("close", kind::CLOSE, vec![0]),
        ("close_check", kind::CLOSE, vec![1]),
        ("data", kind::DATA, data),
        ("end", kind::END, end.encode()),
        ("end_of_nothing", kind::END, Tally::default().end().encode()),
    ]
}

/// What this side only reads; see `answers_are_read_as_they_are_meant`.
const READ: [&str; 12] = [
    "hello_reply",
    "opened",
    "snapshot_made",
    "value",
    "value_empty",
    "absent",
    "values",
    "size",
    "done",
    "working",
    "error",
    "error_unknown_effect",
];

#[test]
fn what_is_sent_is_the_golden_bytes() {
    let vectors = vectors();
    let written = written();
    assert_eq!(written.len() + READ.len(), vectors.len(), "every vector is tested");
    for (name, kind, payload) in written {
        let mut frame = frame_header(kind, payload.len()).expect("small").to_vec();
        frame.extend_from_slice(&payload);
        assert_eq!(hex::encode(frame), hex::encode(&vectors[name]), "{name}");
    }
}

#[test]
fn answers_are_read_as_they_are_meant() {
    let vectors = vectors();
    assert!(READ.iter().all(|name| vectors.contains_key(*name)));
    let reply = payload(&vectors, "hello_reply", kind::HELLO_REPLY);
    let (version, info) = protocol::decode_hello_reply(&reply).expect("a reply");
    assert_eq!((version, info.build.as_str()), (protocol::VERSION, "gostore test"));
    assert_eq!(info.engines[0].engine, Some(Engine::Goleveldb));
    assert_eq!(info.engines[1].module, "pebble v1.1.5");
    assert_eq!((info.engines[1].format_max, info.engines[1].capabilities), (16, 11));
    let opened = Opened::decode(&payload(&vectors, "opened", kind::OPENED)).expect("opened");
    assert_eq!(opened, Opened { format: 13, version: "format 13".into() });
    let many = payload(&vectors, "values", kind::VALUES);
    assert_eq!(values(&many, 3).expect("values"), [Some(b"one".to_vec()), None, Some(Vec::new())]);
    let (_, end) = entries();
    assert_eq!(End::decode(&payload(&vectors, "end", kind::END)).expect("an end"), end);
    let error = protocol::decode_error("scan", &payload(&vectors, "error", kind::ERROR));
    assert_eq!((error.kind(), error.effect()), (Kind::Corrupt, Effect::NotApplied));
    assert_eq!(error.message(), "bad block – 7");
    let error =
        protocol::decode_error("write", &payload(&vectors, "error_unknown_effect", kind::ERROR));
    assert_eq!((error.kind(), error.effect()), (Kind::NoSpace, Effect::Unknown));
}

fn values(payload: &[u8], asked: usize) -> transload_store::Result<Vec<Option<Vec<u8>>>> {
    let mut values = Values::new(payload, asked)?;
    let mut read = Vec::new();
    while let Some(value) = values.next()? {
        read.push(value.map(<[u8]>::to_vec));
    }
    Ok(read)
}

#[test]
fn more_values_than_were_asked_for_or_none_are_a_breach() {
    let vectors = vectors();
    let many = payload(&vectors, "values", kind::VALUES);
    assert!(values(&many, 4).is_ok());
    assert_eq!(values(&many, 2).expect_err("too many").kind(), Kind::Protocol);
    assert_eq!(values(&[0; 4], 2).expect_err("none").kind(), Kind::Protocol);
}

#[test]
fn a_request_takes_so_many_keys_and_bytes_and_one_key_of_any_length() {
    let keys = |count: usize, key_bytes: usize| vec![vec![7; key_bytes]; count];
    assert_eq!(protocol::keys_of_one_get(&keys(10_000, 8)), protocol::GET_KEYS_MAX);
    assert_eq!(protocol::keys_of_one_get(&keys(10, (256 << 10) - 4)), 4);
    assert_eq!(protocol::keys_of_one_get(&keys(3, 2 << 20)), 1);
    assert_eq!(protocol::keys_of_one_get(&keys(2, KEY_BYTES_MAX + 1)), 0);
    let mixed = [keys(2, 8), keys(1, KEY_BYTES_MAX + 1), keys(2, 8)].concat();
    assert_eq!(protocol::keys_of_one_get(&mixed), 2);
}

#[test]
fn a_cut_or_longer_answer_is_a_breach() {
    let vectors = vectors();
    type Decode = fn(&[u8]) -> transload_store::Result<()>;
    let decoders: [(&str, u8, Decode); 4] = [
        ("hello_reply", kind::HELLO_REPLY, |p| protocol::decode_hello_reply(p).map(|_| ())),
        ("opened", kind::OPENED, |p| Opened::decode(p).map(|_| ())),
        ("end", kind::END, |p| End::decode(p).map(|_| ())),
        ("values", kind::VALUES, |p| values(p, 3).map(|_| ())),
    ];
    for (name, kind, decode) in decoders {
        let mut whole = payload(&vectors, name, kind);
        decode(&whole).expect("whole");
        for cut in 0..whole.len() {
            assert_eq!(decode(&whole[..cut]).expect_err("cut").kind(), Kind::Protocol, "{name}");
        }
        whole.push(0);
        assert_eq!(decode(&whole).expect_err("longer").kind(), Kind::Protocol, "{name}");
    }
    let mut error = payload(&vectors, "error", kind::ERROR);
    error.pop();
    assert_eq!(protocol::decode_error("scan", &error).kind(), Kind::Protocol);
}

proptest::proptest! {
    #[test]
    fn arbitrary_payloads_never_panic(
        payload in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
    ) {
        let _ = protocol::decode_hello_reply(&payload);
        let _ = Opened::decode(&payload);
        let _ = End::decode(&payload);
        let _ = values(&payload, 50);
        let _ = protocol::decode_error("scan", &payload);
    }
}
