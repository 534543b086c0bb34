"""Relevance through LSTMs and GRUs against loops over steps, in float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import jaxattr
from jaxattr.rules import AlphaBeta, Epsilon

STEPS, INPUTS, UNITS, CLASSES = 5, 6, 4, 3
SMALL = 0.02  # Stabilises sums without weights.
RNG = np.random.default_rng(0)
CLIP = RNG.normal(size=(STEPS, 1, 2, 3))
HEAD, LAST = RNG.normal(size=(UNITS, CLASSES)), RNG.normal(size=CLASSES)
GATES = {"lstm": 4, "gru": 3}
WEIGHTS = {
    kind: (
        RNG.normal(size=(INPUTS, gates * UNITS)),
        RNG.normal(size=(UNITS, gates * UNITS)),
        RNG.normal(size=gates * UNITS),
    )
    for kind, gates in GATES.items()
}
SLOW = ["unrolled", "flax"]
RULES = [Epsilon(0.1), AlphaBeta(1.0, 0.0)]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def shared(r, *terms):
    """What each term of a sum gets."""
    total = sum(terms)
    total = total + SMALL * np.where(total < 0, -1, 1)
    return [term * r / total for term in terms]


def layer(rule, r, bias, *pairs):
    """Relevance of each input a [j] of sum_a a @ w [j, k] + bias [k]."""
    messages = [a[:, None] * w for a, w in pairs]
    if isinstance(rule, AlphaBeta):
        messages = [np.maximum(c, 0) for c in messages]
        z = sum(c.sum(0) for c in messages) + np.maximum(bias, 0)
    else:
        z = sum(c.sum(0) for c in messages) + bias
        z = z + rule.epsilon * np.where(z < 0, -1, 1)
    u = np.divide(r, z, out=np.zeros_like(r), where=z != 0)
    return [c @ u for c in messages]


def lstm_by_hand(x, target, rule):
    """Arras et al.: no relevance to gates, all that a cell has to what made it."""
    into, back, bias = (np.split(w, 4, -1) for w in WEIGHTS["lstm"])
    h, c, tape = np.zeros(UNITS), np.zeros(UNITS), []
    for row in x:
        z = [row @ into[k] + h @ back[k] + bias[k] for k in range(4)]
        write, keep, read = (sigmoid(z[k]) for k in (0, 1, 3))
        kept, written = keep * c, write * np.tanh(z[2])
        tape.append((row, h, kept, written))
        c = kept + written
        h = read * np.tanh(c)
    (r_h,) = layer(rule, np.eye(CLASSES)[target] * (h @ HEAD + LAST), LAST, (h, HEAD))
    want, r_c = np.zeros_like(x), np.zeros(UNITS)
    for t in reversed(range(STEPS)):
        row, h, kept, written = tape[t]
        r_c, r_new = shared(r_c + r_h, kept, written)
        want[t], r_h = layer(rule, r_new, bias[2], (row, into[2]), (h, back[2]))
    return want


def gru_by_hand(x, target, rule):
    """The reset gate gates a layer of its own; the update gate and 1 less it, two."""
    into, back, bias = (np.split(w, 3, -1) for w in WEIGHTS["gru"])
    h, tape = np.zeros(UNITS), []
    for row in x:
        shown = [row @ into[k] + bias[k] for k in range(3)]
        known = [h @ back[k] for k in range(3)]
        reset, update = (sigmoid(shown[k] + known[k]) for k in (0, 1))
        terms = shown[2], reset * known[2]
        new, kept = (1 - update) * np.tanh(sum(terms)), update * h
        tape.append((row, h, terms, new, kept))
        h = new + kept
    (r,) = layer(rule, np.eye(CLASSES)[target] * (h @ HEAD + LAST), LAST, (h, HEAD))
    want = np.zeros_like(x)
    for t in reversed(range(STEPS)):
        row, h, terms, new, kept = tape[t]
        r_new, r_kept = shared(r, new, kept)
        r_shown, r_known = shared(r_new, *terms)
        (want[t],) = layer(rule, r_shown, bias[2], (row, into[2]))
        (r_h,) = layer(rule, r_known, np.zeros(UNITS), (h, back[2]))
        r = r_kept + r_h
    return want


def lstm(carry, row):
    h, c = carry
    into, back, bias = map(jnp.asarray, WEIGHTS["lstm"])
    write, keep, new, read = jnp.split(row @ into + (h @ back + bias), 4)
    write, keep, read = map(jax.nn.sigmoid, (write, keep, read))
    c = keep * c + write * jnp.tanh(new)
    return read * jnp.tanh(c), c


def gru(carry, row):
    into, back, bias = map(jnp.asarray, WEIGHTS["gru"])
    shown, known = (jnp.split(z, 3) for z in (row @ into + bias, carry[0] @ back))
    reset, update = (jax.nn.sigmoid(shown[k] + known[k]) for k in (0, 1))
    new = jnp.tanh(shown[2] + reset * known[2])
    return ((1 - update) * new + update * carry[0],)


class Flax(nnx.Module):
    """The same network of Flax's own cells."""

    def __init__(self, kind):
        kinds = {"dtype": jnp.float64, "param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
        make = nnx.OptimizedLSTMCell if kind == "lstm" else nnx.GRUCell
        cell = make(INPUTS, UNITS, **kinds)
        into, back, bias = map(jnp.asarray, WEIGHTS[kind])
        cell.dense_i.kernel[...], cell.dense_h.kernel[...] = into, back
        (cell.dense_h if kind == "lstm" else cell.dense_i).bias[...] = bias
        self.rnn = nnx.RNN(cell, rngs=nnx.Rngs(0))
        self.head = nnx.Linear(UNITS, CLASSES, **kinds)
        self.head.kernel[...] = jnp.asarray(HEAD)
        self.head.bias[...] = jnp.asarray(LAST)

    def __call__(self, clip):
        return self.head(self.rnn(clip.reshape(1, STEPS, INPUTS))[0, -1])


def network(kind, spelling):
    if spelling == "flax":
        return Flax(kind)
    cell = lstm if kind == "lstm" else gru

    def f(clip):
        rows = clip.reshape(STEPS, INPUTS)
        carry = (jnp.zeros(UNITS),) * (2 if kind == "lstm" else 1)
        if spelling == "scan":
            carry, _ = lax.scan(lambda h, row: (cell(h, row), None), carry, rows)
        else:
            for row in rows:
                carry = cell(carry, row)
        return carry[0] @ jnp.asarray(HEAD) + jnp.asarray(LAST)

    return f


@pytest.mark.parametrize("rule", RULES, ids=["epsilon", "z_plus"])
@pytest.mark.parametrize(
    "spelling",
    ["scan", *(pytest.param(kind, marks=pytest.mark.slow) for kind in SLOW)],
)
@pytest.mark.parametrize("kind", GATES)
def test_against_loops_over_steps(kind, spelling, rule):
    explain = jaxattr.lrp(network(kind, spelling), rule, epsilon=SMALL)
    by_hand = lstm_by_hand if kind == "lstm" else gru_by_hand
    for target in range(CLASSES):
        want = by_hand(CLIP.reshape(STEPS, INPUTS), target, rule)
        assert np.abs(want).max(1).min() > 1e-8  # Relevance arrives at every step.
        got = explain(jnp.asarray(CLIP), target)
        tolerance = 1e-10 * np.abs(want).max()
        np.testing.assert_allclose(
            np.reshape(got.values, want.shape), want, atol=tolerance
        )
