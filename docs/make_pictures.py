"""Draws the README's picture: `python docs/make_pictures.py`."""

import pathlib

import jax
import numpy as np

import jaxattr
import jaxattr_models
from jaxattr._registry import METHODS
from jaxattr.data import evidence

HERE = pathlib.Path(__file__).parent / "images"
SETTINGS = {"step": {"areas": (0.01, 0.02, 0.03, 0.05)}}


def main():
    """Explains one clip of the test split and writes images/demo.png."""
    network = jaxattr_models.evidence()
    key = jax.random.fold_in(evidence.split_key("test"), 1)
    clip = jax.jit(evidence.render)(key, target=evidence.CLASSES.index("grow"))
    maps = {"exact evidence": np.asarray(clip.mask, np.float32)}
    for name in ("saliency", "smooth_grad", "integrated_gradients", "step"):
        method = METHODS[name]
        explain = method.transform(network, **SETTINGS.get(name, {}))
        values = explain(clip.clip, clip.target, key=key).values
        heat = jaxattr.to_heatmap(values, **method.heatmap(values.shape))
        maps[name] = np.asarray(heat)
    picture = jaxattr.viz.contact_sheet(
        jaxattr.viz.to_rgb(np.asarray(clip.clip), network.spec),
        maps,
        title="Why “grow”?",
        num_columns=8,
        cell_height=112,
    )
    HERE.mkdir(exist_ok=True)
    picture.save(HERE / "demo.png", optimize=True)


if __name__ == "__main__":
    main()
