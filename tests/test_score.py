import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxattr import saliency
from jaxattr._score import bind

TORCH = {
    "logit": lambda z, t: z[t],
    "prob": lambda z, t: torch.softmax(z, 0)[t],
    "log_prob": lambda z, t: torch.log_softmax(z, 0)[t],
    "margin": lambda z, t: z[t] - torch.cat([z[:t], z[t + 1 :]]).max(),
    "sigmoid": lambda z, t: torch.sigmoid(z[t]),
}


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("target", [0, 3])
def test_named_scores_and_their_gradients_match_torch(name, target):
    logits = np.random.default_rng(0).normal(size=4) * 5
    tensor = torch.tensor(logits, requires_grad=True)
    want = TORCH[name](tensor, target)
    want.backward()
    s = bind(lambda x: x, jnp.asarray(logits), target, name)
    value, gradient = jax.value_and_grad(s)(jnp.asarray(logits))
    np.testing.assert_allclose(value, want.item(), rtol=1e-12)
    np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("target", [-1, 4, 2**31 - 1, -(2**31)])
def test_a_traced_target_out_of_range_is_nan_in_value_and_gradient(name, target):
    logits = jnp.arange(4.0)
    s = jax.jit(lambda z, t: jax.value_and_grad(bind(lambda x: x, z, t, name))(z))
    value, gradient = s(logits, target)
    assert np.isnan(value)
    assert np.isnan(gradient).all()


def test_scores_of_a_half_precision_network_are_float32():
    s = bind(lambda x: x, jnp.zeros(3, jnp.bfloat16), 1, "log_prob")
    assert s(jnp.zeros(3, jnp.bfloat16)).dtype == jnp.float32


def test_a_callable_score_must_give_one_number():
    s = bind(lambda x: x, jnp.zeros(3), None, lambda z, _: z)
    with pytest.raises(ValueError, match="`score`"):
        s(jnp.zeros(3))
    s = bind(lambda x: x, jnp.zeros(3), None, lambda z, _: z.argmax())
    with pytest.raises(ValueError, match="`score`"):
        s(jnp.zeros(3))


@pytest.mark.parametrize(
    ("name", "count"), [("logit", 0), ("margin", 0), ("margin", 1)]
)
def test_too_few_classes_are_named_with_the_score(name, count):
    with pytest.raises(ValueError, match=rf"`f`.*score='{name}'.*\({count},\)"):
        bind(lambda x: x[:count], jnp.zeros(3), 0, name)
    with pytest.raises(ValueError, match=rf"`f`.*score='{name}'.*\({count},\)"):
        saliency(lambda x: x[0, 0, 0, :count], score=name)(jnp.zeros((1, 1, 1, 3)), 0)


def test_one_class_is_enough_for_the_others():
    for name in set(TORCH) - {"margin"}:
        s = bind(lambda x: x, jnp.zeros(1), 0, name)
        assert np.isfinite(s(jnp.ones(1)))


@pytest.mark.parametrize("dtype", ["int32", "bool", "uint8"])
def test_logits_that_are_no_floats_are_refused(dtype):
    f = lambda x: x[0, 0, 0].astype(dtype)
    with pytest.raises(TypeError, match=f"`f`.*floating-point logits.*{dtype}"):
        saliency(f)(jnp.zeros((1, 1, 1, 3)), 0)
