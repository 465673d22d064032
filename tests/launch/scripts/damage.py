#!/usr/bin/env python3
"""damage.py KIND CHECKPOINT [OTHER]: damages a checkpoint of several files; OTHER: the one of which it takes the manifest."""

import ctypes
import json
import pathlib
import shutil
import sys


class Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


def xxh128(data: bytes) -> str:
    library = ctypes.CDLL("libxxhash.so.0")
    library.XXH3_128bits.restype = Hash128
    library.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    found = library.XXH3_128bits(data, len(data))
    return f"{found.high:016x}{found.low:016x}"


def as_text(manifest: dict) -> bytes:
    return json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def edit(path: pathlib.Path, change) -> None:
    """A manifest that somebody has written with the checksum that it should have."""
    manifest = json.loads(path.read_bytes())
    own = manifest.pop("xxh128")
    assert xxh128(as_text(manifest)) == own, "the checksum is not that of the compact, sorted JSON"
    change(manifest)
    manifest["xxh128"] = xxh128(as_text(manifest))
    path.write_bytes(as_text(manifest) + b"\n")


def overlap(manifest: dict) -> None:
    """Two tensors of one file begin at one byte."""
    seen: dict[int, dict] = {}
    for tensor in manifest["tensors"].values():
        for piece in tensor["pieces"]:
            other = seen.setdefault(piece["file"], piece)
            if other is not piece and piece["count"] > 0:
                piece["offset"] = other["offset"]
                return


def twice(manifest: dict) -> None:
    """A tensor has some elements twice, and others not at all."""
    for tensor in manifest["tensors"].values():
        if len(tensor["pieces"]) > 1:
            tensor["pieces"][1]["first"] -= 1
            return


def outside(manifest: dict) -> None:
    next(iter(manifest["tensors"].values()))["pieces"][0]["offset"] = (1 << 63) - 1


def main() -> None:
    kind, checkpoint = sys.argv[1], pathlib.Path(sys.argv[2])
    manifest = checkpoint / "manifest.json"
    largest = max(checkpoint.glob("*.safetensors"), key=lambda file: file.stat().st_size)
    data = bytearray(largest.read_bytes())
    if kind.startswith("flipped"):
        place = int(len(data) * float(kind.removeprefix("flipped")) / 100)
        data[place] ^= 0x10
        largest.write_bytes(data)
    elif kind == "truncated":
        largest.write_bytes(data[: len(data) // 2])
    elif kind == "longer":
        largest.write_bytes(data + b"\0")
    elif kind == "empty":
        largest.write_bytes(b"")
    elif kind == "missing":
        largest.unlink()
    elif kind == "folder":
        largest.unlink()
        largest.mkdir()
    elif kind == "header":
        data[:64] = b"x" * 64
        largest.write_bytes(data)
    elif kind == "length":
        data[:8] = (1 << 63).to_bytes(8, "little")
        largest.write_bytes(data)
    elif kind == "manifest":
        shutil.copy(pathlib.Path(sys.argv[3]) / "manifest.json", manifest)
    elif kind == "manifest-truncated":
        manifest.write_bytes(manifest.read_bytes()[:1000])
    elif kind == "manifest-empty":
        manifest.write_bytes(b"")
    elif kind == "manifest-missing":
        manifest.unlink()
    elif kind == "manifest-nested":
        manifest.write_bytes(b'{"format":"mumoe-checkpoint-2","xxh128":"","x":' + b"[" * 1000000 + b"]" * 1000000 + b"}")
    else:
        edit(manifest, {"overlap": overlap, "twice": twice, "outside": outside}[kind])


if __name__ == "__main__":
    main()
