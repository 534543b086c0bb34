"""Settings files: what they may hold, and all that is wrong at once."""

import pathlib

import jax
import numpy as np
import pytest

from jaxattr.evaluation import METRICS, SettingsError, read_settings
from jaxattr.evaluation._methods import RUNNABLE

GOOD = """
clips = 4
[[networks]]
name = "evidence_3d"
weights = "families-0"
[[data]]
kind = "evidence"
family = "order"
[[methods]]
name = "rise"
grid = [2, 3, 3]
[[metrics]]
name = "insertion"
[[metrics]]
name = "insertion"
label = "insertion, coldest first"
order = "least_first"
"""


def read(tmp_path, text):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return read_settings(path)


def test_what_a_file_says(tmp_path):
    settings = read(tmp_path, GOOD)
    assert settings.seed == 0
    assert settings.clips == 4
    assert settings.networks[0].label == "evidence_3d/families-0"
    assert settings.data[0].label == "order"
    assert settings.data[0].options == {"target": "label", "clips": 4}
    assert settings.methods[0].settings == {"grid": (2, 3, 3)}
    assert [m.label for m in settings.metrics] == [
        "insertion",
        "insertion, coldest first",
    ]
    assert settings.rows_per_clip == 2
    whole = settings.as_json()
    assert whole["methods"]["rise"]["grid"] == [2, 3, 3]
    assert whole["methods"]["rise"]["num_masks"] == 4000


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    with pytest.raises(SettingsError) as raised:
        read(
            tmp_path,
            """
            seeds = 1
            clips = 0
            [[networks]]
            name = "evidence3d"
            weights = "families-0"
            [[networks]]
            name = "evidence_lstm"
            weights = "family-0"
            [[data]]
            kind = "evidense"
            [[data]]
            kind = "evidence"
            familly = "motion"
            [[data]]
            kind = "folder"
            folder = "nowhere"
            [[methods]]
            name = "salience"
            [[methods]]
            name = "step"
            area = [0.1]
            [[methods]]
            name = "step"
            areas = [1.5]
            [[methods]]
            name = "masking_model"
            [[metrics]]
            name = "auprk"
            [[metrics]]
            name = "insertion"
            num_step = 3
            [[metrics]]
            name = "insertion"
            unit = "pixel"
            heatmap = {blurr = 3}
            """,
        )
    lines = str(raised.value).splitlines()[1:]
    for expected in (
        "no key `seeds`; did you mean seed",
        "`clips` must be an integer from 1, got 0.",
        "no network 'evidence3d'; did you mean evidence_3d",
        "networks[1]: `weights` 'family-0' is no file; did you mean families-0",
        "data[0]: no data 'evidense'; did you mean evidence",
        "data[1]: no key `familly`; did you mean family?",
        "data[1]: evidence needs `family`.",
        "data[2]: `folder` 'nowhere' does not exist.",
        "methods[0]: no method 'salience'; did you mean saliency",
        "methods[1]: no key `area`; did you mean areas",
        "methods[2]: `areas`",
        "methods[3]: only Python can give masking_model its params.",
        "metrics[0]: no metric 'auprk'; did you mean auprc",
        "metrics[1]: no key `num_step`; did you mean num_steps",
        "metrics[2].heatmap: no key `blurr`; did you mean blur",
        "metrics[2]: `unit` must be one of",
        "methods: 'step' is there 2 times; give each its own `label`.",
    ):
        assert any(expected in line for line in lines), (expected, lines)


def test_a_section_that_is_missing(tmp_path):
    with pytest.raises(SettingsError, match=r"tables \[\[metrics\]\]"):
        read(tmp_path, GOOD.partition("[[metrics]]")[0])
    with pytest.raises(SettingsError, match="is not TOML"):
        read(tmp_path, "clips = ")


@pytest.mark.parametrize(
    "wrong",
    ['family = "colour"', 'family = "motion"\nsplit = "tests"', "family = 3"],
)
def test_evidence_that_there_is_not(tmp_path, wrong):
    with pytest.raises(SettingsError, match=r"data\[0\]: "):
        read(tmp_path, GOOD.replace('family = "order"', wrong))


