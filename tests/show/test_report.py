"""The answer of a whole study: confirmed on fresh seeds, tested once, told in words."""

import json
import os
import subprocess
import sys

import pytest

from sweep.answer.gain import LOOKS
from sweep.show.sentences import answer_sentences
from sweep.workload import data
from tests.conftest import CONF, job_folders, load_study

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
    assert seeds[:5] == [1_000_000 + i for i in range(5)] and len(seeds) in LOOKS
    assert not {seed for trial in answer["trials"] for seed in trial["seeds"]} & set(seeds)
    chosen, baseline = (answer["confirmation"][name] for name in ("chosen", "baseline"))
    assert chosen["params"] == answer["best"]["params"] and baseline["params"] == {"dropout": 0.0}
    differences = [
        b - a
        for a, b in zip(
            chosen["val_loss"]["of_seeds"], baseline["val_loss"]["of_seeds"], strict=True
        )
    ]
    assert answer["gain"]["value"] == pytest.approx(sum(differences) / len(seeds))
    assert answer["verdict"] == "helps" and answer["gain"]["low"] > 0


def test_search_is_not_told_of_the_confirmation(answered):
    folder, _ = answered
    study = load_study(folder)
    assert len(study.trials) == 16
    assert all(seed < 1_000_000 for trial in study.trials for seed in trial.user_attrs["seeds"])


def test_rates_are_labelled_as_the_theory_has_it(answered):
    folder, _ = answered
    trials = json.loads((folder / "answer.json").read_text())["trials"]
    labels = {trial["params"]["dropout"]: trial["fit"]["label"] for trial in trials}
    assert labels[0.0] == "overfits" and labels[0.8] == "underfits"


def test_terminal_says_it_all(answered):
    folder, out = answered
    last = out.splitlines()[-10:]
    for words in ("best rate ", "dropout helps: ", "confirmed: ", "test set, read once: "):
        assert any(words in line for line in last), words
    assert "fresh seeds)" in out and "to use it: dropout: " in out
    assert (folder / "curve.png").read_bytes()[:4] == b"\x89PNG"
    report = (folder / "report.md").read_text()
    assert all(line in report for line in out.splitlines() if line.startswith("| "))


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


def test_test_samples_are_read_by_the_confirmation_only(sweep, monkeypatch):
    reads = []
    real = data.read_split
    data.load_once.cache_clear()

    def read(config, split):
        reads.append(split)
        return real(config, split)

    monkeypatch.setattr(data, "read_split", read)
    folder = sweep("dropout=0.0,0.5")
    assert set(reads) == {"train", "val"}
    assert json.loads((folder / "answer.json").read_text())["test"] is None
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
    assert answer["baseline"]["val_loss"]["mean"] == min(
        sum(point["val_loss"]) / 2 for point in tried
    )
    assert "train.lr" in answer["best"]["set"]


def test_without_a_baseline_nothing_is_compared(sweep, capsys):
    folder = sweep("dropout=0.3,0.5", "study.baseline=false", "study.confirm=true")
    answer = json.loads((folder / "answer.json").read_text())
    assert answer["verdict"] is None and answer["gain"] is None and answer["baseline"] is None
    assert "not compared with no dropout" in capsys.readouterr().out


def test_words_of_each_verdict(answered):
    folder, _ = answered
    answer = json.loads((folder / "answer.json").read_text())
    answer["gain"] = {"value": -0.02, "low": -0.03, "high": -0.01, "seeds": 5, "needed": None}
    answer["verdict"] = answer["gain"]["verdict"] = "hurts"
    text = "\n".join(answer_sentences(answer))
    assert "dropout hurts: validation loss 0.0200 higher than without" in text
    assert "(95%: 0.0100 to 0.0300, 5 fresh seeds)" in text
    answer["verdict"] = answer["gain"]["verdict"] = "no evidence"
    answer["gain"]["needed"] = 40
    assert "about 40 seeds would be needed to resolve" in "\n".join(answer_sentences(answer))
    answer["verdict"] = "no dropout"
    assert "no dropout is best" in "\n".join(answer_sentences(answer))
    answer["best"]["dropout"] |= {"low": 0.1, "high": 0.5, "values": [0.1, 0.3, 0.5]}
    assert "; 0.1, 0.3 and 0.5 are as good (95%)" in "\n".join(answer_sentences(answer))
    answer["best"]["set"]["dropout"] |= {"high": 0.8, "edge": "high"}
    assert "the highest dropout searched, 0.8, is among the best" in "\n".join(
        answer_sentences(answer)
    )
