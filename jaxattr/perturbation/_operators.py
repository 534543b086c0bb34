"""Perturbation operators: what a clip looks like where its mask is 0.

An operator takes the clip once and returns `show(mask) -> clip`: a mask [T, H, W] of
ones shows the clip itself, zeros hide it, and every value between has a gradient. All
but "blur" take a mask for every channel, [T, H, W, C], as well.
"""

import functools
from collections.abc import Callable

import jax

from jaxattr._substitute import fill_in
from jaxattr.perturbation._pyramid import blur_pyramid, show

Show = Callable[[jax.Array], jax.Array]


def _blur(clip, blur):
    return functools.partial(show, blur_pyramid(clip, blur))


def _fade(clip, blur):
    return lambda mask: _for_channels(mask, clip) * clip


def towards(hidden: jax.Array, clip: jax.Array) -> Show:
    """Shows `hidden` [T, H, W, C] where the mask is 0, in proportion between."""
    return lambda mask: _between(hidden, clip, mask)


def _substitute(name):
    return lambda clip, blur: towards(fill_in(name, None, clip), clip)


def _freeze(clip, blur):
    def show(mask):
        def step(last, now):
            frame, m = now
            shown = _between(last, frame, m)
            return shown, shown

        return jax.lax.scan(step, clip[0], (clip, mask))[1]

    return show


def _between(hidden, shown, mask):
    mask = _for_channels(mask, shown)
    return (1 - mask) * hidden + mask * shown  # Exact at 0 and 1.


def _for_channels(mask, clip):
    return mask if mask.ndim == clip.ndim else mask[..., None]


# Name -> operator(clip [T, H, W, C], standard deviation of blur in pixels) -> show.
OPERATORS: dict[str, Callable[[jax.Array, float], Show]] = {
    "blur": _blur,
    "fade": _fade,
    "mean": _fade,  # What methods without a gradient call it: their mean is 0.
    "clip_mean": _substitute("clip_mean"),
    "median": _substitute("median"),
    "noise": _substitute("noise"),
    "freeze": _freeze,
}
