"""Cuts a window of heights out of a CometBFT home, as a node that prunes would leave it.

Usage: make.py DUMPS HOME FIRST LAST OUT

DUMPS holds blockstore.kv, state.kv, evidence.kv and tx_index.kv of a v1-layout home: for each
entry in key order u32 BE key length, key, u32 BE value length, value. Any LevelDB reader can
write them (for instance plyvel's `for key, value in db`). HOME is the home itself: its
config/genesis.json is copied.

Every entry of OUT is an original one, byte for byte, except two that a cut can't keep:
`blockStore` (first and last height), and `stateKey`, which is put together from original
records (block id, time, validator sets, the hashes in the header above) unless LAST is the
home's own tip. The headers, commits and signatures certify both, which is what the tests use.

With a sixth argument `v2` the keys are written in CometBFT 1.x's second layout.
"""

import os
import re
import shutil
import struct
import sys


def read(path):
    data, at = open(path, "rb").read(), 0
    entries = {}
    while at < len(data):
        n = struct.unpack_from(">I", data, at)[0]
        key, at = data[at + 4:at + 4 + n], at + 4 + n
        n = struct.unpack_from(">I", data, at)[0]
        entries[key], at = data[at + 4:at + 4 + n], at + 4 + n
    return entries


def write(path, entries):
    with open(path, "wb") as out:
        for key in sorted(entries):
            out.write(struct.pack(">I", len(key)) + key)
            out.write(struct.pack(">I", len(entries[key])) + entries[key])


