"""What a study found, in words: the table, report.md and what the terminal shows."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna

from sweep import figure
from sweep.findings import Answer, collect, learning_curves
from sweep.plan import Plan


def write(study: optuna.Study, plan: Plan, folder: Path) -> Answer:
    """Write answer.json, report.md and curve.png into the study's folder; return the answer."""
    answer = collect(study, plan)
    _replace(folder / "answer.json", json.dumps(answer, indent=2))
    _replace(folder / "report.md", markdown(answer))
    figure.draw(answer, learning_curves(study), folder / "curve.png")
    return answer


def table(answer: Answer) -> str:
    """Return one line a trial, sorted by rate, as a Markdown table that reads well as it is."""
    others = [key for key in answer["space"] if key != "dropout"]
    metric = answer["metric"]
    aligned = f"aligned {metric.replace('_', ' ')}"
    head = ["rate", *others, aligned, "val loss", "val error", "train loss", "gap"]
    head += ["seeds", "trial"]
    rows = [row for row in answer["trials"] if row["state"] == "complete"]
    baseline = answer["baseline"]
    if baseline is not None and baseline["number"] is None:
        rows.append(baseline)
    lines = [head]
    for row in sorted(rows, key=lambda row: sorted(row["params"].items())):
        cells = [f"{row['params']['dropout']:.4g}"]
        cells += [f"{row['params'][key]:.4g}" if key in row["params"] else "-" for key in others]
        cells += [f"{row[metric]['aligned']:.4f}"]
        cells += [_plus_minus(row["val_loss"], 1), _plus_minus(row["val_error"], 100)]
        cells += [f"{row[name]['mean']:.4f}" for name in ("train_loss", "gap")]
        trial = "baseline" if row["number"] is None else str(row["number"])
        best = row["number"] == answer["best"]["trial"]
        lines.append([*cells, str(len(row["seeds"])), trial + (" best" if best else "")])
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
    best, baseline, metric = answer["best"], answer["baseline"], answer["metric"]
    row = next(row for row in answer["trials"] if row["number"] == best["trial"])
    name = metric.replace("val_", "validation ")
    complete = [row for row in answer["trials"] if row["state"] == "complete"]
    params = ", ".join(f"{key}={value:.4g}" for key, value in best["params"].items())
    lines = [
        f"best: {params}, {name} {row[metric]['aligned']:.4f}, "
        f"the lowest of {len(complete)} trials and so a little lucky"
    ]
    if baseline is not None and baseline["params"] != best["params"]:
        lines.append(f"without dropout: {name} {baseline[metric]['aligned']:.4f}")
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
