"""CAM and Saliency Tubes: the prediction layer's own weights, in space and time."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxattr._explainer import explainer
from jaxattr._heatmap import to_heatmap
from jaxattr._score import Network
from jaxattr._tap import chosen, look, on_clip, struct_of, volume_axes
from jaxattr.layers._layer_map import LayerAttribution
from jaxattr.program import Axis, Traced, fresh, infer, tap_axes

# What is linear in an operand, the others being fixed; and what moves numbers about.
_LINEAR = frozenset(
    [
        "add",
        "sub",
        "neg",
        "reduce_sum",
        "convert_element_type",
        "copy",
        "name",
        "transpose",
        "reshape",
        "squeeze",
        "broadcast_in_dim",
        "sharding_constraint",
        "add_any",
    ]
)
_LINEAR_IN_ONE = frozenset(["dot_general", "conv_general_dilated"])


def cam(
    f: Network, layer: str | None = None, *, resize: bool = True, relu: bool = False
) -> Callable[..., LayerAttribution]:
    r"""Attributes the logit to the cells of the last layer before pooling.

    The map is :math:`\sum_k w_{ck} A_k` with the weights of a linear prediction layer,
    which must follow a mean over time and space.

    Args:
      f: network, one clip [T, H, W, C] -> logits [K].
      layer: name of the layer that is pooled; None takes `f.spec.tap`.
      resize: show the map on the clip, linearly between the centres of the cells.
      relu: keep what speaks for the target only.

    Returns:
      `explain(clip, target) -> LayerAttribution`; the mean of `cells` is the logit but
      for the bias.

    Raises:
      ValueError: a missing or unknown layer, one without extent in space and time, or
        something else than pooling and a linear layer after it, which is named.

    References:
      Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016,
      https://arxiv.org/abs/1512.04150.
      Verified.
    """
    return _bound(f, layer, resize=resize, relu=relu, scale=False)


def saliency_tubes(
    f: Network, layer: str | None = None
) -> Callable[..., LayerAttribution]:
    """CAM of a 3-D network, scaled to 0..1 over the whole clip.

    Args:
      f: network, as for `cam`.
      layer: name of the layer that is pooled; None takes `f.spec.tap`.

    Returns:
      `explain(clip, target) -> LayerAttribution`, values in 0..1.

    Raises:
      ValueError: as `cam`.

    References:
      Stergiou et al., "Saliency Tubes", ICIP 2019, https://arxiv.org/abs/1902.01078.
      Deviation: they enlarge by cubic splines, which overshoot below zero.
      From code.
    """
    return _bound(f, layer, resize=True, relu=False, scale=True)


def _bound(f, layer, **settings):
    return explainer(
        _cam,
        f,
        single=True,
        modules=True,
        score="logit",
        layer=chosen(f, layer),
        **settings,
    )


def _cam(f, clip, target, *, score, layer, resize, relu, scale):
    require_linear_head(f, clip, layer)
    seen = look(f, clip, target, score, layer)
    # After a mean the gradient is the weight over the number of cells, everywhere.
    cells = (seen.gradient.sum((0, 1, 2), keepdims=True) * seen.activation).sum(-1)
    cells = jnp.maximum(cells, 0) if relu else cells
    values = on_clip(f, clip, layer, cells) if resize else cells
    if scale:
        values = to_heatmap(values, channels="mean")
    return LayerAttribution(values, cells)


def require_linear_head(f: Traced, clip, layer):
    """Raises ValueError unless pooling and a linear layer follow."""
    struct = struct_of(f, layer)
    program = jax.make_jaxpr(lambda shift: f.tapped(clip, {layer: shift})[0])(struct)
    channels, other = struct.shape[-1], []

    def see(eqn, facts):
        active = [fact.active for fact in facts]
        name = eqn.primitive.name
        if not any(active) or not eqn.outvars or name in _LINEAR:
            return
        if name in ("mul", "div") and sum(active) == 1 and active[0] >= (name == "div"):
            if facts[active.index(False)].uniform is None:
                other.append(f"{name} by an array")
        elif name in _LINEAR_IN_ONE and sum(active) == 1:
            if _mixes(eqn, active.index(True)) != channels:
                other.append(f"{name} over more than channels")
        elif name == "reduce_window_sum" and _covers(eqn):
            return
        else:
            other.append(name)

    infer(program.jaxpr, [fresh(True)], see, program.consts)
    other += _over_positions(program.jaxpr, struct.shape)
    if other:
        raise ValueError(
            f"`layer` {layer!r} must be followed by a mean over time and space and one "
            f"linear layer; what comes after it here is also: "
            f"{', '.join(dict.fromkeys(other))}. Grad-CAM takes any network."
        )


def _over_positions(jaxpr, shape):
    """What weighs or sums cells by where they are, in other ways than a mean."""
    kept = volume_axes(shape)
    places = tuple(
        Axis(kept.index(i)) if i in kept[:3] else None for i in range(len(shape))
    )
    found = []

    def see(eqn, axes):
        name = eqn.primitive.name
        if name in ("scan", "while") and any(map(any, axes)):
            found.append(name)
        if name != "dot_general":
            return
        contracted, batch = eqn.params["dimension_numbers"]
        for i in (0, 1):
            if any(axes[i][axis] for axis in (*contracted[i], *batch[i])):
                found.append("dot_general over time or space")

    tap_axes(jaxpr, [places], see)
    return found


def _covers(eqn):
    """Whether a pool sees every cell once: whole axes, or windows side by side."""
    columns = zip(
        eqn.invars[0].aval.shape,
        eqn.params["window_dimensions"],
        eqn.params["window_strides"],
        eqn.params["padding"],
    )
    return all(
        padding == (0, 0) and (window == size or (window == step and size % step == 0))
        for size, window, step, padding in columns
    )


def _mixes(eqn, which):
    """How many numbers of the layer go into one of the result."""
    shape = eqn.invars[which].aval.shape
    if eqn.primitive.name == "dot_general":
        (left, right), _ = eqn.params["dimension_numbers"]
        return math.prod(shape[i] for i in (left, right)[which])
    return (
        math.prod(eqn.invars[1].aval.shape)
        // (eqn.outvars[0].aval.shape[eqn.params["dimension_numbers"].out_spec[1]])
    )