def uvarint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def fields(message):
    """Yields (number, value, bytes of the whole field)."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        begin = at
        tag = varint()
        if tag & 7 == 0:
            value = varint()
        else:
            assert tag & 7 == 2, tag
            n = varint()
            value, at = message[at:at + n], at + n
        yield tag >> 3, value, message[begin:at]


def get(message, number):
    return next((value for n, value, _ in fields(message) if n == number), None)


def number_field(number, value):
    return uvarint(number << 3) + uvarint(value) if value else b""


def bytes_field(number, value, always=False):
    return uvarint(number << 3 | 2) + uvarint(len(value)) + value if value or always else b""


def stored_validators(state, height):
    info = state[b"validatorsKey:%d" % height]
    if get(info, 1) is None:
        info = state[b"validatorsKey:%d" % max(get(info, 2), height - height % 100000)]
    return get(info, 1)


def main():
    dumps, home, first, last, out = sys.argv[1:6]
    first, last = int(first), int(last)
    blocks = read(f"{dumps}/blockstore.kv")
    state = read(f"{dumps}/state.kv")
    evidence = read(f"{dumps}/evidence.kv")
    index = read(f"{dumps}/tx_index.kv")
    tip = get(blocks[b"blockStore"], 2)
    heights = range(first, last + 1)

    kept = {}
    for key, value in blocks.items():
        match = re.fullmatch(rb"(H|P|C|SC|EC):(\d+)(:\d+)?", key)
        if match:
            kind, height = match[1], int(match[2])
            low = first - 1 if kind == b"C" else first
            high = last - 1 if kind == b"C" else last
            if low <= height <= high:
                kept[key] = value
        elif key.startswith(b"BH:"):
            if int(value) in heights:
                kept[key] = value
        elif key == b"version":
            kept[key] = value
    kept[b"blockStore"] = number_field(1, first) + number_field(2, last)

    window = {}
    for height in range(first, last + 3):
        for kind in (b"validatorsKey", b"consensusParamsKey"):
            key = b"%s:%d" % (kind, height)
            if height > last + 1 and kind == b"consensusParamsKey":
                continue
            window[key] = state[key]
            # Where it didn't change, the record that it points to is kept as well.
            pointed = b"%s:%d" % (kind, get(state[key], 2))
            window[pointed] = state[pointed]
        if height <= last:
            window[b"abciResponsesKey:%d" % height] = state[b"abciResponsesKey:%d" % height]
    for key in (b"genesisDoc", b"genesisDocHash", b"offlineStateSyncHeightKey", b"version"):
        if key in state:
            window[key] = state[key]
    window[b"stateKey"] = state[b"stateKey"]
    if last == tip:
        for key in (b"lastABCIResponseKey",):
            if key in state:
                window[key] = state[key]
    else:
        own = state[b"stateKey"]
        meta, above = blocks[b"H:%d" % last], get(blocks[b"H:%d" % (last + 1)], 3)
        params = state[b"consensusParamsKey:%d" % (last + 1)]
        changed = get(params, 2)
        window[b"stateKey"] = b"".join([
            bytes_field(1, get(own, 1)),
            bytes_field(2, get(own, 2)),
            number_field(3, last),
            bytes_field(4, get(meta, 1)),
            bytes_field(5, get(get(meta, 3), 4), always=True),
            bytes_field(6, stored_validators(state, last + 2)),
            bytes_field(7, stored_validators(state, last + 1)),
            bytes_field(8, stored_validators(state, last)),
            number_field(9, get(state[b"validatorsKey:%d" % (last + 2)], 2)),
            bytes_field(10, get(state[b"consensusParamsKey:%d" % changed], 1), always=True),
            number_field(11, changed),
            bytes_field(12, get(above, 12)),
            bytes_field(13, get(above, 11)),
            number_field(14, get(own, 14) or 0),
        ])

    marks = {}
    for key, value in evidence.items():
        # The evidence that a kept block carries: its votes are of at most the ten heights below.
        if key == b"version" or first - 10 <= int(key[1:17], 16) < last:
            marks[key] = value

    txs = {}
    for key, value in index.items():
        if len(key) == 32 and len(value) > 32 and get(value, 1) in heights:
            txs[key] = value
            continue
        match = re.search(rb"/(\d+)/\d+(\$es\$\d+)?$", key)
        if match and len(value) == 32 and int(match[1]) in heights and len(key) < 200:
            txs[key] = value
        elif key.startswith(b"block_events"):
            height = 0
            for shift, byte in enumerate(value):
                height |= (byte & 0x7F) << (7 * shift)
            if height >> 1 in heights:
                txs[key] = value

    if len(sys.argv) > 6:
        kept, window, marks = second_layout(kept, window, marks)
    os.makedirs(f"{out}/config", exist_ok=True)
    write(f"{out}/blockstore.kv", kept)
    write(f"{out}/state.kv", window)
    write(f"{out}/evidence.kv", marks)
    write(f"{out}/tx_index.kv", txs)
    shutil.copy(f"{home}/config/genesis.json", f"{out}/config/genesis.json")


def ordered(value):
    n = 1
    while not -(1 << (7 * n - 1)) <= value < 1 << (7 * n - 1):
        n += 1
    raw = bytearray((value & ((1 << (8 * n)) - 1)).to_bytes(n, "big"))
    for bit in range(n):
        raw[bit // 8] ^= 0x80 >> (bit % 8)
    return bytes(raw)


def ordered_text(text):
    escapes = {0x00: b"\x00\xff", 0xFF: b"\xff\x00"}
    return b"".join(escapes.get(byte, bytes([byte])) for byte in text)


def second_layout(blocks, state, evidence):
    numbers = {b"H": 0, b"P": 1, b"C": 2, b"SC": 3, b"EC": 4,
               b"validatorsKey": 6, b"consensusParamsKey": 7, b"abciResponsesKey": 8}

    def move(entries):
        moved = {}
        for key, value in entries.items():
            match = re.fullmatch(rb"(\w+):(\d+)(?::(\d+))?", key)
            if key == b"version":
                value = b"v2"
            elif key.startswith(b"BH:"):
                key = ordered(5) + ordered_text(bytes.fromhex(key[3:].decode())) + b"\x00\x01"
            elif match and match[1] in numbers:
                key = ordered(numbers[match[1]]) + ordered(int(match[2]))
                key += ordered(int(match[3])) if match[3] else b""
            elif key[:1] in (b"\x00", b"\x01"):
                height, digest = key[1:].split(b"/")
                key = ordered(9 + key[0]) + ordered(int(height, 16))
                key += ordered_text(bytes.fromhex(digest.decode())) + b"\x00\x01"
            moved[key] = value
        return moved

    return move(blocks), move(state), move(evidence)


main()
