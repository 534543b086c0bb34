"""The three residual networks against torchvision's, from the same checkpoint file."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torchvision
from flax import nnx

import jaxattr_models as models
from jaxattr_models import resnet3d

BUILDERS = {name: getattr(models, name) for name in ("r2plus1d_18", "r3d_18", "mc3_18")}
PARAMETERS = {"r2plus1d_18": 31_505_325, "r3d_18": 33_371_472, "mc3_18": 11_695_440}
TAPS = ("stem", "layer1", "layer2", "layer3", "layer4")


def _reference(name: str, seed: int) -> torch.nn.Module:
    """torchvision's network, with statistics and affine parameters of all kinds."""
    torch.manual_seed(seed)
    net = getattr(torchvision.models.video, name)(weights=None).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
            torch.nn.init.normal_(module.running_mean, std=0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net


@pytest.fixture(
    scope="module",  # The third is made of what is in these two.
    params=["r2plus1d_18", "mc3_18", pytest.param("r3d_18", marks=pytest.mark.slow)],
)
def pair(request, tmp_path_factory):
    """Name, torchvision's network, and the checkpoint file that holds it."""
    reference = _reference(request.param, seed=3)
    path = tmp_path_factory.mktemp("weights") / f"{request.param}.pth"
    torch.save(reference.state_dict(), path)
    yield request.param, reference, path
    path.unlink()


def _taps_and_logits(net, clip):
    """Evaluates the traced program with the tagged values as further outputs."""
    closed = jax.make_jaxpr(net)(clip)
    named = [e for e in closed.jaxpr.eqns if e.primitive.name == "name"]
    outputs = [e.outvars[0] for e in named] + closed.jaxpr.outvars
    program = closed.jaxpr.replace(outvars=outputs)
    run = jax.jit(lambda *consts: jax.core.eval_jaxpr(program, consts[:-1], consts[-1]))
    *taps, logits = run(*closed.consts, clip)
    return dict(zip([e.params["name"] for e in named], taps, strict=True)), logits


def _torch_taps_and_logits(net, clip):
    taps, hooks = {}, []
    for name in TAPS:
        hook = lambda _, __, out, name=name: taps.update({name: out.numpy()})
        hooks.append(getattr(net, name).register_forward_hook(hook))
    with torch.no_grad():
        logits = net(torch.from_numpy(clip.transpose(0, 4, 1, 2, 3).copy()))
    for hook in hooks:
        hook.remove()
    return {k: v.transpose(0, 2, 3, 4, 1) for k, v in taps.items()}, logits.numpy()


@pytest.mark.parametrize(
    ("dtype", "shape", "tolerance"),
    [
        (np.float64, (1, 6, 24, 16, 3), 1e-11),  # Maps get odd on the way down.
        pytest.param(  # 40 layers of 1e-6 each.
            *(np.float32, (1, 8, 40, 32, 3), 1e-4), marks=pytest.mark.slow
        ),
    ],
)
def test_logits_and_taps_match_torchvision(pair, dtype, shape, tolerance):
    name, reference, path = pair
    clip = np.random.default_rng(0).normal(size=shape).astype(dtype)
    reference = reference.to(torch.float64 if dtype == np.float64 else torch.float32)
    expected_taps, expected = _torch_taps_and_logits(reference, clip)
    reference.float()
    net = BUILDERS[name](weights=path, dtype=dtype)
    taps, logits = _taps_and_logits(net, jnp.asarray(clip))
    assert tuple(taps) == TAPS
    for tap in TAPS:
        assert taps[tap].dtype == dtype
        scale = np.abs(expected_taps[tap]).max()
        np.testing.assert_allclose(
            taps[tap], expected_taps[tap], rtol=0, atol=tolerance * scale
        )
    assert logits.dtype == dtype
    scale = np.abs(expected).max()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.slow
def test_every_parameter_has_its_key(pair):
    name, reference, path = pair
    net = BUILDERS[name](weights=path)
    state = reference.state_dict()
    seen = set()
    for key, variable in nnx.to_flat_state(nnx.state(net)):
        source, axes = net.source_name("/".join(map(str, key)))
        value = state[source].numpy()
        if key[-1] == "kernel":  # O, I, T, H, W -> T, H, W, I, O; a matrix transposes.
            value = np.moveaxis(value, (0, 1), (-1, -2))
        assert (axes is None) == (key[-1] != "kernel")
        np.testing.assert_array_equal(variable.get_value(), value)
        seen.add(source)
    counters = {k for k in state if k.endswith("num_batches_tracked")}
    assert seen == set(state) - counters
    assert len(state) == (224 if name == "r2plus1d_18" else 122)


@pytest.mark.parametrize("name", BUILDERS)
def test_parameter_count(name):
    net = BUILDERS[name]()
    count = sum(v.size for v in jax.tree.leaves(nnx.state(net, nnx.Param)))
    assert count == PARAMETERS[name]


def test_middle_width_is_computed_once_per_block():
    net = models.r2plus1d_18()
    widths = [
        tuple(unit.conv.space.out_features for unit in (block.conv1, block.conv2))
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4)
        for block in layer
    ]
    assert widths == [
        (144, 144),
        (144, 144),
        (230, 230),
        (288, 288),
        (460, 460),
        (576, 576),
        (921, 921),
        (1152, 1152),
    ]


