"""Functions on the host as networks: for methods that only ask for answers."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr import _host
from jaxattr._clip import wide
from jaxattr._expectation import check_count


def from_host(
    f: Callable[[np.ndarray], Any], *, num_classes: int, dtype: Any = np.float32
) -> Callable[[jax.Array], jax.Array]:
    """Makes a network of a NumPy or torch function, for black-box methods.

    What comes back takes one clip and works in any of them, under `jit`, `vmap` and in
    loops: clips side by side (`chunk=`, `vmap`) reach `f` as one batch. It has no
    derivative and nothing in it can be looked at: gradient methods, masks that are
    optimised, layers, rules and attention methods refuse it. A torch network with
    gradients is `from_torch`.

    Args:
      f: clips [B, T, H, W, C] -> logits [B, num_classes], a function of the clips
        alone, as NumPy arrays; a torch tensor may come back. It is called whenever an
        explanation runs, as often as that needs it, from a thread of its own, never
        twice at a time. It must not call JAX. The clips are copies.
      num_classes: K.
      dtype: of the clips that `f` gets; the logits are of it too, or float32 if it is
        narrower.

    Returns:
      The network: clip [T, H, W, C] -> logits [K]; leading axes of the clip are kept.

    Raises:
      TypeError: `f` is not callable, `dtype` is not floating point.
      ValueError: `num_classes < 1`; from the network, a clip of fewer axes. When it
        runs, `jax.errors.JaxRuntimeError` with what `f` raised, or with what it
        returned if that is not floating point [B, num_classes].
    """
    if not callable(f):
        raise TypeError(
            f"`f` must be a function of clips [B, T, H, W, C], got {type(f).__name__}."
        )
    check_count("num_classes", num_classes)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"`dtype` must be floating point, got {np.dtype(dtype)}.")
    return _HostNetwork(f, int(num_classes), np.dtype(dtype))


@dataclasses.dataclass(frozen=True)
class _HostNetwork:
    """Holds no arrays: hashable, hence part of the program that calls it."""

    f: Callable[[np.ndarray], Any]
    num_classes: int
    dtype: np.dtype

    def __call__(self, clip: jax.Array) -> jax.Array:
        check_clip(clip)
        return jaxattr_from_host(self, clip)

    def answer(self, clips: np.ndarray) -> np.ndarray:
        """Logits [..., K] of clips [..., T, H, W, C]."""
        lead, shape = clips.shape[:-4], clips.shape[-4:]
        batch = clips.astype(self.dtype, copy=False).reshape(-1, *shape)
        want = (len(batch), self.num_classes)
        logits = self.f(batch)
        if hasattr(logits, "detach"):
            logits = logits.detach().cpu()
            # NumPy has no bfloat16.
            narrow = logits.is_floating_point() and logits.element_size() < 4
            logits = logits.float() if narrow else logits
        logits = np.asarray(logits)
        if logits.shape != want or not jnp.issubdtype(logits.dtype, jnp.floating):
            name = getattr(self.f, "__name__", type(self.f).__name__)
            raise ValueError(
                f"`f` ({name}) must return floating-point logits [B, num_classes] = "
                f"{want} for clips {(len(batch), *shape)}, got {logits.dtype} of shape "
                f"{logits.shape}: change `f`, or `num_classes` in from_host."
            )
        return logits.reshape(*lead, self.num_classes)


def check_clip(clip: jax.Array) -> None:
    """Raises ValueError unless a clip has the axes [T, H, W, C], and maybe others."""
    if getattr(clip, "ndim", 0) < 4:
        shape = getattr(clip, "shape", type(clip).__name__)
        raise ValueError(f"`clip` must be one array [T, H, W, C], got {shape}.")


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _answer(network, clip):
    dtype = wide(jax.dtypes.canonicalize_dtype(network.dtype))
    shape = (*clip.shape[:-4], network.num_classes)
    return _host.call(network.answer, jax.ShapeDtypeStruct(shape, dtype), clip)


@_answer.defjvp
def _no_derivative(network, primals, tangents):
    raise ValueError(
        "`f` is a function on the host (from_host), which has no derivative: use a "
        "black-box method such as rise, occlusion, lime or kernel_shap, or, for a "
        "torch network, jaxattr.from_torch."
    )


@functools.partial(jax.jit, static_argnums=0)
def jaxattr_from_host(network: _HostNetwork, clip: jax.Array) -> jax.Array:
    """Its name is how a program shows it, see `jaxattr.program._outside`."""
    return _answer(network, clip)
