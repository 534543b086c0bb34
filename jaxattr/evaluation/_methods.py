"""What an evaluation can run: the methods of the library, and controls."""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import get_args

from jaxattr._control import Kind, control
from jaxattr._registry import METHODS, Method


def _as_it_is(shape):
    return {}


def _control(kind):
    transform = functools.partial(control, kind=kind)
    return Method(
        kind,
        transform,
        "control",
        kind == "random",
        "the clip",
        lambda s: 0.0,
        _as_it_is,
    )


RUNNABLE: Mapping[str, Method] = MappingProxyType(
    {**METHODS, **{kind: _control(kind) for kind in get_args(Kind)}}
)
