#!/usr/bin/env python3
"""features.py FOLDER [TRAIN VAL WIDTH CLASSES]: a folder of features as mumoe data writes it, of clusters about nothing."""
import hashlib
import json
import os
import random
import struct
import sys


def split(path, count, width, centres, rng):
    features, labels, marks = bytearray(), bytearray(), bytearray()
    for row in range(count):
        label = row % len(centres)
        values = [c + rng.gauss(0, 1) for c in centres[label]]
        features += struct.pack(f"<{width}f", *values)
        labels += struct.pack("<q", label)
        marks.append(values[0] > 0)
    index = struct.pack(f"<{count}q", *range(count))
    parts = {"features": ("F32", [count, width], bytes(features)),
             "labels": ("I64", [count], bytes(labels)), "index": ("I64", [count], index),
             "attributes": ("U8", [count, 1], bytes(marks))}
    header, at = {}, 0
    for name, (dtype, shape, data) in parts.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    head = json.dumps(header).encode()
    whole = struct.pack("<Q", len(head)) + head + b"".join(p[2] for p in parts.values())
    with open(path, "wb") as file:
        file.write(whole)
    return {"file": os.path.basename(path), "samples": count, "of_images": count,
            "images_hash": "0" * 16, "sha256": hashlib.sha256(whole).hexdigest()}


def main():
    folder = sys.argv[1]
    train, val, width, classes = (int(v) for v in (sys.argv[2:] or [240, 120, 12, 6]))
    rng = random.Random(7)
    centres = [[rng.gauss(0, 1) for _ in range(width)] for _ in range(classes)]
    os.makedirs(folder, exist_ok=True)
    facts = {"format": 1, "source": "made-up", "backbone": "none", "backbone_hash": "",
             "image_size": 8, "width": width, "classes": classes,
             "class_names": [f"class {c}" for c in range(classes)], "attributes": ["left"],
             "train": split(f"{folder}/train.safetensors", train, width, centres, rng),
             "val": split(f"{folder}/val.safetensors", val, width, centres, rng)}
    with open(f"{folder}/features.json", "w", encoding="utf-8") as file:
        json.dump(facts, file)


main()
