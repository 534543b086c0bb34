"""What rules find, counted by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxattr.rules import replaced

CLIP = jax.ShapeDtypeStruct((3, 4, 5, 2), jnp.float64)
KERNEL = np.ones((1, 1, 1, 2, 2))


def convolved(x):
    numbers = ("NDHWC", "DHWIO", "NDHWC")
    return lax.conv_general_dilated(
        x[None], KERNEL, (1, 1, 1), "SAME", dimension_numbers=numbers
    )[0]


def test_every_kind_is_counted():
    def network(clip):
        x = jax.nn.relu(convolved(clip))
        x = jnp.where(x > 0, x, 0.0) + jnp.tanh(x)  # A residual is none of them.
        x = jax.nn.relu(convolved(x)).reshape(-1, 2)
        x = jax.nn.softmax(x @ x.T) @ x
        x = x * lax.rsqrt((x * x).mean(-1, keepdims=True))
        return (x * jax.nn.sigmoid(x @ jnp.ones((2, 2)))).mean(0) @ jnp.ones((2, 4))

    got = replaced(network, CLIP)
    assert got[:-1] == (3, 2, 2, 5, 2, 1)
    assert dict(got.others)["tanh"] == 1
    assert got.others[0][1] >= got.others[-1][1]


def test_a_body_that_is_looped_counts_once():
    def network(clip):
        def step(carry, frame):
            return jax.nn.relu(carry * 0.5 + frame.mean((0, 1))), None

        return lax.scan(step, jnp.zeros(2), clip)[0]

    assert replaced(network, CLIP).rectifiers == 1


def test_what_depends_on_no_clip_does_not_count():
    still = jnp.arange(6.0).reshape(2, 3)

    def network(clip):
        return clip.mean((0, 1, 2)) @ jax.nn.relu(
            jax.nn.softmax(still @ still.T) @ still
        )

    assert replaced(network, CLIP)[:-1] == (0, 0, 1, 0, 0, 0)
    with pytest.raises(TypeError, match="`f` must be a callable"):
        replaced(3, CLIP)
