"""Networks that run outside of JAX: how a program shows them, and who refuses them."""

from jax.extend.core import Jaxpr, jaxprs_in_params

# By the name of the jitted function that calls one.
_OUTSIDE = {
    "jaxattr_from_host": (
        "`f` is a function on the host (from_host), into which layers, rules and "
        "attention methods cannot look: use a black-box method such as rise, "
        "occlusion, lime or kernel_shap."
    ),
    "jaxattr_from_torch": (
        "`f` is a torch network (from_torch), into which layers, rules and attention "
        "methods cannot look: use a gradient, mask or black-box method, or port the "
        "network to JAX."
    ),
}


def outside(jaxpr: Jaxpr) -> str | None:
    """Why nothing can look into a program, if it calls such a network."""
    for eqn in jaxpr.eqns:
        found = _OUTSIDE.get(str(eqn.params.get("name")))
        inside = (outside(body) for body in jaxprs_in_params(eqn.params))
        found = found or next(filter(None, inside), None)
        if found:
            return found
    return None
