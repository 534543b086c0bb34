"""Renders the clips of a family: a pure function of a key."""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxattr.data.evidence._families import NONE, find, labels
from jaxattr.data.evidence._scene import HEIGHT, MEAN, STD, panning, uniform, view
from jaxattr.data.evidence._settings import check_settings

_SPLITS = {"train": 0, "dev": 1, "test": 2}
_NOISE = 0.05
# What a sample's key is folded with for what not every clip needs; far from 0, 1, 2,
# which are the keys of its numbers, its texture and its noise.
_CAMERA, _NONE, _MISSING, _FAMILY = 101, 102, 103, 1000


class EvidenceClip(NamedTuple):
    """A clip, its class, and the voxels that decide the class.

    Attributes:
      clip: [T, H, W, 3] float32 in network units, (pixel - 0.45) / 0.25.
      target: [] int32, index into `LABELS`.
      mask: [T, H, W] bool, True where the evidence is: it covers more than half of the
        pixel and nothing hides it. Empty where it is not shown.
      distractor: [T, H, W] bool, likewise for the visible parts that are neither
        evidence nor background.
      window: [T] bool, the frames in which evidence is present.
      parts: [P, T, H, W] bool, where each part of the family is to be seen, in the
        order of `FAMILIES[family].parts`.
    """

    clip: jax.Array
    target: jax.Array
    mask: jax.Array
    distractor: jax.Array
    window: jax.Array
    parts: jax.Array


def split_key(split: Literal["train", "dev", "test"], *, seed: int = 0) -> jax.Array:
    """Returns the key of a split; the splits of one seed share no sample.

    Args:
      split: "train" to fit a network, "dev" to tune anything, "test" to report once.
      seed: chooses another endless data set of the same kind.

    Returns:
      A typed key; sample i of the split is rendered from `fold_in(key, i)`.

    Raises:
      ValueError: if `split` is none of the three.
    """
    if split not in _SPLITS:
        raise ValueError(f"`split` must be one of {list(_SPLITS)}, got {split!r}.")
    root = jax.random.key(seed, impl="threefry2x32")
    return jax.random.fold_in(root, _SPLITS[split])


def batch(
    key: jax.Array,
    num: int,
    family: str = "motion",
    *,
    start: int | jax.Array = 0,
    target: int | jax.Array | None = None,
    show: jax.Array | None = None,
    show_target: bool | jax.Array = True,
    show_distractor: bool | jax.Array = True,
    camera: float | jax.Array = 0.0,
    none: float | jax.Array = 0.0,
    size: int = HEIGHT,
) -> EvidenceClip:
    """Renders samples `start` to `start + num` of the data set that belongs to a key.

    Args:
      key: typed key of the data set, as from `split_key`.
      num: how many, N; about 0.7 MB each. A static number: a new one compiles anew.
      family: name of the family, one of `FAMILIES`.
      start: index of the first one.
      target: see `render`; the same for all.
      show: see `render`; the same for all.
      show_target: see `render`.
      show_distractor: see `render`.
      camera: see `render`.
      none: see `render`.
      size: see `render`.

    Returns:
      `EvidenceClip` with a leading axis [N] on every field. A sample depends on `key`
      and its own index only.

    Raises:
      ValueError: if `num` is not positive; and as `render`.
    """
    if num < 1:
        raise ValueError(f"`num` must be at least 1, got {num}.")
    start = jnp.asarray(start, jnp.int32)
    settings = check_settings(
        family, target, show, show_target, show_distractor, camera, none, size
    )
    return _batch(key, num, start, *settings)


