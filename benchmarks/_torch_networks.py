"""The same networks in JAX and in PyTorch, with the same weights, for fair races."""

import contextlib
import tempfile
import warnings

import jax.numpy as jnp
import numpy as np

import jaxattr_models as models


def _import_torch():
    """Imports torchvision also beside a CPU build of torch, which lacks two ops."""
    import torch

    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torchvision  # noqa: F401

        return torch
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torch._jaxattr_keep = library  # The definitions live as long as the object.
    return torch


torch = _import_torch()
FORMATS = {
    "torch": torch.contiguous_format,
    "torch channels last": torch.channels_last_3d,
}


def torchvision(name):
    """A video network of torchvision's with random weights: ours, and its own.

    Args:
      name: such as "r2plus1d_18".

    Returns:
      The network in JAX and the module, in evaluation mode and with frozen parameters.
    """
    from torchvision.models import video

    torch.manual_seed(0)
    module = getattr(video, name)().eval().requires_grad_(False)
    for m in module.modules():
        if isinstance(m, torch.nn.BatchNorm3d):
            m.running_mean.normal_(0, 0.1)
            m.running_var.uniform_(0.5, 1.5)
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        torch.save(module.state_dict(), file.name)
        return getattr(models, name)(weights=file.name), module


def evidence():
    """The evidence network with its shipped weights: ours, and the same in torch."""
    network = models.evidence()
    return network, TorchEvidence(network).eval().requires_grad_(False)


class TorchEvidence(torch.nn.Module):
    """The evidence network, clips [N, 3, T, H, W] -> logits [N, 8]."""

    def __init__(self, network):
        super().__init__()
        self.blocks = torch.nn.ModuleList(
            _unit(getattr(network, f"block{i}")) for i in (1, 2, 3)
        )
        kernel = _array(network.head.kernel)
        self.head = torch.nn.Linear(*kernel.shape)
        self.head.weight.data = kernel.T.contiguous()
        self.head.bias.data = _array(network.head.bias)

    def forward(self, clips):
        """Returns logits."""
        n, c, t, h, w = clips.shape
        x = clips.reshape(n, c, t, h // 4, 4, w // 4, 4)
        x = x.permute(0, 4, 6, 1, 2, 3, 5).reshape(n, 16 * c, t, h // 4, w // 4)
        x = self.blocks[0](x)
        x = self.blocks[1](torch.nn.functional.avg_pool3d(x, (1, 2, 2)))
        x = self.blocks[2](torch.nn.functional.avg_pool3d(x, (2, 1, 1)))
        return self.head(x.mean((2, 3, 4)))


def _unit(unit):
    size = unit.space.kernel.shape[0]
    low, high = (size - 1) // 2, size // 2  # As XLA pads "SAME".
    return torch.nn.Sequential(
        torch.nn.ZeroPad3d((low, high, low, high, 0, 0)),
        _conv(_array(unit.space.kernel)[None]),
        _norm(unit.space_norm),
        torch.nn.ReLU(),
        torch.nn.ZeroPad3d((0, 0, 0, 0, 1, 1)),
        _conv(_array(unit.time.kernel)[:, :, None]),
        _norm(unit.time_norm),
        torch.nn.ReLU(),
    )


def _conv(kernel):
    kernel = kernel.permute(4, 3, 0, 1, 2).contiguous()
    conv = torch.nn.Conv3d(*kernel.shape[1::-1], kernel.shape[2:], bias=False)
    conv.weight.data = kernel
    return conv


def _norm(norm):
    there = torch.nn.BatchNorm3d(norm.mean.shape[0], eps=norm.epsilon)
    there.weight.data, there.bias.data = _array(norm.scale), _array(norm.bias)
    there.running_mean, there.running_var = _array(norm.mean), _array(norm.var)
    return there


def _array(parameter):
    return torch.from_numpy(np.array(jnp.asarray(parameter[...])))
