"""Draws the pictures of the README and of these pages: `python docs/make_pictures.py`.

With the name of one behind it, only that one ("demo", "families", "operators",
"retrained"); "steps WEIGHTS VIDEO" draws one for which both have to be brought, as
neither may be passed on.
"""

import json
import pathlib
import sys

import jax
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw

import jaxattr
import jaxattr_models
from jaxattr._registry import METHODS
from jaxattr.data import evidence
from jaxattr.perturbation._operators import OPERATORS

HERE = pathlib.Path(__file__).parent / "images"
RESULTS = pathlib.Path(__file__).parents[1] / "benchmarks" / "results"
SETTINGS = {"step": {"areas": (0.01, 0.02, 0.03, 0.05)}}


def draw_demo():
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
    picture.save(HERE / "demo.png", optimize=True)


def draw_families(margin=14):
    """One clip of each family, and below it the evidence, as images/families.png."""
    rows = []
    for name in evidence.FAMILIES:
        key = jax.random.fold_in(evidence.split_key("dev"), 9)
        one = evidence.render(key, name)
        pixels = np.asarray(one.clip) * evidence.STD + evidence.MEAN
        frames = (pixels * 255).round().astype(np.uint8)
        alone = np.where(np.asarray(one.mask)[..., None], frames, np.uint8(60))
        strip = Image.fromarray(np.concatenate([np.hstack(frames), np.hstack(alone)]))
        row = Image.new("RGB", (strip.width, strip.height + margin), "white")
        row.paste(strip, (0, margin))
        label = f"{name}: {evidence.LABELS[int(one.target)]}"
        ImageDraw.Draw(row).text((2, 1), label, fill="black")
        rows.append(np.asarray(row))
    # Few levels: the noise would not compress, nor would dithering.
    levels = Image.fromarray(np.concatenate(rows) // 36 * 36 + 3)
    levels = levels.quantize(128, dither=Image.Dither.NONE)
    levels.save(HERE / "families.png", optimize=True)


def draw_operators(margin=14):
    """A clip with a box hidden by every operator, as images/operators.png."""
    key = jax.random.fold_in(evidence.split_key("dev"), 3)
    clip = evidence.render(key, target=evidence.CLASSES.index("grow")).clip
    frames, height, width, _ = clip.shape
    mask = np.ones((frames, height, width), np.float32)
    mask[2:-2, height // 8 : -height // 8, width // 4 : -width // 4] = 0
    rows = []
    for name in (None, *OPERATORS):
        if name == "mean":  # The other name of "fade".
            continue
        shown = clip if name is None else OPERATORS[name](clip, width / 8)(mask)
        pixels = np.asarray(shown) * evidence.STD + evidence.MEAN
        pixels = (pixels.clip(0, 1) * 255).astype(np.uint8)
        gaps = np.pad(pixels, ((0, 0), (0, 0), (0, 2), (0, 0)), constant_values=255)
        strip = Image.fromarray(np.hstack(gaps))
        row = Image.new("RGB", (strip.width, strip.height + margin), "white")
        row.paste(strip, (0, margin))
        label = "the clip" if name is None else f'"{name}"'
        ImageDraw.Draw(row).text((2, 1), label, fill="black")
        rows.append(np.asarray(row))
    levels = Image.fromarray(np.concatenate(rows) // 36 * 36 + 3)
    levels = levels.quantize(128, dither=Image.Dither.NONE)
    levels.save(HERE / "operators.png", optimize=True)


def draw_retrained():
    """Accuracy after keeping and removing, of every map, as images/retrained.png."""
    record = json.loads((RESULTS / "retrain-cpu.json").read_text())
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    titles = {"kept": "keep: higher is better", "removed": "remove: lower is better"}
    for axis, (label, title) in zip(panels, titles.items()):
        for name, row in record["rows"].items():
            found = row[label]
            plain = name in ("evidence", "random", "centre")
            ends = [
                np.abs(np.subtract(found["accuracy"], found[end]))
                for end in ("low", "high")
            ]
            axis.errorbar(
                range(len(found["ratios"])),
                found["accuracy"],
                ends,
                label=name,
                linestyle="--" if plain else "-",
                color={"evidence": "black", "random": "0.6", "centre": "0.4"}.get(name),
                marker="s" if plain else "o",
                markersize=4,
                capsize=2,
            )
        ticks = [f"{ratio:.0%}" for ratio in found["ratios"]]
        axis.set_xticks(range(len(ticks)), ticks)
        axis.axhline(record["chance"], color="0.8", linewidth=1, zorder=0)
        axis.set(title=title, xlabel="share of the voxels", ylim=(0, 1.04))
    panels[0].set_ylabel("accuracy of a new network")
    panels[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.tight_layout()
    figure.savefig(HERE / "retrained.png", dpi=80)


def draw_steps(weights, video):
    """Grad-CAM per step of the trained CNN + LSTM, maps alone, as images/steps.png.

    Args:
      weights: file of the trained `lrcn`.
      video: of a man who walks a dog, from UCF101 (WalkingWithDog_g06_c05), white
        border of six pixels included.
    """
    network = jaxattr_models.lrcn(weights=weights)
    clip = jaxattr.data.read_clip(video, network.spec, box=(6, 6, 294, 294))
    probability = jax.nn.softmax(network(clip))
    figure, axes = plt.subplots(2, 21, figsize=(15, 2.0), width_ratios=[4] + [2] * 20)
    for row, pool in zip(axes, ("global", "frame")):
        values = jaxattr.grad_cam(network, "conv1", pool=pool, resize=False)(clip, 0)
        heat = np.maximum(np.asarray(values.values), 0)
        share = heat.sum((1, 2)) / heat.sum()
        row[0].axis("off")
        row[0].text(0, 0.5, f'pool="{pool}"', va="center", fontsize=11)
        for step, axis in enumerate(row[1:]):
            axis.imshow(heat[step], cmap="magma", vmin=0, vmax=heat.max())
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"{share[step]:.0%}", fontsize=9, pad=3)
    title = f'LRCN, "{network.spec.labels[0]}" at {float(probability[0]):.3f}: '
    figure.suptitle(title + "steps 1 to 20, and their share of the heat", fontsize=11)
    figure.tight_layout(h_pad=0.4, w_pad=0.2)
    figure.savefig(HERE / "steps.png", dpi=80)


PICTURES = {
    "demo": draw_demo,
    "families": draw_families,
    "operators": draw_operators,
    "retrained": draw_retrained,
}

if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    if sys.argv[1:2] == ["steps"]:
        draw_steps(*sys.argv[2:])
    else:
        for wanted in sys.argv[1:] or PICTURES:
            PICTURES[wanted]()
