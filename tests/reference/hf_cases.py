"""Random GPT-2s of transformers and what they answer, as the test `convert` of
tests/run reads them: NAME/weights/ as transformers saves it, and
NAME/expected.safetensors with tokens [B, T], logits [B, T, V] and greedy [B, N],
the tokens that follow the first half of each row."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

GREEDY = 6


def random_model(seed, **config):
    """A model in evaluation mode whose weights are wide enough for every part of it to count."""
    torch.manual_seed(seed)
    config = GPT2Config(bos_token_id=None, eos_token_id=None, **config)
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            wide = parameter.dim() > 1
            parameter += (0.15 if wide else 0.1) * torch.randn_like(parameter)
    return model


def greedy(model, tokens, count):
    """The `count` most likely tokens after `tokens` [B, T], one after the other."""
    begin = tokens.shape[1]
    with torch.no_grad():
        for _ in range(count):
            last = model(tokens).logits[:, -1]
            tokens = torch.cat([tokens, last.argmax(-1, keepdim=True)], 1)
    return tokens[:, begin:]


def write_expected(model, folder, seed, batch=2):
    """What `model` answers to random tokens."""
    torch.manual_seed(seed)
    config = model.config
    tokens = torch.randint(config.vocab_size, (batch, config.n_positions))
    with torch.no_grad():
        logits = model(tokens).logits
    half = tokens[:, : config.n_positions // 2]
    expected = {"tokens": tokens, "logits": logits, "greedy": greedy(model, half, GREEDY)}
    save_file({k: v.contiguous() for k, v in expected.items()}, str(Path(folder) / "expected.safetensors"))


def write_case(folder, seed, **config):
    """A case of a random model."""
    model = random_model(seed, **config)
    folder = Path(folder)
    model.save_pretrained(folder / "weights")
    for extra in (folder / "weights").glob("generation_config*.json"):
        extra.unlink()
    write_expected(model, folder, seed)


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Writes the fixture of the test `convert` (tests/run/hf).")
    parser.add_argument("folder")
    folder = Path(parser.parse_args().folder)
    write_case(
        folder / "small",
        seed=3,
        vocab_size=61,
        n_positions=14,
        n_embd=16,
        n_layer=2,
        n_head=4,
        n_inner=40,
        activation_function="gelu",
    )
