"""The commands of the command line; their docstrings are its help."""

import importlib.metadata
import itertools
import pathlib
import platform
from typing import Annotated

import numpy as np
import rich.box
import tyro
from rich.table import Table

from jaxattr.cli._console import console
from jaxattr.cli._diagnose import diagnose
from jaxattr.cli._evaluate import evaluate
from jaxattr.cli._methods import pick
from jaxattr.cli._paths import home
from jaxattr.cli._plot import plot
from jaxattr.cli._prepare import check_model, numbers, prepare
from jaxattr.cli._run import explain_all
from jaxattr.cli._table import table
from jaxattr.cli._train_command import train
from jaxattr.cli._worker import Job, Run


def demo(out: pathlib.Path = pathlib.Path("jaxattr-demo"), /) -> int:
    """Explain three clips whose cause is known, with a small trained network.

    Args:
      out: folder to write; open its index.html.
    """
    import jax

    import jaxattr_models
    from jaxattr.data import evidence

    network = jaxattr_models.evidence()
    key = evidence.split_key("test")
    jobs = []
    render = jax.jit(evidence.render)
    for index, name in enumerate(("right", "grow", "spin")):
        target = evidence.CLASSES.index(name)
        clip = jax.device_get(render(jax.random.fold_in(key, index), target=target))
        jobs.append(
            Job(
                name=f"{index + 1}-{name}",
                title=f"Clip {index + 1}: the ball's motion is '{name}'",
                read=lambda clip=clip: (np.asarray(clip.clip), None),
                target=name,
                truth=clip.mask,
            )
        )
    methods = pick(
        "saliency,integrated_gradients,smooth_grad,step",
        common={"areas": (0.02, 0.05, 0.1)},
    )
    facts = {"network": "evidence", "weights": "evidence (shipped, trained)"}
    labels = network.spec.labels
    return explain_all(Run(network, labels, methods, 0, out, facts), jobs)


def explain(
    videos: Annotated[tuple[str, ...], tyro.conf.Positional],
    /,
    model: str = "r2plus1d_18",
    weights: str | None = None,
    method: str = "step,integrated_gradients,saliency",
    target: str = "auto",
    labels: str | None = None,
    out: pathlib.Path = pathlib.Path("out"),
    areas: str | None = None,
    preset: str | None = None,
    score: str | None = None,
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    sampling: str | None = None,
    short: str | None = None,
    box: str | None = None,
    num_classes: int | None = None,
    seed: int = 0,
) -> int:
    """Explain videos, GIFs or folders of frames: one page, pictures and npz per clip.

    Args:
      videos: video files, GIFs or folders of frames.
      model: name of the network, see `jaxattr models`.
      weights: name of published weights, or a .pth or .safetensors file. Without it,
        the weights that come with the network, else random ones.
      method: methods separated by commas, see `jaxattr methods`.
      target: auto (the prediction), a class index or a label.
      labels: file of class names, one per line or a JSON list.
      out: folder to write.
      areas: shares of the clip for masks, separated by commas, such as 0.05,0.1.
      preset: of the mask methods: fast or paper.
      score: logit, prob, log_prob, margin or sigmoid; each method has its own default.
      set: any other setting, as METHOD.NAME=VALUE or NAME=VALUE; may be repeated.
      sampling: centre, uniform, long_range_last or dense instead of the network's.
      short: what to do with too few frames: error, stretch or loop.
      box: top,left,bottom,right in pixels of the source, cut out first.
      num_classes: number of logits, where the checkpoint does not tell.
      seed: of random methods and random weights.
    """
    common = {"areas": numbers("areas", areas), "preset": preset, "score": score}
    run, jobs = prepare(
        videos,
        pick(method, common=common, special=set),
        model=model,
        weights=weights,
        target=target,
        labels=labels,
        out=out,
        sampling=sampling,
        short=short,
        box=box,
        num_classes=num_classes,
        seed=seed,
    )
    return explain_all(run, jobs)


def convert(
    source: Annotated[str, tyro.conf.Positional],
    destination: Annotated[str, tyro.conf.Positional],
    /,
    model: str,
    num_classes: int | None = None,
) -> int:
    """Convert a checkpoint (.pth, .safetensors or a name) to safetensors.

    Args:
      source: a .pth or .safetensors file, or the name of published weights.
      destination: the .safetensors file to write.
      model: name of the network, see `jaxattr models`.
      num_classes: number of logits, where the checkpoint does not tell.
    """
    import jaxattr_models

    check_model(model)
    jaxattr_models.convert(source, destination, model=model, num_classes=num_classes)
    console.print(f"wrote {destination}")
    return 0


def models() -> int:
    """List the networks and their weights."""
    import jaxattr_models
    from jaxattr_models._registry import CATALOGUE

    table = _columns("network", "T x H x W, classes\nparameters, weights", "what")
    for model in jaxattr_models.models().values():
        known = ", ".join(name for owner, name in CATALOGUE if owner == model.name)
        facts = (
            f"{' x '.join(map(str, model.clip))}, {model.num_classes}\n"
            f"{model.num_parameters / 1e6:.2f} M, {known or 'a file'}"
        )
        table.add_row(model.name, facts, model.summary)
    _stdout().print(table)
    return 0


def methods() -> int:
    """List the attribution methods."""
    from jaxattr._registry import METHODS

    table = _columns("method", "gradients", "what")
    for family, group in itertools.groupby(METHODS.values(), lambda m: m.family):
        table.add_section()
        table.add_row(f"[bold]{family}[/bold]")
        for method in group:
            needs = [
                *method.needs,
                *method.inputs,
                *(["a key"] if method.random else []),
            ]
            what = method.summary.replace(":math:", "").replace("`", "")
            what += f" It needs {' and '.join(needs)}." if needs else ""
            cost = method.gradients(method.settings)
            table.add_row(method.name, f"{cost:g}", f"{what} It sees {method.sees}.")
    _stdout().print(table)
    return 0


def doctor() -> int:
    """Say what is installed, which devices there are, and what is missing."""
    import jax

    table = _columns("what", "found")
    table.add_row("Python", platform.python_version())
    for name in ("jaxattr", "jax", "jaxlib", "flax", "optax", "numpy"):
        table.add_row(name, _version(name))
    for name, extra in (
        ("av", "video"),
        ("pillow", "video"),
        ("matplotlib", "viz"),
        ("scikit-image", "data"),
        ("pyarrow", "data"),
        ("safetensors", "models"),
    ):
        table.add_row(name, _version(name, f"missing: pip install 'jaxattr[{extra}]'"))
    table.add_row("devices", ", ".join(d.device_kind for d in jax.devices()))
    folder = home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".probe").touch()
        (folder / ".probe").unlink()
        state = "can be written"
    except OSError as error:
        state = f"cannot be written: {error}"
    table.add_row("cache", f"{folder} ({state})")
    _stdout().print(table)
    return 0


COMMANDS = {
    "demo": demo,
    "explain": explain,
    "diagnose": diagnose,
    "evaluate": evaluate,
    "table": table,
    "plot": plot,
    "convert": convert,
    "train": train,
    "models": models,
    "methods": methods,
    "doctor": doctor,
}


def _columns(first, *others):
    table = Table(box=rich.box.SIMPLE, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name)
    return table


def _version(name, missing="missing"):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return missing


def _stdout():
    from rich.console import Console

    return Console(highlight=False)
