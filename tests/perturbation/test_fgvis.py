"""FGVis against its worked example, closed forms and gradient descent in torch."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxattr.perturbation import fgvis
from jaxattr.perturbation._fgvis import Game
from jaxattr.perturbation._optimisers import scale_by_largest
from jaxattr.rules import gradient_filter

SHAPE = (3, 2, 5, 4)  # T, H, W, C
RNG = np.random.default_rng(0)
CLIP = RNG.normal(size=SHAPE)
W1, W2 = RNG.normal(size=(4, 6)), RNG.normal(size=(6, 3)) / 4
HIDDEN = np.array([0.3, -0.2, 0.1, 0.5])
# What each voxel brings to a linear score: none is near the price of 0.3.
BRINGS = (
    np.where(RNG.uniform(size=SHAPE) < 0.3, 0.6, -0.2) + RNG.uniform(size=SHAPE) / 4
)
GAMES = Game.__args__


def linear(clip):
    return jnp.stack([(jnp.asarray(BRINGS / CLIP) * clip).sum(), jnp.zeros(())])


def network(clip):
    hidden = jax.nn.relu(jnp.asarray(clip) @ W1)
    return 9 * jnp.tanh(hidden @ W2).mean((0, 1, 2))


def two_units(clip):
    return jnp.array([1.0, 2]) @ jax.nn.relu(jnp.array([[1.0, -1], [1, 1]]) @ clip)


@pytest.mark.parametrize(
    ("f", "slope", "after"),
    [
        (two_units, (6, 1), (1, 0.509091)),
        (gradient_filter(two_units, jnp.array([2.0, 1])), (4, 2), (1, 0.542857)),
    ],
)
def test_the_worked_example(f, slope, after):
    # At m = (1, 1/2) the first unit is above what the clip (2, 1) makes of it.
    clip, mask = jnp.array([2.0, 1]), jnp.array([1, 0.5])
    gained = jax.grad(lambda m: f(m * clip))(mask)
    np.testing.assert_allclose(gained, slope, rtol=1e-12)
    step, _ = scale_by_largest().update(0.5 - gained, optax.EmptyState())
    np.testing.assert_allclose(jnp.clip(mask - 0.1 * step, 0, 1), after, atol=1e-6)


def test_no_gradient_is_no_step():
    step, _ = scale_by_largest().update(jnp.zeros(3), optax.EmptyState())
    np.testing.assert_array_equal(step, 0)


@pytest.mark.parametrize("game", GAMES)
def test_a_linear_score_has_a_closed_form(game):
    # Evidence is what brings more than it costs, from wherever the game starts.
    settings = {"sparsity": 0.3 * CLIP.size, "noise": 0.0, "score": "logit"}
    found = fgvis(linear, game=game, defend=False, **settings)(CLIP, 0)
    want = (BRINGS > 0.3).astype(float)
    np.testing.assert_allclose(found.values, want, atol=1e-12)
    np.testing.assert_allclose(found.explanation, want * CLIP, atol=1e-12)
    assert found.sparsity == settings["sparsity"]
    assert found.beyond is None


class Filter(torch.autograd.Function):
    @staticmethod
    def forward(context, h, bound):
        slack = 1e-5 * bound.abs().max()  # What rounding may do.
        low, high = bound.clamp(max=0) - slack, bound.clamp(min=0) + slack
        context.save_for_backward((low <= h) & (h <= high))
        return h.clone()

    @staticmethod
    def backward(context, g):
        return g * context.saved_tensors[0], None


def in_torch(game, target, sparsity, coupling, num_iterations, defend, freeze=False):
    """The evidence mask, by a loop of its own."""
    x, b = torch.tensor(CLIP), torch.tensor(HIDDEN)

    def show(mask):
        if not freeze:
            return mask * x + (1 - mask) * b
        frames = [x[0]]
        for now, m in zip(x[1:], mask[1:], strict=True):
            frames.append(m * now + (1 - m) * frames[-1])
        return torch.stack(frames)

    def forward(clip, bounds=None):
        h = torch.relu(clip @ torch.tensor(W1))
        seen = [h.detach()]
        h = h if bounds is None else Filter.apply(h, bounds[0])
        h = torch.tanh(h @ torch.tensor(W2))
        seen.append(h.detach())
        h = h if bounds is None else Filter.apply(h, bounds[1])
        return torch.log_softmax(9 * h.mean((0, 1, 2)), 0)[target], seen

    bounds = forward(x)[1] if defend else None
    full = game in ("preservation", "repression")
    mask = torch.full(SHAPE, 1.0 if full else 0.0, dtype=torch.float64)
    for _ in range(num_iterations):
        mask.requires_grad_()
        if game in ("preservation", "generation"):
            cost = -forward(show(mask), bounds)[0]
        else:
            cost = forward(show(1 - mask), bounds)[0].exp()
        jumps = ((mask[1:] - mask[:-1]) ** 2).sum() / mask.numel()
        cost = cost + sparsity * mask.mean() + coupling * jumps
        (slope,) = torch.autograd.grad(cost, mask)
        mask = (mask.detach() - 0.1 * slope / slope.abs().max()).clamp(0, 1)
    return mask.numpy()


@pytest.mark.parametrize(
    ("game", "freeze"), [*((g, False) for g in GAMES), ("deletion", True)]
)
def test_equal_to_gradient_descent_in_torch(game, freeze):
    numbers = {"sparsity": 0.2, "coupling": 0.5, "num_iterations": 10}
    hidden = "freeze" if freeze else HIDDEN
    explain = fgvis(
        network, game=game, noise=0.0, substitute=hidden, defend="both", **numbers
    )
    found = explain(CLIP, 1)
    want, plain = (
        in_torch(game, 1, **numbers, defend=d, freeze=freeze) for d in (True, False)
    )
    assert np.abs(want - plain).max() > 0.05
    np.testing.assert_allclose(found.values, want, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found.undefended.values, plain, rtol=1e-8, atol=1e-10)


def test_scores_are_those_of_the_clips_returned():
    explain = fgvis(network, sparsity=0.5, num_iterations=5)
    found = explain(CLIP, 2, key=jax.random.key(0))
    rest = (1 - found.values) * CLIP
    for clip, got in (
        (found.explanation, found.kept),
        (rest, found.lost),
        (CLIP, found.original),
    ):
        np.testing.assert_allclose(got, jax.nn.softmax(network(clip))[2], rtol=1e-12)
    np.testing.assert_allclose(found.history.regulariser[0], 0.5)
    other = explain(CLIP, 2, key=jax.random.key(1))
    assert np.abs(other.values - found.values).max() > 1e-3  # Noise is of the key.


def test_how_many_units_are_driven_beyond_the_clip():
    settings = {"game": "generation", "sparsity": 0.0, "noise": 0.0}
    settings |= {"substitute": HIDDEN}
    found = fgvis(network, num_iterations=20, defend="both", **settings)(CLIP, 0)
    for one in (found, found.undefended):
        hidden = np.maximum(np.asarray(one.explanation) @ W1, 0)
        bound = np.maximum(CLIP @ W1, 0)
        beyond = [(hidden > bound * (1 + 1e-5) + 1e-5).mean()]
        out, bound = np.tanh(hidden @ W2), np.tanh(bound @ W2)
        low, high = np.minimum(bound, 0) - 1e-5, np.maximum(bound, 0) + 1e-5
        beyond.append(((out < low) | (out > high)).mean())
        np.testing.assert_allclose(one.beyond, beyond, atol=1e-12)
        assert one.beyond.min() > 0


@pytest.mark.parametrize("game", ["preservation", "deletion"])
def test_the_search_finds_the_sparsest_that_is_enough(game):
    target = {"preservation": 1, "deletion": 2}[game]
    settings = {"game": game, "noise": 0.0, "num_iterations": 40, "score": "log_prob"}
    settings |= {"substitute": HIDDEN}

    def enough(found):
        if game == "preservation":
            return found.kept >= found.original - 0.05
        return found.lost <= 0.05

    found = fgvis(network, num_searches=6, **settings)(CLIP, target)
    # The same halvings, one run after the other.
    low, high, best = np.log(1e-4), np.log(1e3), None
    for _ in range(6):
        middle = (low + high) / 2
        one = fgvis(network, sparsity=np.exp(middle), **settings)(CLIP, target)
        if enough(one):
            low, best = middle, one
        else:
            high = middle
    assert found.sparsity > 1e-3
    np.testing.assert_allclose(found.sparsity, best.sparsity, rtol=1e-12)
    np.testing.assert_allclose(found.values, best.values, rtol=1e-9, atol=1e-12)


def test_where_none_is_enough_the_smallest_sparsity_is_returned():
    explain = fgvis(
        lambda clip: 0 * network(clip) + jnp.array([0.0, clip[0, 0, 0, 0], 0]),
        game="deletion",
        defend=False,
        noise=0.0,
        num_iterations=2,
        num_searches=3,
    )
    found = explain(CLIP, 0)
    np.testing.assert_allclose(found.sparsity, 10 ** (-4 + 7 / 8), rtol=1e-9)


def test_black_is_the_default_where_the_network_says_what_it_is():
    class Net:
        spec = types.SimpleNamespace(mean=(0.2, 0.3, 0.4, 0.5), std=(0.5, 0.5, 0.5, 2))

        def __call__(self, clip):
            return network(clip)

    explain = fgvis(Net(), game="generation", sparsity=1e3, noise=0.0, num_iterations=2)
    found = explain(CLIP, 0)
    np.testing.assert_array_equal(found.values, 0)
    black = -np.array([0.2, 0.3, 0.4, 0.5]) / np.array([0.5, 0.5, 0.5, 2])
    np.testing.assert_allclose(found.explanation, np.broadcast_to(black, SHAPE))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"game": "hide"}, "`game` must be one of 'preservation'"),
        ({"defend": "no"}, "`defend` must be True, False or 'both', got 'no'"),
        ({"sparsity": -1}, "`sparsity` must be a number of at least 0, got -1"),
        ({"sparsity": np.ones(2)}, "`sparsity` must be a number"),
        ({"noise": np.nan}, "`noise` must be"),
        ({"coupling": "high"}, "`coupling` must be"),
        ({"num_iterations": 0}, "`num_iterations`"),
        ({"num_searches": 1.5}, "`num_searches`"),
        ({"substitute": "black"}, "`spec`"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        fgvis(network, **settings)


def test_bad_calls_are_named():
    with pytest.raises(ValueError, match="`key` is missing"):
        fgvis(network)(CLIP, 0)
    with pytest.raises(ValueError, match="`f` has no non-linearity"):
        fgvis(linear, sparsity=1.0, noise=0.0)(CLIP, 0)
    explain = fgvis(network, sparsity=1.0, noise=0.0, num_iterations=1)
    found = jax.jit(lambda e, t: e(CLIP, t))(explain, jnp.int32(9))
    assert np.isnan(found.values).all()
