import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxattr.program import _conv_2d, fold_convs, trace

LAYOUTS = [
    ("NDHWC", "DHWIO", "NDHWC"),
    ("NCDHW", "OIDHW", "NCDHW"),
    ("NDHWC", "OIDHW", "NCDHW"),
    ("DHWNC", "IODHW", "WNDHC"),
]


def draw(seed):
    """A random convolution that exists: (f of (x, kernel), x, kernel, settings)."""
    rng = np.random.default_rng(seed)
    while True:
        rank = int(rng.choice([3, 3, 2]))
        layout = LAYOUTS[rng.integers(len(LAYOUTS))]
        if rank == 2:
            layout = tuple(spec.replace("D", "") for spec in layout)
        groups = int(rng.choice([1, 1, 2, 3]))
        inputs, outputs = groups * rng.integers(1, 3), groups * rng.integers(1, 4)
        taps = rng.integers(1, 4, rank)
        if rng.integers(3) == 0:
            taps[1:] = 1
        sizes = dict(zip("DHW"[-rank:], rng.integers(3, 7, rank)))
        strides = rng.choice([1, 1, 2, 3], rank)
        spread = rng.choice([1, 1, 1, 2], rank)
        dilation = rng.choice([1, 1, 2], rank)
        if rank == 3 and rng.integers(3):
            spread[0] = 1
        padding = [
            rng.choice([-1, 0, 1, 2, 3], (rank, 2)).tolist(),
            "VALID",
            "SAME" if max(spread) == 1 else "VALID",
        ][rng.integers(3)]
        x = rng.normal(size=shape(layout[0], N=rng.integers(1, 3), C=inputs, **sizes))
        taps = dict(zip("DHW"[-rank:], taps))
        kernel = rng.normal(
            size=shape(layout[1], I=inputs // groups, O=outputs, **taps)
        )
        strides, spread, dilation = (
            tuple(setting.tolist()) for setting in (strides, spread, dilation)
        )
        settings = (strides, padding, spread, dilation, layout, groups)

        def f(operands, settings=settings):
            return lax.conv_general_dilated(*operands, *settings)

        try:
            out = jax.eval_shape(f, (x, kernel))
        except (ValueError, TypeError):
            continue
        if out.size:
            return f, x, kernel, settings


def shape(spec, **sizes):
    return tuple(int(sizes[letter]) for letter in spec)


def derivatives(f, x, kernel, out):
    """Value, gradients, second derivatives both ways, a batch and a loop of f."""
    rng = np.random.default_rng(0)
    weight, dx, dkernel = (rng.normal(size=s) for s in (out, x.shape, kernel.shape))

    def curved(operands):
        return (jnp.sin(f(operands)) * weight).sum()

    def slope(operands):
        gx, gkernel = jax.grad(curved)(operands)
        return (gx * dx).sum() + (gkernel * dkernel).sum()

    def loop(operands):
        step = lambda o, _: (jax.tree.map(jnp.subtract, o, jax.grad(curved)(o)), None)
        return lax.scan(step, operands, None, length=2)[0]

    @jax.jit
    def everything(operands, other):
        many = jax.tree.map(lambda a, b: jnp.stack([a, b]), operands, other)
        return {
            "value": f(operands),
            "gradients": jax.grad(curved)(operands),
            "forward mode": jax.jvp(f, (operands,), ((dx, dkernel),))[1],
            "reverse over reverse": jax.grad(slope)(operands),
            "batch of both": jax.vmap(jax.grad(curved))(many),
            "batch of clips": jax.vmap(
                lambda x: jax.grad(lambda x: curved((x, operands[1])))(x)
            )(many[0]),
            "loop": loop(operands),
        }

    return everything((x, kernel), (x + 1, kernel))


def check_against_lax(seed, monkeypatch):
    f, x, kernel, settings = draw(seed)
    # Every way to write a 2-D convolution and its gradient, whatever its size.
    few, one = [(0, 0), (0, 10**6), (10**6, 0)][seed % 3]
    monkeypatch.setattr(_conv_2d, "_FEW_POSITIONS", few)
    monkeypatch.setattr(_conv_2d, "_ONE_IMAGE", one)
    out = jax.eval_shape(f, (x, kernel)).shape
    expected = derivatives(f, x, kernel, out)
    got = derivatives(trace(f, (x, kernel), fold=True), x, kernel, out)
    for name, values in expected.items():
        for a, b in zip(jax.tree.leaves(got[name]), jax.tree.leaves(values)):
            np.testing.assert_allclose(
                a, b, rtol=1e-11, atol=1e-11, err_msg=f"{name} of {settings}"
            )


@pytest.mark.parametrize("seed", range(2))
def test_random_convolutions_agree_with_lax(seed, monkeypatch):
    check_against_lax(seed, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 66))
