"""An evaluation of toys: what is recorded, and what disturbs it without a trace."""

import errno
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from toys import SETTINGS, WEIGHT, Toys, linear, rows, run

from jaxattr import metrics
from jaxattr.evaluation import FolderError, _explain, evaluate, join_records
from jaxattr.evaluation._folder import Folder
from jaxattr.evaluation._networks import Trained
from jaxattr.evaluation._records import RecordsFile
from jaxattr.evaluation._settings import Choice


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The rows of one process that nothing disturbs."""
    out = tmp_path_factory.mktemp("evaluation") / "out"
    summary = run(out)
    assert summary.table == out / "records.parquet"
    assert (summary.clips, summary.before, summary.undecodable) == (5, 0, 0)
    assert 0 <= summary.waited <= summary.seconds
    return rows(out)


def value(found, index, method, metric):
    (row,) = (
        row
        for row in found
        if (row["index"], row["method"], row["metric"]) == (index, method, metric)
    )
    return row["value"]


def test_values_are_those_of_a_slow_loop(undisturbed):
    toys = Toys()
    for index, sample in enumerate(toys[i] for i in range(5)):
        heat = np.abs(WEIGHT[index]).mean(-1)
        expected = average_precision_score(sample.mask.ravel(), heat.ravel())
        got = value(undisturbed, index, "saliency", "auprc")
        np.testing.assert_allclose(got, expected, rtol=1e-6)
        curve, shown = [], np.zeros(heat.size, bool)
        order = np.argsort(-heat.ravel(), kind="stable")
        for step in range(5):
            shown[order[: step * heat.size // 4]] = True
            logits = (WEIGHT * sample.clip * shown.reshape((*heat.shape, 1))).sum(
                (1, 2, 3, 4)
            ) / 50
            curve.append(np.exp(logits[index]) / np.exp(logits).sum())
        area = (sum(curve) - (curve[0] + curve[-1]) / 2) / 4
        got = value(undisturbed, index, "saliency", "insertion")
        np.testing.assert_allclose(got, area, rtol=1e-5)


def test_a_line_for_every_clip_method_and_metric(tmp_path, undisturbed):
    run(tmp_path)
    lines = (tmp_path / "records-0of1.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    path = {"curve": records[3]["curve"], "shown": [0.0, 0.25, 0.5, 0.75, 1.0]}
    assert records[3] == {
        "network": "linear",
        "data": "toys",
        "group": "noise",
        "clip": "toy-0",
        "index": 0,
        "target": 0,
        "method": "random",
        "metric": "insertion",
        "value": value(undisturbed, 0, "random", "insertion"),
        "direction": "higher",
        "gradients": 0.0,
        "seconds": records[3]["seconds"],
        "memory": records[3]["memory"],
        "status": "ok",
        **path,
    }
    assert records[3]["seconds"] == records[2]["seconds"] > 0
    assert (records[0]["gradients"], records[0]["memory"] >= 0) == (1.0, True)
    order = [(r["index"], r["method"], r["metric"]) for r in records]
    methods, names = ("saliency", "random"), ("auprc", "insertion")
    assert order == [(i, m, n) for i in range(5) for m in methods for n in names]
    for record, row in zip(records, undisturbed):
        del record["seconds"], record["memory"]
        none = {"message", "curve", "shown"} - set(record)
        assert record == {k: v for k, v in row.items() if k not in none}


def test_what_was_run_is_written_down(tmp_path):
    run(tmp_path)
    kept = json.loads((tmp_path / "settings.json").read_text())
    assert kept["settings"]["seed"] == 3
    assert kept["settings"]["metrics"]["insertion"]["num_steps"] == 4
    assert kept["settings"]["metrics"]["insertion"]["substitute"] == "mean"
    assert set(kept["versions"]) >= {"jax", "jaxattr"}
    assert len(kept["weights"]["linear"]) == len(kept["hash"]) == 64
    assert kept["clips"]["linear"]["toys"]["num"] == 5
    (only,) = kept["runs"]
    assert only["device"] == jax.devices()[0].device_kind
    assert only["process"] == "0/1"


def test_processes_and_resuming_change_nothing(tmp_path, undisturbed):
    assert run(tmp_path, process=(1, 2)).table is None
    assert join_records(tmp_path) is None
    part = join_records(tmp_path, partial=True)
    assert [r["index"] for r in rows(tmp_path)[::4]] == [1, 3]
    part.unlink()
    assert run(tmp_path, process=(0, 2)).table is not None
    assert rows(tmp_path) == undisturbed
    again = run(tmp_path)  # Now all in one share: there is nothing left to do.
    assert (again.clips, again.before) == (0, 5)
    assert rows(tmp_path) == undisturbed


def test_what_is_raised_between_two_methods_leaves_whole_clips(tmp_path, undisturbed):
    calls = []

    def stop(done, total, note):
        calls.append((done, total, note))
        if len(calls) == 9:  # In the third clip, which has four calls.
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=stop)
    dones, totals, notes = zip(*calls)
    assert list(dones) == sorted(dones)
    assert set(totals) == {max(totals)}
    assert notes[-1] == "toy-2"
    calls.clear()
    summary = run(tmp_path, progress=lambda *call: calls.append(call))
    assert (summary.clips, summary.before) == (3, 2)
    assert calls[-1][0] == pytest.approx(calls[-1][1])
    assert rows(tmp_path) == undisturbed


@pytest.mark.parametrize("cut", [1, 90, 600, 1500])
def test_a_torn_end_is_done_again(tmp_path, undisturbed, cut):
    run(tmp_path)
    path = tmp_path / "records-0of1.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    summary = run(tmp_path)
    assert summary.clips == (1 if cut < 1000 else 2)
    assert summary.clips + summary.before == 5
    assert path.read_bytes().count(b"\n") == content.count(b"\n")
    assert rows(tmp_path) == undisturbed


def test_a_torn_end_that_is_longer_than_what_comes_next(tmp_path):
    """Of another clip, where shares have changed."""
    path = tmp_path / "records-0of1.jsonl"
    path.write_bytes(b'{"n": 0}\n{"n": 1, "message": "a long line"}\n{"n": 2')
    file = RecordsFile(path, len(b'{"n": 0}\n'))
    file.append([{"n": 3}])
    file.close()
    assert path.read_bytes() == b'{"n": 0}\n{"n": 3}\n'


def test_damage_elsewhere_is_not_hidden(tmp_path):
    run(tmp_path)
    path = tmp_path / "records-0of1.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:6], lines[6][:30] + b"\n", *lines[7:]]))
    with pytest.raises(ValueError, match=r"records-0of1\.jsonl is damaged near"):
        run(tmp_path)


@pytest.mark.parametrize("room", [0, 100])
def test_a_full_disk_leaves_nothing_half_written(
    tmp_path, undisturbed, monkeypatch, room
):
    write, blocks = os.write, []

    def full(file, content):
        if bytes(content[:11]) == b'{"network":':
            blocks.append(content)
            if len(blocks) == 3:
                return write(file, content[:room]) if room else fail()
        elif len(blocks) == 3:  # The rest of the third block.
            return fail()
        return write(file, content)

    def fail():
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="make room, and run the same") as raised:
            run(tmp_path)
    assert raised.value.errno == errno.ENOSPC
    lines = (tmp_path / "records-0of1.jsonl").read_bytes()
    assert lines.count(b"\n") == 8
    assert lines.endswith(b"\n")
    summary = run(tmp_path)
    assert (summary.clips, summary.before) == (3, 2)
    assert rows(tmp_path) == undisturbed


def test_other_settings_are_refused_with_the_difference(tmp_path):
    run(tmp_path)
    metrics = [SETTINGS["metrics"][0], {"name": "insertion", "num_steps": 5}]
    with pytest.raises(FolderError, match="another evaluation") as raised:
        run(tmp_path, {**SETTINGS, "seed": 4, "metrics": metrics}, weight=WEIGHT + 1)
    lines = [line.strip() for line in str(raised.value).splitlines()[1:]]
    assert lines[:3] == [
        "settings.seed: 3 there, 4 now",
        "settings.metrics.insertion.num_steps: 4 there, 5 now",
        'settings.metrics.insertion.unit: "voxel" there, "block" now',
    ]
    assert lines[3].startswith("weights.linear: ")
    with pytest.raises(FolderError, match="the order saliency, random there"):
        run(tmp_path, {**SETTINGS, "methods": SETTINGS["methods"][::-1]})
    with pytest.raises(FolderError, match="5 then, 6 now"):
        run(tmp_path, toys=Toys(6))


def test_records_without_their_settings_are_not_taken_over(tmp_path):
    """Who deletes the file that a difference was found with would mix two runs."""
    run(tmp_path)
    (tmp_path / "settings.json").unlink()
    before = (tmp_path / "records-0of1.jsonl").read_bytes()
    with pytest.raises(FolderError, match=r"records .* no settings\.json"):
        run(tmp_path, {**SETTINGS, "seed": 4})
    assert (tmp_path / "records-0of1.jsonl").read_bytes() == before
    assert not (tmp_path / "settings.json").exists()


def test_a_share_is_given_once(tmp_path):
    held = Folder(tmp_path, (0, 2))
    with pytest.raises(FolderError, match="another process works on share 0/2"):
        run(tmp_path, process=(0, 2))
    with pytest.raises(FolderError, match=r"works on share 0/2 of .* this one has 1"):
        run(tmp_path)
    assert run(tmp_path, process=(1, 2)).clips == 2
    held.close()
    assert run(tmp_path, process=(0, 2)).clips == 3
    with pytest.raises(ValueError, match="process"):
        run(tmp_path, process=(2, 2))


def test_bad_clips_are_recorded_skipped_and_counted(tmp_path, undisturbed):
    told = []
    toys = Toys(undecodable=(1,), unannotated=(3,))
    summary = run(tmp_path, toys=toys, say=told.append)
    assert (summary.clips, summary.undecodable) == (5, 1)
    assert told == ["toy-1 cannot be decoded: frame 7 of toy-1 is damaged"]
    found = rows(tmp_path)
    assert [r["status"] for r in found[4:8]] == ["undecodable"] * 4
    assert found[4]["message"] == "frame 7 of toy-1 is damaged"
    assert [r["status"] for r in found[12:16]] == ["no annotation", "ok"] * 2
    for row, whole in zip(found, undisturbed):
        if row["status"] == "ok":
            assert row == whole
        else:
            assert row["value"] is None
    assert run(tmp_path, toys=toys).undecodable == 1
    path = tmp_path / "records-0of1.jsonl"  # As docs/evaluate.md has it.
    lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"status": "undecodable"' not in line]
    path.write_text("".join(kept))
    assert run(tmp_path).before == 4
    assert rows(tmp_path)[4:8] == undisturbed[4:8]


def test_two_clips_of_one_name_are_refused_before_they_are_explained(tmp_path):
    """Nothing could tell their records apart."""
    toys, told = Toys(3), []
    toys.names[2] = "toy-0"
    run(tmp_path, toys=toys, say=told.append)
    assert told == ["linear on toys: two of its clips are named 'toy-0'."]
    assert not toys.asked


def test_data_without_names_is_refused_at_once(tmp_path):
    with pytest.raises(TypeError, match=r"`data\['toys'\]` must have `names`.*list"):
        run(tmp_path, toys=[Toys()[0]])
    assert not list(tmp_path.iterdir())


def test_names_that_no_text_file_can_hold(tmp_path):
    """As of a file whose name is not UTF-8."""
    toys, told = Toys(2, undecodable=(1,)), []
    toys.names[:] = ["a\udcff", "b\udcfe"]
    run(tmp_path, toys=toys, say=told.append)
    assert [r["clip"] for r in rows(tmp_path)[::4]] == ["a\\udcff", "b\\udcfe"]
    told[0].encode()
    assert run(tmp_path, toys=toys).before == 2


def test_explanations_that_are_not_finite(tmp_path):
    weight = WEIGHT.copy()
    weight[2, 0, 0, 0, 0] = np.inf
    metrics = [*SETTINGS["metrics"], {"name": "localisation_iou"}]  # Which refuses.
    run(tmp_path, {**SETTINGS, "clips": 2, "metrics": metrics}, weight=weight)
    found = [r for r in rows(tmp_path) if r["method"] == "saliency"]
    assert [(r["status"], r["value"]) for r in found] == [("not finite", None)] * 6


def test_methods_and_metrics_that_refuse(tmp_path):
    settings = {
        **SETTINGS,
        "clips": 2,
        "methods": [{"name": "saliency"}, {"name": "attention_rollout"}],
        "metrics": [
            {"name": "auprc"},
            {"name": "insertion", "block": 3},
            {"name": "deletion", "substitute": "black"},
        ],
    }
    run(tmp_path, settings)
    for found in (rows(tmp_path)[:6], rows(tmp_path)[6:]):
        assert [r["status"] for r in found] == ["ok", *["refused"] * 5]
        assert "`block`" in found[1]["message"]
        assert "`spec`" in found[2]["message"]
        assert "`tokens`" in found[3]["message"]


@jax.custom_jvp
def dear(x):
    """The same, but its derivative takes half a petabyte."""
    return x


@dear.defjvp
def _(primals, tangents):
    (x,), (v,) = primals, tangents
    return x, v * half_a_petabyte(x)


def half_a_petabyte(x):
    many = x.sum() * jnp.arange(1 << 20, dtype=x.dtype)
    return jnp.sort(jnp.broadcast_to(many, (1 << 27, 1 << 20)), axis=0)[3, 5]


def test_memory_that_does_not_suffice_is_the_method_s_own_affair(tmp_path):
    network = jax.tree_util.Partial(
        lambda weight, clip: linear(weight)(dear(clip)), WEIGHT
    )
    evaluate(
        {**SETTINGS, "clips": 2},
        tmp_path,
        networks={"linear": network},
        data={"toys": Toys()},
    )
    found = rows(tmp_path)
    assert [r["status"] for r in found] == [*["refused"] * 2, *["ok"] * 2] * 2
    assert found[0]["message"].startswith("RESOURCE_EXHAUSTED")


def test_a_network_for_whose_answer_memory_does_not_suffice(tmp_path):
    def f(clip):
        many = clip.sum() * jnp.arange(1 << 20, dtype=clip.dtype)
        logit = jnp.sort(jnp.broadcast_to(many, (1 << 27, 1 << 20)), axis=0)[3, 5]
        return jnp.stack([logit, clip.sum()])

    data = [{"kind": "toys", "target": "predicted", "clips": 2}]
    evaluate(
        {**SETTINGS, "data": data},
        tmp_path,
        networks={"linear": jax.tree_util.Partial(f)},
        data={"toys": Toys()},
    )
    found = rows(tmp_path)
    assert {r["status"] for r in found} == {"refused"}
    assert "Out of memory" in found[0]["message"]


def test_what_memory_does_not_suffice_to_compile_is_compiled_once(tmp_path):
    compiled = []

    def f(clip):
        compiled.append(clip)
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: no room")

    choice = Choice("saliency", "saliency", {}, {})
    network = Trained("f", f, None, None)
    explainer = _explain.Explainer(network, choice, ((),), {})
    for index in range(2):
        clip = Toys()[index].clip
        with pytest.raises(ValueError, match="no room"):
            explainer(clip, 0, None, jax.random.key(0))
    assert len(compiled) == 1


def test_a_metric_whose_memory_does_not_suffice_leaves_the_others(tmp_path):
    """The network is too dear; the random map and what compares it are not."""
    network = jax.tree_util.Partial(
        lambda weight, clip: linear(weight)(clip) * half_a_petabyte(clip), WEIGHT
    )
    evaluate(
        {**SETTINGS, "clips": 2, "methods": [{"name": "random"}]},
        tmp_path,
        networks={"linear": network},
        data={"toys": Toys()},
    )
    found = rows(tmp_path)
    assert [r["status"] for r in found] == ["ok", "refused"] * 2
    assert "Out of memory" in found[1]["message"]


def test_other_failures_of_a_device_end_the_run(tmp_path, monkeypatch, undisturbed):
    def lost(*args):
        raise jax.errors.JaxRuntimeError("INTERNAL: the device is gone")

    with monkeypatch.context() as patched:
        patched.setattr(_explain.Explainer, "__call__", lost)
        with pytest.raises(jax.errors.JaxRuntimeError, match="is gone"):
            run(tmp_path)
    run(tmp_path)
    assert rows(tmp_path) == undisturbed


def test_the_network_s_own_answer_is_explained(tmp_path):
    settings = {**SETTINGS, "data": [{"kind": "toys", "target": "predicted"}]}
    run(tmp_path, settings)
    toys = Toys()
    for index, row in enumerate(rows(tmp_path)[::4]):
        logits = (WEIGHT * toys[index].clip).sum((1, 2, 3, 4))
        assert row["target"] == logits.argmax()


def test_fewer_clips_are_spread_over_the_data(tmp_path):
    toys = Toys()
    run(tmp_path, {**SETTINGS, "clips": 2}, toys=toys)
    assert [r["index"] for r in rows(tmp_path)[::4]] == [0, 2]
    assert toys.asked == [0, 2]


def test_metrics_of_maps_and_of_values(tmp_path):
    """Against the library's own functions, called one by one."""
    settings = {
        **SETTINGS,
        "clips": 1,
        "methods": [{"name": "saliency"}],
        "metrics": [
            {"name": "localisation_iou"},
            {"name": "temporal_iou"},
            {"name": "pointing_game", "tolerance": 0.0},
            {"name": "hit", "label": "peak", "heatmap": {"quantile": 1.0}},
            {"name": "iou", "threshold": 0.6},
            {"name": "completeness", "baseline": 0.0},
        ],
    }
    run(tmp_path, settings)
    found = {row["metric"]: row for row in rows(tmp_path)}
    sample = Toys()[0]
    heat = np.abs(WEIGHT[0]).mean(-1)
    heat = heat - heat.min()
    cut = np.minimum(heat, np.quantile(heat, 0.999))
    cut = (cut / cut.max()).astype(np.float32)
    truth, boxes = sample.mask, metrics.mask_to_boxes(sample.mask)
    hot = cut >= 0.6
    expected = {
        "localisation_iou": metrics.localisation_iou(cut, boxes).iou,
        "temporal_iou": metrics.temporal_iou(cut, truth.any((1, 2))).iou,
        "pointing_game": metrics.pointing_game(cut, boxes, tolerance=0).accuracy,
        "peak": metrics.hit(heat, truth).hit,
        "iou": (hot & truth).sum() / (hot | truth).sum(),
        "completeness": abs(WEIGHT[0].sum() / (WEIGHT[0] * sample.clip).sum() - 1),
    }
    for name, wanted in expected.items():
        assert found[name]["status"] == "ok"
        np.testing.assert_allclose(found[name]["value"], wanted, rtol=1e-4)


