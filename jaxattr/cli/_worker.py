"""One clip: read, predict, explain; with an estimate before the first."""

import dataclasses
import pathlib
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxattr
from jaxattr._registry import METHODS
from jaxattr.cli import _interrupt
from jaxattr.cli._console import console
from jaxattr.cli._targets import choose


@dataclasses.dataclass(frozen=True)
class Job:
    """One clip to explain.

    Attributes:
      name: of its folder below the run's.
      title: what the page calls it.
      read: -> (clip, source or None); called when its turn comes.
      target: as on the command line.
      truth: [T, H, W] exact evidence, where it is known; drawn beside the methods.
    """

    name: str
    title: str
    read: Callable[[], tuple[np.ndarray, Any]]
    target: str = "auto"
    truth: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """What all clips of a run share.

    Attributes:
      network: a callable pytree with `spec`.
      labels: class names, by index; may be empty.
      methods: by name, with their settings.
      seed: of the random methods' keys.
      out: folder to write.
      facts: shown on every page: the network, its weights.
      notes: sentences that a reader of any page must see first.
    """

    network: Any
    labels: Sequence[str]
    methods: Mapping[str, Mapping[str, Any]]
    seed: int
    out: pathlib.Path
    facts: Mapping[str, Any]
    notes: Sequence[str] = ()


class Found(NamedTuple):
    """What there is to save of one clip."""

    clip: np.ndarray
    source: Any
    target: int
    probabilities: np.ndarray
    results: Mapping[str, Any]
    warnings: Sequence[str]


class Worker:
    """Compiled functions and weights of a run, used clip after clip.

    A command's own worker says what it binds for each method, and what it saves.
    """

    def __init__(self, run: Run):
        self.run = run
        network = jaxattr.fold_convs(run.network) if _on_cpu() else run.network
        predict = jax.jit(lambda f, clip: f(clip))
        self.predict = lambda clip: np.asarray(predict(network, clip), np.float64)
        self.explainers = {
            name: self.bind(name, settings) for name, settings in run.methods.items()
        }
        self.costs = {
            name: self.cost(name, settings) for name, settings in run.methods.items()
        }
        self.units = sum(self.costs.values())
        self.estimated = False

    def bind(self, name: str, settings: Mapping[str, Any]) -> Callable[..., Any]:
        """What is called for a method: (clip, target, *, key, **inputs) -> result."""
        return METHODS[name].transform(self.run.network, **settings)

    def cost(self, name: str, settings: Mapping[str, Any]) -> float:
        """Gradient evaluations of one such call."""
        return float(METHODS[name].gradients(settings))

    def save(self, job: Job, found: Found) -> str:
        """Writes what was found in one clip; returns a line about it."""
        raise NotImplementedError

    def explain(self, job, index, count, advance) -> Found:
        """Explains one clip."""
        run = self.run
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            clip, source = job.read()
            probabilities = _softmax(_finite_logits(self.predict(_finite(clip))))
            target = choose(job.target, probabilities, run.labels)
            if not self.estimated:
                self._estimate(clip, target, count - index)
                self.estimated = True
            results = {}
            for name, explain in self.explainers.items():
                _interrupt.check()
                key = jax.random.fold_in(jax.random.key(run.seed), index)
                inputs = METHODS[name].make_inputs(clip, run.methods[name])
                results[name] = jax.block_until_ready(
                    explain(clip, target, key=key, **inputs)
                )
                advance(self.costs[name])
        _interrupt.check()
        told = (str(w.message) for w in caught if issubclass(w.category, UserWarning))
        return Found(
            clip, source, target, probabilities, results, [*dict.fromkeys(told)]
        )

    def _estimate(self, clip, target, count):
        """Says beforehand how long the run will take and how much memory."""
        explain = jaxattr.saliency(self.run.network)
        gradient = jax.jit(lambda e, c, t: e(c, t).values)
        compiled = gradient.lower(explain, clip, target).compile()
        jax.block_until_ready(compiled(explain, clip, target))
        start = time.perf_counter()
        jax.block_until_ready(compiled(explain, clip, target))
        seconds = (time.perf_counter() - start) * self.units * count
        wide = max(len(s.get("areas", (0,))) for s in self.run.methods.values())
        memory = compiled.memory_analysis()
        weights = sum(leaf.nbytes for leaf in jax.tree.leaves(self.run.network))
        peak = weights + wide * (memory.temp_size_in_bytes if memory else 0)
        console.print(
            f"{_many(count, 'clip')} x {_many(len(self.explainers), 'method')} on "
            f"{jax.devices()[0].device_kind}: about {_duration(seconds)} and "
            f"{peak / 2**30:.1f} GiB, compilation and pictures not counted."
        )


def _finite(clip):
    bad = int((~np.isfinite(clip)).sum())
    if bad:
        raise ValueError(f"`clip` holds {bad} values that are not finite numbers.")
    return clip


def _finite_logits(logits):
    bad = int((~np.isfinite(logits)).sum())
    if bad:
        raise ValueError(
            f"{bad} of the network's {logits.size} logits are not finite numbers for "
            "this clip: its weights are damaged, or made for another network or input."
        )
    return logits


def _softmax(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def _on_cpu():
    return jax.default_backend() == "cpu"


def _many(count, what):
    return f"{count} {what}{'s' * (count != 1)}"


def _duration(seconds):
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
