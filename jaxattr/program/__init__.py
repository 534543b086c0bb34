"""Re-evaluating a traced program: the network as operations that rules can replace."""

from jaxattr.program._fold_convs import fold_convs
from jaxattr.program._interpreter import evaluate
from jaxattr.program._trace import Join, Traced, split, trace

__all__ = ["Join", "Traced", "evaluate", "fold_convs", "split", "trace"]
