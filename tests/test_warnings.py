import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxattr import ExplanationWarning, fold_convs, saliency

CLIP = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 1)))


def ladder(x):  # Class k scores k: the prediction is 19.
    return jnp.arange(20.0) + 0 * x.sum()


def test_a_target_that_the_network_did_not_choose():
    with pytest.warns(ExplanationWarning, match="number 20 of 20.*prediction is 19"):
        saliency(ladder)(CLIP, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        saliency(ladder)(CLIP, 15)  # Fifth: among the top predictions.
        jax.jit(saliency(ladder))(CLIP, 0)  # Values are not read under a trace.
        jax.vmap(saliency(ladder))(CLIP[None], jnp.array([0]))


def test_a_head_that_ends_in_softmax():
    f = lambda x: jax.nn.softmax(jnp.arange(4.0) * (1 + x.mean()))
    with pytest.warns(ExplanationWarning, match="softmax"):
        saliency(f)(CLIP, 3)


def test_a_softmax_in_bfloat16():
    # Three eighths of a percent are rounded off: the sum is 1.0039.
    p = np.array([0.5078125, 0.337890625, 0.158203125])
    f = lambda x: jnp.asarray(p, jnp.bfloat16) + 0 * x.sum().astype(jnp.bfloat16)
    with pytest.warns(ExplanationWarning, match="softmax"):
        saliency(f)(CLIP.astype(jnp.bfloat16), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        saliency(lambda x: f(x).astype(jnp.float32))(CLIP.astype(jnp.bfloat16), 0)


class Net(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.norm = nnx.BatchNorm(1, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(1, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(self.drop(self.norm(x))).mean((0, 1, 2))


@pytest.mark.parametrize(
    ("part", "words"), [("norm", "batch norm"), ("drop", "dropout")]
)
def test_a_network_in_training_mode(part, words):
    net = Net()
    net.eval()
    explain = saliency(net, score=lambda output, _: output.sum())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain(CLIP.astype(jnp.float32), None)
    getattr(net, part).train()
    count = np.asarray(net.norm.mean[...])
    bound = jax.tree_util.Partial(lambda net, clip: net(clip), net)
    for f in (net, fold_convs(net), bound, fold_convs(bound)):
        with pytest.warns(ExplanationWarning, match=words):
            saliency(f, score=lambda output, _: output.sum())(
                CLIP.astype(jnp.float32), None
            )
    np.testing.assert_array_equal(net.norm.mean[...], count)  # Nothing is touched.
