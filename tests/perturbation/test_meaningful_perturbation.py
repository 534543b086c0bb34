import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxattr.perturbation import MeaningfulConfig, meaningful_perturbation
from jaxattr.perturbation._meaningful_perturbation import _disc, _shifted
from jaxattr.perturbation._meaningful_presets import PRESETS
from jaxattr.perturbation._operators import OPERATORS

SHAPE = (5, 28, 35, 2)  # An eighth of 224: a cell of one pixel by default.
RNG = np.random.default_rng(0)
CLIP = RNG.normal(size=SHAPE)
WEIGHTS = RNG.normal(size=(*SHAPE, 3)) / 12


def network(clip):
    return 3 * jnp.tanh(jnp.tensordot(clip, jnp.asarray(WEIGHTS, clip.dtype), 4))


def torch_loss(cells, config, target, time_weight):
    """The objective of "delete" with "fade", written again in torch."""
    size = SHAPE[:3]
    mode = {"nearest": "nearest", "linear": "trilinear"}[config.upsampling]
    mask = torch.nn.functional.interpolate(cells[None, None], size=size, mode=mode)[0]
    sigma = config.mask_blur / 8
    if sigma:
        reach = int(np.ceil(4 * sigma))
        taps = torch.arange(-reach, reach + 1, dtype=torch.float64)
        taps = torch.exp(-((taps / (2**0.5 * sigma + 1.19e-7)) ** 2))
        taps = (taps / taps.sum())[None, None]
        frames = torch.nn.functional.pad(
            mask.transpose(0, 1), [reach] * 4, mode="replicate"
        )
        frames = torch.nn.functional.conv2d(frames, taps[..., None])
        mask = torch.nn.functional.conv2d(frames, taps[..., None, :])[:, 0]
    else:
        mask = mask[0]
    hidden = (1 - mask)[..., None] * torch.tensor(CLIP)
    logits = 3 * torch.tanh(torch.tensordot(hidden, torch.tensor(WEIGHTS), 4))
    prob = torch.softmax(logits, 0)[target]
    dt, dy, dx = (cells.diff(dim=axis) for axis in range(3))
    if config.norm == "mean":
        pairs = zip((time_weight, 1, 1), (dt, dy, dx))
        rough = sum(w * (d.abs() ** 3).mean() for w, d in pairs)
        return prob + config.sparsity * cells.mean() + config.smoothness * rough
    square = torch.zeros_like(cells)
    square[:-1] += time_weight * dt**2
    square[:, :-1] += dy**2
    square[:, :, :-1] += dx**2
    rough = (square**1.5).sum()
    loss = config.sparsity * cells.sum() + config.smoothness * rough
    return prob + loss / len(cells)


