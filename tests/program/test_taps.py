"""Named values: found and changed at any depth, as in the program written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from jaxattr.program import trace

CLIP = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
MIX = jnp.asarray(np.random.default_rng(1).normal(size=(3, 3)))


def plainly(x):
    return checkpoint_name(jnp.tanh(x), "a") @ MIX


def in_calls(x):
    return jax.jit(jax.jit(plainly))(x)


def in_checkpoint(x):
    return jax.checkpoint(plainly)(x)


def kept_by_checkpoint(x):
    policy = jax.checkpoint_policies.save_only_these_names("a")
    return jax.checkpoint(plainly, policy=policy)(x)


def in_scan(x):
    return lax.scan(lambda c, row: (c, plainly(row[None])[0]), 0, x)[1]


def in_checkpoint_in_scan(x):
    step = jax.checkpoint(lambda c, row: (c, plainly(row[None])[0]))
    return lax.scan(step, 0, x)[1]


def in_vmap(x):
    return jax.vmap(plainly)(x[:, None])[:, 0]


@pytest.mark.parametrize(
    "f",
    [
        plainly,
        in_calls,
        in_checkpoint,
        kept_by_checkpoint,
        in_scan,
        in_checkpoint_in_scan,
        in_vmap,
    ],
)
def test_a_tap_and_its_gradient_at_any_depth(f):
    network = trace(f, CLIP)
    output, taps = network.tapped(CLIP)
    np.testing.assert_array_equal(output, f(CLIP))
    np.testing.assert_allclose(taps["a"].reshape(4, 3), jnp.tanh(CLIP), rtol=1e-12)

    def scored(shift):
        return (network.tapped(CLIP, {"a": shift})[0] ** 2).sum()

    for transform in (jax.grad, lambda s: jax.jit(jax.grad(s))):
        got = transform(scored)(jnp.zeros_like(taps["a"]))
        want = 2 * (jnp.tanh(CLIP) @ MIX) @ MIX.T
        np.testing.assert_allclose(got.reshape(4, 3), want, rtol=1e-10)
    shift = jnp.asarray(np.random.default_rng(2).normal(size=taps["a"].shape))
    output, moved = network.tapped(CLIP, {"a": shift})
    want = jnp.tanh(CLIP) + shift.reshape(4, 3)
    np.testing.assert_allclose(output, want @ MIX, rtol=1e-10)
    np.testing.assert_allclose(moved["a"].reshape(4, 3), want, rtol=1e-12)


def test_many_clips_have_many_taps():
    clips = jnp.stack([CLIP, 2 * CLIP])
    got = jax.vmap(lambda c: trace(in_scan, c).tapped(c)[1]["a"])(clips)
    np.testing.assert_allclose(got[:, :, 0], jnp.tanh(clips), rtol=1e-12)


def test_what_may_not_happen_cannot_be_tapped():
    def f(x):
        y = lax.cond(x.sum() > 0, plainly, jnp.cos, x)
        y = lax.while_loop(
            lambda s: s.sum() < 3, lambda s: checkpoint_name(s + 1, "loop"), y
        )
        return checkpoint_name(y, "after")

    network = trace(f, CLIP)
    output, taps = network.tapped(CLIP)
    assert list(taps) == ["after"]
    np.testing.assert_array_equal(output, f(CLIP))


class Layer(nnx.Module):
    def __init__(self):
        self.mix = nnx.Param(MIX)

    def __call__(self, x):
        return jnp.tanh(x @ self.mix[...])


def test_a_module_called_in_bodies_is_numbered_in_order():
    class Net(nnx.Module):
        def __init__(self):
            self.layer = Layer()

        def __call__(self, x):
            x = self.layer(x)
            x = jax.checkpoint(lambda x: self.layer(self.layer(x)))(x)
            x = lax.scan(lambda c, row: (c, self.layer(row)), 0, x)[1]
            return self.layer(x)

    want = [CLIP]
    for _ in range(5):
        want.append(jnp.tanh(want[-1] @ MIX))
    network = trace(Net(), CLIP, modules=True)
    taps = network.tapped(CLIP)[1]
    assert list(taps) == [f"layer#{i}" for i in range(5)]
    for tap, value in zip(taps.values(), want[1:], strict=True):
        np.testing.assert_allclose(tap, value, rtol=1e-10)
    for key in taps:  # Each can be changed by itself.
        output = network.tapped(CLIP, {key: jnp.ones_like(taps[key])})[0]
        assert not np.allclose(output, want[-1])
    np.testing.assert_array_equal(network(CLIP), Net()(CLIP))


def test_a_method_that_calls_that_of_its_base_class_is_one_module():
    class Doubled(Layer):
        def __call__(self, x):
            return 2 * super().__call__(x)

    class Net(nnx.Module):
        def __init__(self):
            self.base, self.sub = Layer(), Doubled()

        def __call__(self, x):
            return self.sub(self.base(x))

    taps = trace(Net(), CLIP, modules=True).tapped(CLIP)[1]
    assert list(taps) == ["base", "sub"]
    want = 2 * jnp.tanh(jnp.tanh(CLIP @ MIX) @ MIX)
    np.testing.assert_allclose(taps["sub"], want, rtol=1e-10)


def test_what_the_author_named_goes_before_a_path():
    class Net(nnx.Module):
        def __init__(self):
            self.layer = Layer()

        def __call__(self, x):
            return checkpoint_name(2 * self.layer(x), "layer")

    taps = trace(Net(), CLIP, modules=True).tapped(CLIP)[1]
    assert list(taps) == ["layer"]
    np.testing.assert_allclose(taps["layer"], 2 * jnp.tanh(CLIP @ MIX), rtol=1e-10)


def test_a_class_is_itself_again_after_an_error():
    class Net(nnx.Module):
        def __call__(self, x):
            raise RuntimeError("broken")

    call = Net.__call__
    with pytest.raises(RuntimeError, match="broken"):
        trace(Net(), CLIP, modules=True)
    assert Net.__call__ is call


def test_names_given_twice_are_refused_with_both_places():
    def f(x):
        return checkpoint_name(checkpoint_name(x, "a") * 2, "a")

    with pytest.raises(ValueError, match=r"'a', at .*test_taps.*and at .*test_taps"):
        trace(f, CLIP).tapped(CLIP)
