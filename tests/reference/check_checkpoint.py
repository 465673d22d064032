"""Reads a checkpoint of several ranks without the program: safetensors, JSON.

    python check_checkpoint.py BUILD

BUILD is a build folder of the project. For CP and tensor ring models, whose
hidden width, CP rank and vocabulary are odd, so that what ranks hold is padded:
trains on tokens made up here with dp 2 x tp 2 and ZeRO-1, and

- puts the tensors together by manifest.json alone, checking each block's
  checksum and that the pieces name each element and each stored tensor once;
- compares them, weights and moments, with what `mumoe convert --consolidate`
  makes of the checkpoint: bit for bit;
- gives these weights, and those that `mumoe convert` writes under the authors'
  names, to the twin: its validation loss in fp32 is that which the run reported
  and that of `mumoe eval`, to 1e-6 relative.

Prints one line a check and exits with 1 if one fails.
"""

import dataclasses
import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file
from torch import Tensor

from check_golden import gpt2_name
from train_twin import HEADER_INTS, MAGIC, UINT16_VERSION
from twin import BlockConfig, MuMoEBlock
from twin_models import GPT2, GPT2Config, cross_entropy

MPIRUN = Path(__file__).resolve().parents[2] / "launch" / "mpirun"
VOCAB, CONTEXT, DEPTH, HEADS, WIDTH, HIDDEN = 259, 23, 2, 6, 42, 99
EXPERTS = (5, 3)
STEPS, WINDOWS = 120, 64
TOLERANCE = 1e-6  # of losses, relative
MASTER = "master."  # before the names of weights, beside the moments'


@dataclasses.dataclass(frozen=True)
class Case:
    kind: str
    ranks: tuple[int, ...]
    plan: str  # how tp cuts a block: by ranks, or by hidden units


CASES = (
    Case("cp", (13,), "rank"),
    Case("cp", (13,), "bottleneck"),
    Case("tr", (2, 4, 3, 7), "bottleneck"),
)
Arrays = dict[str, np.ndarray]
ERRORS = (ValueError, KeyError, RuntimeError, SafetensorError)


def run(*command: object) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}: {done.returncode}\n{done.stderr}")
    return done.stdout


def write_tokens(path: Path, count: int, seed: int) -> Tensor:
    """A file as the trainer prepares them, of a chain that can be learned."""
    draw = np.random.default_rng(seed)
    letters = np.zeros(count, "<u2")
    for i, step in enumerate(draw.integers(1, 4, count - 1)):
        letters[i + 1] = (3 * letters[i] + step) % 23
    tokens = letters + ord("a")
    header = np.zeros(HEADER_INTS, "<i4")
    header[:3] = MAGIC, UINT16_VERSION, count
    path.write_bytes(header.tobytes() + tokens.tobytes())
    return torch.from_numpy(tokens.astype(np.int64))


def train(mumoe: Path, case: Case, data: Path, out: Path) -> float:
    """Returns the validation loss that the run reports after its last step."""
    options = {
        "model.mlp": case.kind,
        "model.experts": ",".join(map(str, EXPERTS)),
        "model.rank": ",".join(map(str, case.ranks)),
        "model.level_noise": 0.5,
        "model.depth": DEPTH,
        "model.heads": HEADS,
        "model.width": WIDTH,
        "model.hidden": HIDDEN,
        "model.vocab": VOCAB,
        "model.context": CONTEXT,
        "data.source": data,
        "optimizer.lr": 1e-2,
        "parallel.dp": 2,
        "parallel.tp": 2,
        "parallel.zero": 1,
        "parallel.plan": case.plan,
        "train.steps": STEPS,
        "train.batch": 6,
        "train.precision": "fp32",
        "train.device": "cpu",
        "train.eval_windows": WINDOWS,
        "train.out": out,
    }
    words = [w for key, value in options.items() for w in (f"--{key}", value)]
    run(MPIRUN, "-n", 4, mumoe, "train", *words)
    last = (out / "metrics.jsonl").read_text().splitlines()[-1]
    return json.loads(last)["val_loss"]


# ---- The checkpoint