def test_many_random_convolutions_agree_with_lax(seed, monkeypatch):
    check_against_lax(seed, monkeypatch)


@pytest.mark.parametrize(
    ("kernel", "strides", "padding", "dilation", "groups"),
    [
        ((1, 7, 7), (1, 2, 2), (0, 3, 3), (1, 1, 1), 1),
        ((3, 1, 1), (2, 1, 1), (1, 0, 0), (1, 1, 1), 1),
        ((3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1), 2),
        ((3, 2, 3), (1, 1, 2), (2, 1, 2), (2, 1, 2), 1),
        *(
            pytest.param(*row, marks=pytest.mark.slow)
            for row in (
                ((4, 3, 2), (1, 2, 1), (2, 1, 0), (1, 1, 1), 1),
                ((1, 1, 1), (2, 2, 2), (0, 0, 0), (1, 1, 1), 1),
            )
        ),
    ],
)
def test_agrees_with_torch(kernel, strides, padding, dilation, groups):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 11, 9, 4))
    w = rng.normal(size=(*kernel, 4 // groups, 6))

    def f(operands):
        return lax.conv_general_dilated(
            *operands,
            strides,
            [(p, p) for p in padding],
            rhs_dilation=dilation,
            dimension_numbers=LAYOUTS[0],
            feature_group_count=groups,
        )

    x_there = torch.tensor(x.transpose(0, 4, 1, 2, 3), requires_grad=True)
    w_there = torch.tensor(w.transpose(4, 3, 0, 1, 2), requires_grad=True)
    out = torch.nn.functional.conv3d(
        x_there, w_there, None, strides, padding, dilation, groups
    )
    out.sin().sum().backward()

    traced = trace(f, (x, w), fold=True)
    y = traced((x, w))
    gx, gw = jax.grad(lambda operands: jnp.sin(traced(operands)).sum())((x, w))
    for got, there, axes in [
        (y, out, (0, 2, 3, 4, 1)),
        (gx, x_there.grad, (0, 2, 3, 4, 1)),
        (gw, w_there.grad, (2, 3, 4, 1, 0)),
    ]:
        expected = there.detach().numpy().transpose(axes)
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


def test_negative_padding_is_cropped_first():
    """XLA:CPU reads out of bounds on a strided 2-D convolution with negative padding.

    The 1x1 kernel makes it plain: the result is a slice of x times a matrix. jaxlib
    0.10.2 returns values up to 1e34 here when the padding reaches the convolution.
    """
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 6, 7, 8)), rng.normal(size=(1, 1, 8, 3))
    x, w = x.astype(np.float32), w.astype(np.float32)

    def f(x):
        return lax.conv_general_dilated(
            x, w, (2, 2), ((-1, 0), (-1, 2)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    padded = np.pad(x[:, 1:, 1:], ((0, 0), (0, 0), (0, 2), (0, 0)))
    expected = padded[:, ::2, ::2] @ w[0, 0]
    traced = trace(f, x, fold=True)
    got = jax.jit(traced)(x)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    convs = re.findall(
        r"convolution\(.*?pad = (\S+)", jax.jit(traced).lower(x).as_text()
    )
    assert not any("-" in pads for pads in convs)


def convolutions(f, *args):
    """Layouts of the convolutions that XLA:CPU compiles f to."""
    text = jax.jit(f).lower(*args).compile().as_text()
    return re.findall(r" convolution\(.*?dim_labels=(\S+?)[,\s]", text)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="about XLA:CPU")
@pytest.mark.parametrize("rank", [2, 3])
def test_every_convolution_of_a_loop_is_in_the_fast_layout(rank, monkeypatch):
    """The trap this transform exists for: `01oi` after hoisting out of a loop."""
    monkeypatch.setattr(_conv_2d, "_FEW_POSITIONS", 0)
    monkeypatch.setattr(_conv_2d, "_ONE_IMAGE", 0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, *(5, 40, 38)[3 - rank :], 3)).astype(np.float32)
    weights = [
        rng.normal(size=(3,) * rank + channels).astype(np.float32)
        for channels in ((3, 8), (8, 4))
    ]
    layout = tuple(spec.replace("D", "") if rank == 2 else spec for spec in LAYOUTS[0])

    def loop(fold):
        def core(weights, x):
            def f(x):
                for stride, w in zip((2, 1), weights):
                    strides = (2,) * (rank - 2) + (stride, stride)
                    x = jnp.tanh(
                        lax.conv_general_dilated(
                            x, w, strides, "SAME", dimension_numbers=layout
                        )
                    )
                return x.sum()

            traced = trace(f, x, fold=fold)
            step = lambda x, _: (x - jax.grad(traced)(x), None)
            return lax.scan(step, x, None, length=3)[0]

        return core

    folded = convolutions(loop(True), weights, x)
    assert len(folded) == 4
    assert set(folded) == {"b01f_01io->b01f"}
    # Without it they are not, or this XLA needs no folding: then drop it.
    assert set(convolutions(loop(False), weights, x)) != {"b01f_01io->b01f"}


