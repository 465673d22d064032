#!/usr/bin/env python3
"""Times decoding, RandomResizedCrop, flip, RandAugment(2, 15) and normalising: the program's and torchvision's, in turn.

    python3 bench_images.py --program ../../build/release/tests/benchmarks/bench_images

Makes JPEGs of 500 x 400 (ImageNet's average size, some 110 kB each), and prints milliseconds of one core an image. Both
of torchvision's ways are timed, pictures of Pillow and tensors; the ratio is to the faster. What is compared is the
processor's time, so that what else runs on the machine matters less.
"""
import argparse
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
import PIL.Image
import torch
import torchvision
from torchvision.transforms import v2

MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def photo(random):
    """Noise of the spectrum of photographs, 1 / f, with some edges."""
    high, wide = 400, 500
    fy, fx = np.fft.fftfreq(high)[:, None], np.fft.rfftfreq(wide)[None]
    fall = 1 / np.maximum(np.hypot(fy, fx), 1 / wide)
    shared = np.fft.irfft2(fall * np.fft.rfft2(random.normal(size=(high, wide))), (high, wide))
    planes = []
    for _ in range(3):
        own = np.fft.irfft2(fall * np.fft.rfft2(random.normal(size=(high, wide))), (high, wide))
        plane = shared + 0.3 * own
        planes.append(128 + 50 * plane / plane.std())
    values = np.stack(planes, -1)
    for _ in range(12):
        y, x, size = random.integers(0, high), random.integers(0, wide), random.integers(10, 90)
        values[y:y + size, x:x + size] += random.normal(0, 40, 3)
    return PIL.Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def make_folder(folder, count):
    random = np.random.default_rng(1)
    size = 0
    for split, number in (("train", count), ("val", 1)):
        (folder / split / "one").mkdir(parents=True)
        for i in range(number):
            path = folder / split / "one" / f"{i:03}.JPEG"
            photo(random).save(path, quality=93)
            size += path.stat().st_size
    print(f"{count} images of 500 x 400, {size / 1000 / (count + 1):.0f} kB each")


def transforms(first):
    return v2.Compose([*first, v2.RandomResizedCrop(224, interpolation=v2.InterpolationMode.BICUBIC, antialias=True),
                       v2.RandomHorizontalFlip(), v2.RandAugment(2, 15), v2.ToImage(),
                       v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, DEVIATION)])


def with_pillow(path, transform=transforms([])):
    with open(path, "rb") as file:
        return transform(PIL.Image.open(file).convert("RGB"))


def with_tensors(path, transform=transforms([])):
    data = torchvision.io.read_file(str(path))
    return transform(torchvision.io.decode_jpeg(data, torchvision.io.ImageReadMode.RGB))


def torchvision_ms(look, paths, images):
    begin = time.process_time()
    for i in range(images):
        look(paths[i % len(paths)])
    return 1e3 * (time.process_time() - begin) / images


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True)
    parser.add_argument("--images", type=int, default=320, help="a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make_folder(folder, 64)
        paths = sorted((folder / "train" / "one").iterdir())
        times = {"mumoe": [], "Pillow": [], "tensors": []}
        for _ in range(options.rounds):
            out = subprocess.run([options.program, name, str(options.images)], check=True, capture_output=True, text=True)
            times["mumoe"].append(float(out.stdout.split()[0]))
            times["Pillow"].append(torchvision_ms(with_pillow, paths, options.images))
            times["tensors"].append(torchvision_ms(with_tensors, paths, options.images))
    for what, values in times.items():
        print(f"{what:8} {statistics.median(values):.2f} ms an image ({', '.join(f'{v:.2f}' for v in values)})")
    ours, *theirs = times.values()
    ratios = sorted(min(both) / mine for mine, *both in zip(ours, *theirs))
    print(f"torchvision {torchvision.__version__.split('+')[0]} / mumoe: {statistics.median(ratios):.2f} "
          f"({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