def require(good: bool, what: str) -> None:
    if not good:
        raise ValueError(what)


def check_sums(folder: Path, text: str, manifest: dict) -> None:
    """Of each block of each file, and the manifest's of all else in it."""
    for file in manifest["files"]:
        content = (folder / file["name"]).read_bytes()
        require(len(content) == file["bytes"], f"{file['name']}: its size")
        size = manifest["block_bytes"]
        sums = [
            xxhash.xxh3_128_hexdigest(content[begin : begin + size])
            for begin in range(0, len(content), size)
        ]
        require(sums == file["blocks"], f"{file['name']}: its checksums")
    rest = re.sub(r',"xxh128":"[0-9a-f]{32}"', "", text.rstrip("\n"))
    own = xxhash.xxh3_128_hexdigest(rest.encode())
    require(own == manifest["xxh128"], "manifest.json: its checksum")


class RankFile:
    """One of the checkpoint's files; knows which tensors were asked for."""

    def __init__(self, path: Path) -> None:
        self.tensors = safe_open(path, "numpy")
        self.content = path.read_bytes()
        self.unread = set(self.tensors.keys())

    def read(self, name: str, piece: dict) -> np.ndarray:
        """Flat. That its bytes lie at the manifest's offset is checked."""
        values = self.tensors.get_tensor(name).ravel()
        self.unread.remove(name)
        require(values.size == piece["count"], f"{name}: a piece's size")
        stored = self.content[piece["offset"] :][: values.nbytes]
        same = stored == values.tobytes()
        require(same, f"{name}: a piece is not at its offset")
        return values


def put_together(name: str, tensor: dict, files: list[RankFile]) -> np.ndarray:
    require(tensor["dtype"] == "F32", f"{name}: {tensor['dtype']}")
    whole = np.zeros(tensor["shape"], np.float32)
    times = np.zeros(tensor["shape"], np.int64)  # that each element is named
    for piece in tensor["pieces"]:
        values = files[piece["file"]].read(name, piece)
        region = tuple(
            slice(begin, begin + extent)
            for begin, extent in zip(piece["begin"], piece["extent"])
        )
        # The piece is a run of the region's elements, in row-major order.
        run_of = slice(piece["first"], piece["first"] + piece["count"])
        part, counts = whole[region].flatten(), times[region].flatten()
        part[run_of] = values
        counts[run_of] += 1
        whole[region] = part.reshape(piece["extent"])
        times[region] = counts.reshape(piece["extent"])
    require(bool((times == 1).all()), f"{name}: not each element once")
    return whole


def assemble(folder: Path) -> tuple[Arrays, bool]:
    """The whole tensors, and whether any mixture's was cut unequally."""
    text = (folder / "manifest.json").read_text()
    manifest = json.loads(text)
    check_sums(folder, text, manifest)
    files = [RankFile(folder / file["name"]) for file in manifest["files"]]
    tensors = {
        name: put_together(name, tensor, files)
        for name, tensor in manifest["tensors"].items()
    }
    unread = set().union(*(file.unread for file in files))
    require(not unread, f"not in the manifest: {sorted(unread)}")
    uneven = any(
        len({tuple(piece["extent"]) for piece in tensor["pieces"]}) > 1
        for name, tensor in manifest["tensors"].items()
        if ".mlp.layer" in name
    )
    return tensors, uneven


def same_bits(ours: Arrays, theirs: Arrays) -> int:
    """How many tensors are the same."""
    odd = sorted(ours.keys() ^ theirs.keys())
    require(not odd, f"only on one side: {odd}")
    for name, array in ours.items():
        same = array.shape == theirs[name].shape
        same = same and array.dtype == theirs[name].dtype
        same = same and array.tobytes() == theirs[name].tobytes()
        require(same, f"{name}: differs from the converted file's")
    return len(ours)


# ---- The twin


