"""The answer of a whole study: confirmed on fresh seeds, tested once, told in words."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import optuna
import pytest
from matplotlib.figure import Figure

from sweep.answer.answer import collect_answer
from sweep.answer.best import Range, find_best
from sweep.answer.gain import LOOKS, Gain, judge
from sweep.answer.row import searched_axes
from sweep.places import CONF
from sweep.show.figure import PANELS
from sweep.show.numbers import short
from sweep.show.sentences import answer_sentences, gain_sentence
from sweep.workload import data
from tests.conftest import job_folders, load_study

OVERFITS = ["data.n_train=500", "train.epochs=30", "model.width=64", "study.confirm=true"]


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """A study on so few digits that dropout helps."""
    folder = tmp_path_factory.mktemp("answered")
    done = subprocess.run(
        [sys.executable, "-m", "sweep.run", "data=mnist5k", *OVERFITS],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CONF.parent)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    (study,) = (folder / "runs").iterdir()
    return study, done.stdout


def test_confirmation_takes_fresh_seeds_in_pairs(answered):
    folder, _ = answered
    answer = json.loads((folder / "answer.json").read_text())
    seeds = answer["confirmation"]["seeds"]
    assert seeds[:5] == [1_000_000 + i for i in range(5)] and len(seeds) in [
        look.seeds for look in LOOKS
    ]
    assert not {seed for trial in answer["trials"] for seed in trial["seeds"]} & set(seeds)
    chosen, baseline = (answer["confirmation"][name] for name in ("chosen", "baseline"))
    assert chosen["params"] == answer["best"]["point"] and baseline["params"] == {"dropout": 0.0}
    differences = [
        b - a
        for a, b in zip(
            chosen["metrics"]["val_loss"]["of_seeds"],
            baseline["metrics"]["val_loss"]["of_seeds"],
            strict=True,
        )
    ]
    loss, error = answer["confirmation"]["gains"]
    assert loss["value"] == pytest.approx(sum(differences) / len(seeds))
    assert answer["verdict"] == loss["verdict"] == "helps" and loss["low"] > 0
    assert error["metric"] == "val_error" and error["verdict"] in ("helps", "no evidence")
    assert answer["use"] == chosen["params"]


def test_search_is_not_told_of_the_confirmation(answered):
    folder, _ = answered
    study = load_study(folder)
    assert len(study.trials) == 14
    assert all(seed < 1_000_000 for trial in study.trials for seed in trial.user_attrs["seeds"])


def test_rates_are_labelled_as_the_theory_has_it(answered):
    folder, _ = answered
    trials = json.loads((folder / "answer.json").read_text())["trials"]
    labels = {trial["params"]["dropout"]: trial["fit"]["label"] for trial in trials}
    assert labels[0.0] == "overfits" and labels[0.8] == "underfits"


def test_terminal_says_it_all(answered):
    folder, out = answered
    last = out.splitlines()[-20:]
    for words in ("Use dropout: 0.", " helps: ", "  validation loss  0.", "  test error  "):
        assert any(words in re.sub(" {3,}", "  ", line) for line in last), words
    assert "fresh seeds)" in out and "below it the network overfits" in out
    assert (folder / "curve.png").read_bytes()[:4] == b"\x89PNG"
    report = (folder / "report.md").read_text()
    rows = [line.split() for line in out.splitlines() if re.match(r" +(rate|[\d.]+) ", line)]
    reported = [line.replace("|", " ").split() for line in report.splitlines()]
    assert len(rows) > 9 and all(row in reported for row in rows)


def test_report_command_says_it_again(answered):
    folder, out = answered
    done = subprocess.run(
        [sys.executable, "-m", "sweep.report", str(folder)],
        cwd=folder.parent.parent,
        env={**os.environ, "PYTHONPATH": str(CONF.parent)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == out
    bad = subprocess.run(
        [sys.executable, "-m", "sweep.report", "nowhere"],
        cwd=CONF.parent,
        capture_output=True,
        text=True,
    )
    assert bad.returncode == 2
    assert bad.stderr.startswith("error: nowhere: not a study folder")


def test_a_study_is_reported_from_where_it_lies_now(answered, tmp_path):
    folder, out = answered
    moved = tmp_path / "an old one" / "best so far"
    shutil.copytree(folder, moved)
    done = subprocess.run(
        [sys.executable, "-m", "sweep.report", str(moved)],
        cwd=CONF.parent, capture_output=True, text=True,
    )  # fmt: skip
    *said, report, curves, trials = done.stdout.splitlines()
    assert said == out.splitlines()[:-3] and str(moved) in report
    (logdir,) = shlex.split(curves.partition("--logdir ")[2])
    assert (CONF.parent / logdir).samefile(moved)
    (url,) = shlex.split(trials.partition("optuna-dashboard ")[2])
    assert url == f"sqlite:///{moved}/study.db"
    assert optuna.get_all_study_names(url) == [folder.name]


def test_test_samples_are_read_by_the_confirmation_only(sweep, monkeypatch):
    reads = []
    real = data.read_split
    data.load_once.cache_clear()

    def read(config, split, *keys):
        reads.append(split)
        return real(config, split, *keys)

    monkeypatch.setattr(data, "read_split", read)
    folder = sweep("dropout=0.0,0.5")
    assert set(reads) == {"train", "val"}
    assert json.loads((folder / "answer.json").read_text())["confirmation"] is None
    sweep("dropout=0.0,0.5", "study.confirm=true")
    assert "test" in reads


def test_finished_study_confirms_once(sweep):
    folder = sweep("dropout=0.0,0.5", "study.confirm=true")
    jobs, first = job_folders(folder), load_study(folder).user_attrs["confirmation"]
    sweep("dropout=0.0,0.5", "study.confirm=true")
    assert job_folders(folder) == jobs
    assert load_study(folder).user_attrs["confirmation"] == first


def test_opponent_is_tuned_where_more_than_the_rate_is_searched(sweep):
    lr = "train.lr=tag(log,interval(1e-4,1e-1))"
    folder = sweep(lr, "study.n_trials=8", "study.generation=8", "study.confirm=true")
    study = load_study(folder)
    tried = study.user_attrs["baselines:0"]
    assert len(tried) == 2 and all(point["params"]["dropout"] == 0 for point in tried)
    asked = [trial.params["train.lr"] for trial in study.trials[:2]]
    assert [point["params"]["train.lr"] for point in tried] == asked
    answer = json.loads((folder / "answer.json").read_text())
    opponent = answer["opponent"]["metrics"]["val_loss"]["mean"]
    assert opponent == min(sum(point["val_loss"]) / 2 for point in tried)
    assert "train.lr" in answer["best"]["ranges"] and "train.lr" in answer["use"]
    tried_points = [trial["params"] for trial in answer["trials"]]
    assert answer["best"]["point"] in tried_points


def test_without_a_baseline_nothing_is_compared(sweep, capsys):
    folder = sweep("dropout=0.3,0.5", "study.baseline=false", "study.confirm=true")
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["verdict"] is None and answer["confirmation"]["gains"] == []
    assert answer["opponent"] is None
    assert "not compared with no dropout" in capsys.readouterr().out


GAIN = Gain("val_loss", -0.02, -0.03, -0.01, 5, "hurts", True)


def said(answer, gain, **changes):
    """Return the sentences of an answer with another gain in the loss."""
    confirmation = replace(answer.confirmation, gains=(gain, *answer.confirmation.gains[1:]))
    changed = replace(answer, confirmation=confirmation, verdict=gain.verdict, **changes)
    return "\n".join(answer_sentences(changed))


def test_words_of_each_verdict(answered):
    folder, _ = answered
    answer = collect_answer(load_study(folder))
    zero, rate = {"dropout": 0.0}, short(answer.confirmation.chosen.params["dropout"])
    text = said(answer, GAIN, use=zero)
    assert text.startswith("Use dropout: 0\n")
    assert f"dropout {rate} hurts: validation loss 0.0200 higher than without" in text
    assert "(95%: 0.0100 to 0.0300, 5 fresh seeds)" in text
    small = replace(answer.best, point={"dropout": 0.01})
    assert "no dropout is best: dropout" in said(answer, GAIN, best=small, use=zero)
    unsure = replace(GAIN, verdict="no evidence", low=-0.03, high=0.04)
    text = said(answer, unsure, use=zero)
    assert text.startswith("Use dropout: 0, the simplest of what cannot be told apart\n")
    assert f"no evidence that dropout {rate} changes the validation loss" in text
    assert "a difference, if any, is below 0.0400 (95%, 5 fresh seeds)" in text
    assert "it was 0.0200 higher; a difference" in text
    other = replace(GAIN, metric="val_error", verdict="helps", value=0.01, low=0.003, high=0.02)
    both = replace(answer.confirmation, gains=(GAIN, other))
    text = "\n".join(answer_sentences(replace(answer, confirmation=both, verdict="hurts")))
    assert "validation error 1.00 points lower than without (95%: 0.30 to 2.00 points, 5" in text
    assert "the two disagree; to choose by the other one: study.metric=val_error" in text
    lost = replace(GAIN, verdict="helps", diverged=(0, 4))
    text = said(answer, lost)
    assert f"dropout {rate} helps: trainings diverged, 0 of 5 with dropout and 4 of 5" in text


def test_words_of_each_set(answered):
    folder, _ = answered
    answer = collect_answer(load_study(folder))

    def text(*islands, values=None, flat=0.0, whole=False):
        range_ = Range(islands, None, values, whole)
        best = replace(answer.best, ranges={"dropout": range_}, flat=flat, worse=0.01)
        inside = {"dropout": islands[-1][0]}
        return answer_sentences(replace(answer, best=best, use=inside))[1]

    assert (
        "  the search cannot tell from the best: 0.1 to 0.2 and 0.5 (95%), none more than "
        "0.0100 worse than the best" in text((0.1, 0.2), (0.5, 0.5))
    )
    listed = text((0.1, 0.1), (0.3, 0.5), values=(0.1, 0.3, 0.5))
    assert "the search cannot tell from the best: 0.1, 0.3 and 0.5 (95%)" in listed
    alone = text((0.3, 0.3), values=(0.3,))
    assert "no other rate tried is as good" in alone
    assert "from the best: 0 and 0.8 (95%)" in text((0.0, 0.8), values=(0.0, 0.8))
    everywhere = text((0.0, 0.8), whole=True)
    assert "cannot tell any rate from the best (95%), none more than 0.0100" in everywhere
    for values in (None, (0.0, 0.8)):
        flat = text((0.0, 0.8), values=values, flat=0.9, whole=True)
        told = "cannot tell any rate from the best (95%); the search sees no effect of the rate"
        assert flat == f"  the search {told}"
    # where pairs of seeds say otherwise, and where half of the search failed
    for partly in (text((0.0, 0.0), values=(0.0,), flat=0.9), text((0.0, 0.3), flat=0.9)):
        assert "no effect" not in partly and "any rate" not in partly and "more" not in partly


def test_words_of_pairs_that_are_all_equal():
    gain = judge("val_error", [0.1, 0.2, 0.1, 0.1, 0.1], [0.1, 0.2, 0.1, 0.1, 0.1])
    told = "no evidence that dropout 0.3 changes the validation error: all 5 pairs are equal"
    assert gain_sentence(gain, "0.3") == told


def test_verdict_names_all_rates_that_are_left_out(answered):
    answer = collect_answer(load_study(answered[0]))
    confirmation = answer.confirmation
    params = {"train.lr": 0.1, "dropout": 0.3, "model.input_dropout": 0.1, "model.x_dropout": 0.0}
    chosen = replace(confirmation.chosen, params=params)
    text = "\n".join(
        answer_sentences(replace(answer, confirmation=replace(confirmation, chosen=chosen)))
    )
    assert "dropout 0.3 with model.input_dropout 0.1 and model.x_dropout 0 " in text


def test_no_dropout_is_drawn_with_the_seeds_of_the_best_rate(answered):
    folder, _ = answered
    answer = collect_answer(load_study(folder))
    zero = [row for row in answer.trained if row.rate == 0]
    nearest = answer.nearest_row()
    assert {row.seeds for row in zero} > {nearest.seeds}
    axes = Figure().add_subplot()
    PANELS["while_training"](answer, axes)
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    expected = next(row for row in zero if row.seeds == nearest.seeds)
    assert drawn["rate 0, validation"] == expected.curves["val_loss"]
    assert drawn[f"rate {nearest.rate:.3g}, validation"] == nearest.curves["val_loss"]
    labels = [tick.get_text() for tick in axes.get_yticklabels(which="both")]
    assert sum(map(bool, labels)) >= 2


def test_labels_table_and_sentence_agree(answered):
    folder, out = answered
    answer = collect_answer(load_study(folder))
    range_ = answer.best.ranges["dropout"]
    for row in answer.trained:
        assert (row.fit.label is None) == range_.holds(row.rate)
        parts = row.fit.train_part + row.fit.gap_part
        excess = np.interp(row.rate, answer.best.rates, answer.best.mean) - answer.best.promised[0]
        assert parts == pytest.approx(excess, abs=1e-9)
        loss, train, gap = (
            row.metrics[name].adjusted for name in ("val_loss", "train_loss", "gap")
        )
        assert loss == pytest.approx(train + gap)
    marked = [line for line in out.splitlines() if re.match(r" +[\d.]+ \*", line)]
    assert len(marked) == sum(range_.holds(row.rate) for row in answer.trained)


def test_set_at_the_best_epochs_is_that_of_the_jobs_lowest_losses(answered):
    folder, _ = answered
    answer = collect_answer(load_study(folder))
    lowest = {}
    for path in folder.glob("jobs/*/result.json"):
        end = json.loads(path.read_text())
        for trial, result in zip(end["work"]["trials"], end["results"], strict=True):
            if end["work"]["generation"] < 1000:
                lowest[trial["number"]] = np.min(result["curves"]["val_loss"], 0).tolist()
    assert {row.number: list(row.lowest) for row in answer.trials} == lowest
    rows = [dict(zip(row.seeds, lowest[row.number], strict=True)) for row in answer.trials]
    axes = searched_axes(load_study(folder))
    expected, _ = find_best([row.params for row in answer.trials], rows, axes)
    assert answer.early == expected and expected.promised[0] < answer.best.promised[0]


def test_words_if_the_best_epochs_say_otherwise(answered):
    folder, _ = answered
    answer = collect_answer(load_study(folder))
    elsewhere = Range(((0.6, 0.7),), None, None)
    early = replace(answer.early, point={"dropout": 0.65}, ranges={"dropout": elsewhere}, flat=0.0)
    otherwise = "if you keep the best epoch of each training (optimistic) it is otherwise: "
    here = replace(answer.confirmation, early=answer.gain)
    text = "\n".join(answer_sentences(replace(answer, early=early, confirmation=here)))
    assert f"{otherwise}the best dropout is 0.65 (0.6 to 0.7)" in text
    same = replace(early, ranges=answer.best.ranges)
    text = "\n".join(answer_sentences(replace(answer, early=same, confirmation=here)))
    assert otherwise not in text
    none = replace(GAIN, verdict="no evidence", value=0.001)
    here = replace(answer.confirmation, early=none)
    text = "\n".join(answer_sentences(replace(answer, early=same, confirmation=here)))
    assert f"{otherwise}no evidence, validation loss 0.0010 lower than without" in text
