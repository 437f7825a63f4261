"""How the best dropout rate moves: the studies, pictures and tables of docs/gallery.md.

python -m scripts.gallery                    all of them
python -m scripts.gallery samples width      some of them
It works in the folder gallery/, where the same command goes on after a stop.
"""

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from sweep.answer.answer import Answer, collect_answer
from sweep.answer.gain import Gain
from sweep.places import HOUSE
from sweep.show import figure
from sweep.show.numbers import interval_words, number, short
from sweep.show.sentences import range_words
from sweep.show.table import markdown_table
from sweep.study.storage import load_study, sqlite_url

WORK = Path("gallery")
BASE = {"data": "mnist5k", "data.n_train": 1000, "train.batch_size": 32}


@dataclass(frozen=True)
class Row:
    """Studies that differ in one value."""

    key: str
    values: tuple[str | int | float, ...]
    more: tuple[str, ...] = ()


ROWS = {
    "samples": Row("data.n_train", (100, 300, 1000, 3000)),
    "width": Row("model.width", (32, 128, 512)),
    "depth": Row("model.depth", (1, 2, 4)),
    "epochs": Row("train.epochs", (1, 5, 20, 60)),
    "noise": Row("data.noise", (0.0, 0.2, 0.4), ("data=noisy",)),
    "model": Row("model", ("mlp", "cnn", "rnn"), ("data.n_train=500", "dropout=0.0,0.2,0.4,0.6")),
}


def overrides(row: Row, value: str | int | float) -> list[str]:
    """Return what is typed for one study."""
    mine = [*row.more, f"{row.key}={value}"]
    given = {one.partition("=")[0] for one in mine}
    return [*(f"{key}={of}" for key, of in BASE.items() if key not in given), *mine]


def study(name: str, row: Row, value: str | int | float) -> Answer:
    """Train a study, or what is missing of it; return its answer."""
    title = f"{name}-{value}"
    command = [sys.executable, "-m", "sweep.run", *overrides(row, value), f"study.name={title}"]
    begin = time.monotonic()
    subprocess.run(command, cwd=WORK, check=True)
    print(f"{title}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    folder = WORK.resolve() / "runs" / title
    return collect_answer(load_study(sqlite_url(folder / "study.db"), folder, alone=True))


def table(key: str, values: tuple[str | int | float, ...], answers: list[Answer]) -> str:
    """Return a line a study, in Markdown."""
    return markdown_table(
        [
            [key, *(v if isinstance(v, str) else short(v) for v in values)],
            ["use", *(short(answer.rate) for answer in answers)],
            ["like the best", *(range_words(a.best.ranges["dropout"]) for a in answers)],
            *(
                [f"{name} lower by", *(_gained(answer, f"val_{name}") for answer in answers)]
                for name in ("loss", "error")
            ),
        ]
    )


def _gained(answer: Answer, metric: str) -> str:
    """Return a gain with its interval and what its test says."""
    gains = answer.confirmation.gains if answer.confirmation else ()
    return next((_in_words(gain) for gain in gains if gain.metric == metric), "-")


def _in_words(gain: Gain) -> str:
    if gain.value is None or gain.low is None or gain.high is None:
        return "-"
    interval = interval_words(gain.low, gain.high, gain.metric)
    return f"{number(gain.value, gain.metric)} ({interval}): {gain.verdict or 'not tested'}"


def main() -> None:
    (WORK / "conf" / "data").mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("noisy.py"), WORK)
    shutil.copy(Path(__file__).with_name("noisy.yaml"), WORK / "conf" / "data")
    for name in sys.argv[1:] or ROWS:
        row = ROWS[name]
        answers = [study(name, row, value) for value in row.values]
        numbers = [value for value in row.values if not isinstance(value, str)]
        if numbers:
            picture = HOUSE / "docs" / f"gallery_{name}.png"
            figure.draw_best_rate(row.key, answers, numbers, picture)
        print(f"\n## {name}\n\n{table(row.key, row.values, answers)}\n", flush=True)


if __name__ == "__main__":
    main()
