"""The lines of the benchmark: every registered method, and controls.

What a method is given is decided here, before any clip is rendered: its settings, and
training clips where it needs some. The size of the evidence is not among them.
"""

import ast
import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

import _evidence_masking
import numpy as np
from _evidence_cells import check_known

import jaxattr
from jaxattr import _control, _registry
from jaxattr.data import evidence

BASELINES = 16  # Clips of the split "train", of the family that is explained.


class Line(NamedTuple):
    """One line of the table.

    Attributes:
      name: of the method or control.
      transform: as a method's, `transform(f, **settings) -> explain`.
      settings: that it is made with, but for `needs`.
      needs: settings that depend on the family, "baselines", or on the network,
        "params".
      heatmap: shape of its values -> settings of `to_heatmap`.
      gradients: evaluations per clip.
      random: whether its answer depends on the key.
      inputs: as those of `jaxattr._registry.Method`.
    """

    name: str
    transform: Callable[..., Callable[..., Any]]
    settings: Mapping[str, Any]
    needs: tuple[str, ...]
    heatmap: Callable[[tuple[int, ...]], Mapping[str, Any]]
    gradients: float
    random: bool
    inputs: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = MappingProxyType({})

    @property
    def takes_areas(self) -> bool:
        """Whether it can be told how large the evidence is."""
        return "areas" in self.settings

    def make_inputs(self, clips: Any) -> dict[str, np.ndarray]:
        """What `explain` takes by name for clips [n, ...], made one by one."""
        return {
            name: np.stack([make(np.asarray(clip), self.settings) for clip in clips])
            for name, make in self.inputs.items()
        }

    def method(self, family: str, f: Any) -> Callable[..., Callable[..., Any]]:
        """`f -> explain`, with everything that it needs to explain this network.

        One and the same for families between which it does not tell, so that what is
        compiled for a network serves them all.

        Raises:
          ValueError: it needs what this benchmark does not have.
        """
        if not self.needs:
            return _bound(self.transform, tuple(self.settings.items()))
        given = dict(self.settings)
        for name in self.needs:
            if name == "params":
                given[name] = _evidence_masking.taught(f)
            elif name == "baselines":
                key = evidence.split_key("train")
                given[name] = evidence.batch(key, BASELINES, family).clip
            else:
                raise ValueError(f"`{name}` is needed, and not known here")
        return functools.partial(self.transform, **given)


def choose_lines(
    names: Sequence[str] | None, variants: Sequence[str] = ()
) -> list[Line]:
    """The lines of those names, or all, in the order of the table of methods.

    Args:
      names: of methods and controls.
      variants: more lines, such as "step areas=(0.01,0.02)": a method with one of its
        settings changed.

    Raises:
      ValueError: no such line; the nearest ones are named.
    """
    lines = {
        method.name: Line(
            method.name,
            method.transform,
            dict(method.settings),
            method.needs,
            method.heatmap,
            method.gradients(method.settings),
            method.random,
            method.inputs,
        )
        for method in _registry.METHODS.values()
    }
    for kind in get_args(_control.Kind):
        made = functools.partial(jaxattr.control, kind=kind)
        lines[kind] = Line(kind, made, {}, (), _as_it_is, 0, kind == "random")
    for name in names or ():
        check_known("methods", name, lines)
    chosen = [line for name, line in lines.items() if name in (names or lines)]
    return chosen + [_variant(text, lines) for text in variants]


@functools.cache
def _bound(transform, settings):
    return functools.partial(transform, **dict(settings))


def _variant(text, lines):
    name, _, change = text.partition(" ")
    check_known("variants", name, lines)
    setting, _, value = change.partition("=")
    if setting not in lines[name].settings:
        raise ValueError(
            f"`variants` must be 'METHOD SETTING=VALUE' with a setting of {name}, "
            f"{', '.join(lines[name].settings) or 'which has none'}; got {text!r}."
        )
    try:
        settings = {**lines[name].settings, setting: ast.literal_eval(value)}
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"`variants` {text!r} has no value: {error}.") from error
    gradients = _registry.METHODS[name].gradients(settings)
    return lines[name]._replace(name=text, settings=settings, gradients=gradients)


def _as_it_is(shape):
    return {}
