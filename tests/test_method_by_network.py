"""Which method explains which kind of network: the table, and that it is true."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from jaxattr._registry import METHODS
from jaxattr.perturbation import init_masking_model

SHAPE, CLASSES, WIDTH = (4, 6, 10, 3), 5, 4
TOKENS = (2, 3, 5)
CLIP = jnp.asarray(np.random.default_rng(0).normal(size=SHAPE))
KINDS64 = {"param_dtype": jnp.float64, "dtype": jnp.float64}


def residual(clip):
    """A 3-D CNN with batch norm and a residual connection."""
    rng = np.random.default_rng(1)

    def conv(x, features, stride):
        kernel = rng.normal(size=(3, 3, 3, x.shape[-1], features)) / 5
        numbers = ("NDHWC", "DHWIO", "NDHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, stride, "SAME", dimension_numbers=numbers
        )

    x = jax.nn.relu(conv(clip[None], WIDTH, (1, 2, 2)))
    mean, scale, shift = rng.normal(size=(3, 1, 1, 1, 1, WIDTH))
    deviation = np.sqrt(rng.uniform(0.5, 2, (1, 1, 1, 1, WIDTH)))
    y = (conv(x, WIDTH, (1, 1, 1)) - mean) / deviation * scale + shift
    x = checkpoint_name(jax.nn.relu(x + y), "cells")
    return (x.mean((1, 2, 3)) @ rng.normal(size=(WIDTH, CLASSES)))[0]


class Recurrent(nnx.Module):
    """A CNN on every frame, and an LSTM over them."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(3, WIDTH, (3, 3), rngs=rngs, **KINDS64)
        self.lstm = nnx.RNN(nnx.OptimizedLSTMCell(WIDTH, 6, rngs=rngs, **KINDS64))
        self.head = nnx.Linear(6, CLASSES, rngs=rngs, **KINDS64)

    def __call__(self, clip):
        x = checkpoint_name(nnx.relu(self.conv(clip)), "cells")
        return self.head(self.lstm(x.mean((1, 2))[None])[0, -1])


def reused(clip):
    """A plain function that uses one ReLU twice."""
    rng = np.random.default_rng(2)
    relu = jax.jit(lambda x: jnp.maximum(x, 0))
    x = relu(clip @ rng.normal(size=(3, WIDTH)))
    x = checkpoint_name(relu(x @ rng.normal(size=(WIDTH, WIDTH))), "cells")
    return x.mean((0, 1, 2)) @ rng.normal(size=(WIDTH, CLASSES))


def transformer(clip):
    """A block of joint attention, with layer norm and gelu."""
    rng = np.random.default_rng(3)

    def norm(x):
        x = x - x.mean(-1, keepdims=True)
        return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6)

    x = clip.reshape(2, 2, 3, 2, 5, 2, 3).transpose(0, 2, 4, 1, 3, 5, 6)
    x = x.reshape(30, 24) @ rng.normal(size=(24, WIDTH))
    q, k, v = (norm(x) @ rng.normal(size=(WIDTH, WIDTH)) for _ in range(3))
    x = x + (jax.nn.softmax((q @ k.T)[None]) @ v)[0]
    x = x + jax.nn.gelu(norm(x) @ rng.normal(size=(WIDTH, 8))) @ np.eye(8, WIDTH)
    x = checkpoint_name(norm(x).reshape(*TOKENS, WIDTH), "cells")
    return x.mean((0, 1, 2)) @ rng.normal(size=(WIDTH, CLASSES))


NETWORKS = {
    "residual": lambda: residual,
    "recurrent": Recurrent,
    "reused": lambda: reused,
    "transformer": lambda: transformer,
}
NO_ATTENTION = dict.fromkeys(("residual", "recurrent", "reused"), "no attention map")
# What a method says to a network that is not for it; all other pairs work.
REFUSED = {
    "cam": {"recurrent": "linear"},
    "saliency_tubes": {"recurrent": "linear"},
    "class_feature_pyramids": {
        "recurrent": "linear",
        "reused": "must come of convolutions",
        "transformer": "must come of convolutions",
    },
    "guided_backprop": {"transformer": "no ReLU"},
    "deconvnet": {"transformer": "no ReLU"},
    "guided_grad_cam": {"transformer": "no ReLU"},
    "attention_rollout": NO_ATTENTION,
    "gradient_rollout": NO_ATTENTION,
    "transformer_attribution": NO_ATTENTION,
}
# The others are stood for by tests/rules; a ReLU used twice, and a network without.
FAST = [
    (name, kind)
    for name in ("lrp", "guided_backprop")
    for kind in ("reused", "transformer")
]
SETTINGS = {
    "num_steps": 3,
    "num_samples": 3,
    "num_masks": 30,
    "grid": (2, 3, 3),
    "baselines": np.zeros((2, *SHAPE)),
    "areas": (0.2,),
    "num_iterations": 3,
    "layer": "cells",
    "layers": ("cells",),
    "tokens": TOKENS,
}


# A blur in proportion is none on so small a frame, and no cell worth its price.
OWN = {
    "meaningful_perturbation": {"perturbation": "fade"},
    "igos": {"perturbation": "fade", "sparsity": 0.0},
    # On a coarse grid to hide everything, or nothing, is best; on the finest it is not.
    "igos_pp": {"perturbation": "fade", "sparsity": 0.0, "grid": None},
    # Not trained; the networks have the same layers.
    "masking_model": {
        "params": init_masking_model(
            residual, CLIP[None], key=jax.random.key(0), taps=("cells",), channels=4
        )
    },
}


def settings_of(method):
    takes = inspect.signature(method.transform).parameters
    common = {name: value for name, value in SETTINGS.items() if name in takes}
    return {**common, **OWN.get(method.name, {})}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=() if (name, kind) in FAST else pytest.mark.slow)
        for name in METHODS
        for kind in NETWORKS
    ],
)
def test_method_by_network(name, kind):
    method, f = METHODS[name], NETWORKS[kind]()
    settings = settings_of(method)
    inputs = method.make_inputs(np.asarray(CLIP), settings)
    explain = functools.partial(method.transform(f, **settings), **inputs)
    target = int(f(CLIP).argmax())
    if kind in REFUSED.get(name, {}):
        with pytest.raises(ValueError, match=REFUSED[name][kind]):
            explain(CLIP, target, key=jax.random.key(0))
        return
    values = explain(CLIP, target, key=jax.random.key(0)).values
    assert values.shape in (SHAPE, SHAPE[:3])
    assert np.isfinite(values).all()
    assert np.ptp(values) > 0
