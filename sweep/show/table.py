"""A study's trials as a table: readable as text and as Markdown, and as trials.csv."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweep.answer.answer import Answer
from sweep.answer.row import COMPLETE, Row
from sweep.command.space import Number
from sweep.files import write_whole
from sweep.show.numbers import decimals, plus_minus, short, words

WIDTH = 100  # of a terminal that a table fits
LEFT_OUT = ("noise tax", "gap", "train loss", "seeds")  # first, where a table is too wide


def trial_table(answer: Answer) -> str:
    """Return one line a trained point, sorted by rate, in Markdown."""
    return markdown_table(_columns(answer))


def terminal_table(answer: Answer) -> str:
    """Return the same for a terminal, with as many columns as fit it."""
    columns, spare = _columns(answer), list(LEFT_OUT)
    while _width(columns) > WIDTH and spare:
        gone = spare.pop(0)
        columns = [column for column in columns if column[0] != gone]
    return plain_table(columns)


def _columns(answer: Answer) -> list[list[str]]:
    """Return each column, its head first."""
    others = [key for key in answer.space if key != "dropout"]
    second, rows = answer.second_metric, answer.trained
    shown = [name for name in (second, "loss") if name]

    def losses(name: str) -> list[str]:
        return _alike([row.metrics[name].best_mean for row in rows])

    return [
        ["rate", *(short(r.rate) + (" *" if answer.best.holds(r.params) else "  ") for r in rows)],
        *([key, *(_searched(row, key) for row in rows)] for key in others),
        ["fit", *((row.fit and row.fit.label) or "" for row in rows)],
        *(
            [f"val {words(n)}", *(plus_minus(row.metrics[f"val_{n}"], n) for row in rows)]
            for n in shown
        ),
        ["train loss", *losses("train_loss")],
        ["gap", *losses("gap")],
        ["noise tax", *_alike([row.noise_tax or 0.0 for row in rows])],
        ["seeds", *(str(len(row.seeds)) for row in rows)],
        ["trial", *("baseline" if row.number is None else str(row.number) for row in rows)],
    ]


def _alike(values: Sequence[float]) -> list[str]:
    """Write losses with as many decimals as the largest of them needs."""
    digits = decimals(max(map(abs, values), default=0.0))
    return [f"{value:z.{digits}f}" for value in values]


def _searched(row: Row, key: str) -> str:
    return short(row.params[key]) if key in row.params else "-"


def _padded(columns: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return the lines of columns, all cells of a column as wide as its widest."""
    wide = [[cell.rjust(max(map(len, column))) for cell in column] for column in columns]
    return list(zip(*wide, strict=True))


def _width(columns: Sequence[Sequence[str]]) -> int:
    return sum(2 + max(map(len, column)) for column in columns)


def markdown_table(columns: Sequence[Sequence[str]]) -> str:
    head, *lines = _padded(columns)
    rule = ["-" * (len(cell) - 1) + ":" for cell in head]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines])


def plain_table(columns: Sequence[Sequence[str]]) -> str:
    return "\n".join("  " + "  ".join(line).rstrip() for line in _padded(columns))


def value_columns(answer: Answer) -> list[list[str]]:
    """Return what both points came to on the confirmation's seeds; nothing if there is none."""
    confirmation = answer.confirmation
    if confirmation is None:
        return []
    points = [(_title(confirmation.chosen.params), confirmation.chosen)]
    points += [(_title(other.params), other)] if (other := confirmation.baseline) else []
    metrics = [
        f"{part}_{name}"
        for name in ("loss", answer.second_metric)
        for part in ("val", "test")
        if f"{part}_{name}" in confirmation.chosen.metrics
    ]
    names = [words(metric.replace("val_", "validation_")) for metric in metrics]
    names = [name.ljust(max(map(len, names))) for name in names]
    return [
        ["", *names],
        *(
            [
                title,
                *(
                    plus_minus(point.metrics[m], m) if m in point.metrics else "diverged"
                    for m in metrics
                ),
            ]
            for title, point in points
        ),
    ]


def _title(params: Mapping[str, Number]) -> str:
    """Name a point by all that was searched."""
    rate, *others = (f"{key} {short(value)}" for key, value in params.items())
    return ", ".join(["no dropout" if params["dropout"] == 0 else rate, *others])


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
