"""What a study found, as answer.json holds it; read from Optuna's storage alone."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import TrialState

from sweep.answer import diagnosis
from sweep.answer.best import NOTHING, Best, best
from sweep.answer.variance import far_above, mean_and_sem, paired_noise
from sweep.command.rate import all_rates_zero, is_rate
from sweep.command.space import Axis
from sweep.work import second_metric

Answer = dict[str, Any]
Row = dict[str, Any]  # of a trial or a baseline
KEPT = (
    *("metrics", "seeds", "lowest_epoch", "rise", "slope", "noise_tax", "curves"),
    *("execution", "member_epochs_per_second"),
)


def collect(study: optuna.Study) -> Answer:
    """Return what answer.json holds. What is not known yet is null."""
    attrs = study.user_attrs
    metric = attrs["fingerprint"]["metric"]
    trials, baselines = rows(study)
    done = [row for row in trials if row["state"] == "complete"]
    found = search(study)
    zero = opponent(study, found)
    for row in [*done, *baselines]:
        _align(row, metric, found)
    _label(done + baselines, found.point)
    point, range_ = found.point, found.ranges["dropout"]
    confirmed = attrs.get("confirmation")
    return {
        "study": study.study_name,
        "metric": metric,
        "second_metric": second_metric(done[0]["metrics"]) if done else None,
        "trials": trials,
        "baselines": baselines,
        "baseline": zero,
        "best": {
            "params": point,
            "dropout": {"value": point["dropout"], **vars(range_), "level": 0.95},
            "set": {key: vars(value) for key, value in found.ranges.items()},
            "no_effect": found.flat,
            "curve": {"rate": found.rates, "mean": found.mean, "sd": found.sd},
        },
        "gain": confirmed and confirmed["gain"],
        "verdict": _verdict(confirmed, found, zero),
        "confirmation": confirmed and _summed_up(confirmed),
        "robustness": confirmed and attrs.get("robustness"),
        "test": confirmed and _test(confirmed),
        "throughput": _throughput([*done, *baselines]),
        "warnings": attrs["warnings"],
        "space": {axis.key: str(axis) for axis in axes(study)},
        "config": attrs["config"],
        "versions": attrs["versions"],
        "data_sha256": attrs["fingerprint"]["data_sha256"],
    }


def axes(study: optuna.Study) -> list[Axis]:
    """Return what is searched, dropout first."""
    space = study.user_attrs["fingerprint"]["space"]
    found = [Axis(key, **{**axis, "values": tuple(axis["values"])}) for key, axis in space.items()]
    return sorted(found, key=lambda axis: axis.key)


def rows(study: optuna.Study) -> tuple[list[Row], list[Row]]:
    """Return the trials, and the baselines that were trained in addition to them."""
    trials = []
    for trial in study.get_trials(deepcopy=False):
        row: Row = {"number": trial.number, "params": trial.params}
        row["state"] = trial.state.name.lower()
        if trial.state == TrialState.COMPLETE:
            row |= _trained(trial.user_attrs["trained"])
        else:
            row |= {"reason": trial.user_attrs.get("reason"), "fit": None}
        trials.append(row)
    recorded = sorted((k, v) for k, v in study.user_attrs.items() if k.startswith("baselines:"))
    baselines = [
        {"number": None, "params": point["params"], "state": "complete", **_trained(point)}
        for _, points in recorded
        for point in points
    ]
    return trials, baselines


def _trained(summary: Mapping[str, Any]) -> Row:
    row: Row = {"fit": None, **{key: summary[key] for key in KEPT}}
    for metric in summary["metrics"]:
        mean, sem = mean_and_sem(summary[metric])
        row[metric] = {"mean": mean, "sem": sem, "of_seeds": summary[metric]}
    return row


def trained(answer: Answer) -> list[Row]:
    """Return what was trained to its end, the baselines too, by rate and what else is searched."""
    rows = [row for row in answer["trials"] if row["state"] == "complete"] + answer["baselines"]
    return sorted(rows, key=lambda row: sorted(row["params"].items()))


def by_seed(row: Row, metric: str) -> dict[int, float]:
    return dict(zip(row["seeds"], row[metric]["of_seeds"], strict=True))


def search(study: optuna.Study) -> Best:
    """Fit all finished trials, and the baselines that lie inside the search.

    Of a list nothing is said of what was given up either: its values are all that it has.
    """
    trials, baselines = rows(study)
    searched, metric = axes(study), study.user_attrs["fingerprint"]["metric"]
    inside = [row for row in baselines if _inside(searched, row["params"])]
    done = [row for row in trials if row["state"] == "complete"] + inside
    pruned = [row["params"] for row in trials if row["state"] == "pruned"]
    failed = [row["params"] for row in trials if row["state"] == "fail"]
    failed += [params for params in _failed_baselines(study) if _inside(searched, params)]
    if all(axis.values for axis in searched):
        pruned, failed = [], failed + pruned
    points, values = [row["params"] for row in done], [by_seed(row, metric) for row in done]
    return best(points, values, searched, pruned, failed)


def _inside(searched: Sequence[Axis], params: Mapping[str, float]) -> bool:
    return all(min(axis.ends) <= params[axis.key] <= max(axis.ends) for axis in searched)


def _failed_baselines(study: optuna.Study) -> list[Mapping[str, float]]:
    attrs = study.user_attrs.items()
    return [params for key, points in attrs if key.startswith("failed:") for params in points]


def opponent(study: optuna.Study, found: Best) -> Row | None:
    """Return the best of what was trained without dropout: its seeds pooled, their luck taken off.

    Picking the luckiest of equal baselines would be unfair to dropout.
    """
    trials, baselines = rows(study)
    metric = study.user_attrs["fingerprint"]["metric"]
    zero = [row for row in trials if row["state"] == "complete" and all_rates_zero(row["params"])]
    same: dict[str, list[Row]] = {}
    for row in zero + baselines:
        same.setdefault(json.dumps(row["params"], sort_keys=True), []).append(row)
    pools = [_pool(alike) for alike in same.values()]
    for pool in pools:
        _align(pool, metric, found)
    return min(pools, key=lambda row: row[metric]["aligned"], default=None)


def _pool(alike: Sequence[Row]) -> Row:
    pool: Row = {"params": alike[0]["params"]}
    pool["seeds"] = [seed for row in alike for seed in row["seeds"]]
    for metric in alike[0]["metrics"]:
        pool[metric] = _of_seeds([value for row in alike for value in row[metric]["of_seeds"]])
    return pool


def rates_negligible(params: Mapping[str, float]) -> bool:
    """Return whether the rates of an answer are so low that it is no dropout."""
    return all(value < NOTHING for key, value in params.items() if is_rate(key))


def _align(row: Row, metric: str, found: Best) -> None:
    """Add the mean without the luck of its seeds, which other generations do not share."""
    luck = fmean(found.offsets.get(seed, 0.0) for seed in row["seeds"])
    row[metric]["aligned"] = row[metric]["mean"] - luck


def _label(done: Sequence[Row], point: Mapping[str, float]) -> None:
    """Label each trial: does it under- or overfit, compared with the best of its generation?"""
    metrics = ("val_loss", "train_loss", "gap")
    for seeds in {tuple(row["seeds"]) for row in done}:
        generation = [row for row in done if tuple(row["seeds"]) == seeds]
        means = [row["val_loss"]["mean"] for row in generation]
        near = [row for row in generation if row["val_loss"]["mean"] <= far_above(means)]
        noise = {m: paired_noise([by_seed(row, m) for row in near]) for m in metrics}
        reference = min(near, key=lambda row: abs(row["params"]["dropout"] - point["dropout"]))
        if len(point) > 1:
            reference = min(near, key=lambda row: row["val_loss"]["mean"])
        tables = [{m: by_seed(row, m) for m in metrics} for row in (*generation, reference)]
        for row, table in zip(generation, tables, strict=False):
            row["fit"] = asdict(diagnosis.fit(table, tables[-1], noise))


def _verdict(confirmed: Mapping[str, Any] | None, found: Best, zero: Row | None) -> str | None:
    if confirmed is None:
        return None
    if zero is not None and rates_negligible(found.point):
        return "no dropout"
    return confirmed["gain"] and confirmed["gain"]["verdict"]


def _summed_up(confirmed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the means of both points over the seeds of the confirmation."""
    summary: dict[str, Any] = {"seeds": confirmed["seeds"]}
    for name in ("chosen", "baseline"):
        point = confirmed[name]
        summary[name] = point and {
            "params": point["params"],
            **{m: _of_seeds(point[m]) for m in _metrics(point) if not m.startswith("test_")},
        }
    return summary


def _test(confirmed: Mapping[str, Any]) -> dict[str, Any]:
    """Return loss and error on the test samples, of the same trainings."""
    return {
        name: confirmed[name]
        and {m: _of_seeds(confirmed[name][m]) for m in _metrics(confirmed[name], "test_")}
        for name in ("chosen", "baseline")
    }


def _metrics(point: Mapping[str, Any], part: str = "") -> list[str]:
    return [name for name in point if name != "params" and name.startswith(part)]


def _of_seeds(values: Sequence[float]) -> dict[str, Any]:
    mean, sem = mean_and_sem(values)
    return {"mean": mean, "sem": sem, "of_seeds": list(values)}


def _throughput(done: Sequence[Row]) -> dict[str, Any]:
    """Return the mean speed of all members, and how they were run."""
    members = sum(len(row["seeds"]) for row in done)
    time = math.fsum(len(row["seeds"]) / row["member_epochs_per_second"] for row in done)
    ways = {json.dumps(row["execution"], sort_keys=True): row["execution"] for row in done}
    speed = members / time
    return {"members": members, "member_epochs_per_second": speed, "ways": list(ways.values())}
