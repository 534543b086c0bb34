"""Re-evaluating a traced program: the network as operations that rules can replace."""

from jaxattr.program._attention import NAME as ATTENTION
from jaxattr.program._attention import (
    Map,
    is_attention,
    maps,
    unnamed,
    with_attention,
    with_names,
)
from jaxattr.program._facts import (
    CALLS,
    ELEMENTWISE,
    GATES,
    PRODUCTS,
    Fact,
    Made,
    bodies,
    carried,
    fresh,
    infer,
    opened,
    outcome,
)
from jaxattr.program._fold_convs import fold_convs
from jaxattr.program._geometry import Axis, tap_axes
from jaxattr.program._interpreter import Rule, evaluate
from jaxattr.program._loops import loops_explained
from jaxattr.program._modules import module_paths, without_paths
from jaxattr.program._trace import Join, Traced, split, trace
from jaxattr.program._wide import lift

__all__ = [
    "ATTENTION",
    "CALLS",
    "ELEMENTWISE",
    "GATES",
    "PRODUCTS",
    "Axis",
    "Fact",
    "Join",
    "Made",
    "Map",
    "Rule",
    "Traced",
    "bodies",
    "carried",
    "evaluate",
    "fold_convs",
    "fresh",
    "infer",
    "is_attention",
    "lift",
    "loops_explained",
    "maps",
    "module_paths",
    "opened",
    "outcome",
    "split",
    "tap_axes",
    "trace",
    "unnamed",
    "with_attention",
    "with_names",
    "without_paths",
]
