"""Makes the golden database `cpp` with C++ LevelDB: `pip install plyvel`, `python make.py DIRECTORY`.

Beside it `cpp.digest`, as make.go writes it, by C++ LevelDB's own iterator over a copy.
"""

import hashlib
import os
import random
import shutil
import struct
import sys
import tempfile

import plyvel

path = os.path.join(sys.argv[1], "cpp")
options = {"write_buffer_size": 64 << 10, "block_size": 512, "max_file_size": 1 << 20}
rng = random.Random(7)


def value(length):
    return bytes(rng.choice(b"abcdefgh") for _ in range(length))


for turn in range(4):
    db = plyvel.DB(path, create_if_missing=True, **options)
    with db.write_batch() as batch:
        for number in range(turn, 900, 2 + turn):
            batch.put(b"key/%06d" % number, value(30))
        for number in range(turn * 5, 900, 13):
            batch.delete(b"key/%06d" % number)
    if turn == 1:
        db.compact_range()
    db.put(b"long", value(40_000))
    db.put(b"", b"the empty key")
    db.close()

for name in ("LOG", "LOG.old"):
    os.path.exists(os.path.join(path, name)) and os.remove(os.path.join(path, name))

with tempfile.TemporaryDirectory() as copied:
    shutil.copytree(path, copied, dirs_exist_ok=True)
    digest, pairs = hashlib.sha256(), 0
    db = plyvel.DB(copied, **options)
    for key, content in db:
        for part in (key, content):
            digest.update(struct.pack(">I", len(part)) + part)
        pairs += 1
    db.close()
with open(path + ".digest", "w") as out:
    print(pairs, digest.hexdigest(), file=out)
