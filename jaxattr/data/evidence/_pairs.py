"""Two objects decide: both are needed ("and"), or either is enough ("or").

The objects lie in different quarters and have windows of their own. In "and", half of
the other class's pair is often there as well, so that one object alone says nothing.
In "or", one of the two is often missing, so that a network learns to do without it.
"""

import jax.numpy as jnp

from jaxattr.data.evidence._family import Family
from jaxattr.data.evidence._scene import (
    Draws,
    View,
    between,
    constant,
    flat,
    solid,
    turned,
    whole,
    window,
)
from jaxattr.data.evidence._surroundings import (
    PARTS,
    at_times,
    drawn_class,
    quarters,
    surroundings,
)

_CYAN, _ORANGE = (0.05, 0.88, 0.95), (1.00, 0.50, 0.02)
_PURPLE, _LIME = (0.42, 0.08, 0.85), (0.62, 1.00, 0.10)
_COLOURS = ((_CYAN, _ORANGE), (_PURPLE, _LIME))  # [class, first or second].
_FRAMES = (6, 14)
_SIDE = (4.0, 7.0)  # Half of it, of a square.
_RADIUS = (5.0, 8.0)  # Of a target.
_CORE = 0.5  # Of the radius: the white middle of a target.
_ALONE = 0.2  # Share of "or" clips with the first only, and with the second only.


def _draw_and(k_draws, k_texture, own, view: View):
    draws = Draws(k_draws, 80)
    own = drawn_class(draws, own, 2)
    places = quarters(draws)
    layers = surroundings(draws, k_texture, places[3], view)
    colours = jnp.asarray(_COLOURS, jnp.float32)
    decoy_there, half = draws.take(2)
    looks = (
        colours[own, 0],
        colours[own, 1],
        colours[1 - own, whole(half, 0, 1)],
    )
    first, second, decoy = (
        _square(draws, place, colour, view) for place, colour in zip(places, looks)
    )
    return own, (*layers, at_times(decoy, decoy_there < 0.6), first, second)


def _draw_or(k_draws, k_texture, own, view: View):
    draws = Draws(k_draws, 80)
    own = drawn_class(draws, own, 2)
    places = quarters(draws)
    layers = surroundings(draws, k_texture, places[3], view)
    colours = jnp.asarray(_COLOURS, jnp.float32)
    which = draws.one()
    first = _target(draws, places[0], colours[own, 0], view)
    second = _target(draws, places[1], colours[own, 1], view)
    first = at_times(first, which >= _ALONE)
    second = at_times(second, which < 1 - _ALONE)
    return own, (*layers, first, second)


def _square(draws: Draws, place, colour, view: View):
    _, _, present = window(draws.take(2), *_FRAMES)
    side, angle = draws.take(2)
    y, x, angle = (constant(v) for v in (*place, between(angle, 0.0, 2 * jnp.pi)))
    along, beside = turned(view, y, x, angle)
    outside = jnp.maximum(jnp.abs(along), jnp.abs(beside)) - between(side, *_SIDE)
    return solid(view, outside, flat(colour), present)


def _target(draws: Draws, place, colour, view: View):
    _, _, present = window(draws.take(2), *_FRAMES)
    radius = between(draws.one(), *_RADIUS)
    y, x = (constant(v) for v in place)
    along, beside = turned(view, y, x, jnp.zeros(1, jnp.float32))
    distance = jnp.sqrt(along**2 + beside**2)
    core = jnp.clip(0.5 - (distance - _CORE * radius) * view.sharpness, 0.0, 1.0)
    painted = flat(colour) + core[..., None] * (1.0 - flat(colour))
    return solid(view, distance - radius, painted, present)


AND = Family(
    name="and",
    decides="two squares together: cyan and orange, or purple and lime",
    labels=("cyan and orange", "purple and lime"),
    parts=(*PARTS, "decoy", "first", "second"),
    evidence=("first", "second"),
    draw=_draw_and,
    joint=True,
)
OR = Family(
    name="or",
    decides="either of two targets: cyan or orange, against purple or lime",
    labels=("cyan or orange", "purple or lime"),
    parts=(*PARTS, "first", "second"),
    evidence=("first", "second"),
    draw=_draw_or,
    test_only=True,
)
