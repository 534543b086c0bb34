"""Layer-wise relevance propagation: the score, handed back layer by layer."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._clip import check_clip, total, widen
from jaxattr._explainer import explainer
from jaxattr._score import Network, reader
from jaxattr.program import module_paths, without_paths
from jaxattr.rules._lrp_rules import NAMED, Bounded, LayerRule, divided
from jaxattr.rules._operations import products
from jaxattr.rules._relevance import Relevance


class Product(NamedTuple):
    """A layer with weights, to choose a rule for.

    Attributes:
      index: 0 for the first one that is evaluated.
      first: whether it takes the clip itself, with no other such layer between: two
        streams, or two branches at the clip, have two.
      count: how many there are.
      operation: "conv_general_dilated" or "dot_general".
      path: of the Flax module that evaluates it, as `list_taps` has it, such as
        "layer4.0.conv1"; "" outside of one.
      scope: the `jax.named_scope`s around it, by "/".
    """

    index: int
    first: bool
    count: int
    operation: str
    path: str
    scope: str


class Relevances(NamedTuple):
    """Relevance of every voxel.

    Attributes:
      values: like the clip, in float32 or wider, in units of the logit.
      score: [] the logit.
      residual: [] sum of `values` less the logit: what biases and stabilisers took.
      negative: [] share, of the absolute sum, of what is negative in the inputs of
        layers under z+, alpha-beta or the textbook's gamma. These are derived for
        units that are never negative; the clip itself is not counted.
    """

    values: Any
    score: jax.Array
    residual: jax.Array
    negative: jax.Array


Rules = str | LayerRule | Callable[[Product], str | LayerRule]


def lrp(
    f: Network, rules: Rules = "epsilon", *, epsilon: float = 1e-6
) -> Callable[..., Relevances]:
    r"""Attributes a logit by handing it back, layer by layer, to what made it.

    A layer with contributions :math:`c_{jk} = a_j w_{jk}` and bias :math:`b_k` sends
    its input :math:`j` the share :math:`\sum_k R_k c_{jk} / (z_k + \epsilon\,
    \mathrm{sign} z_k)`, or as another rule says. A bias, and batch norm after it, are
    part of the layer, found by what depends on the clip; the share of biases is
    dropped. A non-linearity passes relevance on: whatever is a function of one value,
    element by element, in however many operations, such as clip, softplus or
    `x * tanh(softplus(x))`. What it is at 0, as 1/2 of a sigmoid, is a bias, too.
    Branches of a sum get their shares, a mean likewise; max-pool sends all to the
    largest; a product with a gate (a sigmoid of another value) sends all to the signal,
    any other half to each. Through attention this is AttnLRP: half to the map and half
    to the values, a soft-max by its own expansion (which keeps no sum), and a layer
    norm with its deviation held fixed.

    Args:
      f: network, one clip [T, H, W, C] (or a pytree of arrays) -> logits [K], not
        probabilities.
      rules: for all layers "epsilon", "gamma", "alpha_beta" (2, 1), "z_plus", "flat",
        "w_squared", one of `jaxattr.rules.Epsilon`, `Gamma`, `AlphaBeta`, `Flat`,
        `Squared`, `Bounded` with its settings, or a function from a `Product` to
        these, as in `lambda p: "flat" if p.first else "gamma"` or `lambda p: "gamma" if
        p.path.startswith("layer1") else "epsilon"`.
      epsilon: stabiliser of sums without weights.

    Returns:
      `explain(clip, target) -> Relevances`. If its `negative` is above 0 there is an
      `ExplanationWarning`, as there is of a head that ends in softmax. Where the values
      are not known yet, under `jit` and `vmap`, nothing is warned of: read the field.

    Raises:
      ValueError: an unknown rule; from the call, a network without a layer with
        weights, and an operation that has no rule (it is named), such as a division by
        what depends on the clip.

    References:
      Bach et al., "On Pixel-wise Explanations", PLOS ONE 2015,
      https://doi.org/10.1371/journal.pone.0130140; rules: Montavon et al., "Layer-wise
      Relevance Propagation: An Overview", 2019; gates: Arras et al., WASSA 2017,
      https://arxiv.org/abs/1706.07206; attention: Achtibat et al., "AttnLRP", ICML
      2024, https://arxiv.org/abs/2402.05602. gamma is the form for inputs of any sign;
      with inputs that are not negative and a positive z it is the textbook's, which is
      `Gamma(textbook=True)`.
      Verified; attention from code.
    """
    if isinstance(rules, (str, tuple, type)) or not callable(rules):
        rules = _resolved(rules)
    epsilon = float(epsilon)
    if not epsilon >= 0:
        raise ValueError(f"`epsilon` must be at least 0, got {epsilon}.")
    modules = _by_layer(rules) and not isinstance(rules, _Taylor)
    return explainer(
        _lrp, f, modules=modules, score="logit", rules=rules, epsilon=epsilon
    )


def _by_layer(rules):
    return not isinstance(rules, (str, tuple))


def _lrp(f, clip, target, *, score, rules, epsilon):
    method = "deep_taylor" if isinstance(rules, _Taylor) else "lrp"
    found, by_layer = products(f, method), _by_layer(rules)
    if by_layer and len(set(map(id, found))) < len(found):
        raise ValueError(
            "`rules` cannot choose by layer here: `f` calls a jitted function with "
            "weights more than once, whose layers are one to the program. Take the "
            "`jit` off it."
        )

    place = {id(eqn): i for i, eqn in enumerate(found)}
    paths = module_paths(f.jaxpr) if by_layer else {}
    at_clip = set()

    def see(eqn, facts):
        if not any(fact.mixed for fact in facts):
            at_clip.add(id(eqn))

    if by_layer:
        f.survey(see)

    def choose(eqn):
        if not by_layer:
            return _resolved(rules)
        product = Product(
            index=place[id(eqn)],
            first=id(eqn) in at_clip,
            count=len(found),
            operation=eqn.primitive.name,
            path=paths[id(eqn)],
            scope=without_paths(str(eqn.source_info.name_stack)),
        )
        return _resolved(rules(product))

    read = reader(f, clip, target, score)

    def scored(clip, signs):
        rule = Relevance(f, choose, epsilon, signs)
        return read(f.widened(rule)(clip))

    value, pull = jax.vjp(scored, widen(clip), jnp.zeros(2, jnp.float32))
    values, signs = pull(value)
    negative = divided(*signs)
    return Relevances(values, value, total(values) - value, negative)


def _resolved(rule):
    if isinstance(rule, str) and rule in NAMED:
        return NAMED[rule]
    if not isinstance(rule, LayerRule):
        raise ValueError(
            f"`rules` must be of {', '.join(NAMED)}, a rule of jaxattr.rules or a "
            f"function that gives one of these, got {rule!r}."
        )
    return type(rule)(*map(float, rule))  # Settings are structure, never arrays.


def deep_taylor(
    f: Network, *, low: float | None = None, high: float | None = None
) -> Callable[..., Relevances]:
    """Attributes a logit by deep Taylor decomposition: z+ above, z^B or w^2 below.

    Args:
      f: network, as for `lrp`.
      low: the least value that the clip can have in network units, for the first
        layer's z^B rule; None takes w^2, for clips without bounds.
      high: the greatest.

    Returns:
      `explain(clip, target) -> Relevances`. A logit below zero, of which the paper has
      none, is handed back as it is. Layers above the first with negative inputs, as
      behind a tanh, are told as by `lrp`: by a warning, under `jit` by `negative`.

    Raises:
      ValueError: only one of the bounds, or bounds in the wrong order; from the call, a
        clip that is not between them (under `jit` and `vmap` this is not seen), and
        what `lrp` raises.

    References:
      Montavon et al., "Explaining nonlinear classification decisions with deep Taylor
      decomposition", Pattern Recognition 2017, https://arxiv.org/abs/1512.02479.
      Verified.
    """
    if (low is None) != (high is None) or (low is not None and not low < high):
        raise ValueError(
            "`low` and `high` must both be given, in this order, or neither; got "
            f"{low} and {high}."
        )
    if low is None:
        return lrp(f, _Taylor(NAMED["w_squared"]))
    bounds = _Between(float(low), float(high))
    return jax.tree_util.Partial(bounds, lrp(f, _Taylor(Bounded(low, high))))


@dataclasses.dataclass(frozen=True)
class _Between:
    """Explains clips between two bounds, up to the rounding of their dtype."""

    low: float
    high: float

    def __call__(self, explain, clip, target, *, key=None):
        check_clip(clip)
        for leaf in jax.tree.leaves(clip):
            if isinstance(leaf, jax.core.Tracer):
                continue
            size = max(abs(self.low), abs(self.high))
            slack = 4 * float(jnp.finfo(leaf.dtype).eps) * size
            # Inside another trace JAX would make tracers of what is known.
            known = np.asarray(leaf)
            least, greatest = float(known.min()), float(known.max())
            if least < self.low - slack or greatest > self.high + slack:
                raise ValueError(
                    f"`low` and `high` must bound the clip, in the network's units: "
                    f"got {self.low:g} and {self.high:g} for a clip of {least:g} to "
                    f"{greatest:g}. Take neither for clips without bounds."
                )
        return explain(clip, target, key=key)


@dataclasses.dataclass(frozen=True)
class _Taylor:
    """Hashes by what it does, so that a second call compiles nothing."""

    first: LayerRule

    def __call__(self, product):
        return self.first if product.first else NAMED["z_plus"]
