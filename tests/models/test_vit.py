"""ViViT and VideoMAE against Hugging Face's, from the files that these write."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.torch
import torch
import transformers_peers as peers
from flax import nnx

import jaxattr
import jaxattr_models as models
from jaxattr_models import CheckpointError, ClipSpec, _vit

GRID = (2, 3, 5)
CLIP = (4, 12, 15, 3)


def _build(name, weights=None, **settings):
    return models.build(name, weights, peers.CLASSES, **peers.SIZES, **settings)


@pytest.fixture(scope="module", params=peers.NAMES)
def pair(request, tmp_path_factory):
    """Name, the original, and the file it was saved to."""
    model = peers.peer(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    return request.param, model, folder / "model.safetensors"


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).normal(size=(2, *CLIP))


@pytest.fixture(scope="module")
def net(pair):
    name, _, path = pair
    return _build(name, path, dtype=jnp.float64)


def _traced(net, clip):
    """Names and values of all taps, all attention maps, and the logits."""
    closed = jax.make_jaxpr(net)(clip)
    equations = closed.jaxpr.eqns
    named = [e for e in equations if e.primitive.name == "name"]
    count = int(np.prod(net.spec.tokens)) + net.spec.class_token
    square = (peers.SIZES["heads"], count, count)
    maps = [
        e
        for e in equations
        if e.primitive.name == "div" and e.outvars[0].aval.shape[1:] == square
    ]
    wanted = [e.outvars[0] for e in named + maps] + closed.jaxpr.outvars
    program = closed.jaxpr.replace(outvars=wanted)
    run = jax.jit(lambda clip: jax.core.eval_jaxpr(program, closed.consts, clip))
    *values, logits = run(clip)
    taps = dict(zip([e.params["name"] for e in named], values))
    return taps, values[len(named) :], logits


def _assert_close(got, expected, tolerance):
    expected = np.asarray(expected)
    scale = np.abs(expected).max()
    assert scale > 1e-3
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale)


def test_logits_and_input_gradient_match_in_float64(pair, net, clips):
    _, model, _ = pair
    pixels = peers.as_pixels(clips).requires_grad_()
    expected = model(pixel_values=pixels).logits
    expected[:, 2].sum().backward()
    logits, gradient = jax.jit(
        lambda clips: (net(clips), jax.grad(lambda x: net(x)[:, 2].sum())(clips))
    )(jnp.asarray(clips))
    assert logits.dtype == gradient.dtype == jnp.float64
    # 4e-12 is what the tanh form's rounded constant costs.
    _assert_close(logits, expected.detach(), 1e-10)
    _assert_close(gradient, pixels.grad.permute(0, 1, 3, 4, 2), 1e-10)


def test_taps_are_the_hidden_states(pair, net, clips):
    _, model, _ = pair
    last = []
    layer = [m for n, m in model.named_modules() if n.endswith(".layernorm_before")][-1]
    hook = layer.register_forward_hook(lambda _, __, out: last.append(out))
    with torch.no_grad():
        output = model(pixel_values=peers.as_pixels(clips), output_hidden_states=True)
    hook.remove()
    names = ["tokens", "layer1", "layer2"]
    hidden = dict(zip(names, output.hidden_states, strict=True))
    hidden["layer2.layernorm_before"] = last[0]
    taps, _, _ = _traced(net, jnp.asarray(clips))
    assert list(taps) == [*names[:2], "layer2.layernorm_before", "layer2"]
    for name, value in taps.items():
        patches = hidden[name][:, -np.prod(GRID) :].reshape(2, *GRID, -1)
        _assert_close(value, patches, 1e-10)
    spec = net.spec
    assert {name: tap.shape[1:] for name, tap in taps.items()} == dict(spec.taps)
    assert spec.tokens == GRID
    assert spec.tap == "layer2.layernorm_before"


def test_attention_maps_show_in_the_program(pair, net, clips):
    _, model, _ = pair
    model.set_attn_implementation("eager")
    with torch.no_grad():
        pixels = peers.as_pixels(clips)
        expected = model(pixel_values=pixels, output_attentions=True).attentions
    model.set_attn_implementation("sdpa")
    _, maps, _ = _traced(net, jnp.asarray(clips))
    assert len(maps) == len(expected) == 2
    for got, attention in zip(maps, expected):
        assert np.abs(attention.numpy() - 1 / attention.shape[-1]).max() > 0.1
        _assert_close(got, attention, 1e-6)  # ViViT's softmax there is in float32.


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 0.05)]
)
@pytest.mark.slow
def test_narrow_dtypes(pair, net, clips, dtype, tolerance):
    name, _, path = pair
    narrow = _build(name, path, dtype=dtype)
    logits = jax.jit(narrow)(jnp.asarray(clips))
    assert logits.dtype == dtype
    _assert_close(logits.astype(jnp.float64), net(jnp.asarray(clips)), tolerance)


@pytest.mark.slow
def test_batches_and_transformations_agree(net, clips):
    many = jnp.asarray(clips)
    logits = net(many)  # Not compiled.
    assert logits.shape == (2, peers.CLASSES)
    call = jax.jit(lambda net, clips: net(clips))
    for got in (
        jnp.stack([call(net, clip) for clip in many]),
        jax.jit(jax.vmap(net))(many),
        call(net, many[:, None])[:, 0],
    ):
        _assert_close(got, logits, 1e-12)


def _leaves(net):
    state = nnx.to_flat_state(nnx.state(net))
    return {"/".join(map(str, key)): leaf[...] for key, leaf in state}


@pytest.mark.parametrize("names", ["file", "modules"])
@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_both_spellings_in_both_formats(pair, net, tmp_path, names, suffix):
    name, model, source = pair
    state = peers.state(model)
    in_file = safetensors.torch.load_file(source)
    assert in_file.keys() != state.keys()
    if names == "file":
        state = in_file
    path = tmp_path / f"model.{suffix}"
    if suffix == "bin":
        torch.save(state, path)
    else:
        safetensors.torch.save_file(state, path)
    got = _leaves(_build(name, path, dtype=jnp.float64))
    assert len(got) == len(state)
    jax.tree.map(np.testing.assert_array_equal, got, _leaves(net))


def test_our_own_file(net, tmp_path):
    path = tmp_path / "mine.safetensors"
    models.save(net, path)
    again = models.build(net.name, path, **peers.SIZES, dtype=jnp.float64)
    jax.tree.map(np.testing.assert_array_equal, again, net)


def test_a_file_that_does_not_fit_is_refused_by_name(pair, tmp_path):
    name, model, source = pair
    for state in (safetensors.torch.load_file(source), peers.state(model)):
        lost, wrong = [n for n in state if ".1.attention." in n and ".weight" in n][:2]
        del state[lost]
        state[wrong] = state[wrong][:-1].clone()
        state["pooler.dense.bias"] = torch.zeros(3)
        path = tmp_path / "model.safetensors"
        safetensors.torch.save_file(state, path)
        with pytest.raises(CheckpointError) as caught:
            _build(name, path)
        assert caught.value.missing == (lost,)
        assert caught.value.surplus == ("pooler.dense.bias",)
        assert [line.split(":")[0] for line in caught.value.misshaped] == [wrong]


class _Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_with_a_payload_is_refused(pair, tmp_path):
    name, model, _ = pair
    state = peers.state(model) | {"payload": _Payload(tmp_path / "executed")}
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="nothing from the file is executed"):
        _build(name, tmp_path / "pytorch_model.bin")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", peers.NAMES)
def test_random_parameters_neither_vanish_nor_explode(name, clips):
    clip = jnp.asarray(clips[0], jnp.float32)
    call = jax.jit(lambda net, clip: net(clip))
    first, again, other = (call(_build(name, seed=s), clip) for s in (1, 1, 2))
    assert 0.3 < first.std() < 3  # The head is N(0, 1/D) on normalised features.
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-2


@pytest.mark.parametrize(
    "dtype",
    [
        jnp.float16,
        *(pytest.param(d, marks=pytest.mark.slow) for d in (jnp.bfloat16, jnp.float64)),
    ],
)
def test_a_token_of_equal_features_is_normalised_to_zero(dtype):
    norm = jax.tree.map(lambda leaf: leaf.astype(dtype), _vit.LayerNorm(7, 1e-12))
    x = jnp.full((2, 3, 7), 300, dtype)  # Whose square is beyond float16.
    np.testing.assert_array_equal(norm(x), np.zeros(x.shape))
    gradient = jax.grad(lambda x: norm(x)[0, 1, 2])(x)
    assert gradient.dtype == dtype
    assert np.isfinite(gradient[1]).all()


@pytest.mark.parametrize(
    ("clip", "error", "match"),
    [
        (np.zeros((8, 12, 15, 3)), ValueError, r"\[..., 4, 12, 15, 3\].*\(8, 12, 15"),
        (np.zeros((4, 15, 12, 3)), ValueError, r"`clip`.*\(4, 15, 12, 3\)"),
        (np.zeros((4, 12, 15, 1)), ValueError, r"`clip`.*\(4, 12, 15, 1\)"),
        (np.zeros((12, 15, 3)), ValueError, r"`clip`.*\(12, 15, 3\)"),
        (np.zeros(CLIP, np.uint8), TypeError, "`clip` must be floating"),
    ],
)
def test_refuses_a_bad_clip(net, clip, error, match):
    with pytest.raises(error, match=match):
        net(clip)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"num_frames": 5}, "`num_frames` must be a multiple of 2.*got 5"),
        ({"size": (12, 16)}, r"`size` must be multiples of \(4, 3\).*\(12, 16\)"),
        ({"size": (12, 15, 3)}, "`size` must be 2 numbers"),
        ({"tubelet": (4, 3)}, "`tubelet` must be 3 numbers"),
        ({"heads": 4}, "`width` must be a multiple of `heads`, got 21 and 4"),
        ({"depth": 0}, "`depth` must be at least 1, got 0"),
        ({"tubelet": (2, 0, 3)}, r"`tubelet` must be at least 1"),
    ],
)
def test_refuses_sizes_that_do_not_fit(settings, match):
    with pytest.raises(ValueError, match=match):
        models.vivit(peers.CLASSES, **peers.SIZES | settings)
    with pytest.raises(ValueError, match="`num_classes` must be at least 1, got 0"):
        models.videomae(0)


def test_settings_may_be_lists():
    lists = {n: list(v) if isinstance(v, tuple) else v for n, v in peers.SIZES.items()}
    assert models.vivit(**lists).spec == models.vivit(**peers.SIZES).spec


def test_a_class_token_stands_before_tokens():
    with pytest.raises(ValueError, match="`class_token` needs `tokens`"):
        ClipSpec(num_frames=4, size=(12, 15), class_token=True)


def test_the_recommended_tap_has_a_gradient(net, clips):
    values = jaxattr.grad_cam(net)(jnp.asarray(clips[0]), 2).values
    assert np.abs(values).max() > 0
