"""The command `diagnose`: does the network look at time, and does a heat map?"""

import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import rich.box
import tyro
from rich.markup import escape
from rich.table import Table

from jaxattr import metrics, viz
from jaxattr._heatmap import to_heatmap
from jaxattr._registry import METHODS, given
from jaxattr.cli import _interrupt
from jaxattr.cli._console import console
from jaxattr.cli._loop import summarise, work_through
from jaxattr.cli._main import CommandError
from jaxattr.cli._methods import pick
from jaxattr.cli._prepare import numbers, prepare
from jaxattr.cli._targets import name_of
from jaxattr.cli._worker import Found, Job, Run, Worker
from jaxattr.viz._archive import jsonable, save_values
from jaxattr.viz._files import filling


def diagnose(
    videos: Annotated[tuple[str, ...], tyro.conf.Positional],
    /,
    model: str = "r2plus1d_18",
    weights: str | None = None,
    method: str = "integrated_gradients",
    target: str = "auto",
    labels: str | None = None,
    out: pathlib.Path = pathlib.Path("diagnosis"),
    areas: str | None = None,
    preset: str | None = None,
    score: str | None = None,
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    shuffles: int = 8,
    foreground: float = 0.1,
    sampling: str | None = None,
    short: str | None = None,
    box: str | None = None,
    num_classes: int | None = None,
    seed: int = 0,
) -> int:
    """Ask whether a network looks at time: scores of shuffled, still and cut clips.

    Per clip a table, diagnosis.json, values.npz, and for every method a picture of its
    heat map and of the parts of it that stills explain and do not.

    Args:
      videos: video files, GIFs or folders of frames.
      model: name of the network, see `jaxattr models`.
      weights: as in `jaxattr explain`.
      method: methods separated by commas, see `jaxattr methods`; a clip of T frames
        takes T + 1 explanations of each.
      target: auto (the prediction), a class index or a label.
      labels: file of class names, one per line or a JSON list.
      out: folder to write.
      areas: shares of the clip for masks, separated by commas, such as 0.05,0.1.
      preset: of the mask methods: fast or paper.
      score: logit, prob, log_prob, margin or sigmoid: of the table, where it is prob
        by default, and of the methods, which have their own.
      set: any other setting, as METHOD.NAME=VALUE or NAME=VALUE; may be repeated.
      shuffles: how many random orders of the frames.
      foreground: share of the clip that a map's hottest voxels are taken for.
      sampling: centre, uniform, long_range_last or dense instead of the network's.
      short: what to do with too few frames: error, stretch or loop.
      box: top,left,bottom,right in pixels of the source, cut out first.
      num_classes: number of logits, where the checkpoint does not tell.
      seed: of shuffles, random methods and random weights.
    """
    if not 0 < foreground < 1:
        raise CommandError(f"`--foreground` must be a share in 0..1, got {foreground}.")
    if shuffles < 1:
        raise CommandError(f"`--shuffles` must be at least 1, got {shuffles}.")
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
    worker = _Diagnoser(run, score or "prob", shuffles, foreground)
    return summarise(work_through(worker, jobs), f"diagnosed: {out}")


class _Diagnosed(NamedTuple):
    """What there is to save of one clip: maps, and scores for each one's foreground."""

    found: Found
    scores: Mapping[str, metrics.TemporalDiagnosis]


