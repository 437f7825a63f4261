"""A study's report as text: the table, report.md, the lines of the terminal."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import optuna
from omegaconf import OmegaConf

from sweep.answer.answer import Answer, collect, trained
from sweep.command.config import differing_keys
from sweep.files import write_whole
from sweep.show import figure
from sweep.show.sentences import answer_sentences, plus_minus, usage_line, words


def write_report(study: optuna.Study, folder: Path) -> Answer:
    """Write answer.json, report.md and curve.png into the study's folder; return the answer."""
    answer = collect(study)
    write_whole(folder / "answer.json", json.dumps(answer, indent=2))
    write_whole(folder / "report.md", report_text(answer))
    figure.draw_panels(answer, folder / "curve.png")
    return answer


def trial_table(answer: Answer) -> str:
    """Return one line a trial, sorted by rate, as a Markdown table that is readable as text."""
    others = [key for key in answer["space"] if key != "dropout"]
    second = answer["second_metric"]
    head = ["rate", *others, "val loss", *([f"val {words(second)}"] if second else [])]
    head += ["train loss", "gap", "noise tax"]
    lines = [[*head, "seeds", "trial", "fit"]]
    for row in trained(answer):
        cells = [f"{row['params']['dropout']:.6g}"]
        cells += [f"{row['params'][key]:.6g}" if key in row["params"] else "-" for key in others]
        cells += [plus_minus(row[f"val_{name}"], name) for name in ("loss", second) if name]
        cells += [f"{row[name]['mean']:.4f}" for name in ("train_loss", "gap")]
        cells += [f"{sum(row['noise_tax']) / len(row['noise_tax']):.4f}", str(len(row["seeds"]))]
        cells += ["baseline" if row["number"] is None else str(row["number"])]
        lines.append([*cells, (row["fit"]["label"] or "-").replace("neither", "")])
    return aligned_table(lines)


def aligned_table(lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [[cell.rjust(w) for cell, w in zip(line, widths, strict=True)] for line in lines]
    rule = ["-" * (w - 1) + ":" for w in widths]
    return "\n".join("| " + " | ".join(line) + " |" for line in [padded[0], rule, *padded[1:]])


def terminal_text(answer: Answer, folder: Path) -> str:
    """Return what the terminal shows at the end of a study."""
    return "\n".join(
        [
            f"\n{answer['study']}\n",
            trial_table(answer),
            "",
            *answer_sentences(answer),
            usage_line(answer),
            "",
            f"report and figure: {folder / 'report.md'}",
            f"curves: tensorboard --logdir {os.path.relpath(folder)}",
            f"trials: optuna-dashboard {answer['config']['study']['storage']}",
        ]
    )


NOTES = """Losses and errors are means over seeds after the last epoch, ± their standard error, with
dropout off; the searched one less what its seeds cost or gain whatever is trained. Training loss is
taken on as many training samples as there are validation samples; gap is validation less training,
noise tax the training loss with dropout on less off. A trial overfits if its loss is clearly
(two standard errors) above that of the best of its generation and the larger part of that is gap,
underfits if it is training loss."""


def verdict_list(answer: Answer) -> str:
    """Return the sentences as a Markdown list; what Markdown would take for its own is escaped."""
    lines = [re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", line) for line in answer_sentences(answer)]
    return "\n".join(f"- {line}" for line in lines)


def report_text(answer: Answer) -> str:
    search = ", ".join(f"{key} in {space}" for key, space in answer["space"].items())
    return "\n\n".join(
        [
            f"# {answer['study']}",
            verdict_list(answer),
            "![loss over the rate, over the epochs, and what it is made of](curve.png)",
            f"## The search: {search}",
            trial_table(answer),
            NOTES,
            trained_how(answer) + "\n",
        ]
    )


def trained_how(answer: Answer) -> str:
    """Say how many networks were trained as one program, on what, and how fast."""
    ways = [
        f"{way['members']} as one program on {way['device']}, {way['members_per_pass']} in a pass"
        if way["kind"] == "fused"
        else f"{way['members']} in lockstep on {way['device']}, one by one, since {way['why']}"
        for way in answer["throughput"]["ways"]
    ]
    speed = answer["throughput"]["member_epochs_per_second"]
    return f"Networks trained: {'; '.join(ways)}; {speed:.1f} of their epochs a second."


def comparison_table(answers: Sequence[Answer]) -> str:
    """Return one line a study."""
    lines = [["study", "best rate", "as good", "gain", "verdict"]]
    for answer in answers:
        rate, gain = answer["best"]["dropout"], answer["gain"]
        lines.append(
            [
                answer["study"],
                f"{rate['value']:.6g}",
                f"{rate['low']:.6g} to {rate['high']:.6g}",
                f"{gain['value']:.4f}" if gain else "-",
                answer["verdict"] or "not confirmed",
            ]
        )
    return "\n" + aligned_table(lines)


def draw_best_rate_move(answers: Sequence[Answer], folder: Path) -> Path | None:
    """Draw how the best rate moves, if the studies differ in one number; return the picture."""
    configs = [{k: a["config"][k] for k in ("model", "data", "train")} for a in answers]
    keys = {key for config in configs for key in differing_keys(configs[0], config)}
    if len(keys) != 1:
        return None
    (key,) = keys
    values = [OmegaConf.select(OmegaConf.create(config), key) for config in configs]
    if not all(isinstance(value, int | float) for value in values):
        return None
    order = sorted(range(len(values)), key=lambda i: values[i])
    path = folder / f"best_rate_over_{key}.png"
    figure.draw_best_rate(key, [answers[i] for i in order], [values[i] for i in order], path)
    return path