def test_data_that_cannot_be_is_told_before_anything_runs(tmp_path):
    wrong = [
        ({"kind": "folder", "sampling": "foo"}, "`sampling` must be one of"),
        ({"kind": "folder", "short": "foo"}, "`short` must be one of"),
        ({"kind": "folder", "box": [8, 0, 4, 9]}, "`box` must be (top, left, bottom"),
        ({"kind": "ucf101", "split": "tset"}, "`split` must be one of 'train', 'test'"),
        ({"kind": "ucf101", "fold": 9}, "`fold` must be one of 1, 2, 3, got 9"),
        ({"kind": "windows", "stride": 0}, "`stride` must be an integer from 1"),
        ({"kind": "csv", "folder": __file__}, "test_read_settings.py' is no folder"),
        ({"kind": "folder", "labels": str(tmp_path)}, "is no file"),
        ({"kind": "epic_kitchens", "word": "verbs"}, "did you mean verb?"),
        (
            {"kind": "something_something", "labels": "no.json"},
            "`labels` 'no.json' does not exist",
        ),
    ]
    data = [{"folder": str(tmp_path), **entry} for entry, _ in wrong]
    family = {"kind": "evidence", "family": "motion"}
    data += [family | {"certified": "false"}, family | {"seed": -1}]
    told = [line for _, line in wrong] + ["`certified` must be", "`seed` must be"]
    inner = {"kind": "ucf101", "folder": str(tmp_path), "split": "all"}
    for samples, line in (
        (None, "cat_ucf needs `samples`"),
        ("ucf101", "samples must be a table as in [[data]], got 'ucf101'"),
        (inner, "samples: `split` must be one of 'train', 'test', got 'all'"),
        (family | {"clips": 3}, "samples: no key `clips`"),
        (family | {"target": "predicted"}, "samples: no key `target`"),
        ({"kind": "evidense"}, "samples: no data 'evidense'; did you mean evidence"),
    ):
        data.append({"kind": "cat_ucf"} | ({"samples": samples} if samples else {}))
        told.append(line)
    data.append({"kind": "cat_ucf", "samples": family, "seed": "a"})
    told.append("`seed` must be")
    with pytest.raises(SettingsError) as raised:
        read_settings({"clips": 2, "seed": 2**64, "data": data})
    lines = str(raised.value).splitlines()
    assert any("`seed` must be an integer from 0 to 2**32 - 1" in li for li in lines)
    lines = [line.strip() for line in lines if "data[" in line]
    for number, (line, expected) in enumerate(zip(lines, told, strict=True)):
        assert line.startswith((f"data[{number}]: ", f"data[{number}].samples"))
        assert expected in line


def test_joined_clips_are_made_of_as_many_as_are_wanted_of_them():
    family = {"kind": "evidence", "family": "motion"}
    joined = {"kind": "cat_ucf", "clips": 7, "samples": family}
    raw = {
        "networks": [{"name": "evidence", "weights": "none"}],
        "data": [joined],
        "methods": [{"name": "saliency"}],
        "metrics": [{"name": "auprc"}],
    }
    for clips in ({}, {"clips": 2}):
        (choice,) = read_settings(raw | clips).data
        assert choice.options["clips"] == 7
        assert choice.settings["samples"].options["clips"] == 7


@pytest.mark.parametrize("name", ["no_such.module:f", "no_such:f", ":f"])
def test_a_module_that_is_not_there(name):
    with pytest.raises(SettingsError, match="there is no module of"):
        read_settings({"networks": [{"name": name}]})


def test_what_only_python_can_give_may_be_given():
    raw = {
        "clips": 1,
        "networks": [{"name": "evidence", "weights": "none"}],
        "data": [{"kind": "evidence", "family": "motion"}],
        "methods": [{"name": "masking_model"}],
        "metrics": [{"name": "auprc"}],
    }
    with pytest.raises(SettingsError, match="masking_model its params"):
        read_settings(raw)
    (method,) = read_settings(raw, needs=["params"]).methods
    assert method.name == "masking_model"


