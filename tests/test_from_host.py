"""NumPy and torch functions as networks, against the same formula in JAX or by hand."""

import os
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import jaxattr
from jaxattr import _host
from jaxattr._expectation import mean
from jaxattr._explainer import explainer
from jaxattr._score import bind

SHAPE, CLASSES = (3, 4, 5, 2), 6  # T, H, W, C all differ.
RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(CLASSES, *SHAPE))
CLIP = jnp.asarray(RNG.normal(size=SHAPE))


def by_hand(clip):
    """Logits of one clip."""
    return np.array([np.tanh((w * clip).sum()) for w in WEIGHT])


class Function:
    """A function on the host that notes what it was called with."""

    def __init__(self, spoil=False):
        self.batches, self.spoil = [], spoil

    def __call__(self, clips):
        self.batches.append((type(clips), clips.dtype, clips.shape))
        logits = np.tanh(np.einsum("kthwc,bthwc->bk", WEIGHT, clips))
        if self.spoil:
            clips[...] = np.nan
        return logits


def make(**settings):
    f = Function(**settings)
    return f, jaxattr.from_host(f, num_classes=CLASSES, dtype=np.float64)


def test_one_clip_is_a_batch_of_one():
    f, network = make()
    for call in (network, jax.jit(network)):
        np.testing.assert_allclose(call(CLIP), by_hand(CLIP), rtol=1e-12)
    assert f.batches == [(np.ndarray, np.float64, (1, *SHAPE))] * 2


@pytest.mark.parametrize("directly", [True, False])  # Away from a CPU it is not.
def test_clips_side_by_side_are_one_batch(directly, monkeypatch):
    if not directly:
        monkeypatch.setattr(_host, "buffer_callback", None)
    f, network = make()
    clips = jnp.asarray(RNG.normal(size=(2, 7, *SHAPE)))
    want = [[by_hand(clip) for clip in row] for row in clips]
    got = jax.vmap(jax.vmap(network, 0), 1, 1)(clips)
    np.testing.assert_allclose(got, want, rtol=1e-12)
    np.testing.assert_allclose(network(clips), want, rtol=1e-12)
    assert [shape for _, _, shape in f.batches] == [(14, *SHAPE)] * 2


def test_in_loops():
    _, network = make()
    factors = jnp.arange(5.0)
    want = sum(by_hand(i * np.asarray(CLIP)) for i in range(5))
    zero = jnp.zeros(CLASSES)
    scan = jax.lax.scan(lambda c, i: (c + network(i * CLIP), None), zero, factors)
    np.testing.assert_allclose(scan[0], want, rtol=1e-12)
    loop = jax.lax.fori_loop(
        0, 5, lambda i, c: c + network(i.astype(jnp.float64) * CLIP), zero
    )
    np.testing.assert_allclose(loop, want, rtol=1e-12)