@pytest.mark.slow
def test_metrics_of_methods_and_the_other_order(tmp_path):
    settings = {
        **SETTINGS,
        "clips": 1,
        "methods": [{"name": "saliency"}],
        "metrics": [
            {"name": "deletion", "order": "least_first", "unit": "frame"},
            {"name": "max_sensitivity", "num_samples": 2},
            {"name": "sanity_check"},
            {"name": "insertion", "unit": "supervoxel", "num_steps": 2},
            {"name": "stability"},
        ],
    }
    run(tmp_path, settings)
    found = {row["metric"]: row for row in rows(tmp_path)}
    assert {row["status"] for row in found.values()} == {"ok"}
    assert found["deletion"]["direction"] == "higher"
    assert found["insertion"]["direction"] == "higher"
    assert found["sanity_check"]["direction"] == "lower"
    assert found["max_sensitivity"]["value"] == 0  # The gradient is the same anywhere.
    assert found["stability"]["value"] == pytest.approx(1)


@pytest.mark.slow
def test_an_area_told_by_the_evidence(tmp_path):
    """The oracle line: each clip's own share, with one compiled program."""
    method = {"name": "extremal_perturbation", "label": "oracle", "areas": "evidence"}
    settings = {
        **SETTINGS,
        "methods": [{**method, "num_iterations": 2}],
        "metrics": [{"name": "auprc"}],
    }
    run(tmp_path / "told", settings, toys=Toys(3, unannotated=(1,)))
    found = rows(tmp_path / "told")
    assert [row["status"] for row in found] == ["ok", "no annotation", "ok"]
    share = float(Toys()[2].mask.mean())
    method |= {"areas": [share], "num_iterations": 2}
    run(tmp_path / "set", {**settings, "methods": [method]}, toys=Toys(3))
    assert rows(tmp_path / "set")[2]["value"] == found[2]["value"]


def test_baselines_are_clips(tmp_path):
    method = {"name": "expected_gradients", "baselines": {"kind": "toys", "clips": 3}}
    settings = {
        **SETTINGS,
        "methods": [{**method, "num_samples": 4}],
        "metrics": [{"name": "completeness", "baseline": 0.0}],
    }
    run(tmp_path, settings)
    assert {row["status"] for row in rows(tmp_path)} == {"ok"}


def test_data_without_the_network_s_classes(tmp_path):
    settings = {
        **SETTINGS,
        "networks": [{"name": "evidence", "weights": "evidence"}],
        "data": [{"kind": "evidence", "family": "order", "clips": 2}],
    }
    told = []
    summary = evaluate(settings, tmp_path, say=told.append)
    assert summary.clips == 0
    assert "needs the labels" in told[0]
    assert rows(tmp_path) == []
