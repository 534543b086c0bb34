import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxattr.perturbation import reverse, temporal_mask
from jaxattr.perturbation._temporal_mask import _roughness

SHAPE = (9, 3, 4, 2)
RNG = np.random.default_rng(0)
CLIP = RNG.normal(size=SHAPE)
WEIGHTS = RNG.normal(size=(*SHAPE, 3)) / 4


def network(clip):
    return jnp.tanh(jnp.tensordot(clip, jnp.asarray(WEIGHTS, clip.dtype), 4))


@pytest.mark.parametrize(
    ("mask", "frames"),
    [
        (
            [0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0],
            [1, 2, 3, 8, 7, 6, 5, 4, 9, 10, 11, 12, 13, 15, 14, 16],
        ),
        ([0.8, 0.2, 0.5, 0.4], [3.4, 2.2, 2.8, 1.6]),
        ([0.1, 1, 0.1], [1, 2, 3]),
        ([1, 1, 1], [3, 2, 1]),
        ([1], [1]),
    ],
)
def test_reverse_plays_runs_backward(mask, frames):
    clip = jnp.arange(1.0, len(mask) + 1).reshape(-1, 1, 1, 1)
    got = reverse(clip, jnp.asarray(mask, float))
    np.testing.assert_allclose(got.ravel(), frames, rtol=1e-12)