def test_the_clip_is_a_copy_in_float32_by_default():
    f = Function(spoil=True)
    network = jaxattr.from_host(f, num_classes=CLASSES)
    clip = jnp.asarray(CLIP, jnp.float32)
    before = np.array(clip)
    twice = jax.jit(lambda c: network(c) + network(c + 0))
    want = 2 * by_hand(before)
    np.testing.assert_allclose(twice(clip), want, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(clip, before)
    assert network(CLIP).dtype == jnp.float32
    assert {dtype for _, dtype, _ in f.batches} == {np.dtype(np.float32)}
    half = jaxattr.from_host(f, num_classes=CLASSES, dtype=np.float16)
    assert half(clip).dtype == jnp.float32
    assert f.batches[-1][1] == np.float16


def test_a_torch_function():
    torch.manual_seed(0)
    module = torch.nn.Conv3d(2, CLASSES, SHAPE[:3])  # Its parameters want gradients.

    def f(clips):
        return module(torch.from_numpy(clips).permute(0, 4, 1, 2, 3)).flatten(1)

    network = jaxattr.from_host(f, num_classes=CLASSES)
    clip = np.asarray(CLIP, np.float32)
    with torch.no_grad():
        want = f(clip[None])[0].numpy()
    np.testing.assert_allclose(jax.jit(network)(clip), want, rtol=1e-6)
    half = jaxattr.from_host(lambda x: f(x).bfloat16(), num_classes=CLASSES)
    np.testing.assert_allclose(half(clip), want, rtol=1e-2)


class Falls(NamedTuple):
    values: jax.Array


def occlude_rows(f, *, score="prob", chunk=None):
    """A black-box method: the mean fall of the score as each row is hidden."""
    return explainer(_occlude_rows, f, score=score, chunk=chunk)


def _occlude_rows(f, clip, target, *, score, chunk):
    s = bind(f, clip, target, score)
    height = clip.shape[1]

    def fall(row):
        hidden = clip.at[:, row].set(0)
        return (s(clip) - s(hidden)) * jax.nn.one_hot(row, height, dtype=clip.dtype)

    return Falls(mean(fall, height, chunk=chunk))


def test_black_box_methods_take_it():
    def prob(clip):
        z = np.exp(by_hand(clip))
        return z[2] / z.sum()

    _, network = make()
    clip = np.asarray(CLIP)
    want = []
    for row in range(SHAPE[1]):
        hidden = clip.copy()
        hidden[:, row] = 0
        want.append((prob(clip) - prob(hidden)) / SHAPE[1])
    for chunk in (None, 3):
        got = occlude_rows(network, chunk=chunk)(CLIP, 2).values
        np.testing.assert_allclose(got, want, rtol=1e-10)
    explain, clips = occlude_rows(network, chunk=2), CLIP[None].repeat(2, 0)
    batch = jax.vmap(lambda c: explain(c, 2).values)(clips)
    np.testing.assert_allclose(batch, [want, want], rtol=1e-10)
    with pytest.raises(ValueError, match=r"`target`.*0\.\.5"):
        explain(CLIP, 6)


@pytest.mark.parametrize(
    ("returned", "match"),
    [
        (lambda x: np.zeros((len(x), 4)), r"`f`.*\(1, 6\).*\(1, 4\)"),
        (lambda x: np.zeros(CLASSES), r"`f`.*shape \(6,\)"),
        (lambda x: np.zeros((len(x), CLASSES), int), "`f`.*int64"),
        (lambda x: np.zeros((len(x), CLASSES)) + {}, "TypeError"),
    ],
)
def test_what_comes_back_is_checked(returned, match):
    network = jaxattr.from_host(returned, num_classes=CLASSES)
    with pytest.raises(jax.errors.JaxRuntimeError, match=f"(?s){match}"):
        jax.jit(network)(CLIP).block_until_ready()


def test_settings_are_checked():
    for error, name, f, settings in [
        (TypeError, "f", 3, {}),
        (ValueError, "num_classes", len, {"num_classes": 0}),
        (TypeError, "dtype", len, {"dtype": np.uint8}),
    ]:
        with pytest.raises(error, match=f"`{name}`"):
            jaxattr.from_host(f, **{"num_classes": 3, **settings})
    with pytest.raises(ValueError, match=r"`clip`.*\(4, 5, 2\)"):
        make()[1](CLIP[0])


@pytest.mark.parametrize(
    "method",
    [
        jaxattr.saliency,
        jaxattr.integrated_gradients,
        lambda f: jaxattr.step(f, areas=(0.3,), num_iterations=2),
    ],
)
def test_gradient_methods_refuse_it(method):
    clip = jnp.zeros((2, 8, 8, 2))
    _, network = make()
    # Also where it is a part of the network.
    for f in (network, lambda clip: 2 * network(clip)):
        with pytest.raises(ValueError, match=r"from_host.*derivative.*rise.*from_tor"):
            method(f)(clip, 0)


@pytest.mark.parametrize(
    "method",
    [
        *(jaxattr.guided_backprop, jaxattr.lrp, jaxattr.deep_lift),
        lambda f: jaxattr.excitation_backprop(f, "layer4"),
        lambda f: jaxattr.attention_rollout(f, tokens=(3, 2, 5)),
        lambda f: jaxattr.grad_cam(f, "layer4"),
        lambda f: jaxattr.score_cam(f, "layer4"),
        lambda f: lambda clip, target: jaxattr.list_taps(f, clip),
    ],
)
def test_methods_that_look_inside_refuse_it(method):
    _, network = make()
    for f in (network, lambda clip: 2 * jax.vmap(network)(clip[None])[0]):
        with pytest.raises(ValueError, match=r"from_host.*cannot look.*rise"):
            method(f)(CLIP, 0)


SCRIPT = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import jax, jax.numpy as jnp, jaxattr
net = jaxattr.from_host(lambda x: x.reshape(len(x), -1)[:, :5], num_classes=5)
clip = jnp.ones((16, 112, 112, 3))
f = jax.jit(lambda x: jax.lax.scan(lambda c, i: (c + net(x * i), 0), 0 * x[0, 0, :5, 0],
                                   jnp.arange(5.0))[0])
f(clip).block_until_ready()
results = [f(clip + i) for i in range(8)]  # None is waited for.
print("ends", [float(r[0]) for r in results])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_programs_in_flight_on_one_core_do_not_wait_for_each_other():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.startswith("ends [10.0, 20.0"), done.stderr
