"""PyTorch networks as networks: gradients and all, without a port."""

import copy
import functools
import itertools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxattr import _host
from jaxattr._clip import wide, widen
from jaxattr._from_host import check_clip

_AXES = "BTHWC"  # Of our clips, many at once.


def from_torch(
    module: Any, *, layout: str = "BCTHW"
) -> Callable[[jax.Array], jax.Array]:
    """Makes a network of a PyTorch module, for gradient, mask and black-box methods.

    What comes back takes one clip and works under `jit`, `vmap`, `grad` and in loops:
    values and gradients are those of torch, in its dtype, on its device; clips side by
    side reach it as one batch. Layers, rules and attention methods, which have to look
    inside, refuse it. A gradient costs one forward and one backward pass of torch: the
    graph of a forward pass is kept until its gradient is asked for.

    Args:
      module: torch.nn.Module in evaluation mode, clips -> logits [B, K], whose answer
        depends on the clip alone and, clip by clip, not on the batch. It is copied:
        its parameters, their gradients and its mode stay as they are, and later
        changes to it do not matter.
      layout: order of the axes of its clips, such as "BCTHW" or "BTCHW".

    Returns:
      The network: clip [T, H, W, C] -> logits [K]; leading axes of the clip are kept.
      K is found by an answer to a clip of zeros, once for each shape.

    Raises:
      TypeError: `module` is not a torch.nn.Module.
      ValueError: it is in training mode, or `layout` is not an order of B, T, H, W, C;
        from the network, a clip that the module does not take, or an answer that is
        not logits [B, K].
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(module, torch.nn.Module):
        raise TypeError(
            f"`module` must be a torch.nn.Module, got {type(module).__name__}; for any "
            "other function see jaxattr.from_host."
        )
    if any(part.training for part in module.modules()):
        raise ValueError(
            "`module` is in training mode, where dropout draws at random and batch "
            "norm looks at the batch: call module.eval() first."
        )
    if sorted(layout) != sorted(_AXES):
        raise ValueError(
            f"`layout` must be an order of the letters B, T, H, W, C, got {layout!r}."
        )
    return _TorchNetwork(torch, copy.deepcopy(module).requires_grad_(False), layout)


class _Pass(NamedTuple):
    """A forward pass that can be differentiated: tensors, and the clips behind them."""

    clips: np.ndarray
    given: Any
    logits: Any


class _TorchNetwork:
    """Hashed by identity, hence part of the program that calls it."""

    def __init__(self, torch, module, layout):
        weights = itertools.chain(module.parameters(), module.buffers())
        weight = next((w for w in weights if w.is_floating_point()), torch.zeros(()))
        self._torch, self._module, self._layout = torch, module, layout
        self._device, self._dtype = weight.device, weight.dtype
        self._order = [_AXES.index(axis) for axis in layout]
        self._back = [layout.index(axis) for axis in _AXES]
        self._num_classes: dict[tuple[int, ...], int] = {}
        self._kept: _Pass | None = None

    def __call__(self, clip: jax.Array) -> jax.Array:
        check_clip(clip)
        return jaxattr_from_torch(self, clip)

    def struct(self, clip: jax.Array) -> jax.ShapeDtypeStruct:
        """Shape and dtype of the logits of a clip."""
        shape = clip.shape[-4:]
        if shape not in self._num_classes:
            self._num_classes[shape] = self._ask(shape)
        double = self._dtype == self._torch.float64
        dtype = jax.dtypes.canonicalize_dtype(np.float64 if double else np.float32)
        logits = (*clip.shape[:-4], self._num_classes[shape])
        return jax.ShapeDtypeStruct(logits, dtype)

    def answer(self, clips: np.ndarray) -> np.ndarray:
        """Logits [..., K] of clips [..., T, H, W, C]."""
        if self._has_kept(clips):
            return self._logits(self._kept.logits.detach(), clips)
        with self._torch.no_grad():
            return self._logits(self._module(self._tensor(clips)), clips)

    def answer_and_keep(self, clips: np.ndarray) -> np.ndarray:
        """The same, with what the gradient needs kept for the call that follows."""
        self._kept = self._forward(clips)
        return self._logits(self._kept.logits.detach(), clips)

    def gradient(self, clips: np.ndarray, cotangents: np.ndarray) -> np.ndarray:
        """Cotangents [..., K] of the logits, pulled back to clips [..., T, H, W, C].

        What it finds kept only saves the forward pass: the result is the same.
        """
        kept = self._kept if self._has_kept(clips) else self._forward(clips)
        self._kept = None
        seed = self._torch.from_numpy(cotangents).reshape(kept.logits.shape)
        (pulled,) = self._torch.autograd.grad(
            kept.logits, kept.given, seed.to(kept.logits), materialize_grads=True
        )
        return self._array(pulled.permute(self._back)).reshape(clips.shape)

    def _has_kept(self, clips):
        return self._kept is not None and np.array_equal(self._kept.clips, clips)

    def _forward(self, clips):
        with self._torch.enable_grad():
            given = self._tensor(clips).requires_grad_()
            return _Pass(clips, given, self._module(given))

    def _tensor(self, clips):
        batch = self._torch.from_numpy(clips.reshape(-1, *clips.shape[-4:]))
        return batch.to(self._device, self._dtype).permute(self._order).contiguous()

    def _logits(self, logits, clips):
        return self._array(logits).reshape(*clips.shape[:-4], -1)

    def _array(self, tensor):
        double = tensor.dtype == self._torch.float64
        return (tensor if double else tensor.float()).cpu().numpy()

    def _ask(self, shape):
        clips = self._tensor(np.zeros((1, *shape), np.float32))
        try:
            with self._torch.no_grad():
                logits = self._module(clips)
        except Exception as error:
            raise ValueError(
                f"`clip` of shape {tuple(shape)}, which the torch module gets as "
                f"{self._layout} {tuple(clips.shape)}, is not what it takes; see "
                f"`layout` of from_torch. It says: {error}"
            ) from error
        tensor = isinstance(logits, self._torch.Tensor)
        if not (tensor and logits.is_floating_point() and logits.shape[:-1] == (1,)):
            got = tuple(logits.shape) if tensor else type(logits).__name__
            raise ValueError(
                f"`module` must return floating-point logits [B, K], got {got} for a "
                "batch of one clip: wrap it in a module that does."
            )
        return logits.shape[-1]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _call(function, result, *args):
    return _host.call(function, result, *args)


@_call.defjvp
def _no_second_derivative(function, result, primals, tangents):
    raise ValueError(
        "`f` is a torch network (from_torch), which has first derivatives only, by "
        "jax.grad or jax.vjp."
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _answer(network, clip):
    return _call(network.answer, network.struct(clip), widen(clip))


def _answer_forward(network, clip):
    return _call(network.answer_and_keep, network.struct(clip), widen(clip)), clip


def _answer_backward(network, clip, cotangent):
    struct = jax.ShapeDtypeStruct(clip.shape, wide(clip.dtype))
    gradient = _call(network.gradient, struct, widen(clip), cotangent)
    return (gradient.astype(clip.dtype),)


_answer.defvjp(_answer_forward, _answer_backward)


@functools.partial(jax.jit, static_argnums=0)
def jaxattr_from_torch(network: _TorchNetwork, clip: jax.Array) -> jax.Array:
    """Its name is how a program shows it, see `jaxattr.program._outside`."""
    return _answer(network, clip)
