"""What C++ LevelDB reads from a directory: the number of its pairs and the SHA-256 over u32 BE key
length, key, u32 BE value length, value of each, in key order. Needs plyvel, whose wheel has C++
LevelDB in it.

    dump.py DIRECTORY          opens it as a node does, which rewrites its manifest
    dump.py DIRECTORY write    the same, then writes an entry, deletes the first one, compacts
"""
import hashlib
import struct
import sys

import plyvel

database = plyvel.DB(sys.argv[1], create_if_missing=False, paranoid_checks=True)
digest, pairs = hashlib.sha256(), 0
for key, value in database.iterator(verify_checksums=True):
    for part in (key, value):
        digest.update(struct.pack(">I", len(part)) + part)
    if database.get(key, verify_checksums=True) != value:
        sys.exit(f"{key!r} is not found by its key")
    pairs += 1
if sys.argv[2:] == ["write"]:
    for key in database.iterator(include_value=False):
        database.delete(key)
        break
    database.put(b"\xff written by C++ LevelDB", b"1", sync=True)
    database.compact_range()
database.close()
print(pairs, digest.hexdigest())
