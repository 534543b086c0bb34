"""A small network in NumPy and in JAX, and the metrics' inner loops, slowly."""

import jax
import jax.numpy as jnp
import numpy as np

SHAPE = (4, 6, 10, 3)  # T, H, W, C all differ.
MAP = SHAPE[:3]
CLASSES = 5
BLOCK = (2, 3, 5)


def arrays(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def weights(seed=0):
    first, second = arrays(seed, (7, np.prod(SHAPE)), (CLASSES, 7))
    return first / 20, second


def network(seed=0):
    """The network in JAX, as a callable pytree."""
    return jax.tree_util.Partial(_logits, *map(jnp.asarray, weights(seed)))


def _logits(first, second, clip):
    return second @ jnp.tanh(first @ clip.ravel())


def probability(clip, target, seed=0):
    """Softmax of the network, in NumPy."""
    first, second = weights(seed)
    logits = second @ np.tanh(first @ np.asarray(clip).ravel())
    odds = np.exp(logits - logits.max())
    return odds[target] / odds.sum()


def clip_and_heat(seed=1):
    return arrays(seed, SHAPE, MAP)


def block_labels(block):
    """Index of every voxel's block, [T, H, W], by counting."""
    labels = np.zeros(MAP, int)
    across = MAP[1] // block[1], MAP[2] // block[2]
    for t, y, x in np.ndindex(MAP):
        corner = t // block[0], y // block[1], x // block[2]
        labels[t, y, x] = (corner[0] * across[0] + corner[1]) * across[1] + corner[2]
    return labels


def frame_labels(segments):
    """Index of every (frame, segment) pair, in order of frame and label."""
    pairs = sorted({(t, segments[t, y, x]) for t, y, x in np.ndindex(segments.shape)})
    labels = np.zeros(segments.shape, int)
    for t, y, x in np.ndindex(segments.shape):
        labels[t, y, x] = pairs.index((t, segments[t, y, x]))
    return labels


def ordered_units(heat, labels, order, reduce=np.mean):
    """Units by heat; equal ones stay in order."""
    heats = [reduce(heat[labels == unit]) for unit in range(labels.max() + 1)]
    sign = -1 if order == "most_first" else 1
    return sorted(range(len(heats)), key=lambda unit: sign * heats[unit])


def states(clip, base, labels, units, counts, *, insert=False):
    """The clips that a metric shows: after the first `count` units have changed."""
    for count in counts:
        changed = np.isin(labels, units[:count])[..., None]
        yield np.where(changed == insert, clip, base)
