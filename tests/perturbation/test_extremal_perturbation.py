import functools
import importlib.util
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxattr.perturbation import ExtremalConfig, extremal_perturbation, step
from jaxattr.perturbation._extremal import _Choices, _objective
from jaxattr.perturbation._geometry import mask_geometry
from jaxattr.perturbation._pyramid import blur_pyramid, show
from jaxattr.perturbation._reward import mask_cost
from jaxattr.perturbation._several_areas import tabulate

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"
SHAPE = (5, 16, 22, 2)
SIZES = {"step": 2, "sigma": 2, "blur": 3.0, "core_frames": 3, "core_size": 3}
CLIP = np.random.default_rng(0).normal(size=SHAPE)
WEIGHTS = np.random.default_rng(1).normal(size=(*SHAPE, 4)) / 8


def network(clip):
    return 3 * jnp.tanh(jnp.tensordot(clip, jnp.asarray(WEIGHTS, clip.dtype), 4))


def torch_network(clips):  # [N, C, T, H, W]
    weights = torch.tensor(WEIGHTS).permute(3, 0, 1, 2, 4)
    return 3 * torch.tanh(torch.tensordot(clips, weights, 4))


def short(**settings):
    return ExtremalConfig(
        **{"num_iterations": 10, "ties": "expected", **SIZES, **settings}
    )


