"""Times the twin's blocks, one forward and backward for each line of stdin.

    echo cp-gpt2 fp32 | python bench_twin.py

Reads lines `CASE PRECISION` until the end and answers each with one line of
JSON: {"case", "precision", "ms", "held_bytes"}. The first line of a case and
precision also builds it and runs it once before the clock starts. fp32, or
bf16: autocast with fp32 weights, as in training. launch/bench asks this
program and ours in turn. Threads: OMP_NUM_THREADS, or every core.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from entmax import entmax15
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from twin import BlockConfig, MuMoEBlock
from twin_models import DenseMLP, mixer_mlp

TOKENS = 4096
ROWS, EXPERTS = 8192, 256  # of the activations
GPT2 = (768, 3072, 768)
MIXER = (512, 2048, 512)

BLOCKS = {  # block, widths
    "cp-gpt2": (BlockConfig("cp", (256,), (556,), input_ln=True), GPT2),
    "tr-gpt2": (BlockConfig("tr", (256,), (4, 4, 149), input_ln=True), GPT2),
    "cp-mixer": (BlockConfig("cp", (64,), (384,)), MIXER),
    "tr-mixer": (BlockConfig("tr", (64,), (4, 4, 97)), MIXER),
}
DENSE: dict[str, Callable[[], nn.Module]] = {
    "dense-gpt2": lambda: DenseMLP(GPT2[0], bias=False),
    "dense-mixer": lambda: mixer_mlp(None, *MIXER[:2]),
}
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "entmax15": lambda x: entmax15(x, dim=-1),
    "softmax": lambda x: torch.softmax(x, dim=-1),
}
CASES = (*BLOCKS, *DENSE, *ACTIVATIONS)
PRECISIONS = ("fp32", "bf16")


@dataclass
class Case:
    forward: Callable[[Tensor], Tensor]
    parameters: list[nn.Parameter]
    x: Tensor
    upstream: Tensor  # dL/dy


def build(name: str) -> Case:
    torch.manual_seed(1)
    if name in ACTIVATIONS:
        x = torch.randn(ROWS, EXPERTS).requires_grad_()
        return Case(ACTIVATIONS[name], [], x, torch.randn(ROWS, EXPERTS))
    if name in DENSE:
        module = DENSE[name]()
        inputs = GPT2[0] if name == "dense-gpt2" else MIXER[0]
    else:
        config, (inputs, hidden, outputs) = BLOCKS[name]
        module = MuMoEBlock(config, inputs, hidden, outputs)
        for gate in module.gate:  # as after training: few experts a token
            nn.init.normal_(gate)
    x = torch.randn(TOKENS, inputs).requires_grad_()
    upstream = torch.randn(TOKENS, inputs)
    return Case(module, list(module.parameters()), x, upstream)


def autocast(precision: str) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")


def storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class CastsOf(TorchDispatchMode):
    """Follows casts and copies of given tensors; `storages` has them all."""

    def __init__(self, tensors: list[Tensor]) -> None:
        super().__init__()
        self.storages = {storage(tensor) for tensor in tensors}
        self.alive: list[Tensor] = []  # so that no address is used again

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        copies = (torch.ops.aten._to_copy.default, torch.ops.aten.clone.default)
        if func in copies and storage(args[0]) in self.storages:
            self.storages.add(storage(result))
            self.alive.append(result)
        return result


def first_run(case: Case, precision: str) -> tuple[torch.dtype, int]:
    """The dtype of y, and the bytes that forward leaves there for backward.

    Whole storages, each once. Not counted is what is there anyway: parameters
    and x. Nor are casts and copies of parameters, such as the bf16 weights that
    autocast keeps: a trainer has one set of those, whatever the layer.
    """
    held: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        held[storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t)
    with CastsOf(case.parameters) as casts, hooks, autocast(precision):
        y = case.forward(case.x)
    y.backward(case.upstream.to(y.dtype))
    held.pop(storage(case.x), None)
    sizes = (held[key] for key in held.keys() - casts.storages)
    return y.dtype, sum(sizes)


def run_ms(case: Case, precision: str, dtype: torch.dtype) -> float:
    """One forward and backward, the second of two: the passes of a training
    run follow one another, they do not wake up. `dtype` is that of y."""
    upstream = case.upstream.to(dtype)
    for _ in range(2):
        for leaf in (case.x, *case.parameters):
            leaf.grad = None
        begin = time.perf_counter()
        with autocast(precision):
            y = case.forward(case.x)
        y.backward(upstream)
    return (time.perf_counter() - begin) * 1000


def serve() -> int:
    built: dict[str, Case] = {}
    first: dict[tuple[str, str], tuple[torch.dtype, int]] = {}
    for line in sys.stdin:
        name, precision = (line.split() + ["", ""])[:2]
        if name not in CASES or precision not in PRECISIONS:
            wanted = f"{'|'.join(CASES)} {'|'.join(PRECISIONS)}"
            print(f"{line.strip()}: expected {wanted}", file=sys.stderr)
            return 2
        if name not in built:
            built[name] = build(name)
        case = built[name]
        if (name, precision) not in first:
            first[name, precision] = first_run(case, precision)
        dtype, held_bytes = first[name, precision]
        answer = {
            "case": name,
            "precision": precision,
            "ms": run_ms(case, precision, dtype),
            "held_bytes": held_bytes,
        }
        print(json.dumps(answer), flush=True)
    return 0


def main() -> int:
    argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(int(threads) if threads else cores)
    return serve()


if __name__ == "__main__":
    sys.exit(main())
