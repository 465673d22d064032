#!/usr/bin/env python3
"""pt_to_safetensors.py FILE.pt [OUT.safetensors]: the weights of a PyTorch checkpoint, as `mumoe convert` reads them.

FILE is what torch.save wrote: a state dict, or a dict that has one as `model` or `state_dict` (nanoGPT, the authors of the
layer, Lightning). Of nanoGPT's `model_args` the number of heads goes along, which no tensor tells. Nothing in FILE is run
(weights_only). Needs the packages torch and safetensors."""

import sys
from pathlib import Path


def stop(reason):
    print(f"pt_to_safetensors.py: {reason}", file=sys.stderr)
    sys.exit(2)


def state_dict_of(loaded):
    """The tensors by name, and what holds them."""
    for key in ("model", "state_dict", "model_state_dict", "module"):
        inner = loaded.get(key)
        if isinstance(inner, dict) and inner:
            return inner
    return loaded


def main(arguments):
    if not 1 <= len(arguments) <= 2 or arguments[0].startswith("-"):
        stop("expected FILE.pt [OUT.safetensors]")
    source = Path(arguments[0])
    target = Path(arguments[1]) if len(arguments) == 2 else source.with_suffix(".safetensors")
    if not source.is_file():
        stop(f"{source}: is not there")
    import torch
    from safetensors.torch import save_file

    try:
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torch has many
        stop(f"{source}: is no file of torch.save, or one that would run code ({type(error).__name__}); expected tensors")
    if not isinstance(loaded, dict):
        stop(f"{source}: holds a {type(loaded).__name__}; expected a dict of tensors")
    tensors = {name: value for name, value in state_dict_of(loaded).items() if isinstance(value, torch.Tensor)}
    if not tensors:
        stop(f"{source}: holds no tensors by name: {', '.join(map(str, list(loaded)[:8]))}")
    metadata = {"format": "pt"}
    heads = (loaded.get("model_args") or {}).get("n_head")
    if heads is not None:
        metadata["n_head"] = str(heads)
    # Tied weights are one tensor under two names, which safetensors refuses.
    whole = {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    temporary = target.with_name(target.name + ".tmp")
    save_file(whole, str(temporary), metadata=metadata)
    temporary.replace(target)
    print(f"{target}: {len(whole)} tensors, {sum(value.numel() for value in whole.values())} numbers")


if __name__ == "__main__":
    main(sys.argv[1:])
