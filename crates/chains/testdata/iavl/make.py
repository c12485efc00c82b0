#!/usr/bin/env python3
"""Makes the samples beside this file: one history as IAVL 0.20 and as IAVL 1.2 keep it.

    python3 make.py            # needs Go; writes *.script, *.legacy, *.current

A script is drawn from a fixed seed. `legacy` replays it with IAVL 0.20, `current` with IAVL 1.2;
`mixed` goes on with IAVL 1.2 where IAVL 0.20 stopped.
"""
import os
import random
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
KEYS = [b"a", b"a\x00", b"a\x00\x00", b"ab", b"\x00", b"\xff", b"\xff\xff", b"\xff\x00"]
KEYS += [b"key/%02d" % n for n in range(40)]

PRUNED = [("grown-0", 1), ("grown-0", 12), ("grown-0", 27), ("grown-0", 39), ("grown-1", 20)]
PRUNED += [("grown-1", 35), ("grown-2", 8), ("grown-2", 33), ("initial", 106), ("genesis", 4)]


def line(*words):
    return " ".join(w.hex() if isinstance(w, bytes) else str(w) for w in words) + "\n"


def changes(rng, live, count):
    text = ""
    for _ in range(count):
        if live and rng.random() < 0.35:
            key = rng.choice(sorted(live))
            live.discard(key)
            text += line("remove", key)
        else:
            key = rng.choice(KEYS)
            live.add(key)
            text += line("set", key, b"%d" % rng.randrange(1000))
    return text


def history(seed, versions):
    rng = random.Random(seed)
    live, text = set(), ""
    for version in range(versions):
        draw = rng.random()
        if version == 0 or draw < 0.2:
            pass  # an unchanged version; the first one is empty
        elif draw < 0.27 and live:
            for key in sorted(live):
                text += line("remove", key)
            live = set()
        elif draw < 0.35 and len(live) > 1:
            # Down to one leaf, which then may be the root and later somebody's child.
            for key in sorted(live)[1:]:
                text += line("remove", key)
            live = {min(live)}
        else:
            text += changes(rng, live, rng.randrange(1, 12))
        text += "save\n"
    return text


def run(tool, *arguments):
    subprocess.run([tool, *arguments], check=True, stdout=subprocess.DEVNULL)


def path(name):
    return os.path.join(HERE, name)


def write(name, text):
    with open(path(name), "w", encoding="ascii") as file:
        file.write(text)


def main():
    with tempfile.TemporaryDirectory() as folder:
        tools = {}
        for tool in ("legacy", "current"):
            tools[tool] = os.path.join(folder, tool)
            subprocess.run(["go", "build", "-o", tools[tool], "."], check=True, cwd=path(tool))

        def both(name, script):
            write(name + ".script", script)
            run(tools["legacy"], path(name + ".script"), path(name + ".legacy"))
            run(tools["current"], path(name + ".script"), "-", path(name + ".current"))

        for seed in range(3):
            both(f"grown-{seed}", history(seed, 40))
        both("initial", "initial 100\n" + history(3, 12))
        genesis = "".join(line("set", b"genesis/%04d" % n, b"v%d" % n) for n in range(300))
        both("genesis", genesis + "save\n" + history(4, 6))
        # What the library itself leaves when it deletes all versions up to one.
        for name, last in PRUNED:
            script = os.path.join(folder, "script")
            with open(script, "w", encoding="ascii") as file:
                file.write(f"delete 1 {last}\n")
            target = path(f"{name}-to-{last}.pruned")
            run(tools["current"], script, path(name + ".current"), target)
        # Versions pruned, at the beginning and in between. What IAVL 1.x keeps isn't comparable.
        for name, last in (("pruned", "delete 1 30\n"), ("gaps", "delete 10 14\n")):
            write(name + ".script", history(5, 40) + last)
            run(tools["legacy"], path(name + ".script"), path(name + ".legacy"))
        # Homes that were upgraded: IAVL 1.x on top of what IAVL 0.20 left. A first version that
        # changes nothing makes the library copy the root into its own form.
        for name, begin, more in (
            ("mixed", "save\n", ""),
            ("mixed-changed", "", ""),
            ("mixed-pruned", "save\n", "delete 1 44\n"),
        ):
            write(name + ".script", begin + history(6, 10).replace("save\n", "", 1) + more)
            legacy = path("pruned.legacy" if name == "mixed" else "grown-0.legacy")
            run(tools["current"], path(name + ".script"), legacy, path(name + ".entries"))


main()