def test_reverse_matches_a_loop():
    for seed in range(5):
        mask = np.random.default_rng(seed).uniform(size=9)
        mask[mask < 0.4] = 0.05
        want, start = CLIP.copy(), None
        for t in range(10):
            on = t < 9 and mask[t] > 0.1
            if on and start is None:
                start = t
            if not on and start is not None:
                for i in range((t - start) // 2):
                    a, b, m = start + i, t - 1 - i, mask[start + i]
                    want[a] = (1 - m) * CLIP[a] + m * CLIP[b]
                    want[b] = (1 - m) * CLIP[b] + m * CLIP[a]
                start = None
        got = reverse(jnp.asarray(CLIP), jnp.asarray(mask))
        np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize(
    ("mask", "value"),
    [((0, 0, 1, 1, 0), 3), ((0, 0.5, 1, 0.5), 0.5), ((0, 1), 0), ((1,), 0)],
)
def test_inner_differences_count_twice(mask, value):
    np.testing.assert_allclose(_roughness(jnp.asarray(mask, float)), value, atol=1e-15)


def test_a_constant_mask_has_a_slope():
    slope = jax.grad(_roughness)(jnp.full(5, 0.3))
    np.testing.assert_array_equal(slope, 0)


class TorchMask:
    """The published loop, written again in torch."""

    def __init__(self, target):
        self.clip, self.target = torch.tensor(CLIP), target

    def probability(self, clip):
        logits = torch.tanh(torch.tensordot(clip, torch.tensor(WEIGHTS), 4))
        return torch.softmax(logits, 0)[self.target]

    def freeze(self, mask):
        frames = [self.clip[0]]
        for t in range(1, len(self.clip)):
            frames.append((1 - mask[t]) * self.clip[t] + mask[t] * frames[-1])
        return torch.stack(frames)

    def start(self):
        num = len(self.clip)
        full = self.probability(self.freeze(torch.ones(num)))
        original = self.probability(self.clip)
        mask = torch.ones(num, dtype=torch.float64)
        for i in range(1, num // 2):
            mask[i - 1], mask[num - i] = 0, 0
            lost = original - self.probability(self.freeze(mask))
            if lost / (original - full) < 0.9:
                break
        return 10 * mask - 5

    def run(self, num_iterations):
        logits = self.start().requires_grad_()
        optimiser = torch.optim.Adam([logits], lr=0.2)
        losses = []
        for _ in range(num_iterations):
            mask = torch.sigmoid(logits)
            rough = sum(
                (mask[t - 1] - mask[t]).abs() ** 3 + (mask[t + 1] - mask[t]).abs() ** 3
                for t in range(1, len(mask) - 1)
            )
            loss = self.probability(self.freeze(mask)) + 0.01 * mask.sum()
            loss = loss + 0.02 * rough
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        return torch.sigmoid(logits).detach().numpy(), losses


@pytest.mark.parametrize("target", [0, 1, 2])
def test_ten_iterations_match_torch(target):
    mask, losses = TorchMask(target).run(10)
    got = temporal_mask(network, num_iterations=10)(CLIP, target)
    np.testing.assert_allclose(got.mask, mask, rtol=1e-6)
    np.testing.assert_allclose(sum(got.history), losses, rtol=1e-6)


def test_scores_and_lengths_are_those_of_the_mask():
    result = temporal_mask(network, num_iterations=10)(CLIP, 1)
    peer = TorchMask(1)
    mask = np.asarray(result.mask)
    np.testing.assert_array_equal(result.values, mask[:, None, None] + np.zeros((3, 4)))
    np.testing.assert_allclose(result.original, peer.probability(torch.tensor(CLIP)))
    for scores, m in ((result.soft, mask), (result.binary, (mask > 0.5) * 1.0)):
        np.testing.assert_allclose(scores.length, m.sum())
        want = peer.probability(peer.freeze(torch.tensor(m)))
        np.testing.assert_allclose(scores.perturbed, want, rtol=1e-9)
        backward = np.asarray(reverse(jnp.asarray(CLIP), jnp.asarray(m)))
        want = peer.probability(torch.tensor(backward))
        np.testing.assert_allclose(scores.reversed, want, rtol=1e-9)


def _bright_late(clip):
    """Frame 5 alone decides."""
    return jnp.stack([4 * clip[5].mean(), jnp.zeros((), clip.dtype)])


@pytest.mark.parametrize(
    "perturbation", ["freeze", pytest.param("fade", marks=pytest.mark.slow)]
)
def test_the_frame_that_decides_is_found(perturbation):
    clip = jnp.zeros(SHAPE).at[5].set(1)
    explain = temporal_mask(_bright_late, perturbation=perturbation)
    result = explain(clip, 0)
    assert result.mask[5] > 0.9
    assert result.mask.argmax() == 5
    assert result.mask[:4].max() < 0.25  # Its neighbour shares in the smoothness.
    assert result.mask[7:].max() < 0.25
    np.testing.assert_allclose(result.original, 1 / (1 + np.exp(-4)))
    np.testing.assert_allclose(result.binary.perturbed, 0.5)


def test_an_order_that_does_not_matter_is_seen_by_reversal():
    def either_way(clip):  # Power of change, the same backward and forward.
        return jnp.stack([(jnp.diff(clip, axis=0) ** 2).mean(), jnp.ones(())])

    explain = temporal_mask(either_way, sparsity=0.0, smoothness=0.0)
    result = explain(CLIP, 0)
    assert result.binary.perturbed < result.original
    whole = reverse(jnp.asarray(CLIP), jnp.ones(9))
    np.testing.assert_allclose(either_way(whole), either_way(CLIP), rtol=1e-12)


@pytest.mark.parametrize("num_frames", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_short_clips(num_frames):
    clip = jnp.asarray(CLIP[:num_frames])
    result = temporal_mask(
        lambda x: jnp.stack([x.mean(), x[0].max()]), num_iterations=3
    )(clip, 0)
    assert np.isfinite(result.mask).all()


@pytest.mark.slow
def test_a_bad_traced_target_gives_nan_everywhere():
    explain = temporal_mask(network, num_iterations=2)
    result = jax.jit(lambda t: explain(jnp.asarray(CLIP), t))(7)
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(result))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"perturbation": "reverse"}, "perturbation"),
        ({"sparsity": -1}, "sparsity"),
        ({"smoothness": float("nan")}, "smoothness"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"num_iterations": 0}, "num_iterations"),
    ],
)
def test_bad_settings_are_named(settings, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        temporal_mask(network, **settings)
