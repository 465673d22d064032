"""Compares `mumoe convert` and `mumoe eval` with a Mixer of timm, both ways.

    python check_timm.py BUILD FOLDER

BUILD is a build folder of the project, FOLDER holds Fashion-MNIST's idx files. A
random Mixer of timm is converted to a run and back: the same weights, and the
loss and accuracy of the run on the 10,000 test images, as `mumoe eval` has them,
are timm's to 1e-4 (timm's norms add 1e-6 to variances, ours 1e-5). Needs timm
and torchvision.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from timm.models.mlp_mixer import MlpMixer

from train_mixer_twin import normalised, read_idx


def main() -> None:
    program = Path(sys.argv[1]).resolve() / "mumoe"
    folder = Path(sys.argv[2]).resolve()
    torch.manual_seed(1)
    model = MlpMixer(
        num_classes=10,
        img_size=28,
        in_chans=1,
        patch_size=7,
        num_blocks=3,
        embed_dim=48,
    ).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    images = read_idx(folder / "t10k-images-idx3-ubyte.gz")
    labels = read_idx(folder / "t10k-labels-idx1-ubyte.gz").long()
    with torch.no_grad():
        logits = torch.cat([model(normalised(x)) for x in images.split(500)])
    expected = {
        "loss": F.cross_entropy(logits.double(), labels).item(),
        "top1": (logits.argmax(1) == labels).double().mean().item(),
    }
    with tempfile.TemporaryDirectory() as scratch:

        def mumoe(*arguments: str) -> str:
            return subprocess.run(
                [program, *arguments],
                cwd=scratch,
                check=True,
                capture_output=True,
                text=True,
            ).stdout

        save_file(model.state_dict(), f"{scratch}/timm.safetensors")
        mumoe("convert", "--from", "timm.safetensors", "--to", "run",
              "--model.family", "mixer")  # fmt: skip
        mumoe("eval", "--run", "run", "--data", str(folder),
              "--json", "eval.json")  # fmt: skip
        found = json.loads(Path(scratch, "eval.json").read_text())["images"]
        mumoe("convert", "--from", "run", "--to", "back", "--as", "timm")
        back = load_file(f"{scratch}/back/model.safetensors")
    worst = max(abs(found[key] - value) for key, value in expected.items())
    same = back.keys() == model.state_dict().keys() and all(
        torch.equal(back[name], value)
        for name, value in model.state_dict().items()
    )
    print(f"timm {expected}, the run {found['loss']:.6f}, {found['top1']:.4f}")
    print("weights back: " + ("the same" if same else "differ"))
    if worst > 1e-4 or not same:
        raise SystemExit("they differ")


if __name__ == "__main__":
    main()
