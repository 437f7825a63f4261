"""A study's trials as a table: readable as text and as Markdown, and as trials.csv."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from sweep.answer.answer import Answer
from sweep.answer.row import COMPLETE, Row
from sweep.files import write_whole
from sweep.show.sentences import number, plus_minus, short, words


def trial_table(answer: Answer) -> str:
    """Return one line a trained point, sorted by rate."""
    others = [key for key in answer.space if key != "dropout"]
    second = answer.second_metric
    shown = [name for name in (second, "loss") if name]
    head = ["rate", *others, "fit", *(f"val {words(name)}" for name in shown)]
    lines = [[*head, "train loss", "gap", "noise tax", "seeds", "trial"]]
    for row in answer.trained:
        mark = " *" if answer.best.holds(row.params) else "  "
        cells = [short(row.rate) + mark, *(_searched(row, key) for key in others)]
        cells += [(row.fit and row.fit.label) or ""]
        cells += [plus_minus(row.metrics[f"val_{name}"], name) for name in shown]
        cells += [number(row.metrics[name].best_mean, "loss") for name in ("train_loss", "gap")]
        cells += [number(row.noise_tax or 0.0, "loss"), str(len(row.seeds))]
        lines.append([*cells, "baseline" if row.number is None else str(row.number)])
    return aligned_table(lines)


def _searched(row: Row, key: str) -> str:
    return short(row.params[key]) if key in row.params else "-"


def aligned_table(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [[cell.rjust(w) for cell, w in zip(line, widths, strict=True)] for line in lines]
    rule = ["-" * (w - 1) + ":" for w in widths]
    return "\n".join("| " + " | ".join(line) + " |" for line in [padded[0], rule, *padded[1:]])


def csv_text(answer: Answer) -> str:
    """Return a line for each training: its point, its seed and its metrics after the last epoch."""
    keys = list(answer.space)
    names = list(answer.trained[0].metrics)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["trial", *keys, "state", "seed", *names])
    for row in answer.trials:
        point = [row.number, *(row.params.get(key) for key in keys), row.state]
        if row.state != COMPLETE:
            writer.writerow([*point, *[None] * (1 + len(names))])
        for i, seed in enumerate(row.seeds):
            writer.writerow([*point, seed, *(row.metrics[name].of_seeds[i] for name in names)])
    return file.getvalue()


def write_csv(answer: Answer, path: Path) -> None:
    write_whole(path, csv_text(answer))
