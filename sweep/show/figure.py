"""The pictures of a study: the loss over the rate, while it trained, and what it is made of."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sweep.answer.answer import Answer

SEMS = 2  # half the height of a bar or band
VAL, TRAIN, GAP = "tab:orange", "tab:blue", "tab:red"


def draw_panels(answer: Answer, path: Path) -> None:
    panels_figure(answer).savefig(path, dpi=120)


def panels_figure(answer: Answer) -> Any:
    """Return a figure of all panels side by side."""
    figure, panels = _new_figure(len(PANELS), (5 * len(PANELS), 4.2))
    for panel, axes in zip(PANELS.values(), panels, strict=True):
        panel(answer, axes)
    figure.suptitle(answer.study)
    return figure


def panel_image(answer: Answer, panel: str) -> bytes:
    """Draw one of the panels; return a PNG."""
    figure, (axes,) = _new_figure(1, (4.8, 3.6))
    PANELS[panel](answer, axes)
    file = io.BytesIO()
    figure.savefig(file, dpi=125)
    return file.getvalue()


def _new_figure(n_panels: int, inches: tuple[float, float]) -> tuple[Any, Sequence[Any]]:
    from matplotlib.figure import Figure  # takes longer to import than most commands need

    figure = Figure(inches, layout="constrained")
    return figure, figure.subplots(1, n_panels, squeeze=False)[0]


def _over_the_rate(answer: Answer, axes: Any) -> None:
    rows, best, metric = answer.trained, answer.best, answer.metric
    others = [("gap", GAP)] if metric == "val_loss" else []
    for name, color in ((metric, VAL), (metric.replace("val", "train"), TRAIN), *others):
        values = [row.metrics[name].best_mean for row in rows]
        bars = [SEMS * (row.metrics[name].sem or 0) for row in rows]
        label = name.replace("_", " ")
        axes.errorbar(
            [row.rate for row in rows], values, bars,
            fmt="o", ms=4, lw=1, capsize=2, color=color, label=label,
        )  # fmt: skip
    low, high = (
        [m + side * SEMS * s for m, s in zip(best.mean, best.sd, strict=True)] for side in (-1, 1)
    )
    axes.plot(best.rates, best.mean, color=VAL, lw=1)
    axes.fill_between(best.rates, low, high, color=VAL, alpha=0.2, lw=0)
    said: str | None = "as good (95%)"
    for start, end in best.ranges["dropout"].islands:
        wide = 0.004 * (max(best.rates) - min(best.rates))  # so that a single rate is seen
        axes.axvspan(start - wide, end + wide, color="tab:green", alpha=0.12, label=said)
        said = None
    axes.axvline(best.point["dropout"], color="tab:green", ls=":", lw=1.5)
    _leave_out_the_wall(axes, [row.metrics[metric].mean for row in rows])
    axes.set(xlabel="dropout rate", ylabel="after the last epoch, dropout off")
    axes.set_title(f"mean over seeds ± {SEMS} standard errors")
    axes.legend()


def _leave_out_the_wall(axes: Any, values: Sequence[float]) -> None:
    """Keep the highest rates, whose loss may be a hundredfold, from flattening the rest."""
    lowest, middle = min(values), sorted(values)[len(values) // 2]
    top = lowest + 6 * (middle - lowest)
    if max(values) > top > lowest:
        axes.set_ylim(top=top)


def _while_training(answer: Answer, axes: Any) -> None:
    rows = answer.trained
    shown = {row.rate: row for row in (rows[0], answer.nearest_row(), rows[-1])}
    for (rate, row), color in zip(
        sorted(shown.items()), ("k", "tab:green", "tab:red"), strict=False
    ):
        for name, style in (("val_loss", "-"), ("train_loss", "--")):
            values = row.curves[name]
            label = f"rate {rate:.4g}, {name.replace('_', ' ')}"
            axes.plot(range(1, len(values) + 1), values, style, color=color, lw=1.2, label=label)
    axes.set(xlabel="epoch", ylabel="loss, dropout off", yscale="log", title="while training")
    axes.legend(fontsize=8)


def _made_of(answer: Answer, axes: Any) -> None:
    parts = answer.parts
    total = [a + b for a, b in zip(parts.train, parts.gap, strict=True)]
    name = answer.metric.replace("val_", "validation ")
    for values, color, label in (
        (parts.train, TRAIN, "because it fits worse"),
        (parts.gap, GAP, "because it carries over less"),
        (total, VAL, name),
    ):
        axes.plot(parts.rates, values, lw=1.2, color=color, label=label)
    for start, end in answer.best.ranges["dropout"].islands:
        axes.axvspan(start, end, color="tab:green", alpha=0.12, lw=0)
    axes.axhline(0, color="gray", lw=0.8)
    _leave_out_the_wall(axes, total)
    axes.set(xlabel="dropout rate", ylabel="above the best rate's")
    axes.set_title("under- and overfitting")
    axes.legend()


PANELS: dict[str, Callable[[Answer, Any], None]] = {
    "over_the_rate": _over_the_rate,
    "while_training": _while_training,
    "made_of": _made_of,
}


def draw_best_rate(
    key: str, answers: Sequence[Answer], values: Sequence[float], path: Path
) -> None:
    """Draw how the best rate, and what it gains, move with a number in which studies differ."""
    figure, (left, right) = _new_figure(2, (10, 4.2))
    best = [answer.best.point["dropout"] for answer in answers]
    ranges = [answer.best.ranges["dropout"] for answer in answers]
    low, high = [range_.low for range_ in ranges], [range_.high for range_ in ranges]
    left.fill_between(values, low, high, color="tab:green", alpha=0.15, label="as good (95%)")
    left.plot(values, best, "o-", color="tab:green", label="best rate")
    left.set(xlabel=key, ylabel="dropout rate")
    left.legend()
    known = [
        (v, a.gain)
        for v, a in zip(values, answers, strict=True)
        if a.gain and a.gain.low is not None
    ]
    if known:
        at, gains = zip(*known, strict=True)
        middle = [gain.value for gain in gains]
        bars = [[g.value - g.low for g in gains], [g.high - g.value for g in gains]]
        right.errorbar(at, middle, bars, fmt="o-", capsize=3, color=VAL)
    right.axhline(0, color="gray", lw=0.8)
    right.set(xlabel=key, ylabel="loss below that without dropout (95%)")
    if min(values) > 0 and max(values) > 5 * min(values):
        left.set_xscale("log")
        right.set_xscale("log")
    figure.savefig(path, dpi=120)
