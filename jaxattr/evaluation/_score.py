"""All metrics of one explanation: those that can be traced in one compiled program."""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr import data, metrics
from jaxattr.evaluation._explain import (
    REFUSALS,
    Explained,
    Explainer,
    form_of,
    within_memory,
)
from jaxattr.evaluation._metrics import METRICS, Path
from jaxattr.evaluation._networks import Trained
from jaxattr.evaluation._settings import Choice
from jaxattr.metrics._boxes import check_boxes

_SEGMENTS = 256  # Supervoxels of a clip, as in the video study.


class Scored(NamedTuple):
    """What a metric says, along a path or not, or why it says nothing."""

    value: float | None
    status: str
    message: str | None = None
    path: Path | None = None


class Truth(NamedTuple):
    """The annotation of a clip in every form that metrics ask for."""

    mask: jax.Array
    boxes: jax.Array
    window: jax.Array


class Scorer:
    """The metrics of an evaluation, bound to a network.

    Attributes:
      drawings: settings of `to_heatmap` by which the metrics' heat maps differ from a
        method's own.
    """

    def __init__(self, network: Trained, choices: Sequence[Choice]):
        self._network, self._choices = network, choices
        drawings = [_drawing(choice) for choice in choices]
        self.drawings = tuple(dict.fromkeys(drawings))
        self._heat_of = [self.drawings.index(drawing) for drawing in drawings]
        self._on_network: dict[int, Any] = {}
        self._unbound: dict[int, Scored] = {}
        for place, choice in enumerate(choices):
            metric = METRICS[choice.name]
            if metric.kind in ("network", "values"):
                try:
                    bound = metric.function(network.f, **choice.settings)
                    self._on_network[place] = bound
                except REFUSALS as error:
                    self._unbound[place] = _refused(error)
        self._plans: dict[Any, Any] = {}
        self._too_large: set[Any] = set()

    def segments(self, clip: np.ndarray) -> np.ndarray | None:
        """Labels for the metrics that take supervoxels away; None if none does."""
        wanted = any(c.settings.get("unit") == "supervoxel" for c in self._choices)
        return data.supervoxels(clip, _SEGMENTS) if wanted else None

    def __call__(
        self,
        explainer: Explainer,
        explained: Explained,
        clip: np.ndarray,
        target: int,
        truth: Truth | None,
        segments: np.ndarray | None,
        key: jax.Array,
    ) -> list[Scored]:
        """One score for every metric, in their order."""
        keys = [jax.random.fold_in(key, place) for place in range(len(self._choices))]
        found = dict(self._unbound)
        for place, choice in enumerate(self._choices):
            metric = METRICS[choice.name]
            if metric.truth and truth is None:
                found[place] = Scored(None, "no annotation")
            elif metric.kind == "host":
                heat = np.asarray(explained.heats[self._heat_of[place]])
                found[place] = _on_host(choice, heat, truth)
            elif metric.kind == "method" and explainer.needs_truth:
                found[place] = Scored(None, "refused", "its areas differ by clip")
            elif metric.kind == "method":
                found[place] = self._on_method(
                    place, explainer, clip, target, truth, keys[place]
                )
        given = {
            "heats": explained.heats,
            "values": explained.values,
            "clip": clip,
            "target": np.int32(target),
            "truth": truth,
            "segments": segments,
            "keys": keys,
        }
        places, refused = self._plan(found, given)
        found |= refused | self._measured(places, given)
        return [found[place] for place in range(len(self._choices))]

    def _measured(self, places, given):
        """In one program, or one by one where that does not fit into the memory."""
        form = places, form_of(given)
        if form not in self._too_large:
            try:
                with within_memory():
                    pairs = jax.device_get(_measure(places, self._on_network, given))
                return {p.place: _scored(*pair) for p, pair in zip(places, pairs)}
            except REFUSALS as error:
                if len(places) == 1:
                    return {places[0].place: _refused(error)}
                self._too_large.add(form)
        alone = [self._measured((place,), given) for place in places]
        return dict(itertools.chain.from_iterable(found.items() for found in alone))

    def _plan(self, found, given):
        """What is traced for arguments of that form, and what refuses to be."""
        form = form_of(given)
        if form in self._plans:
            return self._plans[form]
        places, refused = [], {}
        for number, choice in enumerate(self._choices):
            if number in found:
                continue
            settings = tuple(choice.settings.items())
            place = _Place(number, choice.name, settings, self._heat_of[number])
            try:
                jax.eval_shape(
                    functools.partial(_measure_one, place), self._on_network, given
                )
                places.append(place)
            except REFUSALS as error:
                refused[number] = _refused(error)
        self._plans[form] = tuple(places), refused
        return self._plans[form]

    def _on_method(self, place, explainer, clip, target, truth, key):
        """The score of the method that explained, not of what it said."""
        choice = self._choices[place]
        metric, settings = METRICS[choice.name], dict(choice.settings)
        if choice.name == "sanity_check" and self._network.head:
            settings = {"select": _of_layer(self._network.head), "depth": 1} | settings
        try:
            with within_memory():
                method = explainer.transform(clip, truth)
                measure = metric.function(method, self._network.f, **settings)
                return _scored(metric.pick(measure(clip, target, key=key)))
        except REFUSALS as error:
            return _refused(error)


