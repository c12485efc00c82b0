"""Writes commitment-v1.json from docs/formats/commitment.md alone, with Python's own SHA-256.

A second implementation, so that the golden bytes don't come from the code that they test:
    python3 commitment-v1.py > commitment-v1.json
"""
import hashlib
import json
import struct


def h(data):
    return hashlib.sha256(data).digest()


def leaf(data):
    return h(b"\0" + data)


def split(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def root(leaves):
    if not leaves:
        return h(b"")
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return h(b"\1" + root(leaves[:k]) + root(leaves[k:]))


def path(leaves, index):
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return path(leaves[:k], index) + [root(leaves[k:])]
    return path(leaves[k:], index - k) + [root(leaves[:k])]


def tag(text):
    return text.encode().ljust(31, b"\0")


def record(table, key, value):
    body = value if len(value) <= 1024 else h(value)
    lengths = struct.pack(">IQ", len(key), len(value))
    return leaf(tag("transload.record.v1") + h(table) + lengths + key + body)


def cut(record_leaf, size):
    return int.from_bytes(record_leaf[:8], "big") >> 44 < min(1 << 20, size + 64)


def segments(table, records):
    done, open_ = [], []
    for key, value in records:
        open_.append((key, len(key) + len(value), record(table, key, value)))
        if cut(open_[-1][2], open_[-1][1]):
            done.append(open_)
            open_ = []
    return done + [open_] if open_ else done


def describe(table, part):
    leaves, size = [leaf_ for _, _, leaf_ in part], sum(size for _, size, _ in part)
    first = part[0][0]
    data = tag("transload.segment.v1") + h(table) + struct.pack(">QQ", len(part), size)
    data += root(leaves) + struct.pack(">I", len(first)) + first
    return {
        "records": str(len(part)), "bytes": str(size), "root": root(leaves).hex(),
        "first_key": first.hex(), "leaf": leaf(data).hex(),
    }


TABLES = {
    b"empty": [],
    b"large": [(struct.pack(">H", n), bytes([n]) * (37 * n)) for n in range(200)],
    b"small": [(b"", b"empty key"), (b"a", b""), (b"b", b"\xff" * 1025)],
}

tables, leaves = [], []
for name, records in TABLES.items():
    parts = [describe(name, part) for part in segments(name, records)]
    size = sum(len(key) + len(value) for key, value in records)
    data = tag("transload.table.v1") + struct.pack(">H", len(name)) + name
    data += struct.pack(">QQQ", len(records), size, len(parts))
    data += root([bytes.fromhex(part["leaf"]) for part in parts])
    leaves.append(leaf(data))
    tables.append({
        "name": name.decode(), "records": str(len(records)), "bytes": str(size),
        "data": data.hex(), "root": leaf(data).hex(), "segments": parts,
    })

SCHEMA = b"vectors.v1"
header = tag("transload.dataset.v1") + struct.pack(">H", len(SCHEMA)) + SCHEMA
header += struct.pack(">I", len(tables))
leaves.insert(0, leaf(header))


def inclusion(all_leaves, index):
    return {
        "index": str(index), "size": str(len(all_leaves)),
        "path": [sibling.hex() for sibling in path(all_leaves, index)],
    }


def proof(number):
    parts = segments(b"large", TABLES[b"large"])
    at = next(i for i, part in enumerate(parts) if part[-1][0] >= struct.pack(">H", number))
    part, first = parts[at], int.from_bytes(parts[at][0][0], "big")
    key, value = TABLES[b"large"][number]
    described = tables[1]["segments"]
    return {
        "format": "transload.record-proof.v1", "table": "large", "key": key.hex(),
        "value": value.hex(), "in_segment": inclusion([x for _, _, x in part], number - first),
        "segment_records": described[at]["records"], "segment_bytes": described[at]["bytes"],
        "segment_first_key": described[at]["first_key"],
        "in_table": inclusion([bytes.fromhex(d["leaf"]) for d in described], at),
        "table_records": tables[1]["records"], "table_bytes": tables[1]["bytes"],
        "in_dataset": inclusion(leaves, 2), "dataset_root": root(leaves).hex(),
    }


print(json.dumps({
    "schema": SCHEMA.decode(), "header": header.hex(), "root": root(leaves).hex(),
    "tables": tables,
    "small_records": [
        {"key": key.hex(), "value": value.hex(), "leaf": record(b"small", key, value).hex()}
        for key, value in TABLES[b"small"]
    ],
    "proof_of_large_150": proof(150),
}, indent=1))
