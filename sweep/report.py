"""What a study found, for people and programs: the table, report.md, answer.json and the figure."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import optuna
from omegaconf import OmegaConf
from optuna.trial import TrialState

from sweep import figure
from sweep.answer import mean_and_sem, seed_offsets
from sweep.plan import Plan, job_config
from sweep.result import METRICS

Answer = dict[str, Any]


def write(study: optuna.Study, plan: Plan, folder: Path) -> Answer:
    """Write answer.json, report.md and curve.png into the study's folder; return the answer."""
    answer = collect(study, plan)
    _replace(folder / "answer.json", json.dumps(answer, indent=2))
    _replace(folder / "report.md", markdown(answer))
    figure.draw(answer, _learning_curves(study), folder / "curve.png")
    return answer


def collect(study: optuna.Study, plan: Plan) -> Answer:
    """Return what answer.json holds. What is not known yet is null."""
    trials = study.get_trials(deepcopy=False)
    rows = [_row(trial.number, trial.params, trial.user_attrs, trial.state) for trial in trials]
    apart = {k: v for k, v in study.user_attrs.items() if k.startswith("baseline:")}
    baselines = [_row(None, {"dropout": 0.0}, value) for _, value in sorted(apart.items())]
    metric = plan.config.study.metric
    done = [row for row in rows if row["state"] == "complete"]
    _align_seeds([*done, *baselines], metric, plan)
    best = min(done, key=lambda row: row["aligned"])
    zero = [row for row in done if row["params"]["dropout"] == 0] + baselines
    axis = next(axis for axis in plan.axes if axis.key == "dropout")
    rate = best["params"]["dropout"]
    return {
        "study": study.study_name,
        "metric": metric,
        "trials": rows,
        "baseline": min(zero, key=lambda row: row["aligned"]) if zero else None,
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


def _align_seeds(rows: Sequence[dict[str, Any]], metric: str, plan: Plan) -> None:
    """Add to each row its metric without the luck of its seeds, which other rows do not share."""
    defaults = {axis.key: OmegaConf.select(plan.cfg, axis.key) for axis in plan.axes}
    logs = {axis.key for axis in plan.axes if axis.log}
    points = [
        [math.log(v) if key in logs else v for key, v in {**defaults, **row["params"]}.items()]
        for row in rows
    ]
    values = [row[metric]["of_seeds"] for row in rows]
    offsets = seed_offsets(np.array(points, float), [row["seeds"] for row in rows], values)
    for row in rows:
        row["aligned"] = row[metric]["mean"] - fmean(offsets[seed] for seed in row["seeds"])


def _throughput(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the speed over all trials: members trained together were each told the same."""
    members = sum(len(row["seeds"]) for row in rows)
    time = sum(len(row["seeds"]) / row["member_epochs_per_second"] for row in rows)
    return {"members": members, "member_epochs_per_second": members / time}


def _learning_curves(study: optuna.Study) -> list[tuple[float, list[float]]]:
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [
        (trial.params["dropout"], [v for _, v in sorted(trial.intermediate_values.items())])
        for trial in trials
    ]


def table(answer: Answer) -> str:
    """Return one line a trial, sorted by rate, as a Markdown table that reads well as it is."""
    others = [key for key in answer["space"] if key != "dropout"]
    metric = answer["metric"].replace("_", " ")
    head = ["rate", *others, f"aligned {metric}", "val loss", "val error", "train loss", "gap"]
    head += ["seeds", "trial"]
    rows = [row for row in answer["trials"] if row["state"] == "complete"]
    baseline = answer["baseline"]
    if baseline is not None and baseline["number"] is None:
        rows.append(baseline)
    lines = [head]
    for row in sorted(rows, key=lambda row: sorted(row["params"].items())):
        cells = [f"{row['params']['dropout']:.4g}"]
        cells += [f"{row['params'][key]:.4g}" if key in row["params"] else "-" for key in others]
        cells += [
            f"{row['aligned']:.4f}",
            _plus_minus(row["val_loss"], 1),
            _plus_minus(row["val_error"], 100),
        ]
        cells += [f"{row[metric]['mean']:.4f}" for metric in ("train_loss", "gap")]
        number = row["number"]
        mark = " best" if number == answer["best"]["trial"] else ""
        lines.append(
            [*cells, str(len(row["seeds"])), "baseline" if number is None else f"{number}{mark}"]
        )
    return _align(lines)


def _plus_minus(value: Mapping[str, Any], scale: float) -> str:
    unit, digits = ("%", 2) if scale == 100 else ("", 4)
    sem = "" if value["sem"] is None else f" ± {scale * value['sem']:.{digits}f}"
    return f"{scale * value['mean']:.{digits}f}{sem}{unit}"


def _align(lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [[cell.rjust(w) for cell, w in zip(line, widths, strict=True)] for line in lines]
    rule = ["-" * (w - 1) + ":" for w in widths]
    return "\n".join("| " + " | ".join(line) + " |" for line in [padded[0], rule, *padded[1:]])


def sentences(answer: Answer) -> list[str]:
    """Return what the table means, in words, and what to do with it."""
    best, baseline = answer["best"], answer["baseline"]
    row = next(row for row in answer["trials"] if row["number"] == best["trial"])
    name = answer["metric"].replace("val_", "validation ")
    complete = [row for row in answer["trials"] if row["state"] == "complete"]
    params = ", ".join(f"{key}={value:.4g}" for key, value in best["params"].items())
    lines = [
        f"best: {params}, {name} {row['aligned']:.4f}, the lowest of {len(complete)} trials "
        "and so a little lucky"
    ]
    if baseline is not None and baseline["params"] != best["params"]:
        lines.append(f"without dropout: {name} {baseline['aligned']:.4f}")
    lines.append("aligned: mean over seeds, less by how much these seeds lie above all seeds")
    if best["dropout"]["edge"]:
        lines.append("the best rate is at the edge of the search")
    for failed in (row for row in answer["trials"] if row["state"] == "fail"):
        rate = failed["params"]["dropout"]
        lines.append(f"trial {failed['number']} (rate {rate:.4g}) failed: {failed['reason']}")
    return lines + [f"warning: {warning}" for warning in answer["warnings"]]


def text(answer: Answer, folder: Path) -> str:
    """Return what the terminal shows at the end of a study."""
    return "\n".join(
        [
            f"\n{answer['study']}\n",
            table(answer),
            "",
            *sentences(answer),
            f"to use it: dropout: {answer['best']['params']['dropout']:.4g}",
            "",
            f"report and figure: {folder / 'report.md'}",
            f"curves: tensorboard --logdir {os.path.relpath(folder.parent)}",
        ]
    )


def markdown(answer: Answer) -> str:
    return "\n\n".join(
        [f"# {answer['study']}", table(answer), *sentences(answer), "![curve](curve.png)\n"]
    )


def comparison(answers: Sequence[Answer]) -> str:
    """Return one line a study."""
    lines = [["study", "best rate", "val loss", "val error", "without dropout"]]
    for answer in answers:
        best = next(r for r in answer["trials"] if r["number"] == answer["best"]["trial"])
        baseline = answer["baseline"]
        lines.append(
            [
                answer["study"],
                f"{best['params']['dropout']:.4g}",
                _plus_minus(best["val_loss"], 1),
                _plus_minus(best["val_error"], 100),
                _plus_minus(baseline["val_loss"], 1) if baseline else "-",
            ]
        )
    return "\n" + _align(lines)


def _replace(path: Path, content: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(content)
    os.replace(temporary, path)