class _Diagnoser(Worker):
    def __init__(self, run: Run, score: str, num_shuffles: int, foreground: float):
        super().__init__(run)
        self.score, self.num_shuffles = score, num_shuffles
        self.foreground = foreground
        self.diagnose = metrics.temporal_diagnosis(
            run.network, num_shuffles=num_shuffles, score=score
        )

    def bind(self, name, settings):
        method = functools.partial(METHODS[name].transform, **settings)
        if not METHODS[name].inputs:
            return metrics.static_dynamic_split(method, self.run.network)

        def explain(clip, target, *, key, **inputs):
            split = metrics.static_dynamic_split(
                given(method, inputs), self.run.network
            )
            return split(clip, target, key=key)

        return explain

    def cost(self, name, settings):
        return super().cost(name, settings) * (self.run.network.spec.num_frames + 1)

    def explain(self, job, index, count, advance) -> _Diagnosed:
        found = super().explain(job, index, count, advance)
        key = jax.random.fold_in(jax.random.key(self.run.seed), index)
        scores = {}
        for name, split in found.results.items():
            _interrupt.check()
            drawn = METHODS[name].heatmap(split.values.shape)
            hot = _hottest(to_heatmap(split.values, **drawn), self.foreground)
            scores[name] = jax.device_get(
                self.diagnose(found.clip, found.target, hot, key=key)
            )
        return _Diagnosed(found, scores)

    def save(self, job: Job, diagnosed: _Diagnosed) -> str:
        run, (found, scores) = self.run, diagnosed
        label = name_of(found.target, run.labels)
        facts = {
            "clip": job.title,
            **run.facts,
            "target": found.target,
            "label": label,
            "score": self.score,
            "seed": run.seed,
            "warnings": [*run.notes, *found.warnings],
        }
        facts |= self._numbers(found, scores)
        with filling(run.out / job.name) as stage:
            text = json.dumps(jsonable(facts), indent=2)
            (stage / "diagnosis.json").write_text(text + "\n", encoding="utf-8")
            save_values(stage / "values.npz", found.clip, found.results, facts)
            for name, split in found.results.items():
                title = f"{job.title}: {label}"
                picture = _picture(found.clip, split, name, run.network.spec, title)
                viz.save_png(stage / f"{name}.png", picture)
        console.print(_table(facts))
        return f"{label} {found.probabilities[found.target]:.3f}"

    def _numbers(self, found, scores):
        """The scores of all methods' foregrounds, and once those that have none."""
        first = next(iter(scores.values()))
        own = {
            name: {
                "settings": self.run.methods[name],
                "static_sum": split.static.sum(),
                "dynamic_sum": split.dynamic.sum(),
                "dynamic_share": split.dynamic_share,
                "foreground": self.foreground,
                "foreground_only": one.foreground_only,
                "background_only": one.background_only,
            }
            for (name, split), one in zip(found.results.items(), scores.values())
        }
        shared = first._replace(
            shuffled={
                "mean": first.shuffled,
                "standard_error": first.shuffled_error,
                "num": self.num_shuffles,
            }
        )._asdict()
        for field in ("shuffled_error", "foreground_only", "background_only"):
            del shared[field]
        return {**shared, "methods": own}


def _hottest(heat: jax.Array, share: float) -> np.ndarray:
    """The hottest voxels of a map, exactly that share of them; of equals the first."""
    heat = np.asarray(heat)
    count = max(1, round(share * heat.size))
    hot = np.zeros(heat.size, bool)
    hot[np.argsort(-heat.ravel(), kind="stable")[:count]] = True
    return hot.reshape(heat.shape)


def _picture(clip, split, name: str, spec, title: str):
    """The map and its two parts over the clip, all in one scale."""
    drawn = {**METHODS[name].heatmap(split.values.shape), "normalise": "none"}
    parts = {name: split.values, "static": split.static, "dynamic": split.dynamic}
    heat = {k: np.asarray(to_heatmap(part, **drawn)) for k, part in parts.items()}
    top = max(h.max() for h in heat.values()) or 1.0
    share = float(split.dynamic_share)
    shares = {"static": 1 - share, "dynamic": share}
    none = np.isnan(share)
    return viz.contact_sheet(
        viz.to_rgb(clip, spec),
        {k: np.clip(h / top, 0, 1) for k, h in heat.items()},
        title=title,
        subtitle="static: what stills explain. dynamic: the rest. One scale for all.",
        notes={k: "– (no heat)" if none else f"{s:.0%}" for k, s in shares.items()},
    )


def _table(facts: Mapping[str, Any]) -> Table:
    still, alone = (int(np.argmax(facts[k])) for k in ("frozen", "single_frame"))
    shuffled = facts["shuffled"]
    error = f"± {shuffled['standard_error']:.3f}"
    if shuffled["num"] == 1:
        error = "± – (one order)"
    title = f"{facts['clip']}: {facts['label']}"
    table = Table(
        "clip", title=escape(title), box=rich.box.SIMPLE, title_justify="left"
    )
    table.add_column(facts["score"], justify="right")
    table.add_column("", style="dim")
    for name, value, note in (
        ("as it is", facts["original"], ""),
        ("reversed", facts["reversed"], ""),
        ("shuffled", shuffled["mean"], error),
        ("best still", facts["frozen"][still], f"frame {still}"),
        ("mean still", np.mean(facts["frozen"]), ""),
        ("best single frame", facts["single_frame"][alone], f"frame {alone}"),
        ("order matters", facts["order_matters"], "as it is - shuffled"),
        ("motion matters", facts["motion_matters"], "as it is - best still"),
    ):
        table.add_row(name, f"{value:.3f}", note)
    for name, one in facts["methods"].items():
        hot = f"hottest {one['foreground']:.0%} of {name}"
        table.add_row("foreground only", f"{one['foreground_only']:.3f}", hot)
        table.add_row("background only", f"{one['background_only']:.3f}", "the rest")
        for part in ("static", "dynamic"):
            table.add_row(f"{part} sum", f"{one[f'{part}_sum']:.3g}", f"of {name}")
        if np.isnan(one["dynamic_share"]):
            table.add_row("dynamic share", "–", f"{name} is 0 throughout")
        else:
            table.add_row("dynamic share", f"{one['dynamic_share']:.3f}", f"of {name}")
    return table
