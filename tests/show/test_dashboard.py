"""What lies in the event files: the study's own run, and the trials' rows in the table."""

import itertools
import json
import re
import shutil
from dataclasses import replace

import pytest
from optuna_dashboard import get_note
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from sweep.answer.answer import collect_answer
from sweep.show.curves import Curves, Run, band_tags
from sweep.show.markdown import verdict_list
from tests.conftest import load_study

LONG = {"val": "idation", "train": "ing"}
OF = {"study": "mine"}
METRICS = {"val_loss": [[1.0, 3.0], [2.0, 2.0]]}


def events(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    accumulator.Reload()
    return accumulator


def about(folder, tag):
    content = events(folder).SummaryMetadata(tag).plugin_data.content
    return HParamsPluginData.FromString(content)


def drawn(study, name):
    return events(study / "answer" / name).Scalars("over_1000_rate/loss")


def listed(folder):
    return metadata.SESSION_START_INFO_TAG in events(folder).Tags()["tensors"]


def status(folder):
    if metadata.SESSION_END_INFO_TAG not in events(folder).Tags()["tensors"]:
        return "running"
    end = about(folder, metadata.SESSION_END_INFO_TAG).session_end_info.status
    return {api_pb2.STATUS_SUCCESS: "success", api_pb2.STATUS_FAILURE: "failure"}[end]


def test_the_answer_is_drawn_once_however_often_it_is_told(sweep):
    folder = sweep("study.n_trials=8", "study.generation=4")
    assert sweep("study.n_trials=12", "study.generation=4") == folder
    for path in folder.glob("answer/*"):
        for tag in events(path).Tags()["scalars"]:
            steps = [point.step for point in events(path).Scalars(tag)]
            assert all(a <= b for a, b in itertools.pairwise(steps)), tag
            assert path.name == "fitted curve" or len(steps) <= 13, tag
    assert [picture.step for picture in events(folder).Images("answer/1_loss_over_rate")] == [
        1,
        2,
        3,
    ]
    answer = json.loads((folder / "answer.json").read_text())
    fitted = [(point.step, point.value) for point in drawn(folder, "fitted curve")]
    best = answer["best"]
    assert [step for step, _ in fitted] == [round(1000 * rate) for rate in best["rates"]]
    assert [value for _, value in fitted] == pytest.approx(best["mean"], rel=1e-6)
    found = {
        round(1000 * t["params"]["dropout"]): t["metrics"]["val_loss"]["adjusted"]
        for t in answer["trials"]
    }
    values = {point.step: point.value for point in drawn(folder, "validation")}
    assert values == pytest.approx(found, rel=1e-6)


def test_curves_of_the_best_beside_none(sweep):
    folder = sweep("dropout=0.0,0.3,0.6")
    best = json.loads((folder / "answer.json").read_text())["best"]
    for name, rate in (("best rate", best["point"]["dropout"]), ("no dropout", 0.0)):
        (trial,) = folder.glob(f"rate {rate:.2f} trial *")
        own = events(folder / "answer" / name)
        for kind in ("val", "train"):
            mine = [point.value for point in own.Scalars(f"over_epochs/{kind}{LONG[kind]}")]
            assert mine == [point.value for point in events(trial).Scalars(f"loss/{kind}")]


def test_verdict_is_text_that_markdown_leaves_alone(sweep):
    folder = sweep("dropout=0.0,0.3", "study.confirm=true")
    told = events(folder).Tensors("answer/verdict/text_summary")[-1].tensor_proto.string_val[0]
    answer = collect_answer(load_study(folder))
    answer = replace(answer, warnings=("a *star*, a [link](x) and <b>",))
    assert r"a \*star\*, a \[link\](x) and \<b\>" in verdict_list(answer)
    assert " no dropout |" in told.decode() and "noise tax" in told.decode()


def test_columns_are_what_is_searched(sweep):
    lr, width = "train.lr=tag(log,interval(1e-4,1e-2))", "model.width=interval(8,16)"
    folder = sweep(lr, width, "study.n_trials=2", "study.generation=2")
    experiment = about(folder, metadata.EXPERIMENT_TAG).experiment
    columns = {info.name: info for info in experiment.hparam_infos}
    searched = ["dropout", "model.width", "train.lr"]
    assert list(columns) == ["study", "model", "data", *searched]
    assert {columns[key].type for key in searched} == {api_pb2.DATA_TYPE_FLOAT64}
    assert [info.name.tag for info in experiment.metric_infos] == [
        "reported/loss",
        "reported/error",
        "reported/gap",
    ]
    trials = {t.number: t.params for t in load_study(folder).trials}
    for path in folder.glob("rate * trial *"):
        start = about(path, metadata.SESSION_START_INFO_TAG).session_start_info
        found = {k: v.string_value or v.number_value for k, v in start.hparams.items()}
        of = {"study": folder.name, "model": "MLP", "data": "mnist5k"}
        assert found == {**of, **trials[int(path.name[-2:])]}
        assert status(path) == "success"
    (baseline,) = folder.glob("rate * baseline *")
    assert listed(path) and not listed(baseline)


def test_no_column_hides_the_trials_of_another_study(sweep):
    """TensorBoard takes the columns of one study, and shows no trial outside their bounds."""
    folder = sweep("dropout=0.0,0.5")
    for column in about(folder, metadata.EXPERIMENT_TAG).experiment.hparam_infos:
        assert column.WhichOneof("domain") is None, column.name


def test_table_has_the_values_of_the_report(sweep):
    folder = sweep("study.n_trials=8", "study.generation=4")
    rows = collect_answer(load_study(folder)).trials
    assert any(row.metrics["gap"].adjusted != row.metrics["gap"].mean for row in rows)
    for row in rows:
        (path,) = folder.glob(f"rate * trial {row.number:02d}")
        for tag, metric in (("loss", "val_loss"), ("error", "val_error"), ("gap", "gap")):
            (point,) = events(path).Scalars(f"reported/{tag}")
            assert point.value == pytest.approx(row.metrics[metric].adjusted, abs=1e-6)


def test_note_says_the_answer_and_explains_the_other_best(sweep):
    folder = sweep("dropout=0.0,0.5")
    study = load_study(folder)
    note = get_note(study)
    assert "- Use dropout: " in note and "| rate |" in re.sub(" +", " ", note)
    assert f"best trial is number {study.best_trial.number}" in note


def test_a_run_that_diverged_is_a_failure_and_a_stopped_one_is_not_over(tmp_path):
    runs = [Run({"dropout": rate}, trial, 0) for trial, rate in enumerate((0.1, 0.2))]
    with Curves(tmp_path, runs, OF) as curves:
        curves.log(1, METRICS)
        curves.log(2, {"val_loss": [[1.0, float("inf")], [2.0, 2.0]]})
    assert [status(tmp_path / run.name) for run in runs] == ["failure", "success"]
    for stop, expected in ((KeyboardInterrupt, "running"), (RuntimeError, "failure")):
        with pytest.raises(stop), Curves.begin_anew(tmp_path, runs, OF) as curves:
            raise stop
        assert [status(tmp_path / run.name) for run in runs] == [expected] * 2


def test_points_and_bands_can_be_read_while_it_trains(tmp_path):
    runs = [Run({"dropout": rate}, trial, 0) for trial, rate in enumerate((0.1, 0.2))]
    with Curves(tmp_path, runs, OF) as curves:
        curves.log(1, METRICS)
        seen = events(tmp_path / runs[0].name)
        low, high = (seen.Scalars(tag)[0].value for tag in band_tags("loss/val"))
        assert seen.Scalars("loss/val")[0].value == 2.0
        assert (low, high) == (0.0, 4.0)  # two standard errors: 2 * sqrt(2) / sqrt(2)
        assert status(tmp_path / runs[0].name) == "running"
        curves.select([1])
        curves.log(2, {"val_loss": [[5.0, 5.0]]})
    assert [len(events(tmp_path / run.name).Scalars("loss/val")) for run in runs] == [1, 2]


def test_one_seed_has_no_bands(sweep):
    folder = sweep("dropout=0.0,0.5", "study.seeds=1")
    for run in folder.glob("rate *"):
        assert not [tag for tag in events(run).Tags()["scalars"] if tag.startswith("seeds/")]
    content = events(folder).Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    charts = [c for part in layout_pb2.Layout.FromString(content).category for c in part.chart]
    assert charts and not any(chart.HasField("margin") for chart in charts)


def test_more_runs_than_tensorboard_shows_are_spoken_of(sweep, monkeypatch, capsys):
    monkeypatch.setattr("sweep.study.study.SHOWN_BY_DEFAULT", 2)
    sweep("dropout=0.0,0.1,0.2")
    assert "TensorBoard shows runs by default up to 2 only" in capsys.readouterr().err


def test_curves_that_were_deleted_are_drawn_again(sweep):
    arguments = ["dropout=0.0,0.3", "study.confirm=true", "study.name=mine"]
    folder = sweep(*arguments)
    runs = sorted(folder.rglob("rate *"))
    before = [events(run).Scalars("loss/val") for run in runs]
    for run in runs[::2]:
        shutil.rmtree(run)
    assert sweep(*arguments) == folder and sorted(folder.rglob("rate *")) == runs
    for run, points in zip(runs, before, strict=True):
        again = events(run).Scalars("loss/val")
        assert [(p.step, p.value) for p in again] == [(p.step, p.value) for p in points]
        assert not listed(run) or status(run) == "success"
