"""Which operations are linear in what depends on the clip, and which bend it."""

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
BENT = frozenset(
    (
        *("exp", "exp2", "expm1", "log", "log1p", "logistic", "tanh", "sqrt", "rsqrt"),
        *("cbrt", "integer_pow", "square", "pow", "abs", "max", "min", "clamp", "sign"),
        *("erf", "erfc", "erf_inv", "sin", "cos", "tan", "sinh", "cosh", "lgamma"),
        *("asin", "acos", "atan", "asinh", "acosh", "atanh", "atan2", "digamma"),
        *("floor", "ceil", "round", "rem", "nextafter", "is_finite"),
        *("gt", "ge", "lt", "le", "eq", "ne", "and", "or", "xor", "not"),
    )
)