class _Place(NamedTuple):
    """A metric among those of one program; static."""

    place: int
    name: str
    settings: tuple[tuple[str, Any], ...]
    heat: int


@functools.partial(jax.jit, static_argnums=0)
def _measure(places, on_network, given):
    return [_measure_one(place, on_network, given) for place in places]


def _measure_one(place: _Place, on_network: Mapping[int, Any], given):
    """The number that is recorded, and the path that it is of or None."""
    metric, heat = METRICS[place.name], given["heats"][place.heat]
    settings = dict(place.settings)
    if metric.kind == "map":
        truth = (getattr(given["truth"], metric.truth),) if metric.truth else ()
        return metric.pick(metric.function(heat, *truth, **settings)), None
    if metric.kind == "values":
        heat = given["values"]
    inputs = (heat,)
    if settings.get("unit") == "supervoxel":
        inputs = (heat, given["segments"])
    measure = on_network[place.place]
    key = given["keys"][place.place]
    found = measure(given["clip"], given["target"], *inputs, key=key)
    return metric.pick(found), metric.path and metric.path(found)


def _on_host(choice, heat, truth):
    metric = METRICS[choice.name]
    truth = getattr(truth, metric.truth)
    try:
        return _scored(metric.pick(metric.function(heat, truth, **choice.settings)))
    except REFUSALS as error:
        return _refused(error)


def _scored(value, path=None):
    value = float(value)
    if not math.isfinite(value):
        return Scored(None, "not finite")
    return Scored(value, "ok", path=path)


def _refused(error):
    return Scored(None, "refused", first_line(error))


def first_line(error: Exception) -> str:
    """What an error says, in a line."""
    return as_text(str(error).partition("\n")[0]) or type(error).__name__


def as_text(name: str) -> str:
    """A name that any file can hold: those of files need not be UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()


def make_truth(sample: data.Sample) -> Truth | None:
    """The annotation of a clip; None where it has none, or shows no evidence.

    Raises:
      ValueError: boxes or a mask that do not fit the clip.
    """
    shape = sample.clip.shape[:3]
    if sample.mask is None and sample.boxes is None:
        return None
    if sample.mask is not None:
        mask = jnp.asarray(sample.mask)
        if mask.shape != shape or mask.dtype != bool:
            raise ValueError(
                f"`mask` must be bool {list(shape)}, got {mask.dtype} {mask.shape}."
            )
    if sample.boxes is None:
        boxes = metrics.mask_to_boxes(mask)
    else:
        boxes, _ = check_boxes(jnp.asarray(sample.boxes, jnp.float32), shape)
    if sample.mask is None:
        mask = metrics.boxes_to_mask(boxes, shape)
    if not mask.any():
        return None
    return Truth(mask, boxes, mask.any((1, 2)))


def _drawing(choice):
    return tuple(sorted(choice.options.get("heatmap", {}).items()))


@functools.cache
def _of_layer(layer):
    """Whether a parameter is of a layer; one function for each, as compiling asks."""
    return lambda name: name.split(".")[0] == layer
