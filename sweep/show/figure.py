"""The pictures of a study: the loss over the rate, while it trained, and what it is made of."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sweep.answer.answer import Answer, trained

SEMS = 2  # half the height of a bar or band
VAL, TRAIN, GAP = "tab:orange", "tab:blue", "tab:red"


def draw_panels(answer: Answer, path: Path) -> None:
    """Draw all panels side by side."""
    figure, panels = _new_figure(len(PANELS), (5 * len(PANELS), 4.2))
    for panel, axes in zip(PANELS.values(), panels, strict=True):
        panel(answer, axes)
    figure.suptitle(answer["study"])
    figure.savefig(path, dpi=120)


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
    rows, best, metric = trained(answer), answer["best"], answer["metric"]
    others = [("gap", GAP)] if metric == "val_loss" else []
    for name, color in ((metric, VAL), (metric.replace("val", "train"), TRAIN), *others):
        values = [row[name].get("aligned", row[name]["mean"]) for row in rows]
        bars = [SEMS * (row[name]["sem"] or 0) for row in rows]
        rates = [row["params"]["dropout"] for row in rows]
        label = name.replace("_", " ")
        axes.errorbar(rates, values, bars, fmt="o", ms=4, lw=1, capsize=2, color=color, label=label)
    rate, mean, sd = (best["curve"][key] for key in ("rate", "mean", "sd"))
    low, high = ([m + side * SEMS * s for m, s in zip(mean, sd, strict=True)] for side in (-1, 1))
    axes.plot(rate, mean, color=VAL, lw=1)
    axes.fill_between(rate, low, high, color=VAL, alpha=0.2, lw=0)
    ends = best["dropout"]
    axes.axvspan(ends["low"], ends["high"], color="tab:green", alpha=0.12, label="as good (95%)")
    axes.axvline(ends["value"], color="tab:green", ls=":", lw=1.5)
    _leave_out_the_wall(axes, [row[metric]["mean"] for row in rows])
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
    rows = trained(answer)
    best = answer["best"]["params"]["dropout"]
    nearest = min(rows, key=lambda row: abs(row["params"]["dropout"] - best))
    shown = {row["params"]["dropout"]: row for row in (rows[0], nearest, rows[-1])}
    for (rate, row), color in zip(
        sorted(shown.items()), ("k", "tab:green", "tab:red"), strict=False
    ):
        for name, style in (("val_loss", "-"), ("train_loss", "--")):
            values = row["curves"][name]
            label = f"rate {rate:.4g}, {name.replace('_', ' ')}"
            axes.plot(range(1, len(values) + 1), values, style, color=color, lw=1.2, label=label)
    axes.set(xlabel="epoch", ylabel="loss, dropout off", yscale="log", title="while training")
    axes.legend(fontsize=8)


def _made_of(answer: Answer, axes: Any) -> None:
    known = [row for row in trained(answer) if row["fit"]]
    rates = [row["params"]["dropout"] for row in known]
    train, gap = ([row["fit"][part] for row in known] for part in ("train_part", "gap_part"))
    total = [a + b for a, b in zip(train, gap, strict=True)]
    axes.plot(rates, train, "o-", ms=3, lw=1, color=TRAIN, label="because it fits worse")
    axes.plot(rates, gap, "o-", ms=3, lw=1, color=GAP, label="because it carries over less")
    axes.plot(rates, total, "o-", ms=3, lw=1, color=VAL, label="validation loss")
    axes.axhline(0, color="gray", lw=0.8)
    _leave_out_the_wall(axes, total)
    axes.set(xlabel="dropout rate", ylabel="loss above the best rate's")
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
    rates = [answer["best"]["dropout"] for answer in answers]
    best, low, high = ([rate[end] for rate in rates] for end in ("value", "low", "high"))
    left.fill_between(values, low, high, color="tab:green", alpha=0.15, label="as good (95%)")
    left.plot(values, best, "o-", color="tab:green", label="best rate")
    left.set(xlabel=key, ylabel="dropout rate")
    left.legend()
    known = [(v, a["gain"]) for v, a in zip(values, answers, strict=True) if a["gain"]]
    if known:
        at, gains = zip(*known, strict=True)
        middle = [gain["value"] for gain in gains]
        bars = [[abs(gain[end] - gain["value"]) for gain in gains] for end in ("low", "high")]
        right.errorbar(at, middle, bars, fmt="o-", capsize=3, color=VAL)
    right.axhline(0, color="gray", lw=0.8)
    right.set(xlabel=key, ylabel="loss below that without dropout (95%)")
    if min(values) > 0 and max(values) > 5 * min(values):
        left.set_xscale("log")
        right.set_xscale("log")
    figure.savefig(path, dpi=120)
