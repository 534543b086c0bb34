"""Rollout and Chefer's attributions against dense matrices and worked numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name

import jaxattr
from jaxattr.attention._tokens import Weights, back, row_sums
from jaxattr.program import maps, trace, with_attention

A1 = np.array([[0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
A2 = np.array([[0.4, 0.1, 0.5], [0.25, 0.5, 0.25], [0, 0.5, 0.5]])
G1 = np.array([[1.0, -1, 2], [0, 1, 0], [0.5, 0, -1]])
G2 = np.array([[2.0, 1, -1], [0, 1, 1], [1, 1, 0]])


def worked(clip):
    """A network with the maps A1 and A2, whose gradients are G1 and G2."""
    nothing = 0 * clip.sum()
    with np.errstate(divide="ignore"):
        scores = jnp.log(jnp.asarray([A1, A2]))
    first, second = (jax.nn.softmax(s + nothing) for s in scores)
    values = jnp.eye(3) + nothing
    mixed = [(a @ values) * g for a, g in ((first, G1), (second, G2))]
    return (mixed[0].sum() + mixed[1].sum())[None]


@pytest.mark.parametrize(
    ("method", "row"),
    [
        (jaxattr.attention_rollout, (0.46, 0.2575, 0.2825)),
        (jaxattr.transformer_attribution, (2.16, 0.18, 1.08)),
        (jaxattr.gradient_rollout, (0.631579, 0.052632, 0.315789)),
    ],
)
def test_worked_numbers(method, row):
    explain = method(worked, tokens=(2, 1, 1), class_token=True)
    got = explain(jnp.ones((4, 1, 1, 1)), 0)
    np.testing.assert_allclose(got.class_token, row[0], atol=1e-6)
    np.testing.assert_allclose(got.cells.ravel(), row[1:], atol=1e-6)
    if method is jaxattr.attention_rollout:  # Among the inputs alone.
        share = got.cells.ravel() / got.cells.sum()
        np.testing.assert_allclose(share, (0.476852, 0.523148), atol=1e-6)
    # The frames of a token share its value.
    np.testing.assert_allclose(got.values.ravel(), np.repeat(row[1:], 2), atol=1e-6)


TIMES, PLACES = 3, 10  # 2 x 5 places.


def dense(kind, a, cls, kept):
    """The matrix between all tokens; rows that take no part are those of 0 or of I."""
    n = cls + TIMES * PLACES
    full = np.zeros((n, n))
    if kind == "all":
        return a[0]
    place = cls + np.arange(TIMES * PLACES).reshape(TIMES, PLACES)
    if kind == "time":
        for p in range(PLACES):
            full[np.ix_(place[:, p], place[:, p])] = a[p]
        if cls and kept:
            full[0, 0] = 1
        return full
    for t in range(TIMES):
        rows = np.concatenate([np.zeros(cls, int), place[t]])
        each = a[t].copy()
        if cls:
            each[0] /= TIMES  # The class token goes on as the mean over frames.
        full[np.ix_(rows, rows)] += each
    return full


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("cls", [0, 1])
@pytest.mark.parametrize("kind", ["all", "time", "space"])
def test_a_row_goes_back_as_through_the_dense_matrix(kind, cls, kept):
    rng = np.random.default_rng(0)
    shape = {
        "all": (1, *2 * (cls + TIMES * PLACES,)),
        "time": (PLACES, TIMES, TIMES),
        "space": (TIMES, *2 * (cls + PLACES,)),
    }[kind]
    a, row = rng.uniform(size=shape), rng.normal(size=cls + TIMES * PLACES)
    full = dense(kind, a, cls, kept)
    given = Weights(
        jnp.asarray(row[0] if cls else 0.0),
        jnp.asarray(row[cls:]).reshape(TIMES, PLACES),
    )
    got = back(given, jnp.asarray(a), kept=kept)
    np.testing.assert_allclose(got.grid.ravel(), (row @ full)[cls:], rtol=1e-12)
    np.testing.assert_allclose(got.cls, (row @ full)[0] if cls else 0, rtol=1e-12)
    if not kept:
        sums = row_sums(given, jnp.asarray(a))
        want = full.sum(1)
        np.testing.assert_allclose(sums.grid.ravel(), want[cls:], rtol=1e-12)
        np.testing.assert_allclose(sums.cls, want[0] if cls else 0, rtol=1e-12)


WIDTH, HEADS, LAYERS = 4, 2, 3
TOKENS = (3, 2, 5)
N = 30
SHAPE = (6, 4, 10, 3)
RNG = np.random.default_rng(1)
EMBED = RNG.normal(size=(24, WIDTH)) / 3
STACK = {
    "qkv": RNG.normal(size=(LAYERS, WIDTH, 3 * WIDTH)),
    "out": RNG.normal(size=(LAYERS, WIDTH, WIDTH)),
}
HEAD = RNG.normal(size=(WIDTH, 5))
CLIP = jnp.asarray(RNG.normal(size=SHAPE))


def embed(clip):
    x = clip.reshape(3, 2, 2, 2, 5, 2, 3).transpose(0, 2, 4, 1, 3, 5, 6)
    return x.reshape(N, 24) @ EMBED


def layer(x, weights, shift=None, factor=None):
    """Attention from all to all; its map can be shifted or multiplied by hand."""
    q, k, v = jnp.moveaxis((x @ weights["qkv"]).reshape(N, 3, HEADS, -1), 1, 0)
    scores = jnp.einsum("qhd,khd->hqk", q, k) / np.sqrt(WIDTH / HEADS)
    a = jax.nn.softmax(scores)
    a = a if shift is None else a + shift
    a = a if factor is None else a * factor
    mixed = jnp.einsum("hqk,khd->qhd", a, v).reshape(N, WIDTH)
    return x + jnp.tanh(mixed) @ weights["out"], a


def network(clip, shifts=(None,) * LAYERS, factors=(None,) * LAYERS):
    x, seen = embed(clip), []
    for i in range(LAYERS):
        weights = jax.tree.map(lambda leaf, i=i: leaf[i], STACK)
        x, a = layer(x, weights, shifts[i], factors[i])
        seen.append(a)
    return x.mean(0) @ HEAD, seen


def unrolled(clip):
    return network(clip)[0]


def scanned(clip):
    step = jax.checkpoint(lambda x, weights: (layer(x, weights)[0], None))
    return lax.scan(step, embed(clip), STACK)[0].mean(0) @ HEAD


@functools.cache
def maps_and_gradients(target):
    shifts = [jnp.zeros((HEADS, N, N)) for _ in range(LAYERS)]
    seen = jax.jit(network)(CLIP)[1]
    logit = lambda shifts: network(CLIP, shifts)[0][target]
    gradients = jax.jit(jax.grad(logit))(shifts)
    return [np.asarray(a) for a in seen], [np.asarray(g) for g in gradients]


def expected(method, target):
    row = np.full(N, 1 / N)
    for a, g in reversed(list(zip(*maps_and_gradients(target), strict=True))):
        if method is jaxattr.attention_rollout:
            row = row @ (a.mean(0) + np.eye(N)) / 2
            continue
        matrix = np.eye(N) + np.maximum(a * g, 0).mean(0)
        if method is jaxattr.gradient_rollout:
            matrix /= matrix.sum(1, keepdims=True)
        row = row @ matrix
    return row.reshape(TOKENS)


either = pytest.mark.parametrize(
    "f",
    [pytest.param(unrolled, marks=pytest.mark.slow), scanned],
    ids=["unrolled", "scan"],
)
METHODS = [
    jaxattr.attention_rollout,
    jaxattr.transformer_attribution,
    jaxattr.gradient_rollout,
]


@pytest.mark.parametrize("f", [unrolled, scanned], ids=["unrolled", "scan"])
@pytest.mark.parametrize("method", METHODS)
def test_equal_to_dense_products(method, f):
    got = method(f, tokens=TOKENS)(CLIP, 2)
    np.testing.assert_allclose(got.cells, expected(method, 2), rtol=1e-10)
    assert got.values.shape == SHAPE[:3]
    assert got.class_token == 0


def test_targets_share_a_forward_pass_under_vmap():
    explain = jaxattr.transformer_attribution(scanned, tokens=TOKENS)
    many = jax.jit(jax.vmap(explain, (None, 0)))(CLIP, jnp.arange(5))
    for target in (0, 4):
        want = expected(jaxattr.transformer_attribution, target)
        np.testing.assert_allclose(many.cells[target], want, rtol=1e-9)


def test_relevance_at_a_map_against_a_slow_product():
    """One map, a mean and a head: z+ through the head, shares, half to the map."""

    def f(clip):
        x = embed(clip)
        return (jax.nn.softmax((x @ x.T)[None]) @ x)[0].mean(0) @ HEAD

    x = np.asarray(embed(CLIP))
    scores = x @ x.T
    a = np.exp(scores - scores.max(1, keepdims=True))
    a /= a.sum(1, keepdims=True)
    mixed = a @ x
    gradient = np.zeros((N, N))
    relevance = np.zeros((N, N))
    pooled = mixed.mean(0)
    contributions = np.maximum(pooled * HEAD[:, 1], 0)
    for q in range(N):
        for k in range(N):
            gradient[q, k] = (x[k] * HEAD[:, 1]).sum() / N
            # Of the relevance of each feature, the share of this query and key.
            shares = contributions / contributions.sum() / (N * pooled)
            relevance[q, k] = (a[q, k] * x[k] * shares).sum() / 2
    weighed = np.maximum(gradient * relevance, 0)
    want = np.full(N, 1 / N) @ (np.eye(N) + weighed)
    explain = jaxattr.transformer_attribution(f, tokens=TOKENS, weighing="relevance")
    got = explain(CLIP, 1)
    np.testing.assert_allclose(got.cells.ravel(), want, rtol=1e-4)


def test_flax_attention_is_seen_and_listed():
    class Net(nnx.Module):
        def __init__(self):
            kinds = {"param_dtype": jnp.float32, "rngs": nnx.Rngs(0)}
            self.attention_map = nnx.MultiHeadAttention(
                num_heads=2, in_features=4, decode=False, **kinds
            )
            self.head = nnx.Linear(4, 3, **kinds)

        def __call__(self, clip):
            x = self.attention_map(embed32(clip)[None])
            return self.head(x[0].mean(0))

    def embed32(clip):
        blocks = clip.reshape(3, 2, 2, 2, 5, 2, 3).mean((1, 3, 5)).reshape(N, 3)
        return jnp.concatenate([blocks, blocks[:, :1]], 1)

    clip = CLIP.astype(jnp.float32)
    # The module of that name comes before, and both stay apart.
    shapes = {tap.name: tap.shape for tap in jaxattr.list_taps(Net(), clip)}
    assert shapes["attention_map#0"][-3:] == (2, N, N)
    net = Net()
    x, attention = np.asarray(embed32(clip)), net.attention_map
    q, k = (
        np.einsum("nd,dhe->hne", x, project.kernel[...]) + project.bias[...][:, None]
        for project in (attention.query, attention.key)
    )
    a = np.exp(np.einsum("hqe,hke->hqk", q, k) / np.sqrt(2))
    a = (a / a.sum(-1, keepdims=True)).mean(0)
    got = jaxattr.attention_rollout(net, tokens=TOKENS)(clip, 0)
    want = np.full(N, 1 / N) @ (a + np.eye(N)) / 2
    assert np.ptp(want) > 1e-2 * want.max()
    np.testing.assert_allclose(got.cells.ravel(), want, rtol=1e-5)


@either
def test_knock_out_cuts_edges_and_nothing_else(f):
    edges = RNG.uniform(size=(N, N)) < 0.3
    edges[4] = True  # No key is left.
    tap = "attention_map" if f is scanned else "attention_map#1"
    shape = (LAYERS, HEADS, N, N) if f is scanned else (HEADS, N, N)
    where = np.zeros(shape, bool)
    where[(1,) if f is scanned else ...] = edges
    factors = [None, jnp.asarray(~edges * 1.0)[None], None]
    plain = jaxattr.knock_out(f, tap, where, renormalise=False)
    np.testing.assert_allclose(
        plain(CLIP), network(CLIP, factors=factors)[0], rtol=1e-10
    )
    a = maps_and_gradients(0)[0][1]
    left = a * ~edges
    share = left.sum(-1, keepdims=True)
    # In the unrolled network the maps below are the same, so the factor is known.
    factors[1] = jnp.asarray(~edges / np.where(share > 0, share, 1))
    again = jaxattr.knock_out(f, tap, where)
    np.testing.assert_allclose(
        again(CLIP), network(CLIP, factors=factors)[0], rtol=1e-10
    )
    nothing = jaxattr.knock_out(f, tap, np.zeros((N, N), bool))
    np.testing.assert_allclose(nothing(CLIP), f(CLIP), rtol=1e-12)
    # What is left is a network like any other.
    factors[1] = jnp.asarray(~edges * 1.0)[None]
    got = jaxattr.saliency(plain)(CLIP, 1).values
    logit = lambda clip: network(clip, factors=factors)[0][1]
    want = jax.jit(jax.grad(logit))(CLIP)
    np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-12)


def reweighed(a, edges):
    """A factor that cuts a known map and shares what is cut among the rest."""
    share = (np.asarray(a) * ~edges).sum(-1, keepdims=True)
    return jnp.asarray(~edges / np.where(share > 0, share, 1))


@either
def test_edges_are_cut_in_every_layer_below_too(f):
    edges = RNG.uniform(size=(N, N)) < 0.3
    left, taps = f, ["attention_map"] if f is scanned else []
    for tap in taps or [f"attention_map#{i}" for i in range(LAYERS)]:
        left = jaxattr.knock_out(left, tap, edges)
    # Maps change with what is cut below: each factor is of the map that is left.
    factors = [None] * LAYERS
    for i in range(LAYERS):
        factors[i] = reweighed(network(CLIP, factors=factors)[1][i], edges)
    want, maps = network(CLIP, factors=factors)
    np.testing.assert_allclose(left(CLIP), want, rtol=1e-10)
    # What is left has as many maps, and these are the cut ones.
    row = np.full(N, 1 / N)
    for a in reversed(maps):
        row = row @ (np.asarray(a).mean(0) + np.eye(N)) / 2
    got = jaxattr.attention_rollout(left, tokens=TOKENS)(CLIP, 0)
    np.testing.assert_allclose(got.cells.ravel(), row, rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.slow
def test_cutting_nothing_changes_no_explanation(method):
    left = jaxattr.knock_out(unrolled, "attention_map#1", np.zeros((N, N), bool))
    got = method(left, tokens=TOKENS)(CLIP, 1).cells
    np.testing.assert_allclose(got, method(unrolled, tokens=TOKENS)(CLIP, 1).cells)


def test_layers_keep_their_names_when_edges_are_cut():
    def f(clip):
        cells = checkpoint_name(embed(clip).reshape(*TOKENS, WIDTH), "cells")
        x = cells.reshape(N, WIDTH)
        return layer(x, jax.tree.map(lambda leaf: leaf[0], STACK))[0].mean(0) @ HEAD

    left = jaxattr.knock_out(f, "attention_map", np.zeros((N, N), bool))
    got = jaxattr.grad_cam(left, "cells")(CLIP, 0).values
    np.testing.assert_allclose(got, jaxattr.grad_cam(f, "cells")(CLIP, 0).values)


def test_attention_that_cannot_be_followed_is_refused():
    first = jax.tree.map(lambda leaf: leaf[0], STACK)

    def f(clip):
        x = layer(embed(clip), first)[0]
        x = lax.cond(True, lambda x: layer(x, first)[0], lambda x: x, x)
        return x.mean(0) @ HEAD

    for method in METHODS:
        with pytest.raises(ValueError, match="attention inside a `cond` or a `while`"):
            method(f, tokens=TOKENS)(CLIP, 0)


def test_time_and_place_must_not_be_the_same_size():
    def f(clip):
        x = clip.reshape(4, 2, 2, 2, 2, 3).mean((2, 4)).reshape(4, 4, 3)
        a = jax.nn.softmax((x @ x.swapaxes(-1, -2))[:, None])
        return (a[:, 0] @ x).mean((0, 1))

    clip = jnp.asarray(RNG.normal(size=(4, 4, 4, 3)))
    with pytest.raises(ValueError, match="may be over time or over space"):
        jaxattr.attention_rollout(f, tokens=(4, 2, 2))(clip, 0)


def test_what_is_no_attention_is_not_taken_for_it():
    def f(clip):
        frames = jax.nn.softmax(clip.mean((1, 2)))  # Of classes, not of keys.
        return frames.mean(0) @ jnp.ones((3, 2))

    assert maps(with_attention(trace(f, CLIP))) == []
    with pytest.raises(ValueError, match="no attention map that can be seen"):
        jaxattr.attention_rollout(f, tokens=TOKENS)(CLIP, 0)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"`tokens` must be \(T', H', W'\)"):
        jaxattr.attention_rollout(unrolled)
    with pytest.raises(ValueError, match=r"shape \(2, 30, 30\).*tokens \(3, 2, 4\)"):
        jaxattr.attention_rollout(unrolled, tokens=(3, 2, 4))(CLIP, 0)
    with pytest.raises(ValueError, match="`weighing` must be one of"):
        jaxattr.transformer_attribution(unrolled, tokens=TOKENS, weighing="lrp")
    with pytest.raises(ValueError, match=r"`tap` 'attention_map#7'.*attention_map#"):
        jaxattr.knock_out(unrolled, "attention_map#7", np.ones((N, N), bool))(CLIP)
    with pytest.raises(
        ValueError, match=r"'values' is not an attention map of `f`.*There are: atten"
    ):
        jaxattr.knock_out(
            lambda clip: unrolled(checkpoint_name(clip, "values")), "values", True
        )(CLIP)
    with pytest.raises(ValueError, match="no attention map that can be seen"):
        jaxattr.knock_out(lambda clip: clip.mean((0, 1, 2)), "values", True)(CLIP)
    with pytest.raises(ValueError, match="`edges` must broadcast"):
        jaxattr.knock_out(unrolled, "attention_map#0", np.ones((N, 2), bool))(CLIP)
    with pytest.raises(TypeError, match="`edges` must be boolean"):
        jaxattr.knock_out(unrolled, "attention_map#0", np.ones((N, N)))
    with pytest.raises(TypeError, match="`f` must be a callable"):
        jaxattr.knock_out(3, "attention_map#0", np.ones((N, N), bool))
