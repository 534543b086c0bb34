"""Sanity check: does an explanation change when the network forgets what it learnt?"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxattr._expectation import check_count
from jaxattr._heatmap import to_heatmap
from jaxattr._score import Network
from jaxattr.metrics._layers import parameter_layers
from jaxattr.metrics._method_metric import Method, attribute, method_metric
from jaxattr.metrics._spearman import spearman
from jaxattr.metrics._ssim import ssim
from jaxattr.program import split

Order = Literal["cascading", "independent"]
Draw = Literal["permute", "normal"]


@jax.tree_util.register_static
class LayerNames(tuple):
    """Names of layers; structure, not data, so that it passes `jit` and `vmap`."""


class SanityCheck(NamedTuple):
    """Similarity to the explanation of the trained network, from the head down.

    Attributes:
      spearman: [L] rank correlation of the raw values, -1 to 1.
      spearman_abs: [L] that of their absolute values.
      ssim: [L] structural similarity of the heat maps, 1 for the same.
      constant: [L] whether the map is constant; its correlations are NaN.
      finite: [L] whether the map is free of NaN and infinity.
      layers: names of the L layers, in the order in which they are randomised.
    """

    spearman: jax.Array
    spearman_abs: jax.Array
    ssim: jax.Array
    constant: jax.Array
    finite: jax.Array
    layers: LayerNames


def sanity_check(
    method: Method,
    f: Network,
    *,
    order: Order = "cascading",
    draw: Draw = "permute",
    select: Callable[[str], bool] | None = None,
    depth: int | None = None,
) -> Callable[..., SanityCheck]:
    """Randomises the parameters layer by layer and compares the explanations.

    A method whose explanation survives a random head does not explain what the network
    learnt; our threshold: `spearman_abs[0]` above 0.5 fails. Guided backpropagation and
    deconvnet are known to fail. Similarity that remains may also come from the clip
    itself, as in input x gradient: compare with an edge map.

    The class explained and the method's key stay the same. All L + 1 explanations run
    in one compiled program whose weights are arguments.

    Args:
      method: transform such as `jaxattr.saliency`, or a `functools.partial` of one.
      f: network, a callable pytree whose parameters are leaves: one clip
        [T, H, W, C] -> output.
      order: "cascading" randomises the head first, then keeps adding the layer below
        it, down to all; "independent" one layer at a time.
      draw: "permute" shuffles each trained array, which keeps its scale and cannot
        change an array of equal values; "normal" draws N(0, standard deviation of the
        trained array), which makes variances of batch norm negative: leave those out.
      select: name of a parameter -> whether it takes part; None takes all, running
        statistics of batch norm included. Without these
        `lambda name: not name.endswith((".mean", ".var"))` in Flax.
      depth: how many components of a parameter's path make a layer: 1 takes the blocks
        `stem`, `layer1` ... as one layer each; None every module by itself.

    Returns:
      `check(clip, target, *, key) -> SanityCheck`. Lower is better; 0 is chance, at
      which the standard deviation is about 1 / sqrt(voxels) for maps without smooth
      regions and far more for others.

    Raises:
      ValueError: an unknown order or draw, a depth below 1; when called, a network
        without parameters among its leaves, a missing key, a bad target.

    References:
      Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018,
      https://arxiv.org/abs/1810.03292. Deviations: they draw anew from the layer's
      initialiser, which is not known here; similarity of HOG features is left out;
      structural similarity is that of `to_heatmap(values)`, a mean over frames.
    """
    for name, value, known in (
        ("order", order, get_args(Order)),
        ("draw", draw, get_args(Draw)),
    ):
        if value not in known:
            raise ValueError(f"`{name}` must be one of {known}, got {value!r}.")
    if depth is not None:
        check_count("depth", depth)
    return method_metric(
        _check, method, f, order=order, draw=draw, select=select, depth=depth
    )


def _check(method, f, clip, target, *, key, order, draw, select, depth):
    layers = parameter_layers(f, clip, select=select, depth=depth)
    trained, join = split(f)
    draw_key, method_key = jax.random.split(key)
    random = [
        leaf if layer is None else _DRAW[draw](jax.random.fold_in(draw_key, i), leaf)
        for i, (leaf, layer) in enumerate(zip(trained, layers.layer_of))
    ]

    def explained(changed):
        leaves = [
            leaf if layer is None else jnp.where(changed[layer], other, leaf)
            for leaf, other, layer in zip(trained, random, layers.layer_of)
        ]
        return attribute(method(join(leaves)), clip, target, method_key)

    def step(original, changed):
        values = explained(changed)
        # The first step changes nothing: its explanation is what the others must leave.
        original = jnp.where(changed.any(), original, values)
        return original, _compare(original, values)

    count = len(layers.names)
    switch = jnp.eye(count, dtype=bool)[::-1]  # From the head, used last, down.
    if order == "cascading":
        switch = jnp.cumsum(switch, 0) > 0
    switch = jnp.concatenate([jnp.zeros((1, count), bool), switch])
    shape = jax.eval_shape(explained, switch[0])
    _, rows = jax.lax.scan(step, jnp.zeros(shape.shape, shape.dtype), switch)
    rows = jax.tree.map(lambda row: row[1:], rows)
    return SanityCheck(*rows, LayerNames(layers.names[::-1]))


def _compare(a: jax.Array, b: jax.Array) -> tuple[Any, ...]:
    finite = jnp.isfinite(b).all()
    alike = ssim(to_heatmap(a), to_heatmap(b))
    return (
        spearman(a, b),
        spearman(jnp.abs(a), jnp.abs(b)),
        jnp.where(finite, alike, jnp.nan),
        b.max() == b.min(),
        finite,
    )


_DRAW = {
    "permute": lambda key, leaf: jax.random.permutation(key, leaf.ravel()).reshape(
        leaf.shape
    ),
    "normal": lambda key, leaf: (
        leaf.std() * jax.random.normal(key, leaf.shape, leaf.dtype)
    ),
}