def test_spec_is_kinetics_preprocessing(pair):
    name, _, _ = pair
    net = BUILDERS[name]()
    spec = net.spec
    transform = torchvision.models.get_model_weights(name).KINETICS400_V1
    reference = transform.transforms()
    assert list(spec.labels) == transform.meta["categories"]
    assert spec.labels[232] == "playing guitar"
    assert list(spec.mean) == reference.mean
    assert list(spec.std) == reference.std
    assert list(spec.resize) == reference.resize_size
    assert list(spec.size) == reference.crop_size
    assert spec.antialias is False
    assert (spec.num_frames, spec.fps, spec.sampling) == (16, 15.0, "centre")
    shapes = {
        tap: shape
        for tap, shape in zip(
            TAPS, _tap_shapes(net, (spec.num_frames, *spec.size, 3)), strict=True
        )
    }
    assert dict(spec.taps) == shapes
    assert spec.tap == "layer4"


def _tap_shapes(net, shape):
    program = jax.make_jaxpr(net)(jax.ShapeDtypeStruct(shape, jnp.float32))
    return [
        e.outvars[0].aval.shape
        for e in program.jaxpr.eqns
        if e.primitive.name == "name"
    ]


@pytest.fixture(scope="module")
def small():
    """A network quick enough to call often, and two clips."""
    net = models.mc3_18(num_classes=7, seed=1)
    clips = np.random.default_rng(1).normal(size=(2, 3, 16, 8, 3))
    return net, jnp.asarray(clips, jnp.float32)


def _call(net, clip):
    return net(clip)


# Other batch sizes sum in another order, in float32.
_assert_close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)


def test_any_leading_axes(small):
    net, clips = small
    call = jax.jit(_call)
    logits = call(net, clips)
    assert logits.shape == (2, 7)
    _assert_close(call(net, clips[0]), logits[0])
    _assert_close(call(net, clips[:, None])[:, 0], logits)
    assert _tap_shapes(net, (5, 2, 4, 24, 16, 3))[-1] == (5, 2, 4, 2, 1, 512)


def test_one_clip_is_not_reshaped_around_every_layer(small):
    net, clips = small
    jaxpr = jax.make_jaxpr(net)(clips[0]).jaxpr
    maps = [e for e in jaxpr.eqns if e.primitive.name in ("reshape", "squeeze")]
    maps = [e for e in maps if e.outvars[0].aval.size > 7 * 512]
    # One for the clip, and two around each tap; those of batch norm are vectors.
    assert len([e for e in maps if e.outvars[0].aval.ndim in (4, 5)]) <= 11


@pytest.mark.slow
def test_is_an_argument_of_every_transformation(small):
    net, clips = small
    expected = jax.jit(_call)(net, clips)
    _assert_close(jax.jit(net)(clips), expected)
    _assert_close(jax.jit(lambda clips: net(clips))(clips), expected)
    _assert_close(jax.jit(jax.vmap(_call, (None, 0)))(net, clips), expected)
    gradient, input_gradient = jax.jit(
        jax.grad(lambda net, clip: net(clip)[2], argnums=(0, 1))
    )(net, clips[0])
    np.testing.assert_array_equal(gradient.fc.bias[...], np.eye(7)[2])
    assert input_gradient.shape == clips[0].shape
    doubled = jax.tree.map(lambda leaf: 2 * leaf, net)
    np.testing.assert_array_equal(
        doubled.fc.kernel[...], 2 * np.array(net.fc.kernel[...])
    )
    assert doubled.spec == net.spec


def test_another_network_of_the_same_shape_does_not_recompile(small):
    net, clips = small
    other = models.mc3_18(num_classes=7, seed=2)
    traces = []

    @jax.jit
    def call(net, clip):
        traces.append(1)
        return net(clip)

    first, second = call(net, clips[0]), call(other, clips[0])
    assert len(traces) == 1
    assert not np.allclose(first, second)


@pytest.mark.slow
def test_a_cast_tree_casts_the_computation(small):
    net, clips = small
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), net)
    logits = jax.jit(_call)(wide, clips)  # The clip is cast to the parameters' dtype.
    assert logits.dtype == jnp.float64
    np.testing.assert_allclose(logits, jax.jit(_call)(net, clips), rtol=1e-4, atol=1e-5)
    out = jax.eval_shape(_call, net, clips.astype(jnp.float64))
    assert out.dtype == jnp.float32


def test_same_seed_same_network():
    first, second, third = (models.mc3_18(num_classes=3, seed=s) for s in (5, 5, 6))
    kernels = [n.stem.conv.kernel[...] for n in (first, second, third)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.allclose(kernels[0], kernels[2])


def test_labels_are_unknown_for_other_class_counts(small):
    assert small[0].spec.labels == ()
    assert len(resnet3d.kinetics400_labels()) == 400


@pytest.mark.parametrize(
    ("clip", "error", "match"),
    [
        (np.zeros((4, 16, 16, 3), np.uint8), TypeError, "`clip` must be floating"),
        (np.zeros((4, 16, 16, 4), np.float32), ValueError, r"`clip`.*\(4, 16, 16, 4\)"),
        (np.zeros((16, 16, 3), np.float32), ValueError, r"`clip`.*\(16, 16, 3\)"),
    ],
)
def test_refuses_a_bad_clip(small, clip, error, match):
    with pytest.raises(error, match=match):
        small[0](clip)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"num_classes": 0}, "`num_classes`"),
        ({"dtype": jnp.int32}, "`dtype`"),
    ],
)
def test_refuses_bad_settings(settings, match):
    with pytest.raises(ValueError, match=match):
        models.mc3_18(**settings)
