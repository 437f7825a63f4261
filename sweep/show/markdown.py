"""A study's report as text: the table, report.md, the lines of the terminal."""

import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from omegaconf import OmegaConf

from sweep.answer.answer import Answer, answer_json, collect_answer
from sweep.answer.gain import Gain
from sweep.command.config import differing_keys
from sweep.files import write_whole
from sweep.show import figure
from sweep.show.numbers import number
from sweep.show.sentences import answer_sentences, point_words, range_words, study_words
from sweep.show.table import (
    markdown_table,
    plain_table,
    terminal_table,
    trial_table,
    value_columns,
    write_csv,
)


def write_report(study: optuna.Study, folder: Path) -> Answer:
    """Write answer.json, trials.csv, report.md and curve.png into a folder; return the answer."""
    answer = collect_answer(study)
    write_whole(folder / "answer.json", answer_json(answer))
    write_csv(answer, folder / "trials.csv")
    write_whole(folder / "report.md", report_text(answer))
    figure.draw_panels(answer, folder / "curve.png")
    return answer


def terminal_text(answer: Answer, folder: Path) -> str:
    """Return what the terminal shows at the end of a study."""
    return "\n".join(
        [
            f"\n{study_words(answer)}\n",
            terminal_table(answer),
            "",
            *answer_sentences(answer),
            *_values(answer, plain_table),
            *surer_line(answer),
            "",
            f"report and figure: {folder / 'report.md'}",
            f"curves: tensorboard --logdir {shlex.quote(os.path.relpath(folder))}",
            f"trials: optuna-dashboard {shlex.quote(_storage_url(answer, folder))}",
        ]
    )


def _storage_url(answer: Answer, folder: Path) -> str:
    """Return where the trials lie: in the folder, which may have been moved, or in a database."""
    own = folder / "study.db"
    return f"sqlite:///{own}" if own.is_file() else str(answer.config["study"]["storage"])


def surer_line(answer: Answer) -> list[str]:
    """Say how the answer is narrowed further: by more points, or seeds where a list was given."""
    study = answer.config["study"]
    if all(range_.values is not None for range_ in answer.best.ranges.values()):
        more = f"study.seeds={2 * study['seeds']}"
    else:
        more = f"study.n_trials={study['n_trials'] + study['generation']}"
    return [f"to be surer of the rate: the same command with {more}"]


NOTES = """Losses and errors are means over seeds after the last epoch, ± their standard error, with
dropout off, less what their seeds cost or gain whatever is trained. Training loss is taken on as
many training samples as there are validation samples; gap is validation less training, noise tax
the loss that the last epoch minimised, with dropout on and its weights still moving, less the
training loss after it. `*` marks what cannot be told from the best. Outside it
a rate overfits or underfits, by the larger part of what it loses against the best rate on the
fitted curves: training, or gap. A gain that passed its test early is on average overstated a
little (by 13% where it is one standard deviation of the pairs): quote its interval."""


def verdict_list(answer: Answer) -> str:
    """Return the sentences as a Markdown list; what Markdown would take for its own is escaped."""
    lines = [re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", line) for line in answer_sentences(answer)]
    return "\n".join(f"- {line.strip()}" for line in lines)


def answer_text(answer: Answer) -> str:
    """Return the sentences, what they rest on, and the table, in Markdown."""
    parts = [verdict_list(answer), *_values(answer, markdown_table), trial_table(answer)]
    return "\n\n".join(parts)


def _values(answer: Answer, table: Callable[[list[list[str]]], str]) -> list[str]:
    """Return what the verdict rests on as a table, if there is a confirmation."""
    return [table(values)] if (values := value_columns(answer)) else []


def report_text(answer: Answer) -> str:
    search = ", ".join(f"{key} in {space}" for key, space in answer.space.items())
    return "\n\n".join(
        [
            f"# {answer.study}",
            verdict_list(answer),
            *_values(answer, markdown_table),
            "![loss over the rate, over the epochs, and what it is made of](curve.png)",
            f"## The search: {search}",
            trial_table(answer),
            NOTES,
            trained_how(answer) + "\n",
        ]
    )


def trained_how(answer: Answer) -> str:
    """Say how many networks were trained as one program, on what, and how fast."""
    ways = [_way_words(way) for way in answer.speed.ways]
    speed = answer.speed.member_epochs_per_second
    return f"Networks trained: {'; '.join(ways)}; {speed:.1f} of their epochs a second."


def _way_words(way: Mapping[str, Any]) -> str:
    n, where = way.get("processes", 1), f"on {way['device']}"
    if way["kind"] == "fused":
        program = "compiled program" if "compiled" in way else "program"
        programs = f"one {program}" if n == 1 else f"{n} programs in as many processes"
        return f"{way['members']} as {programs} {where}, {way['members_per_pass']} in a pass"
    processes = "" if n == 1 else f" in {n} processes"
    return f"{way['members']} one by one{processes} {where}, since {way['why']}"


def comparison_table(answers: Sequence[Answer]) -> str:
    """Return one line a study."""
    lines = [["study", "use", "as good", "loss gain", "error gain", "verdict"]]
    for answer in answers:
        gains = {g.metric: g for g in answer.confirmation.gains} if answer.confirmation else {}
        lines.append(
            [
                answer.study,
                point_words(answer.use),
                range_words(answer.best.ranges["dropout"]),
                _gained(gains.get("val_loss")),
                _gained(gains.get(f"val_{answer.second_metric}")),
                answer.verdict or "not confirmed",
            ]
        )
    return "\n" + plain_table(list(zip(*lines, strict=True)))


def _gained(gain: Gain | None) -> str:
    return number(gain.value, gain.metric) if gain and gain.value is not None else "-"


def draw_best_rate_move(answers: Sequence[Answer], folder: Path) -> Path | None:
    """Draw how the best rate moves, if the studies differ in one number; return the picture."""
    configs = [{k: a.config[k] for k in ("model", "data", "train")} for a in answers]
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
