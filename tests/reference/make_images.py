#!/usr/bin/env python3
"""Writes what torchvision and Pillow make of a small picture, for the tests of data/images.

    python3 make_images.py ../data/images

Needs torch 2.11, torchvision 0.26, Pillow and numpy. The picture is made up, from a seed; what is written is below
300 kB. All files but the JPEGs are idx files of bytes: [pictures,] height, width, 3.
"""
import argparse
import io
import json
import pathlib

import numpy as np
import PIL
import PIL.Image
import torch
import torchvision
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

HEIGHT, WIDTH = 96, 120
SIDE = 40
BOXES = [(0, 0, WIDTH, HEIGHT), (10, 7, 61, 53), (80, 60, 21, 19), (31, 20, SIDE, SIDE), (5, 50, 110, 33)]


def picture():
    """Slopes, edges, fine stripes and noise: [HEIGHT, WIDTH, 3] bytes."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    red = 40 + 1.5 * x + 20 * np.sin(y / 7)
    green = 200 - 1.3 * y + 30 * ((x - 60) ** 2 + (y - 40) ** 2 < 700)
    blue = 90 + 60 * np.sin(x * 0.9) * (y > 60) + 0.4 * x
    values = np.stack([red, green, blue], -1) + random.normal(0, 6, (HEIGHT, WIDTH, 3))
    values[20:30, 90:110] = [250, 250, 245]
    values[70:80, 10:30] = [12, 5, 8]
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    path.write_bytes(header + np.ascontiguousarray(array, np.uint8).tobytes())


def tensor(array):
    return torch.from_numpy(array.copy()).permute(2, 0, 1)


def array(image):
    return image.permute(1, 2, 0).numpy()


def resized(image):
    yield from (F.resized_crop(image, top, left, high, wide, [SIDE, SIDE], v2.InterpolationMode.BICUBIC, True)
                for left, top, wide, high in BOXES)
    shorter = round(SIDE * 8 / 7)
    yield v2.CenterCrop(SIDE)(v2.Resize(shorter, v2.InterpolationMode.BICUBIC, antialias=True)(image))


def operations(image):
    """Each operation at magnitude 15 of 31, with both signs where there are two."""
    names = {"Identity": "identity", "ShearX": "shear_x", "ShearY": "shear_y", "TranslateX": "translate_x",
             "TranslateY": "translate_y", "Rotate": "rotate", "Brightness": "brightness", "Color": "color",
             "Contrast": "contrast", "Sharpness": "sharpness", "Posterize": "posterize", "Solarize": "solarize",
             "AutoContrast": "auto_contrast", "Equalize": "equalize"}
    augment = v2.RandAugment(num_ops=2, magnitude=15)
    for name, (magnitudes, signed) in augment._AUGMENTATION_SPACE.items():
        values = magnitudes(augment.num_magnitude_bins, *image.shape[-2:])
        magnitude = float(values[15]) if values is not None else 0.0
        for sign in (1, -1) if signed else (1,):
            done = augment._apply_image_or_video_transform(
                image, name, sign * magnitude, v2.InterpolationMode.NEAREST, augment._fill)
            # A threshold is a part of 255 there.
            written = magnitude * 255 if name == "Solarize" else magnitude
            yield names[name], sign * written, done


def jpeg(image, **settings):
    stream = io.BytesIO()
    image.save(stream, "JPEG", **settings)
    return stream.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    source = picture()
    write_idx(folder / "source.idx", source)
    write_idx(folder / "resized.idx", np.stack([array(image) for image in resized(tensor(source))]))
    part = source[30:78, 5:45]
    done = list(operations(tensor(part)))
    write_idx(folder / "operations.idx", np.stack([part] + [array(image) for _, _, image in done]))
    image = PIL.Image.fromarray(source)
    inks = PIL.Image.fromarray(part).convert("CMYK")
    inks = PIL.Image.merge("CMYK", [*inks.split()[:3], PIL.Image.fromarray(part[:, :, 0] // 2)])
    for name, data in (("photo", jpeg(image, quality=90, subsampling="4:2:0")),
                       ("progressive", jpeg(image, quality=80, progressive=True)),
                       ("cmyk", jpeg(inks, quality=95))):
        (folder / f"{name}.jpg").write_bytes(data)
        decoded = PIL.Image.open(io.BytesIO(data)).convert("RGB")
        # Of the larger ones a quarter: enough to tell.
        decoded = np.asarray(decoded)
        write_idx(folder / f"{name}.idx", decoded[:48, :60])
    cases = {"boxes": BOXES, "side": SIDE, "operations": [[name, magnitude] for name, magnitude, _ in done],
             "made with": f"torch {torch.__version__.split('+')[0]}, torchvision "
                          f"{torchvision.__version__.split('+')[0]}, Pillow {PIL.__version__}"}
    (folder / "cases.json").write_text(json.dumps(cases) + "\n")
    print(sum(path.stat().st_size for path in folder.iterdir()), "bytes")


if __name__ == "__main__":
    main()