def test_settings_of_map_metrics_are_tried_before_anything_runs():
    wrong = {
        "hit": {"tolerance": -3},
        "pointing_game": {"tolerance": "a"},
        "localisation_iou": {"thresholds": [0.0]},
        "iou": {"threshold": 50},
    }
    entries = [{"name": name} | settings for name, settings in wrong.items()]
    entries.append({"name": "iou", "label": "text", "threshold": "a"})
    with pytest.raises(SettingsError) as raised:
        read_settings({"metrics": entries})
    lines = [li for li in str(raised.value).splitlines() if "metrics[" in li]
    told = ["tolerance", "tolerance", "thresholds", "threshold", "threshold"]
    for number, (name, line) in enumerate(zip(told, lines, strict=True)):
        assert f"metrics[{number}]: `{name}` must be" in line


def test_overlap_at_a_share_of_the_largest_heat():
    iou = METRICS["iou"].function
    heat = np.array([[[0.1, 1.0, 0.6], [0.5, 0.4, 0.0]]], np.float32)
    truth = np.array([[[False, True, False], [True, True, False]]])
    assert float(iou(heat, truth)) == pytest.approx(2 / 4)
    assert float(iou(heat, truth, threshold=0.7)) == pytest.approx(1 / 3)
    assert float(iou(0 * heat, truth)) == pytest.approx(3 / 6)
    for wrong in (heat * np.nan, np.where(heat > 0.9, np.inf, heat)):
        with pytest.raises(ValueError, match="`heatmap` must be finite"):
            iou(wrong, truth)
        assert np.isnan(jax.jit(iou)(wrong, truth))


def test_every_setting_of_a_method_can_be_said():
    methods = [
        {"name": "smooth_grad", "kind": "squared"},
        {"name": "random", "kind": "centre"},  # Which is a name of its own.
    ]
    with pytest.raises(SettingsError) as raised:
        read_settings({"methods": methods})
    lines = [line for line in str(raised.value).splitlines() if "methods[" in line]
    assert len(lines) == 1
    assert "methods[1]: no key `kind`" in lines[0]


def test_every_method_and_metric_can_be_named():
    raw = {
        "clips": 1,
        "networks": [{"name": "evidence", "weights": "none"}],
        "data": [{"kind": "evidence", "family": "motion"}],
        "methods": [{"name": n} for n, method in RUNNABLE.items() if not method.needs],
        "metrics": [
            {"name": n} | ({"baseline": 0.0} if n == "completeness" else {})
            for n in METRICS
        ],
    }
    settings = read_settings(raw)
    assert len(settings.methods) > 45
    assert len(settings.metrics) == len(METRICS)


def test_a_network_that_is_only_tested_on_is_refused_where_one_tunes(tmp_path):
    lstm = GOOD.replace("evidence_3d", "evidence_lstm")
    assert read(tmp_path, lstm).networks[0].name == "evidence_lstm"
    tuned = lstm.replace('"order"', '"order"\nsplit = "dev"')
    with pytest.raises(SettingsError, match="evidence_lstm is only ever tested on"):
        read(tmp_path, tuned)
    read(tmp_path, tuned.replace("evidence_lstm", "evidence_3d"))


def test_the_documentation_has_the_direction_of_every_metric():
    docs = pathlib.Path(__file__).parents[2] / "docs" / "metrics.md"
    told = {}
    for line in docs.read_text().splitlines():
        if line.startswith("| `"):
            name, _, direction, *_ = (cell.strip() for cell in line[1:].split("|"))
            told[name.strip("`")] = direction
    told["average_drop"], told["average_increase"] = told["average_drop"].split(", ")
    for name, metric in METRICS.items():
        assert told[name].startswith(metric.direction), name
    # Of the coldest first, what stays long is good.
    assert METRICS["deletion"].better({"order": "least_first"}) == "higher"
