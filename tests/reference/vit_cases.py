"""Random ViTs of timm and transformers and what they answer, as the test `vit_weights` of tests/run reads them:
NAME/weights/ as they save it, NAME/grads/ the gradient of the mean cross-entropy under the same names, and
NAME/expected.safetensors with images [B, 3, H, W], target [B], logits [B, K] and, of models without a head, the
head that was put on their features and its gradient. Files are rounded to fp32, what they answer is computed in fp64."""

import os
from functools import partial
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.layers import QuickGELU
from timm.models.vision_transformer import VisionTransformer
from transformers import CLIPVisionConfig, CLIPVisionModel, ViTConfig, ViTForImageClassification, ViTModel

CLASSES = 5


def randomise(model, seed):
    """Weights wide enough for every part to count."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            wide = 0.15 if parameter.dim() > 1 else 0.1
            parameter += wide * torch.randn_like(parameter)
    return model.eval()


def timm_model(clip, size):
    own = dict(pre_norm=True, norm_layer=partial(torch.nn.LayerNorm, eps=1e-5), act_layer=QuickGELU) if clip else {}
    return VisionTransformer(img_size=size["image"], patch_size=size["patch"], num_classes=CLASSES, embed_dim=size["width"],
                             depth=size["depth"], num_heads=size["heads"],
                             mlp_ratio=size["hidden"] / size["width"], **own)  # fmt: skip


def hf_config(kind, size, **more):
    return kind(hidden_size=size["width"], intermediate_size=size["hidden"], num_hidden_layers=size["depth"],
                num_attention_heads=size["heads"], image_size=size["image"], patch_size=size["patch"], **more)  # fmt: skip


def features(model, images):
    """The class's token after the last norm."""
    if isinstance(model, CLIPVisionModel):
        return model(images).pooler_output
    return model(images).last_hidden_state[:, 0]


MODELS = {
    "timm_clip": lambda size: timm_model(True, size),
    "timm_dino": lambda size: timm_model(False, size),
    "hf_clip": lambda size: CLIPVisionModel(hf_config(CLIPVisionConfig, size)),
    "hf_dino": lambda size: ViTModel(hf_config(ViTConfig, size)),
    "hf_classifier": lambda size: ViTForImageClassification(hf_config(ViTConfig, size, num_labels=CLASSES)),
}


def write_case(folder, name, size, seed, batch=3):
    folder = Path(folder) / name
    (folder / "weights").mkdir(parents=True)
    (folder / "grads").mkdir()
    model = randomise(MODELS[name](size), seed)
    if name.startswith("timm"):
        save_file(model.state_dict(), str(folder / "weights/model.safetensors"))
    else:
        model.save_pretrained(folder / "weights")
    model = model.double()
    head = torch.nn.Linear(size["width"], CLASSES).double()
    images = torch.randn(batch, 3, size["image"], size["image"]).double()
    target = torch.randint(CLASSES, (batch,))
    bare = name in ("hf_clip", "hf_dino")
    logits = head(features(model, images)) if bare else model(images)
    logits = logits if torch.is_tensor(logits) else logits.logits
    F.cross_entropy(logits, target).backward()
    expected = {"images": images, "logits": logits, "target": target}
    if bare:
        expected |= {"head.weight": head.weight, "head.bias": head.bias}
        expected |= {"grad.head.weight": head.weight.grad, "grad.head.bias": head.bias.grad}
    narrow = lambda tensor: tensor.detach().contiguous() if tensor.dtype == torch.long else tensor.detach().float().contiguous()
    # What timm's weights do not tell.
    given = {"model.heads": str(size["heads"]), "model.gelu": "quick" if "clip" in name else "exact"}
    save_file({k: narrow(v) for k, v in expected.items()}, str(folder / "expected.safetensors"),
              given if name.startswith("timm") else None)  # fmt: skip
    # Under the names of the file, whatever the model calls them by itself.
    for parameter in model.parameters():
        parameter.data = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    if name.startswith("timm"):
        grads = {k: narrow(v) for k, v in model.state_dict().items()}
        save_file(grads, str(folder / "grads/model.safetensors"))
    else:
        model.float().save_pretrained(folder / "grads")


SMALL = dict(image=8, patch=4, width=12, heads=3, hidden=20, depth=2)

if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Writes the fixture of the test `vit_weights` (tests/run/vit).")
    parser.add_argument("folder")
    where = parser.parse_args().folder
    for seed, name in enumerate(MODELS):
        write_case(where, name, SMALL, seed + 1)