def network(w):
    def block(x):
        return lax.conv_general_dilated(
            x, w, (1, 1, 1), "SAME", dimension_numbers=LAYOUTS[0]
        )

    return block


@pytest.mark.parametrize(
    "wrap",
    [
        jax.checkpoint,
        lambda f: lambda x: lax.scan(lambda x, _: (f(x), None), x, None, length=2)[0],
        lambda f: lambda x: lax.cond(x.sum() > 1e9, jnp.sin, f, x),
        lambda f: (
            lambda x: lax.while_loop(
                lambda s: s[0] < 2, lambda s: (s[0] + 1, f(s[1])), (0, x)
            )[1]
        ),
        jax.vmap,
    ],
    ids=["checkpoint", "scan", "cond", "while", "vmap"],
)
def test_reaches_convolutions_in_every_body(wrap):
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(3, 3, 3, 2, 2)), rng.normal(size=(1, 5, 6, 7, 2))
    x = x[None] if wrap is jax.vmap else x
    f = wrap(network(w))
    folded = fold_convs(f)
    np.testing.assert_allclose(folded(x), f(x), rtol=1e-11, atol=1e-11)
    assert "dim_numbers = [b, 0, 1, 2, f]" in jax.jit(f).lower(x).as_text()
    assert "dim_numbers = [b, 0, 1, 2, f]" not in jax.jit(folded).lower(x).as_text()


def test_folding_twice_changes_nothing():
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(3, 3, 3, 2, 2)), rng.normal(size=(1, 15, 16, 7, 2))
    once = fold_convs(network(w))
    np.testing.assert_array_equal(fold_convs(once)(x), once(x))


@pytest.mark.parametrize(
    "settings",
    [{"lhs_dilation": (2, 1, 1)}, {"batch_group_count": 2}],
)
def test_leaves_alone_what_it_cannot_fold(settings):
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(3, 3, 3, 2, 2)), rng.normal(size=(2, 5, 6, 7, 2))

    def f(x):
        return lax.conv_general_dilated(
            x, w, (1, 1, 1), [(1, 1)] * 3, dimension_numbers=LAYOUTS[0], **settings
        )

    np.testing.assert_array_equal(fold_convs(f)(x), f(x))


def test_bfloat16_keeps_its_dtype():
    rng = np.random.default_rng(0)
    w = jnp.asarray(rng.normal(size=(3, 3, 3, 2, 4)), jnp.bfloat16)
    x = jnp.asarray(rng.normal(size=(1, 5, 6, 7, 2)), jnp.bfloat16)
    folded = jax.jit(
        jax.value_and_grad(lambda x: fold_convs(network(w[..., :2]))(x).sum())
    )
    value, slope = folded(x)
    assert value.dtype == slope.dtype == jnp.bfloat16