@pytest.mark.parametrize(
    ("preset", "mode", "cell"),
    [("fv2017", "volume", 56.0), ("mean_tv", "per_frame", 16.0)],
)
def test_ten_iterations_match_torch(preset, mode, cell):
    config = dataclasses.replace(
        PRESETS[preset],
        jitter=0.0,
        start="none",
        num_iterations=10,
        cell=cell,
        sparsity=0.02,
        smoothness=0.05,
    )
    explain = meaningful_perturbation(
        network, mode=mode, preset=config, perturbation="fade"
    )
    got = explain(CLIP, 1)
    cells = torch.zeros(got.grid.shape, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([cells], lr=0.1)
    losses = []
    for _ in range(10):
        loss = torch_loss(cells, config, 1, 1.0 if mode == "volume" else 0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            cells.clamp_(0, 1)
        losses.append(loss.item())
    np.testing.assert_allclose(np.add(*got.history), losses, rtol=1e-7)
    np.testing.assert_allclose(got.grid, cells.detach(), atol=1e-6)


def test_a_linear_score_has_a_closed_form():
    clip = jnp.array([1.0, -2, 0.3]).reshape(1, 1, 3, 1)
    config = MeaningfulConfig(
        sparsity=0.5, smoothness=0.0, jitter=0.0, start="none", num_iterations=40
    )
    explain = meaningful_perturbation(
        lambda x: x.sum(),
        preset=config,
        perturbation="fade",
        score=lambda output, target: output,
    )
    result = explain(clip, 0)
    # Only the voxel worth more than its price is hidden.
    np.testing.assert_allclose(result.grid.ravel(), [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose([result.kept, result.lost], [1, -1.7])


@pytest.mark.parametrize(
    ("variant", "preset"),
    [
        pytest.param(
            *(variant, preset),
            marks=()
            if (variant, preset) in (("delete", "fv2017"), ("preserve", "mean_tv"))
            else pytest.mark.slow,
        )
        for variant in ("delete", "preserve", "dual")
        for preset in ("fv2017", "mean_tv")
    ],
)
def test_evidence_is_1_in_every_variant(variant, preset):
    def box(clip):  # Frames 1-2, rows 10-17, columns 14-23.
        evidence = (clip[1:3, 10:18, 14:24] ** 2).mean()
        return jnp.stack([6 * evidence, jnp.full_like(evidence, 3)])

    config = dataclasses.replace(PRESETS[preset], num_iterations=40, cell=16.0)
    explain = meaningful_perturbation(
        box, preset=config, variant=variant, perturbation="fade"
    )
    result = explain(CLIP, 0, key=jax.random.key(0))
    inside = np.zeros(SHAPE[:3], bool)
    inside[1:3, 10:18, 14:24] = True
    assert result.values[inside].mean() > result.values[~inside].mean() + 0.3
    assert result.kept > result.lost + 0.3


def test_shared_masks_do_not_change_in_time():
    explain = meaningful_perturbation(
        network, mode="shared", num_iterations=5, perturbation="freeze"
    )
    result = explain(CLIP, 1, key=jax.random.key(0))
    assert result.grid.shape == (1, 28, 35)
    np.testing.assert_allclose(result.values, result.values[:1].repeat(5, 0))


def test_the_clip_is_shifted_under_the_mask():
    clip = jnp.asarray(RNG.normal(size=(2, 6, 9, 3)))
    config = MeaningfulConfig(jitter=4.0)
    shifted = _shifted(OPERATORS["fade"], clip, config, 0.75)  # By up to 3 pixels.
    mask = RNG.uniform(size=(2, 6, 9))
    larger = np.asarray(jax.image.resize(clip, (2, 9, 12, 3), "linear"))
    crops = [
        mask[..., None] * larger[:, y : y + 6, x : x + 9]
        for y in range(3)
        for x in range(3)
    ]
    seen = set()
    for seed in range(40):
        got = shifted(jax.random.key(seed))(jnp.asarray(mask))
        errors = [np.abs(got - crop).max() for crop in crops]
        assert min(errors) < 1e-12
        seen.add(int(np.argmin(errors)))
    assert seen == set(range(9))


def test_the_disc_is_the_smallest_without_which_the_score_is_gone():
    shape, reach = (2, 112, 120), 60
    y, x = np.mgrid[:112, :120]
    inside = np.hypot(y - 55.5, x - 59.5) <= reach / 2

    def lost(mask):  # What is still seen of a disc of radius 60 at 224.
        return ((1 - mask[0]) * inside.astype(float)).sum()

    disc = np.asarray(_disc(lost, shape, 0.5, jnp.float64))
    left = ((1 - disc[0]) * inside).sum() / inside.sum()
    assert left < 0.011
    radius = np.sqrt(disc[0].sum() / np.pi) * 2
    assert reach + 5 <= radius <= reach + 20  # Its edge is soft, by 10 pixels.


@pytest.mark.slow
def test_a_bad_traced_target_gives_nan_everywhere():
    explain = meaningful_perturbation(network, num_iterations=1)
    key = jax.random.key(0)
    result = jax.jit(lambda t: explain(jnp.asarray(CLIP), t, key=key))(-1)
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(result))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"mode": "frames"}, "mode"),
        ({"preset": "paper"}, "preset"),
        ({"variant": "keep"}, "variant"),
        ({"perturbation": "fog"}, "perturbation"),
        ({"num_iterations": 0}, "num_iterations"),
    ],
)
def test_bad_settings_are_named(settings, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        meaningful_perturbation(network, **settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("norm", "max"),
        ("upsampling", "cubic"),
        ("start", "random"),
        ("exponent", 0.5),
        ("jitter", -1),
        ("cell_frames", 0),
    ],
)
def test_bad_configs_are_named(name, value):
    with pytest.raises(ValueError, match=f"`{name}`"):
        MeaningfulConfig(**{name: value})
