"""The command `train`."""

import contextlib
import pathlib
from typing import Annotated

import tyro

from jaxattr._checking import nearest
from jaxattr.cli._console import console
from jaxattr.cli._main import CommandError


def train(
    what: Annotated[str, tyro.conf.Positional],
    /,
    network: str | None = None,
    families: str = "all",
    out: pathlib.Path | None = None,
    seed: int = 0,
    steps: int | None = None,
) -> int:
    """Train a network from random parameters: `jaxattr train evidence`.

    Without `--network` it is the network that the demo explains, which knows motions
    only; with it one that learns all families of evidence clips.

    Args:
      what: evidence.
      network: factored, 3d, lstm or transformer.
      families: all, or names separated by commas; with a network only.
      out: the .safetensors file to write; by default named after the network.
      seed: of parameters, clips and batches.
      steps: number of updates; by default the network's own.
    """
    if what != "evidence":
        raise CommandError(f"`train` knows one recipe, evidence, got {what!r}.")
    if network is not None:
        return _train_families(network, families, out, seed, steps)
    if families != "all":
        raise CommandError("`--families` needs `--network`.")
    from jaxattr.cli._train import train_evidence

    out = out or pathlib.Path("evidence.safetensors")
    with _progress() as show:
        report = train_evidence(out, seed=seed, steps=steps or 360, progress=show)
    console.print(
        f"wrote {report.path}: {report.accuracy:.1%} of {report.num_held_out} clips of "
        f"the dev split right, {sum(report.seconds.values()):.0f} s."
    )
    return 0


def _train_families(network, families, out, seed, steps):
    from jaxattr.cli._train_families import RECIPES, train_families
    from jaxattr.data import evidence

    if network not in RECIPES:
        raise CommandError(f"no network {network!r}{nearest(network, RECIPES)}")
    chosen = list(evidence.FAMILIES) if families == "all" else families.split(",")
    out = out or pathlib.Path(f"evidence_{network}-{seed}.safetensors")
    with _progress() as show:
        report = train_families(
            network, out, families=chosen, seed=seed, steps=steps, progress=show
        )
    right = ", ".join(f"{name} {score:.1%}" for name, score in report.accuracy.items())
    console.print(
        f"wrote {report.path}: of {report.num_test} clips of the test split right: "
        f"{right}; {sum(report.seconds.values()):.0f} s."
    )
    return 0


@contextlib.contextmanager
def _progress():
    """Yields the `progress` of a training: a bar with the time left for each stage."""
    from rich.progress import Progress

    with Progress(console=console, transient=True) as progress:
        tasks = {}

        def show(stage, done, total, note):
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(
                tasks[stage],
                total=total,
                completed=done,
                description=f"{stage} {note}".strip(),
            )

        yield show