def to_twin(arrays: Arrays, kind: str) -> dict[str, Tensor]:
    """A checkpoint's weights under the twin's names, its dims in their order.

    Ours begin with the dim that is not a rank: [I, t, u], [N, r, s], [O, r, u].
    """
    ours = {
        name.removeprefix(MASTER): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith(MASTER)
    }
    state = {}
    for name, tensor in ours.items():
        if name.endswith(".input_bias"):  # the last row of the input factor
            continue
        if name + "_bias" in ours:
            tensor = torch.cat([tensor, ours[name + "_bias"][None]])
        if name in ("wte", "wpe"):
            name += ".weight"
        elif name.endswith("attn.qkv"):
            name, tensor = name[:-3] + "c_attn.weight", tensor.flatten(0, 2)
        elif name.endswith("attn.proj"):
            name, tensor = name[:-4] + "c_proj.weight", tensor.flatten(1)
        elif kind == "tr" and ".layer" in name:
            output = name.endswith(".output")
            tensor = tensor.permute(*((2, 0, 1) if output else (1, 0, 2)))
        state[name] = tensor
    return state


def from_authors(arrays: Arrays) -> dict[str, Tensor]:
    return {
        gpt2_name(name, len(EXPERTS)): torch.from_numpy(array)
        for name, array in arrays.items()
        if name != "lm_head.weight"  # tied to wte
    }


@torch.no_grad()
def twin_loss(case: Case, state: dict[str, Tensor], tokens: Tensor) -> float:
    """Mean nats a token over the validation windows of the program."""
    block = BlockConfig(case.kind, EXPERTS, case.ranks, input_ln=True)
    model = GPT2(GPT2Config(VOCAB, CONTEXT, DEPTH, HEADS, WIDTH, block))
    for layer in model.h:
        layer.mlp = MuMoEBlock(block, WIDTH, HIDDEN, WIDTH)
    model.load_state_dict(state)
    fitting = (len(tokens) - 1) // CONTEXT
    starts = torch.arange(WINDOWS) * fitting // WINDOWS * CONTEXT
    windows = tokens[starts[:, None] + torch.arange(CONTEXT + 1)]
    return cross_entropy(model(windows[:, :-1]), windows[:, 1:]).item()


def check(mumoe: Path, case: Case, folder: Path) -> bool:
    data, out = folder / "data", folder / "run"
    data.mkdir()
    write_tokens(data / "train.bin", 20000, seed=1)
    tokens = write_tokens(data / "val.bin", 5000, seed=2)
    program = {"train": train(mumoe, case, data, out)}
    evaluated = run(mumoe, "eval", "--run", out, "--windows", WINDOWS,
                    "--json", "-")  # fmt: skip
    program["eval"] = json.loads(evaluated)["text"]["loss"]
    run(mumoe, "convert", "--from", out, "--to", folder / "authors")
    run(mumoe, "convert", "--consolidate", "--from", out,
        "--to", folder / "whole")  # fmt: skip

    name = f"{case.kind}, plan {case.plan}"
    tensors, uneven = assemble(out / "checkpoints" / f"step_{STEPS:08}")
    require(uneven, "no mixture is cut into unequal parts")
    whole = load_file(folder / "whole" / "state.safetensors")
    print(f"ok    {name}: {same_bits(tensors, whole)} tensors bit for bit")
    authors = load_file(folder / "authors" / "model.safetensors")
    twins = {
        "rank files": to_twin(tensors, case.kind),
        "consolidated": to_twin(whole, case.kind),
        "authors' names": from_authors(authors),
    }
    good = True
    for source, state in twins.items():
        loss = twin_loss(case, state, tokens)
        errors = {k: abs(loss / of - 1) for k, of in program.items()}
        close = all(error <= TOLERANCE for error in errors.values())
        good = good and close and math.isfinite(loss)
        found = ", ".join(f"{k} {of:.8f} ({errors[k]:.1e})"
                          for k, of in program.items())  # fmt: skip
        print(f"{'ok' if close else 'FAIL':5} {name}, {source}: "
              f"twin {loss:.8f}, {found}")  # fmt: skip
    return good


def main() -> int:
    torch.set_num_threads(1)
    mumoe = Path(sys.argv[1]).resolve() / "mumoe"
    good = True
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                good = check(mumoe, case, Path(folder)) and good
            except ERRORS as error:
                print(f"FAIL  {case.kind}, plan {case.plan}: {error!r}")
                good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
