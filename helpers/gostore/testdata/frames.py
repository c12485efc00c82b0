#!/usr/bin/env python3
"""Makes frames.json, the test vectors of docs/formats/driver-protocol.md.

Written from the byte tables alone, beside the Go and the Rust code: `./frames.py > frames.json`.
BLAKE3 isn't in Python's library; the two digests are what b3sum prints for the bytes.
"""
import json
import struct


def u8(n): return struct.pack(">B", n)
def u16(n): return struct.pack(">H", n)
def u32(n): return struct.pack(">I", n)
def u64(n): return struct.pack(">Q", n)
def bs(b): return u32(len(b)) + b
def rng(start, end=None): return bs(start) + (u8(0) if end is None else u8(1) + bs(end))
def frame(kind, payload=b""): return (u32(len(payload)) + u8(kind) + payload).hex()


ENTRIES = bs(b"a") + bs(b"one") + bs(b"b") + bs(b"")
DIGEST_ENTRIES = bytes.fromhex("7d5c6e9825ce66a77e8611ba163266e5ead880a730dd0a300a513c3afbc2efbd")
DIGEST_NOTHING = bytes.fromhex(
    "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")

VECTORS = {
    "hello": frame(0x01, b"TLGSTORE" + u16(3) + u16(3)),
    "hello_range": frame(0x01, b"TLGSTORE" + u16(2) + u16(700)),
    "attach": frame(0x02),
    "open_read_only": frame(0x10, u8(2) + u8(1) + u64(1 << 30) + bs("/données".encode())),
    "open_create": frame(0x10, u8(1) + u8(2) + u64(0) + bs(b"/x")),
    "open_reopen": frame(0x10, u8(3) + u8(3) + u64(2**64 - 1) + bs(b"/x")),
    "open_file": frame(0x10, u8(4) + u8(2) + u64(1 << 20) + bs(b"/x.db")),
    "snapshot": frame(0x11),
    "release": frame(0x12, u32(7)),
    "get": frame(0x13, u32(7) + bs(b"key")),
    "get_empty_key": frame(0x13, u32(7) + bs(b"")),
    "get_many": frame(0x1B, u32(7) + u32(2) + bs(b"key") + bs(b"")),
    "scan_all": frame(0x14, u32(7) + rng(b"")),
    "scan_range": frame(0x14, u32(7) + rng(b"a", b"b\xff")),
    "scan_empty_end": frame(0x14, u32(7) + rng(b"", b"")),
    "split_points": frame(0x15, u32(7) + u64(64 << 20) + rng(b"H:")),
    "approximate_bytes": frame(0x16, u32(7) + rng(b"a", b"b")),
    "write_buffered": frame(0x17, u8(0) + u32(0)),
    "write_synced": frame(
        0x17, u8(1) + u32(3) + u8(1) + bs(b"k") + bs(b"v") + u8(2) + bs(b"d") + u8(1) + bs(b"") + bs(b"")),
    "bulk": frame(0x18, rng(b"a", b"c")),
    "take_in": frame(0x1A, u32(2) + bs(b"table-0-0.sst") + u64(1 << 26)
                     + bs(b"table-0-1.sst") + u64(7)),
    "close": frame(0x19, u8(0)),
    "close_check": frame(0x19, u8(1)),
    "hello_reply": frame(
        0x81, u16(3) + bs(b"gostore test") + u8(2)
        + u8(1) + u32(6) + bs(b"goleveldb v1") + u32(0) + u32(0) + u32(0)
        + u8(2) + u32(11) + bs(b"pebble v1.1.5") + u32(1) + u32(16) + u32(1)),
    "opened": frame(0x82, u32(13) + bs(b"format 13")),
    "snapshot_made": frame(0x83, u32(7)),
    "value": frame(0x84, b"one"),
    "value_empty": frame(0x84),
    "absent": frame(0x85),
    "values": frame(0x88, u32(3) + u8(1) + bs(b"one") + u8(0) + u8(1) + bs(b"")),
    "size": frame(0x86, u64(1 << 40)),
    "done": frame(0x87),
    "data": frame(0x90, ENTRIES),
    "end": frame(0x91, u64(2) + u64(len(ENTRIES)) + DIGEST_ENTRIES),
    "end_of_nothing": frame(0x91, u64(0) + u64(0) + DIGEST_NOTHING),
    "working": frame(0xA0),
    "error": frame(0xFF, u8(2) + u8(0) + bs(b"scan") + bs("bad block – 7".encode())),
    "error_unknown_effect": frame(0xFF, u8(6) + u8(1) + bs(b"write") + bs(b"disk full")),
}

print(json.dumps(VECTORS, indent=1))
