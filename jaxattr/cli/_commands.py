"""The commands of the command line; their docstrings are its help."""

import importlib.metadata
import pathlib
import platform
from typing import Annotated

import numpy as np
import rich.box
import tyro
from rich.table import Table

from jaxattr.cli._main import CommandError
from jaxattr.cli._methods import nearest, pick
from jaxattr.cli._paths import folder_names, home, printable
from jaxattr.cli._run import Job, Run, console, explain_all
from jaxattr.cli._targets import read_labels

_RANDOM = (
    "The network's weights are random: the maps show how the programs run, not what a "
    "trained network looks at."
)


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
    from jaxattr.data import read_clip

    if not videos:
        raise CommandError("name at least one video, GIF or folder of frames.")
    common = {"areas": _numbers("areas", areas), "preset": preset, "score": score}
    methods = pick(method, common=common, special=set)
    network, named = _network(model, weights, num_classes, seed)
    names = network.spec.labels
    if labels:
        names = read_labels(labels)
        _check_labels(names, network, labels)
    cut = _numbers("box", box)

    def reader(path):
        def read():
            return read_clip(
                path,
                network.spec,
                sampling=sampling,
                short=short,
                box=None if cut is None else tuple(map(int, cut)),
                return_source=True,
            )

        return read

    jobs = [
        Job(name, printable(path), reader(path), target)
        for name, path in zip(folder_names(videos), videos, strict=True)
    ]
    facts = {"network": model, "weights": named}
    notes = (_RANDOM,) if named.startswith("random") else ()
    return explain_all(Run(network, names, methods, seed, out, facts, notes), jobs)


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

    _known_model(model)
    jaxattr_models.convert(source, destination, model=model, num_classes=num_classes)
    console.print(f"wrote {destination}")
    return 0


def train(
    what: Annotated[str, tyro.conf.Positional],
    /,
    out: pathlib.Path = pathlib.Path("evidence.safetensors"),
    seed: int = 0,
    steps: int = 360,
) -> int:
    """Train a network from random parameters: `jaxattr train evidence`.

    Args:
      what: evidence, the network that the demo explains.
      out: the .safetensors file to write.
      seed: of parameters, clips and batches.
      steps: number of updates.
    """
    from rich.progress import Progress

    from jaxattr.cli._train import train_evidence

    if what != "evidence":
        raise CommandError(f"`train` knows one recipe, evidence, got {what!r}.")
    with Progress(console=console, transient=True) as progress:
        tasks = {}

        def show(stage, done, total, note):
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(
                tasks[stage], completed=done, description=f"{stage} {note}".strip()
            )

        report = train_evidence(out, seed=seed, steps=steps, progress=show)
    console.print(
        f"wrote {report.path}: {report.accuracy:.1%} of {report.num_held_out} clips of "
        f"the dev split right, {sum(report.seconds.values()):.0f} s."
    )
    return 0


def models() -> int:
    """List the networks and their weights."""
    import jaxattr_models
    from jaxattr_models._registry import CATALOGUE

    table = _table("network", "T x H x W", "classes", "parameters", "weights", "what")
    for model in jaxattr_models.models().values():
        known = ", ".join(name for owner, name in CATALOGUE if owner == model.name)
        size = " x ".join(map(str, model.clip))
        table.add_row(
            model.name,
            size,
            str(model.num_classes),
            f"{model.num_parameters:,}",
            known or "a file",
            model.summary,
        )
    _stdout().print(table)
    return 0


def methods() -> int:
    """List the attribution methods."""
    from jaxattr._registry import METHODS

    table = _table("method", "family", "gradients", "needs", "what")
    for method in METHODS.values():
        needs = [*method.needs, *(["a key"] if method.random else [])]
        cost = method.gradients(method.settings)
        table.add_row(
            method.name,
            method.family,
            f"{cost:g}",
            ", ".join(needs),
            method.summary.replace(":math:", "").replace("`", ""),
        )
    _stdout().print(table)
    return 0


def doctor() -> int:
    """Say what is installed, which devices there are, and what is missing."""
    import jax

    table = _table("what", "found")
    table.add_row("Python", platform.python_version())
    for name in ("jaxattr", "jax", "jaxlib", "flax", "optax", "numpy"):
        table.add_row(name, _version(name))
    for name, extra in (
        ("av", "video"),
        ("pillow", "video"),
        ("matplotlib", "viz"),
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
    "convert": convert,
    "train": train,
    "models": models,
    "methods": methods,
    "doctor": doctor,
}


def _network(model, weights, num_classes, seed):
    """Builds a network; returns it with what its weights are called."""
    import jaxattr_models
    from jaxattr_models._registry import CATALOGUE

    _known_model(model)
    if weights is None:
        shipped = [
            name
            for (owner, name), e in CATALOGUE.items()
            if owner == model and not e.url
        ]
        weights = shipped[0] if shipped else None
    network = jaxattr_models.build(
        model, weights=weights, num_classes=num_classes, seed=seed
    )
    named = f"random (seed {seed})" if weights is None else pathlib.Path(weights).name
    return network, named


def _check_labels(names, network, path):
    import jax

    spec = network.spec
    clip = jax.ShapeDtypeStruct(
        (spec.num_frames, *spec.size, len(spec.mean)), "float32"
    )
    count = jax.eval_shape(network, clip).shape[-1]
    if len(names) != count:
        raise CommandError(
            f"`--labels {path}` holds {len(names)} names for {count} classes."
        )


def _known_model(model):
    import jaxattr_models

    known = jaxattr_models.models()
    if model not in known:
        raise CommandError(f"no network {model!r}{nearest(model, known)}")


def _numbers(name, text):
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise CommandError(
            f"`--{name}` wants numbers separated by commas, got {text!r}."
        ) from None


def _table(first, *others):
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