def render(
    key: jax.Array,
    family: str = "motion",
    *,
    target: int | jax.Array | None = None,
    show: jax.Array | None = None,
    show_target: bool | jax.Array = True,
    show_distractor: bool | jax.Array = True,
    camera: float | jax.Array = 0.0,
    none: float | jax.Array = 0.0,
    size: int = HEIGHT,
) -> EvidenceClip:
    """Renders one clip.

    The switches take an object out and leave every other random choice as it was, so
    that two renders of one key are an intervention: what the network answers without
    the target, it cannot have read from the target.

    Args:
      key: typed key; decides everything.
      family: name of the family, one of `FAMILIES`.
      target: class to show, an index into `LABELS`; None draws one of the family's.
        `NONE` takes the evidence out, where the family is joint one part or all of it.
      show: [P] or [P, T] bool, which parts of the family are in the picture, and in
        which frames; without the background it is grey. See `without`.
      show_target: whether the evidence is in the picture; the class stays as it is.
      show_distractor: whether all else but the background is.
      camera: share of the clips in which the camera pans slowly, 0 to 1.
      none: share of the clips that become ones of class `NONE`, 0 to 1.
      size: height and width in pixels; the scene is the same at every size.

    Returns:
      The clip, with its class and exact masks.

    Raises:
      ValueError: if there is no such family or class, `show` does not fit its parts, a
        share is not within 0 and 1, or `size` is less than 28.
    """
    settings = check_settings(
        family, target, show, show_target, show_distractor, camera, none, size
    )
    return _render(key, *settings)


@functools.partial(jax.jit, static_argnames=("family", "size"))
def _render(key, family, target, show, camera, none, size) -> EvidenceClip:
    """Renders one clip; a negative `target` is drawn, `camera` None stands still."""
    found, first = find(family), labels(family)[0]
    if first:  # One key shows another scene in every family.
        key = jax.random.fold_in(key, _FAMILY + first)
    k_draws, k_texture, k_noise = jax.random.split(key, 3)
    pan = camera
    if camera is not None:
        pan = panning(jax.random.fold_in(key, _CAMERA), camera)
    lacking = uniform(jax.random.fold_in(key, _NONE), 0.0, 1.0) < none
    lacking = lacking | (target == NONE)
    own = jnp.where((target < 0) | (target == NONE), -1, target - first)
    own, layers = found.draw(k_draws, k_texture, own, view(size, pan))
    missing = _missing(jax.random.fold_in(key, _MISSING), found) & lacking
    show = show & ~missing[:, None]

    background, *objects = layers
    picture = jnp.where(show[0][:, None, None, None], background.colour, MEAN)
    for shown, layer in zip(show[1:], objects):
        alpha = (layer.alpha * shown.astype(jnp.float32)[:, None, None])[..., None]
        picture = picture + alpha * (layer.colour - picture)
    noise = uniform(k_noise, -_NOISE, _NOISE, picture.shape)
    picture = jnp.clip(picture + noise, 0.0, 1.0)

    hidden, visible = jnp.zeros(picture.shape[:3], bool), []
    for shown, layer in zip(show[::-1], layers[::-1]):
        covers = (layer.alpha > 0.5) & shown[:, None, None]
        visible.append(covers & ~hidden)
        hidden = hidden | covers
    visible = visible[::-1]
    present = [layer.present & shown for shown, layer in zip(show, layers)]

    def union(values, chosen):
        values = [value for value, c in zip(values, chosen) if c]
        return functools.reduce(jnp.logical_or, values)

    others = [not e and i > 0 for i, e in enumerate(found.is_evidence)]
    return EvidenceClip(
        clip=(picture - MEAN) / STD,
        target=jnp.where(lacking, NONE, own + first),
        mask=union(visible, found.is_evidence),
        distractor=union(visible, others),
        window=union(present, found.is_evidence),
        parts=jnp.stack(visible),
    )


def _missing(key: jax.Array, family) -> jax.Array:
    """Which parts [P] a clip of class NONE lacks.

    All the evidence or, where it decides only together, any part of it or all: so half
    of it is seen to say nothing.
    """
    is_evidence = jnp.asarray(family.is_evidence)
    if not family.joint:
        return is_evidence
    first, second = (family.parts.index(name) for name in family.evidence)
    drawn = uniform(key, 0.0, 3.0)
    places = jnp.arange(len(family.parts))
    spared = ((drawn < 1) & (places == first)) | ((drawn > 2) & (places == second))
    return is_evidence & ~spared


@functools.partial(jax.jit, static_argnames=("num", "family", "size"))
def _batch(key, num, start, family, target, show, camera, none, size):
    def sample(index):
        key_of_sample = jax.random.fold_in(key, index)
        return _render(key_of_sample, family, target, show, camera, none, size)

    # One after the other: on a CPU twice as fast as side by side, and less to compile.
    return jax.lax.map(sample, start + jnp.arange(num, dtype=jnp.int32))
