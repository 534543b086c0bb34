"""Class activation maps against worked numbers, slow rewrites and captum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import jaxattr
from jaxattr import layers
from jaxattr._resize import to_clip
from jaxattr.program import Axis, trace

A = np.array([[[1.0, 0], [2, 1]], [[0, 1], [1, 3]]])  # [channel, row, column]
V = np.array([[[0.5, -0.2], [0.1, 0.4]], [[-0.3, 0.6], [0.2, -0.1]]])
CLIP = jnp.asarray(A.transpose(1, 2, 0)[None])  # The layer is the clip itself.
METHODS = ["grad_cam", "grad_cam_pp", "xgrad_cam", "hires_cam", "layer_cam"]


def pooled(clip):
    a = checkpoint_name(clip, "layer")
    return (a.mean((0, 1, 2)) @ jnp.asarray([0.6, -0.4]))[None]


def weighed(clip):
    a = checkpoint_name(clip, "layer")
    return (a * jnp.asarray(V.transpose(1, 2, 0)[None])).sum()[None]


@pytest.mark.parametrize(
    ("f", "method", "settings", "want"),
    [
        (pooled, "cam", {}, [[0.6, -0.4], [0.8, -0.6]]),
        (pooled, "saliency_tubes", {}, [[6 / 7, 1 / 7], [1, 0]]),
        (pooled, "grad_cam", {}, [[0.15, 0], [0.2, 0]]),
        (pooled, "grad_cam", {"relu": False}, [[0.15, -0.1], [0.2, -0.15]]),
        (pooled, "grad_cam_pp", {}, [[0.230769, 0], [0.461538, 0.230769]]),
        (weighed, "grad_cam", {}, [[0.2, 0.1], [0.5, 0.5]]),
        (weighed, "hires_cam", {}, [[0.5, 0.6], [0.4, 0.1]]),
        (weighed, "layer_cam", {}, [[0.5, 0.6], [0.4, 0.4]]),
        (
            weighed,
            "grad_cam_pp",
            {},
            np.array([[1, 0], [2, 1]]) * 0.277778 + A[1] * 0.186667,
        ),
    ],
)
def test_worked_numbers(f, method, settings, want):
    got = getattr(jaxattr, method)(f, "layer", **settings)(CLIP, 0)
    np.testing.assert_allclose(got.values[0], want, atol=2e-6)
    if method != "saliency_tubes":
        np.testing.assert_array_equal(got.values, got.cells)


def test_worked_numbers_shown_as_a_heatmap():
    got = jaxattr.grad_cam(pooled, "layer")(CLIP, 0).values
    shown = jaxattr.to_heatmap(got, channels="mean")
    np.testing.assert_allclose(shown[0], [[0.75, 0], [1, 0]], atol=1e-6)


SHAPE = (6, 12, 8, 3)  # The layer has 3 x 4 x 2 cells of 5 channels.


def network(clip, seed=0):
    rng = np.random.default_rng(seed)
    kernel = jnp.asarray(rng.normal(size=(2, 3, 4, 3, 5)))
    head = jnp.asarray(rng.normal(size=(3, 4, 2, 5, 7)))
    x = jax.lax.conv_general_dilated(
        clip[None],
        kernel,
        (2, 3, 4),
        "VALID",
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
    )
    x = checkpoint_name(jnp.tanh(x), "cells")
    return jnp.tensordot(x[0] ** 2, head, 4)


def parts(clip, target):
    """Activation and gradient, [T', H', W', C'], by hand: s = sum head * x ** 2."""
    rng = np.random.default_rng(0)
    kernel, head = rng.normal(size=(2, 3, 4, 3, 5)), rng.normal(size=(3, 4, 2, 5, 7))
    clip, a = np.asarray(clip), np.zeros((3, 4, 2, 5))
    for t, y, x in np.ndindex(3, 4, 2):
        patch = clip[2 * t : 2 * t + 2, 3 * y : 3 * y + 3, 4 * x : 4 * x + 4]
        a[t, y, x] = np.tanh((patch[..., None] * kernel).sum((0, 1, 2, 3)))
    return a, 2 * a * head[..., target]


def slow(method, a, g, frame):
    """Loops over channels and, per frame, steps."""
    out = np.zeros(a.shape[:3])
    for k in range(a.shape[3]):
        for group in [[t] for t in range(len(a))] if frame else [list(range(len(a)))]:
            ak, gk = a[group, :, :, k], g[group, :, :, k]
            if method == "grad_cam":
                out[group] += gk.mean() * ak
            elif method == "grad_cam_pp":
                alpha = gk**2 / (2 * gk**2 + ak.sum() * gk**3)
                out[group] += (alpha * np.maximum(gk, 0)).sum() * ak
            elif method == "xgrad_cam":
                out[group] += (gk * ak).sum() / ak.sum() * ak
            elif method == "hires_cam":
                out[group] += gk * ak
            else:
                out[group] += np.maximum(gk, 0) * ak
    return out


@pytest.mark.parametrize("frame", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_volumes_against_a_slow_rewrite(method, frame):
    clip = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE))
    settings = {"relu": False, "resize": False}
    if method in ("grad_cam", "grad_cam_pp", "xgrad_cam"):
        settings["pool"] = "frame" if frame else "global"
    got = getattr(jaxattr, method)(network, "cells", **settings)(clip, 4)
    want = slow(method, *parts(clip, 4), frame)
    np.testing.assert_allclose(got.values, want, rtol=1e-9, atol=1e-12)


def test_sums():
    """HiRes-CAM of a linear head sums to the score; XGrad-CAM to gradient x cells."""
    got = jaxattr.hires_cam(weighed, "layer")(CLIP, 0)
    np.testing.assert_allclose(got.values.sum(), 1.6)
    clip = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE))
    got = jaxattr.xgrad_cam(network, "cells", relu=False)(clip, 4)
    a, g = parts(clip, 4)
    np.testing.assert_allclose(got.cells.sum(), (a * g).sum(), rtol=1e-9)


def test_per_step_of_a_recurrent_network_is_the_unrolled_one():
    rng = np.random.default_rng(2)
    kernel, mix = (
        jnp.asarray(rng.normal(size=(3, 4))),
        jnp.asarray(rng.normal(size=(4, 4))),
    )

    def step(h, frame):
        x = jnp.tanh(frame @ kernel)
        x = checkpoint_name(x, "frame")
        return jnp.tanh(x.mean((0, 1)) + mix @ h), None

    def scanned(clip):
        return jax.lax.scan(step, jnp.zeros(4), clip)[0]

    def unrolled(shift, clip):
        a, h = jnp.tanh(clip @ kernel) + shift, jnp.zeros(4)
        for t in range(len(clip)):
            h = jnp.tanh(a[t].mean((0, 1)) + mix @ h)
        return h[2], a

    clip = jnp.asarray(rng.normal(size=(5, 4, 6, 3)))
    gradient = jax.jit(jax.grad(unrolled, has_aux=True))
    g, a = gradient(jnp.zeros((5, 4, 6, 4)), clip)
    got = jaxattr.hires_cam(scanned, "frame")(clip, 2)
    np.testing.assert_allclose(got.values, (g * a).sum(-1), rtol=1e-9, atol=1e-15)
    under = jax.jit(jax.vmap(lambda c: jaxattr.grad_cam(scanned, "frame")(c, 2).values))
    np.testing.assert_allclose(
        under(clip[None])[0],
        jaxattr.grad_cam(scanned, "frame")(clip, 2).values,
        rtol=1e-9,
        atol=1e-15,
    )


def channels_first(order):
    def f(clip):
        cells = checkpoint_name(jnp.transpose(clip, order), "first")
        return cells.mean(tuple(i for i, axis in enumerate(order) if axis != 3))

    return f


@pytest.mark.parametrize("name", METHODS)
def test_bad_layers_are_named(name):
    method, clip = getattr(jaxattr, name), jnp.zeros(SHAPE)
    with pytest.raises(ValueError, match=r"`layer`.*'cell'.*Did you mean 'cells'"):
        method(network, "cell")(clip, 0)
    for order in ((3, 0, 1, 2), (0, 3, 1, 2)):  # Channels first, of clip and frames.
        with pytest.raises(ValueError, match=r"`layer` 'first'.*in another order"):
            method(channels_first(order), "first")(clip, 0)
    with pytest.raises(ValueError, match="`layer` must be the name"):
        method(network)
    with pytest.raises(ValueError, match=r"`layer`.*no extent"):
        method(lambda x: checkpoint_name(x.mean((0, 1, 2)), "flat"), "flat")(clip, 0)
    with pytest.raises(ValueError, match=r"names two values 'twice', at .*and at"):
        method(
            lambda x: checkpoint_name(checkpoint_name(x, "twice"), "twice").sum(
                (0, 1, 2)
            ),
            "twice",
        )(clip, 0)
    with pytest.raises(ValueError, match="must be one array"):
        method(network, "cells")((clip,), 0)


def test_a_pool_that_does_not_exist():
    with pytest.raises(ValueError, match=r"`pool`.*'global'.*'time'"):
        jaxattr.grad_cam(network, "cells", pool="time")


def test_resizing_interpolates_between_centres_of_cells():
    cells = jnp.asarray(np.random.default_rng(3).normal(size=(2, 3, 4)))
    got = to_clip(cells, (8, 9, 4), (None, Axis(1, 4, 0), None))
    rows = np.interp(np.arange(9), [0, 4, 8], np.arange(3))
    times = np.interp(np.arange(8), [1.5, 5.5], [0, 1])
    want = np.zeros((8, 9, 4))
    for i, j, k in np.ndindex(want.shape):
        t, r = times[i], rows[j]
        t0, r0 = min(int(t), 0), min(int(r), 1)
        block = np.asarray(cells)[t0 : t0 + 2, r0 : r0 + 2, k]
        weights = np.outer([1 - (t - t0), t - t0], [1 - (r - r0), r - r0])
        want[i, j, k] = (weights * block).sum()
    np.testing.assert_allclose(got, want, atol=1e-12)
    assert layers.LayerAttribution._fields[0] == "values"


def test_score_cam_of_the_worked_example():
    """f = x11 + x22 / 2 where the channels are given, not computed from the clip."""
    channels = jnp.asarray(A.transpose(1, 2, 0)[None])

    def f(clip):
        a = checkpoint_name(channels + 0 * clip, "layer")
        return (clip[0, 0, 0, 0] + clip[0, 1, 1, 0] / 2 + 0 * a.sum())[None]

    clip = jnp.asarray([[1.0, 2], [3, 4]])[None, :, :, None]
    got = jaxattr.score_cam(f, "layer")(clip, 0)
    want = [[0.377541, 0.622459], [1.377541, 2.244919]]
    np.testing.assert_allclose(got.values[0], want, atol=1e-6)
    masks = np.array([[[0.5, 0], [1, 0.5]], [[0, 1 / 3], [1 / 3, 1]]])
    got = jaxattr.score_cam(f, "layer", weights="score")(clip, 0)
    want = 1.5 * masks[0] + 2 * masks[1]
    np.testing.assert_allclose(got.values[0], want, atol=1e-5)


@pytest.mark.parametrize("substitute", ["mean", "median"])
def test_score_cam_against_a_loop_over_channels(substitute):
    clip = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE))
    hidden = np.median(clip, 0) if substitute == "median" else np.zeros(())
    a, _ = parts(clip, 4)
    forward = jax.jit(network)
    masks, scores = [], []
    for k in range(5):
        # Stride 2, 3, 4 without padding: cells share the axes evenly.
        shown = np.asarray(to_clip(jnp.asarray(a[..., k]), SHAPE[:3], (None,) * 3))
        masks.append((shown - shown.min()) / (np.ptp(shown) + 1e-7))
        mask = masks[-1][..., None]
        seen = np.asarray(clip) * mask + hidden * (1 - mask)
        logits = np.asarray(forward(seen))
        scores.append(np.exp(logits[4]) / np.exp(logits).sum())
    want = np.tensordot(scores, masks, 1)
    settings = {"weights": "score", "score": "prob", "substitute": substitute}
    for chunk in (None, 3, 100) if substitute == "mean" else (None,):
        settings["chunk"] = chunk
        got = jaxattr.score_cam(network, "cells", relu=False, **settings)(clip, 4)
        np.testing.assert_allclose(got.values, want, rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match=r"`weights`.*'raw'"):
        jaxattr.score_cam(network, "cells", weights="raw")


def pooled_head(clip):
    kernel = jnp.asarray(np.random.default_rng(5).normal(size=(2, 3, 4, 3, 5)))
    x = jax.lax.conv_general_dilated(
        clip[None],
        kernel,
        (2, 3, 4),
        "VALID",
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
    )
    x = checkpoint_name(jax.nn.relu(x), "cells")
    head = jnp.asarray(np.random.default_rng(6).normal(size=(5, 7)))
    return x.mean((1, 2, 3))[0] @ head + jnp.arange(7.0)


def test_cam_is_the_head_s_weights_and_its_mean_the_logit():
    clip = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE))
    got = jaxattr.cam(pooled_head, "cells")(clip, 4)
    head = np.random.default_rng(6).normal(size=(5, 7))[:, 4]
    a = trace(pooled_head, clip).tapped(clip)[1]["cells"][0]
    np.testing.assert_allclose(got.cells, np.asarray(a) @ head, rtol=1e-9)
    np.testing.assert_allclose(got.cells.mean() + 4, pooled_head(clip)[4], rtol=1e-9)
    tubes = jaxattr.saliency_tubes(pooled_head, "cells")(clip, 4)
    shown = np.asarray(got.values)
    want = (shown - shown.min()) / np.ptp(shown)
    np.testing.assert_allclose(tubes.values, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (lambda x: jnp.tanh(x).mean((0, 1, 2)), "tanh"),
        (lambda x: jax.nn.softmax(x.mean((0, 1, 2))), "exp"),
        (lambda x: (x * x).mean((0, 1, 2)), "mul"),
        (lambda x: x[:, :2].mean((0, 1, 2)) @ jnp.ones((3, 3)), "slice"),
        (lambda x: (x * jnp.arange(8.0)[None, None, :, None]).mean((0, 1, 2)), "array"),
        (lambda x: x.ravel() @ jnp.ones((x.size, 3)), "more than channels"),
    ],
)
@pytest.mark.parametrize("name", ["cam", "saliency_tubes"])
def test_cam_refuses_any_other_head_by_name(name, head, said):
    def f(clip):
        return head(checkpoint_name(clip * 2, "cells"))

    with pytest.raises(ValueError, match=rf"`layer` 'cells'.*{said}.*Grad-CAM"):
        getattr(jaxattr, name)(f, "cells")(jnp.ones(SHAPE), 0)


def test_guided_grad_cam_against_loops():
    """Both factors by hand: the kernel, as far as it excites, and the map of cells."""
    clip = np.random.default_rng(1).normal(size=SHAPE)
    kernel = np.random.default_rng(5).normal(size=(2, 3, 4, 3, 5))
    weights = np.random.default_rng(6).normal(size=(5, 7))[:, 3] / 24  # Of a mean.
    guided, cells = np.zeros(SHAPE), np.zeros((3, 4, 2))
    for t, y, x in np.ndindex(cells.shape):
        at = np.s_[2 * t : 2 * t + 2, 3 * y : 3 * y + 3, 4 * x : 4 * x + 4]
        z = np.tensordot(clip[at], kernel, 4)
        cells[t, y, x] = max(np.maximum(z, 0) @ weights, 0)
        guided[at] += kernel @ (np.maximum(weights, 0) * (z > 0))
    shown = cells
    for axis, (stride, offset) in enumerate([(2, 0.5), (3, 1), (4, 1.5)]):
        centres = offset + stride * np.arange(cells.shape[axis])
        shown = np.apply_along_axis(
            lambda row, c=centres, n=SHAPE[axis]: np.interp(np.arange(n), c, row),
            axis,
            shown,
        )
    got = jaxattr.guided_grad_cam(pooled_head, "cells")(jnp.asarray(clip), 3).values
    assert (np.abs(guided * shown[..., None]) > 1e-4).mean() > 0.3
    np.testing.assert_allclose(got, guided * shown[..., None], rtol=1e-9, atol=1e-12)


def test_zoom_cam_is_the_largest_of_scaled_maps():
    def f(clip):
        x = checkpoint_name(jnp.tanh(clip), "fine")
        return pooled_head(x) ** 2

    clip = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE))
    got = jaxattr.zoom_cam(f, ["fine", "cells"])(clip, 3).values
    maps = [
        np.asarray(jaxattr.layer_cam(f, layer)(clip, 3).values)
        for layer in ("fine", "cells")
    ]
    scaled = [(m - m.min()) / np.ptp(m) for m in maps]
    np.testing.assert_allclose(got, np.maximum(*scaled), rtol=1e-9)
    for bad in (None, [], "fine"):
        with pytest.raises(ValueError, match="`layers`"):
            jaxattr.zoom_cam(f, bad)


def test_cam_looks_past_what_prints(capfd):
    def loud(clip):
        x = checkpoint_name(clip * 2, "cells").mean((0, 1, 2))
        jax.debug.print("pooled {}", x.sum())
        return x @ jnp.asarray([[1.0, -1], [2, 0], [3, 1]])

    clip = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE))
    got = jaxattr.cam(loud, "cells")(clip, 0).cells
    jax.effects_barrier()
    np.testing.assert_allclose(got, np.asarray(clip) @ [2.0, 4, 6], rtol=1e-9)
    assert "pooled" in capfd.readouterr().out


@pytest.mark.parametrize("kind", ["scan", "head of every frame", "sum over time"])
def test_cam_refuses_what_weighs_frames_apart(kind):
    # Linear in the layer and over as many numbers as channels: places decide.
    weights = np.random.default_rng(4).normal(size=(3, 3, 2))

    def f(clip):
        x = checkpoint_name(jax.nn.relu(clip), "cells").mean((1, 2))
        if kind == "scan":
            x, _ = jax.lax.scan(lambda h, row: (0.5 * h + row, None), 0 * x[0], x)
            return x @ weights[0]
        if kind == "head of every frame":
            return jnp.einsum("tc,tck->tk", x, weights).mean(0)
        return (weights[0].T @ x).mean(1)

    clip = jnp.asarray(np.random.default_rng(5).normal(size=(3, 4, 5, 3)))
    for method in (jaxattr.cam, jaxattr.saliency_tubes):
        with pytest.raises(ValueError, match="what comes after it here is also: "):
            method(f, "cells")(clip, 0)


def test_a_pooled_layer_has_no_extent():
    def f(clip):
        return checkpoint_name(clip.mean((0, 1, 2), keepdims=True), "pooled").ravel()

    clip = jnp.asarray(np.random.default_rng(5).normal(size=(3, 4, 5, 2)))
    with pytest.raises(ValueError, match="no extent in space and time"):
        jaxattr.grad_cam(f, "pooled")(clip, 0)
