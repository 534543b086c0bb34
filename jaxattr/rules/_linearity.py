"""Which operations are linear in what depends on the clip, and which bend it."""

from jaxattr.program import ELEMENTWISE

# Linear in all floating-point operands together, without turning a sign ...
LINEAR = frozenset(
    (
        *("add", "add_any", "select_n", "convert_element_type", "copy", "copy_p"),
        *("name", "broadcast_in_dim", "reshape", "squeeze", "expand_dims", "transpose"),
        *("slice", "pad", "rev", "split", "concatenate", "stack", "gather", "scatter"),
        *("dynamic_slice", "dynamic_update_slice", "scatter-add", "scatter_add"),
        *("reduce_sum", "reduce_window_sum", "cumsum", "reduce_precision"),
        *("sharding_constraint", "optimization_barrier"),
    )
)
OPPOSED = {"neg": (True,), "sub": (False, True)}  # ... or these.
LARGEST = frozenset(("max", "reduce_max", "reduce_window_max"))
LEAST = frozenset(("min", "reduce_min", "reduce_window_min"))
# Element by element. The first keep a straight line straight, if one operand moved.
STRAIGHT = frozenset(
    (
        *("add", "add_any", "sub", "neg", "mul", "div", "select_n"),
        *("convert_element_type", "copy", "copy_p", "name", "reduce_precision"),
    )
)
BENT = ELEMENTWISE - STRAIGHT
