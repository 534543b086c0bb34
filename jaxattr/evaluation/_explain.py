"""One method on the clips of a network: compiled once for a shape, then timed."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxattr._heatmap import to_heatmap
from jaxattr._registry import given
from jaxattr.evaluation._methods import RUNNABLE
from jaxattr.evaluation._networks import Trained
from jaxattr.evaluation._settings import Choice

REFUSALS = (ValueError, TypeError, NotImplementedError)
_NO_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory")


@contextlib.contextmanager
def within_memory() -> Iterator[None]:
    """Makes a refusal of memory that does not suffice: other methods may need less.

    Raises:
      ValueError: instead of the device's error.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        # A CPU that finds out while it dispatches calls it an internal error.
        if not any(sign in str(error) for sign in _NO_MEMORY):
            raise
        raise ValueError(str(error)) from None


class Explained(NamedTuple):
    """What a method says of a clip.

    Attributes:
      values: as the method returns them.
      heats: maps [T, H, W], one for each way to draw them.
      finite: whether all values are.
      seconds: that it took, compilation not counted.
      memory: bytes that the compiled program needs beside the weights and the clip;
        None where the compiler does not say.
    """

    values: jax.Array
    heats: tuple[jax.Array, ...]
    finite: bool
    seconds: float
    memory: int | None


class Explainer:
    """A method with its settings, bound to a network.

    Args:
      network: to be explained.
      choice: the method.
      drawings: for each kind of heat map what it changes in the method's own settings
        of `to_heatmap`.
      extra: settings that are arrays.

    Attributes:
      gradients: evaluations of a clip, a forward pass taken as a third.
    """

    def __init__(
        self,
        network: Trained,
        choice: Choice,
        drawings: tuple[tuple[tuple[str, Any], ...], ...],
        extra: Mapping[str, Any],
    ):
        self.method, self.choice = RUNNABLE[choice.name], choice
        settings = {"areas": (0.5,), **choice.settings}
        self.gradients = float(self.method.gradients(settings))
        self.needs_truth = "areas" in choice.options
        self._network, self._drawings = network, drawings
        self._settings = {**choice.settings, **extra}
        self._programs: dict[Any, Any] = {}

    def transform(self, clip: np.ndarray, truth: Any) -> Callable[..., Any]:
        """`f -> explain(clip, target, *, key)`, with all that it is told of a clip."""
        inputs = self.method.make_inputs(clip, self.choice.settings)
        transform = self._transform(truth)
        return given(transform, inputs) if inputs else transform

    def __call__(
        self, clip: np.ndarray, target: int, truth: Any, key: jax.Array
    ) -> Explained:
        """Explains a clip.

        Raises:
          ValueError: the method does not take this network or clip.
          TypeError: likewise.
          NotImplementedError: likewise.
        """
        start = time.perf_counter()
        inputs = self.method.make_inputs(clip, self.choice.settings)
        making = time.perf_counter() - start
        explain = self._transform(truth)(self._network.f)  # Not kept: it holds weights.
        args = (explain, clip, np.int32(target), key, inputs)
        program = self._program(args)
        start = time.perf_counter()
        values, heats, finite = jax.block_until_ready(program(*args))
        seconds = making + time.perf_counter() - start
        return Explained(values, heats, bool(finite), seconds, _memory(program))

    def _transform(self, truth):
        settings = dict(self._settings)
        if self.needs_truth:
            settings["areas"] = (float(np.asarray(truth.mask).mean()),)
        return functools.partial(self.method.transform, **settings)

    def _program(self, args):
        """The compiled function for arguments of that form, or why there is none."""
        form = form_of(args)
        if form not in self._programs:
            try:
                with within_memory():
                    self._programs[form] = _run.lower(
                        *args, draw=self.method.heatmap, drawings=self._drawings
                    ).compile()
            except REFUSALS as error:
                self._programs[form] = error.with_traceback(None)
        program = self._programs[form]
        if isinstance(program, Exception):
            raise program
        return program


def _memory(program):
    analysis = program.memory_analysis()
    return None if analysis is None else analysis.temp_size_in_bytes


def form_of(args: Any) -> Any:
    """What a compiled program asks of its arguments; hashable."""
    leaves, tree = jax.tree.flatten(args)
    return tree, tuple(map(jax.typeof, leaves))


@functools.partial(jax.jit, static_argnames=("draw", "drawings"))
def _run(explain, clip, target, key, inputs, *, draw, drawings):
    values = explain(clip, target, key=key, **inputs).values
    settings = draw(values.shape)
    heats = tuple(
        to_heatmap(values, **{**settings, **dict(drawing)}) for drawing in drawings
    )
    return values, heats, jnp.isfinite(values).all()
