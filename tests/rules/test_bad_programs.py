"""Programs that rules cannot see into, or that cannot be traced."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

import jaxattr

CLIP = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 3)))
WEIGHTS = np.random.default_rng(1).normal(size=(3, 5))
METHODS = {
    "guided_backprop": {},
    "deconvnet": {},
    "excitation_backprop": {"layer": "hidden"},
}


def hidden(clip):
    return checkpoint_name(jax.nn.relu(clip @ WEIGHTS), "hidden")


def head(x):
    return jnp.flip(jnp.sort(x.mean((0, 1, 2))))


@jax.custom_vjp
def doubled(x):
    return jnp.maximum(x, 0)


doubled.defvjp(lambda x: (doubled(x), x), lambda x, g: (2 * g,))


@pytest.mark.parametrize("name", METHODS)
def test_what_cannot_be_seen_is_named(name):
    explain = getattr(jaxattr, name)(
        lambda clip: head(doubled(hidden(clip))), **METHODS[name]
    )
    words = f"into which {name} cannot see: custom_vjp_call"
    with pytest.warns(jaxattr.ExplanationWarning, match=words):
        explain(CLIP, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(jaxattr, name)(lambda clip: head(hidden(clip)), **METHODS[name])(
            CLIP, 0
        )


@pytest.mark.parametrize("name", [*METHODS, "lrp", "grad_cam", "saliency"])
def test_side_effects_happen_and_change_nothing(name, capfd):
    def loud(clip):
        x = hidden(clip)
        jax.debug.print("the sum is {}", x.sum())
        return x.mean((0, 1, 2)) @ WEIGHTS[0].reshape(5, 1)

    def silent(clip):
        return hidden(clip).mean((0, 1, 2)) @ WEIGHTS[0].reshape(5, 1)

    settings = {"layer": "hidden"} if name == "grad_cam" else METHODS.get(name, {})
    got, want = (
        getattr(jaxattr, name)(f, **settings)(CLIP, 0).values for f in (loud, silent)
    )
    jax.effects_barrier()
    np.testing.assert_allclose(got, want, rtol=1e-12)
    assert "the sum is" in capfd.readouterr().out


def count(clip):
    return clip.sum().astype(int)


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda c: c if c.sum() > 0 else -c, "decides in Python on values.*jnp.where"),
        (lambda c: c * float(c.sum()), "decides in Python on values.*jnp.where"),
        (lambda c: jnp.nonzero(c)[0], "decides in Python on values"),
        (lambda c: c[c > 0], "as a mask has.*jnp.where"),
        (lambda c: sum(c[i] for i in range(count(c))), "range.*jax.lax.fori_loop"),
        (lambda c: [c, c][count(c)], "index of a list.*jnp.take"),
        (lambda c: jnp.asarray(np.maximum(c, 0)), "NumPy.*jax.numpy.*from_host"),
        (lambda c: c[: count(c)], "slices by values.*dynamic_slice"),
        (lambda c: jnp.zeros(count(c)) * c.sum(), "shape depends on values"),
    ],
)
def test_what_needs_values_in_python_is_explained(f, said):
    with pytest.raises(TypeError, match=f"^`f` .*{said}"):
        jaxattr.saliency(f)(CLIP, 0)


LOOPS = {
    "saliency": {},
    "guided_backprop": {},
    "lrp": {},
    "grad_cam": {"layer": "hidden"},
    "excitation_backprop": {"layer": "hidden"},
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_of_an_open_number_of_rounds_is_named(name):
    def f(clip):
        of_weights = jax.lax.while_loop(lambda w: w < 3, lambda w: w + 1, WEIGHTS[0, 0])
        x = jax.lax.while_loop(
            lambda x: x.sum() < 9, lambda x: jax.nn.relu(x) + 1, hidden(clip)
        )
        return of_weights * x.mean((0, 1, 2)) @ WEIGHTS.T

    place = f"test_bad_programs.py:{f.__code__.co_firstlineno + 2}"
    said = rf"\(\S*{place}\), .*`scan`.*static bounds.*rise"
    with pytest.raises(ValueError, match=f"^`f` has a `while_loop` {said}"):
        getattr(jaxattr, name)(f, **LOOPS[name])(CLIP, 0)


def test_a_loop_in_the_score_is_named():
    def score(logits, target):
        return jax.lax.while_loop(lambda x: x.sum() < 9, jnp.exp, logits)[target]

    with pytest.raises(ValueError, match=r"^`f` has a `while_loop` \(in the score\)"):
        jaxattr.saliency(lambda clip: hidden(clip)[0, 0, 0], score=score)(CLIP, 0)


def test_an_error_of_the_network_itself_is_left_alone():
    with pytest.raises(IndexError, match="list index out of range"):
        jaxattr.saliency(lambda clip: [][0])(CLIP, 0)


def test_an_integer_clip_is_refused_everywhere():
    frames = jnp.arange(72).reshape(2, 3, 4, 3)
    for look in (
        lambda clip: jaxattr.list_taps(hidden, clip),
        lambda clip: jaxattr.rules.replaced(hidden, clip),
        lambda clip: jaxattr.rules.gradient_filter(hidden, clip),
        lambda clip: jaxattr.saliency(hidden)(clip, 0),
    ):
        with pytest.raises(TypeError, match="`clip` must be floating point, got int64"):
            look(frames)
    struct = jax.ShapeDtypeStruct(frames.shape, frames.dtype)
    with pytest.raises(TypeError, match="`clip` must be floating point, got int64"):
        jaxattr.list_taps(hidden, struct)
    with pytest.raises(TypeError, match=r"`clip` must be an array.*str"):
        jaxattr.list_taps(hidden, "clip.mp4")


def test_closed_over_state_is_explained():
    class Net(nnx.Module):
        def __init__(self):
            self.rnn = nnx.RNN(nnx.LSTMCell(3, 5, rngs=nnx.Rngs(0)))

        def __call__(self, clip):
            return head(self.rnn(clip.mean(1)[None])[0][None])

    net, clip = Net(), CLIP.astype(jnp.float32)
    with pytest.raises(TypeError, match="`f` closes over a Flax module that changes"):
        jaxattr.lrp(lambda clip: net(clip))(clip, 0)
    bound = jax.tree_util.Partial(lambda net, clip: net(clip), net)
    jaxattr.saliency(bound)(clip, 0)
