"""What commands that look at videos begin with: a network, class names and clips."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxattr._checking import nearest
from jaxattr.cli._main import CommandError
from jaxattr.cli._paths import folder_names, printable
from jaxattr.cli._targets import read_labels
from jaxattr.cli._worker import Job, Run

_RANDOM = (
    "The network's weights are random: the maps show how the programs run, not what a "
    "trained network looks at."
)


def prepare(
    videos: Sequence[str],
    methods: Mapping[str, Mapping[str, Any]],
    *,
    model: str,
    weights: str | None,
    target: str,
    labels: str | None,
    out: pathlib.Path,
    sampling: str | None,
    short: str | None,
    box: str | None,
    num_classes: int | None,
    seed: int,
) -> tuple[Run, list[Job]]:
    """Loads the network; returns it with one job for every video, not read yet.

    Args:
      videos: paths as given on the command line.
      methods: as `pick` returns them.
      model: name of the network; this and the others as `explain` takes them.
      weights: see there.
      target: see there.
      labels: see there.
      out: see there.
      sampling: see there.
      short: see there.
      box: see there.
      num_classes: see there.
      seed: see there.

    Raises:
      CommandError: no videos, an unknown network, class names that do not fit.
    """
    from jaxattr.data import read_clip

    if not videos:
        raise CommandError("name at least one video, GIF or folder of frames.")
    network, named = _network(model, weights, num_classes, seed)
    names = network.spec.labels
    if labels:
        names = read_labels(labels)
        _check_labels(names, network, labels)
    cut = numbers("box", box)

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
    return Run(network, names, methods, seed, out, facts, notes), jobs


def check_model(model: str) -> None:
    """Raises CommandError, with the nearest names, unless there is such a network."""
    import jaxattr_models

    known = jaxattr_models.models()
    if model not in known:
        raise CommandError(f"no network {model!r}{nearest(model, known)}")


def numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    """Reads numbers separated by commas; None stays None.

    Raises:
      CommandError: text that is something else; it names the option `name`.
    """
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise CommandError(
            f"`--{name}` wants numbers separated by commas, got {text!r}."
        ) from None


def _network(model, weights, num_classes, seed):
    """Builds a network; returns it with what its weights are called."""
    import jaxattr_models
    from jaxattr_models._registry import CATALOGUE

    check_model(model)
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
