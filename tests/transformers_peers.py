"""Small random video transformers of Hugging Face, as oracles for our ports."""

import numpy as np
import torch
import transformers

CLASSES = 5
# Tokens 2 x 3 x 5; nothing is a multiple of another that need not be.
SIZES = {
    "num_frames": 4,
    "size": (12, 15),
    "tubelet": (2, 4, 3),
    "width": 21,
    "depth": 2,
    "heads": 3,
    "hidden": 26,
}
NAMES = ("vivit", "videomae")


def peer(name: str, seed: int = 0) -> torch.nn.Module:
    """The original of one of our networks in float64, every parameter random."""
    shared = {
        "num_frames": SIZES["num_frames"],
        "image_size": SIZES["size"],
        "hidden_size": SIZES["width"],
        "num_hidden_layers": SIZES["depth"],
        "num_attention_heads": SIZES["heads"],
        "intermediate_size": SIZES["hidden"],
        "num_labels": CLASSES,
    }
    t, *patch = SIZES["tubelet"]
    if name == "vivit":
        config = transformers.VivitConfig(tubelet_size=SIZES["tubelet"], **shared)
        model = transformers.VivitForVideoClassification(config)
    else:
        config = transformers.VideoMAEConfig(
            tubelet_size=t, patch_size=tuple(patch), **shared
        )
        model = transformers.VideoMAEForVideoClassification(config)
    generator = torch.Generator().manual_seed(seed)
    model = model.double().eval()
    for key, leaf in model.named_parameters():
        value = torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype)
        if leaf.ndim == 1:
            value = 0.3 * value + float("norm" in key and key.endswith("weight"))
        elif "embeddings.projection" in key or not key.startswith(f"{name}.embeddings"):
            value = 1.5 * value / leaf[0].numel() ** 0.5
        leaf.data = value  # Class token and positions: as large as the tubelets.
    return model


def as_pixels(clip: np.ndarray) -> torch.Tensor:
    """Brings `[B, T, H, W, C]` into the original's order."""
    return torch.from_numpy(clip.transpose(0, 1, 4, 2, 3).copy())


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state dict under the names of the modules."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
