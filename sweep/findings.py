"""What a study found, as answer.json holds it."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import optuna
from omegaconf import OmegaConf
from optuna.trial import TrialState

from sweep.answer import mean_and_sem, seed_offsets
from sweep.plan import Plan, job_config
from sweep.result import METRICS

Answer = dict[str, Any]


def collect(study: optuna.Study, plan: Plan) -> Answer:
    """Return what answer.json holds. What is not known yet is null."""
    trials = study.get_trials(deepcopy=False)
    rows = [_row(trial.number, trial.params, trial.user_attrs, trial.state) for trial in trials]
    apart = {k: v for k, v in study.user_attrs.items() if k.startswith("baseline:")}
    nothing = dict.fromkeys(plan.rates, 0.0)
    baselines = [_row(None, nothing, value) for _, value in sorted(apart.items())]
    metric = plan.config.study.metric
    done = [row for row in rows if row["state"] == "complete"]
    _align_seeds([*done, *baselines], plan)
    best = min(done, key=lambda row: row[metric]["aligned"])
    zero = [row for row in done if all(row["params"][key] == 0 for key in nothing)] + baselines
    axis = next(axis for axis in plan.axes if axis.key == "dropout")
    rate = best["params"]["dropout"]
    return {
        "study": study.study_name,
        "metric": metric,
        "trials": rows,
        "baseline": min(zero, key=lambda row: row[metric]["aligned"]) if zero else None,
        "best": {
            "trial": best["number"],
            "params": best["params"],
            "dropout": {
                "value": rate,
                "low": None,
                "high": None,
                "level": None,
                "edge": not axis.values and rate in {axis.low, axis.high} - {0},
            },
        },
        "gain": None,
        "verdict": None,
        "test": None,
        "throughput": _throughput([row for row in [*rows, *baselines] if "val_loss" in row]),
        "warnings": study.user_attrs["warnings"],
        "space": study.user_attrs["fingerprint"]["space"],
        "config": OmegaConf.to_container(job_config(plan.cfg)),
        "versions": study.user_attrs["versions"],
        "data_sha256": study.user_attrs["fingerprint"]["data_sha256"],
    }


def _row(
    number: int | None,
    params: Mapping[str, Any],
    attrs: Mapping[str, Any],
    state: TrialState = TrialState.COMPLETE,
) -> dict[str, Any]:
    row: dict[str, Any] = {"number": number, "params": dict(params), "state": state.name.lower()}
    if state != TrialState.COMPLETE:
        return {**row, "reason": attrs.get("reason")}
    for metric in METRICS:
        mean, sem = mean_and_sem(attrs[metric])
        row[metric] = {"mean": mean, "sem": sem, "of_seeds": attrs[metric]}
    row |= {"seeds": attrs["seeds"], "fit": None}
    return row | {"member_epochs_per_second": attrs["member_epochs_per_second"]}


def _align_seeds(rows: Sequence[dict[str, Any]], plan: Plan) -> None:
    """Add to each metric its mean without the luck of its seeds, which other rows do not share."""
    defaults = {axis.key: OmegaConf.select(plan.cfg, axis.key) for axis in plan.axes}
    logs = {axis.key for axis in plan.axes if axis.log}
    points = [
        [math.log(v) if key in logs else v for key, v in {**defaults, **row["params"]}.items()]
        for row in rows
    ]
    seeds = [row["seeds"] for row in rows]
    for metric in METRICS:
        values = [row[metric]["of_seeds"] for row in rows]
        offsets = seed_offsets(np.array(points, float), seeds, values)
        for row in rows:
            luck = fmean(offsets[seed] for seed in row["seeds"])
            row[metric]["aligned"] = row[metric]["mean"] - luck


def _throughput(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the speed over all trials: members trained together were each told the same."""
    members = sum(len(row["seeds"]) for row in rows)
    time = sum(len(row["seeds"]) / row["member_epochs_per_second"] for row in rows)
    return {"members": members, "member_epochs_per_second": members / time}


def learning_curves(study: optuna.Study) -> list[tuple[float, list[float]]]:
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [
        (trial.params["dropout"], [v for _, v in sorted(trial.intermediate_values.items())])
        for trial in trials
    ]
