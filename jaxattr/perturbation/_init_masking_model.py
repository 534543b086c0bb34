"""Parameters of a masking model before any training."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxattr._expectation import check_count
from jaxattr._explainer import check_key, unbound
from jaxattr._score import Network, num_classes
from jaxattr._tap import activations, shape_of
from jaxattr.perturbation._masking_batches import check_clips
from jaxattr.perturbation._masking_network import Params, initialise, scales
from jaxattr.program import split, trace


def init_masking_model(
    f: Network,
    clips: jax.Array,
    *,
    key: jax.Array,
    taps: Sequence[str] | None = None,
    channels: int = 32,
) -> Params:
    """Draws the parameters of a masking model for a network.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      clips: [B, T, H, W, C] a few typical ones: the channels of each layer are divided
        by their root mean square over these.
      key: typed key.
      taps: names of the layers that the model reads, as `jaxattr.list_taps` shows them;
        the mask has the resolution of the finest. None takes those that the network's
        `spec` lists, the deepest of each size, or else the one it recommends.
      channels: width of the decoder.

    Returns:
      Nested dicts of arrays: "scale" and "blocks" by tap, "selector" [K, C'], "head".
      For taps of D channels in total the decoder has about
      `channels * (D + 12 * channels * len(taps))` parameters.

    Raises:
      ValueError: `channels < 1`, clips of another rank, fewer than two classes, an
        unknown tap or one without extent in space and time, no taps and a network that
        recommends none.
      TypeError: clips that are not floating point.
    """
    check_count("channels", channels)
    check_key(key)
    check_clips("clips", clips)
    if isinstance(taps, str):
        raise ValueError(
            f'`taps` must be a sequence of names such as ("{taps}",), got {taps!r}.'
        )
    every = taps is None
    if every:
        taps = _recommended(f)
    weights, join = split(unbound(f))
    return _init(
        weights,
        jnp.asarray(clips),
        key,
        join=join,
        taps=tuple(taps),
        every=every,
        channels=int(channels),
    )


def _recommended(f):
    spec = getattr(f, "spec", None)
    names = [name for name, _ in getattr(spec, "taps", None) or ()]
    if not names and getattr(spec, "tap", None) is None:
        raise ValueError(
            "`taps` must name the layers to read, as `jaxattr.list_taps(f, clip)` "
            "shows them: `f` recommends none."
        )
    return names or [spec.tap]


@functools.partial(jax.jit, static_argnames=("join", "taps", "every", "channels"))
def _init(weights, clips, key, *, join, taps, every, channels):
    network = trace(join(weights), clips[0], modules=True)
    count = num_classes(network.output, "margin")
    layers = scales(network, _deepest(network, taps) if every else taps)
    names = [layer.name for layer in layers]
    values = jax.vmap(lambda clip: activations(network, clip, names))(clips)
    return initialise(key, layers, values, count, channels)


def _deepest(network, taps):
    order = {name: i for i, name in enumerate(network.tap_axes())}
    there = sorted(taps, key=lambda name: order.get(name, -1))
    sizes = {shape_of(network, name)[:3]: name for name in there if name in order}
    return tuple(sizes.values()) or taps