def _torch_step():
    path = BENCHMARKS / "torch_step.py"
    spec = importlib.util.spec_from_file_location("torch_step", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("core", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_ten_published_iterations_match_torch(core):
    areas = (0.1, 0.4)
    peer = _torch_step()
    clock = 20  # So that the core counts from iteration 6 on.
    theirs = peer.TorchStep(
        torch_network,
        torch.tensor(CLIP).permute(3, 0, 1, 2),
        1,
        areas,
        peer.Sizes(**SIZES),
        core=core,
        ties="expected",
        clock=clock,
    )
    history = [theirs.iterate() for _ in range(10)]
    masks, reward, regulariser = (torch.stack(part) for part in zip(*history))
    method = step if core else extremal_perturbation
    ours = method(network, areas=areas, preset=short(clock=clock))(CLIP, 1)
    np.testing.assert_allclose(ours.history.reward, reward.T, rtol=1e-10)
    np.testing.assert_allclose(ours.history.regulariser, regulariser.T, rtol=1e-10)
    np.testing.assert_allclose(ours.masks, masks[-1], atol=1e-10)


@pytest.mark.slow
def test_shuffled_ties_cost_the_same_at_first_and_differ_later():
    explain = step(network, areas=(0.2,), preset=short(ties="shuffle"))
    one, two = (explain(CLIP, 1, key=jax.random.key(i)) for i in range(2))
    expected = step(network, areas=(0.2,), preset=short())(CLIP, 1)
    for shuffled in (one, two):
        np.testing.assert_allclose(
            shuffled.history.regulariser[:, 0],
            expected.history.regulariser[:, 0],
            rtol=1e-12,
        )
    assert np.abs(one.masks - two.masks).max() > 1e-3
    again = explain(CLIP, 1, key=jax.random.key(0))
    np.testing.assert_array_equal(again.masks, one.masks)


@pytest.mark.parametrize(
    ("variant", "mode"),
    [
        pytest.param("preserve", "volume", marks=pytest.mark.slow),
        ("dual", "per_frame"),
    ],
)
def test_gradient_of_the_objective_matches_differences(variant, mode):
    geometry = mask_geometry(SHAPE[:3], **SIZES)
    pyramid = blur_pyramid(jnp.asarray(CLIP), geometry.blur)
    choices = _Choices(
        mode=mode,
        variant=variant,
        perturbation="blur",
        optimiser="adam",
        ties="expected",
        core=True,
        core_shape="cylinder",
        tolerance=None,
        cutoffs=(math.inf,) * 3,
        warm_passes=(0, 0),
        sizes=(),
    )
    numbers = jax.tree.map(jnp.asarray, tabulate(np.array([0.2]), short(clock=20)))
    cost = mask_cost(network, jnp.asarray(CLIP), 1, "log_prob", variant)
    objective = functools.partial(
        _objective,
        iteration=jnp.int32(7),
        digits=numbers.digits[0],
        cost=functools.partial(cost, functools.partial(show, pyramid)),
        geometry=geometry,
        choices=choices,
        numbers=numbers,
        key=None,
    )
    loss = jax.jit(jax.value_and_grad(lambda grid: objective(grid)[0]))
    rng = np.random.default_rng(2)
    grid = rng.uniform(0.1, 0.9, size=(SHAPE[0], *geometry.grid))
    direction = rng.normal(size=grid.shape)
    slope = (loss(jnp.asarray(grid))[1] * direction).sum()
    high, low = (loss(jnp.asarray(grid + h * direction))[0] for h in (1e-7, -1e-7))
    # Selection and pyramid have kinks: the step must not cross many of them.
    np.testing.assert_allclose(slope, (high - low) / 2e-7, rtol=1e-5)


@pytest.mark.parametrize("variant", ["preserve", "delete", "dual"])
def test_costs_are_those_of_the_paper(variant):
    mask = np.random.default_rng(3).uniform(size=SHAPE[:3])
    cost = mask_cost(network, jnp.asarray(CLIP), 1, "log_prob", variant)

    def fade(mask):
        return mask[..., None] * CLIP

    def prob(mask):
        logits = np.asarray(network(fade(mask)), np.float64)
        return (np.exp(logits) / np.exp(logits).sum())[1]

    keep, lose = -np.log(prob(mask)), -np.log(1 - prob(1 - mask))
    expected = {"preserve": keep, "delete": lose, "dual": keep + lose}[variant]
    np.testing.assert_allclose(cost(fade, jnp.asarray(mask)), expected, rtol=1e-12)


@pytest.mark.parametrize("variant", ["preserve", "delete", "dual"])
@pytest.mark.parametrize("score", ["logit", "prob", "margin"])
def test_rewards_of_other_scores_are_those_of_the_image_paper(variant, score):
    """`dual` is its hybrid game; `margin` makes each of them contrastive."""
    mask = np.random.default_rng(3).uniform(size=SHAPE[:3])
    cost = mask_cost(network, jnp.asarray(CLIP), 1, score, variant)

    def fade(mask):
        return mask[..., None] * CLIP

    def reward(mask):
        z = np.asarray(network(fade(mask)), np.float64)
        against = {"logit": 0, "margin": max(z[0], *z[2:])}
        share = np.exp(z[1]) / np.exp(z).sum()
        return share if score == "prob" else z[1] - against[score]

    keep, lose = reward(mask), reward(1 - mask)
    expected = {"preserve": keep, "delete": -lose, "dual": keep - lose}[variant]
    np.testing.assert_allclose(cost(fade, jnp.asarray(mask)), -expected, rtol=1e-12)


def test_losing_a_sure_target_has_a_gradient():
    def sure(clip):
        return jnp.array([200.0, 0.0], clip.dtype) * clip.mean()

    clip = jnp.ones(SHAPE, jnp.float32)
    cost = mask_cost(sure, clip, 0, "log_prob", "delete")
    value, slope = jax.value_and_grad(
        lambda m: cost(lambda mask: mask[..., None] * clip, m)
    )(jnp.zeros(SHAPE[:3], jnp.float32))
    np.testing.assert_allclose(value, 200.0, rtol=1e-6)  # 1 - p is 0 in float64.
    np.testing.assert_allclose(slope.sum(), -200.0, rtol=1e-5)


def _window_network(clip):
    """Sees nothing but the power of a box: frames 1-2, rows 4-9, columns 8-15."""
    box = clip[1:3, 4:10, 8:16]
    evidence = (box**2).mean()
    return jnp.stack([8 * evidence, jnp.full_like(evidence, 3)])


@pytest.mark.parametrize(
    ("method", "variant"),
    [
        (step, "preserve"),
        pytest.param(step, "delete", marks=pytest.mark.slow),
        pytest.param(step, "dual", marks=pytest.mark.slow),
        pytest.param(extremal_perturbation, "preserve", marks=pytest.mark.slow),
    ],
)
def test_masks_find_planted_evidence(method, variant):
    explain = method(_window_network, areas=(0.1,), variant=variant)
    result = explain(CLIP.astype(np.float32), 0)
    box = np.zeros(SHAPE[:3], bool)
    box[1:3, 4:10, 8:16] = True
    inside, outside = result.values[box].mean(), result.values[~box].mean()
    assert inside > 0.8
    assert outside < 0.12
    assert result.kept[0] > 0.9
    assert result.values.dtype == np.float32


@pytest.mark.parametrize(
    "mode", ["volume", pytest.param("per_frame", marks=pytest.mark.slow)]
)
def test_areas_are_reached_where_they_should_be(mode):
    areas = (0.06, 0.4)
    explain = extremal_perturbation(_window_network, areas=areas, mode=mode)
    result = explain(CLIP, 0)
    np.testing.assert_allclose(result.areas, areas)
    # A frame may need more than its share: the published weights put the target first.
    np.testing.assert_allclose(result.area_reached[1], areas[1], rtol=0.3)
    np.testing.assert_allclose(result.values, result.masks.sum(0))
    frames = result.masks.mean((2, 3))  # The evidence is in two of five.
    assert np.ptp(frames[1]) < 0.05
    assert np.ptp(frames[0]) < 0.1 or mode == "volume"
    assert np.ptp(frames[0]) > 0.1 or mode == "per_frame"


@pytest.mark.slow
def test_areas_do_not_influence_each_other():
    preset = short(ties="shuffle", tolerance=None)
    key = jax.random.key(0)
    together = step(network, areas=(0.1, 0.3, 0.2), preset=preset)(CLIP, 1, key=key)
    alone = step(network, areas=(0.3,), preset=preset)(CLIP, 1, key=key)
    np.testing.assert_allclose(together.masks[1], alone.masks[0], atol=1e-12)
    chunks = step(network, areas=(0.1, 0.3, 0.2), preset=preset, chunk=2)
    np.testing.assert_allclose(
        chunks(CLIP, 1, key=key).masks, together.masks, atol=1e-12
    )


@pytest.mark.slow
def test_early_stop_leaves_the_history_open():
    config = short(num_iterations=60, tolerance=0.5)
    result = step(network, areas=(0.2,), preset=config)(CLIP, 1)
    history = np.asarray(result.history.reward)
    assert np.isfinite(history[:, :10]).all()
    assert np.isnan(history[:, 10:]).all()


@pytest.mark.slow
def test_half_precision_clips_get_float32_masks():
    clip = jnp.asarray(CLIP, jnp.bfloat16)
    result = step(network, areas=(0.2,), num_iterations=2)(clip, 1)
    assert {x.dtype for x in jax.tree.leaves(result)} == {jnp.dtype(jnp.float32)}
    assert np.isfinite(result.values).all()


@pytest.mark.slow
def test_other_scores():
    def score(output, target):
        return output["loss"] * target

    def f(clip):
        return {"loss": network(clip)[1]}

    settings = {"areas": (0.2,), "preset": short(num_iterations=3)}
    explain = step(f, score=score, **settings)
    named = step(network, score="logit", **settings)
    got, expected = explain(CLIP, jnp.float64(1)), named(CLIP, 1)
    np.testing.assert_allclose(got.masks, expected.masks)
    np.testing.assert_allclose(got.kept, -got.history.reward[:, -1])


@pytest.mark.slow
def test_bad_traced_target_gives_nan():
    explain = step(network, areas=(0.2,), variant="dual", num_iterations=2)
    for target in (-1, 4):
        result = jax.jit(explain)(jnp.asarray(CLIP), target)
        assert np.isnan(result.values).all()
        assert np.isnan(result.kept).all()


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"areas": ()}, "areas"),
        ({"areas": 0.1}, "areas"),
        ({"areas": (0.1, 1.0)}, "areas"),
        ({"areas": (0.0,)}, "areas"),
        ({"areas": (float("nan"),)}, "areas"),
        ({"areas": ("small",)}, "areas"),
        ({"preset": "slow"}, "preset"),
        ({"variant": "keep"}, "variant"),
        ({"perturbation": "fog"}, "perturbation"),
        ({"num_iterations": 0}, "num_iterations"),
        ({"num_iterations": 2.5}, "num_iterations"),
        ({"num_iterations": True}, "num_iterations"),
        ({"ties": "random"}, "ties"),
        ({"score": "logits"}, "score"),
        ({"chunk": 0}, "chunk"),
    ],
)
def test_bad_settings_are_named_at_once(settings, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        step(network, **{"areas": (0.1,), **settings})


def test_counts_out_of_numpy_are_counts():
    config = ExtremalConfig(num_iterations=np.int64(3))
    assert {config: 1} == {ExtremalConfig(num_iterations=3): 1}


def test_bad_modes_and_configs_are_named():
    with pytest.raises(ValueError, match="`mode`"):
        extremal_perturbation(network, areas=(0.1,), mode="frames")
    for name, value in {"optimiser": "sgd", "warm_levels": (0.0,), "clock": 0}.items():
        with pytest.raises(ValueError, match=f"`{name}`"):
            ExtremalConfig(**{name: value})
    with pytest.raises(ValueError, match="`sigma`"):
        step(network, areas=(0.1,), preset=short(sigma=0))(CLIP, 1)


def test_published_preset_needs_a_key_unless_ties_are_expected():
    explain = step(network, areas=(0.1,), preset="paper", num_iterations=1)
    with pytest.raises(ValueError, match="`key`"):
        explain(CLIP, 1)
    step(network, areas=(0.1,), preset="paper", ties="expected", num_iterations=1)(
        CLIP, 1
    )


@pytest.mark.parametrize(
    "preset", [pytest.param("fast", marks=pytest.mark.slow), short()]
)
@pytest.mark.parametrize("target", [99, pytest.param(-1, marks=pytest.mark.slow)])
def test_one_iteration_for_a_bad_traced_target_is_nan_everywhere(preset, target):
    preset = preset if preset == "fast" else short(num_iterations=1)
    explain = step(network, areas=(0.1, 0.3), preset=preset, num_iterations=1)
    result = jax.jit(lambda t: explain(jnp.asarray(CLIP), t))(target)
    for name, leaf in jax.tree_util.tree_leaves_with_path(result):
        assert np.isnan(leaf).all(), jax.tree_util.keystr(name)


@pytest.mark.slow
def test_the_delete_variant_of_one_class_is_finite():
    one = lambda clip: network(clip)[:1]
    result = step(one, areas=(0.2,), preset=short(), variant="delete")(CLIP, 0)
    assert np.isfinite(result.masks).all()
    np.testing.assert_array_equal(result.kept, 1)


def test_lists_in_a_config_become_tuples_and_arrays_are_named():
    lists = ExtremalConfig(
        warm_levels=[0.3, 0.7], warm_values=[0.4, 0.9], warm_passes=np.array([2, 1])
    )
    assert hash(lists) == hash(
        ExtremalConfig(
            warm_levels=(0.3, 0.7), warm_values=(0.4, 0.9), warm_passes=(2, 1)
        )
    )
    with pytest.raises(TypeError, match=r"`warm_levels`.*0\.5"):
        ExtremalConfig(warm_levels=0.5)
    with pytest.raises(TypeError, match="`learning_rate`"):
        ExtremalConfig(learning_rate=np.array(0.1))
    with pytest.raises(TypeError, match="`warm_values`"):
        ExtremalConfig(warm_values=[[0.1], [0.2]])
