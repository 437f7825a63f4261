"""The pictures of a study: the loss over the rate, while it trained, and what it is made of."""

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from sweep.answer.answer import Answer
from sweep.answer.row import Row
from sweep.files import whole_file
from sweep.show.sentences import study_words

LOGARITHMIC = 5  # times the lowest loss: a log axis then has two labels at least
SEMS = 2  # half the height of a bar or band
VAL, TRAIN, GAP = "tab:orange", "tab:blue", "tab:red"
SET = "cannot be told from\nthe best (95%)"


def draw_panels(answer: Answer, path: Path) -> None:
    with whole_file(path) as file:
        panels_figure(answer).savefig(file, dpi=120)


def panels_figure(answer: Answer) -> Any:
    """Return a figure of all panels side by side."""
    figure, panels = _new_figure(len(PANELS), (5 * len(PANELS), 4.8))
    for panel, axes in zip(PANELS.values(), panels, strict=True):
        panel(answer, axes)
    figure.suptitle(study_words(answer))
    return figure


def png_of(figure: Any, dpi: int = 120) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, dpi=dpi)
    return file.getvalue()


def panel_image(answer: Answer, panel: str) -> bytes:
    """Draw one of the panels in the shape of a TensorBoard card, its text large; return a PNG."""
    figure, (axes,) = _new_figure(1, (4.6, 2.8))
    PANELS[panel](answer, axes)
    axes.set_title(f"{answer.study}: {axes.get_title()}", fontsize=9)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
    return png_of(figure, 200)


def _new_figure(n_panels: int, inches: tuple[float, float]) -> tuple[Any, Sequence[Any]]:
    from matplotlib.figure import Figure  # takes longer to import than most commands need

    figure = Figure(inches, layout="constrained")
    return figure, figure.subplots(1, n_panels, squeeze=False)[0]


def _over_the_rate(answer: Answer, axes: Any) -> None:
    rows, best, metric = answer.trained, answer.best, answer.metric
    listed = best.ranges["dropout"].values is not None
    others = [("gap", GAP)] if metric == "val_loss" else []
    for name, color in ((metric, VAL), (metric.replace("val", "train"), TRAIN), *others):
        values = [row.metrics[name].best_mean for row in rows]
        bars = [SEMS * (row.metrics[name].sem or 0) for row in rows]
        axes.errorbar(
            [row.rate for row in rows], values, bars, fmt="o", ms=4, lw=1, capsize=2,
            color=color, label=name.replace("_", " "),
        )  # fmt: skip
        if name != metric and len(answer.space) == 1:
            axes.plot([row.rate for row in rows], values, lw=0.7, ls=":", color=color)
    if not listed:
        low, high = (
            [m + side * SEMS * s for m, s in zip(best.mean, best.sd, strict=True)]
            for side in (-1, 1)
        )
        axes.plot(best.rates, best.mean, color=VAL, lw=1)
        axes.fill_between(best.rates, low, high, color=VAL, alpha=0.2, lw=0)
    _shade_the_set(answer, axes)
    _leave_out_the_wall(
        axes, [row.rate for row in rows], [row.metrics[metric].mean for row in rows]
    )
    axes.set(xlabel="dropout rate", ylabel="after the last epoch")
    axes.set_title(f"means ± {SEMS} standard errors")
    _legend_below(axes)


def _shade_the_set(answer: Answer, axes: Any) -> None:
    """Show what cannot be told from the best: parts of the axis, or single rates of a list."""
    range_ = answer.best.ranges["dropout"]
    said: str | None = SET
    if range_.values is not None:
        for value in range_.values:
            axes.axvline(value, color="tab:green", alpha=0.25, lw=6, label=said)
            said = None
    else:
        wide = 0.004 * (max(answer.best.rates) - min(answer.best.rates))
        for start, end in range_.islands:  # wider than it is, so that a single rate is seen
            axes.axvspan(start - wide, end + wide, color="tab:green", alpha=0.12, lw=0, label=said)
            said = None
    axes.axvline(answer.best.point["dropout"], color="tab:green", ls=":", lw=1.5)


def _legend_below(axes: Any, columns: int = 2) -> None:
    """Put the legend below the axes, where it hides nothing."""
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16)}
    axes.legend(**place, ncols=columns, fontsize=8, frameon=False)


def _leave_out_the_wall(
    axes: Any, rates: Sequence[float], values: Sequence[float], every: bool = True
) -> None:
    """Keep the highest rates, whose loss may be a hundredfold, from flattening the rest.

    Those above the axes are marked at their upper edge with their values: every one, or of a curve
    the last.
    """
    lowest, middle = min(values), sorted(values)[len(values) // 2]
    top = lowest + 6 * (middle - lowest)
    if not max(values) > top > lowest:
        return
    axes.set_ylim(top=top)
    outside = {rate: value for rate, value in zip(rates, values, strict=True) if value > top}
    for rate, value in list(outside.items())[0 if every else -1 :]:
        axes.plot(rate, top, "^", color=VAL, ms=6, clip_on=False)
        axes.annotate(
            f"{value:.3g}", (rate, top), (-4, -4), textcoords="offset points", fontsize=8,
            ha="right", va="top", color=VAL,
        )  # fmt: skip


def _while_training(answer: Answer, axes: Any) -> None:
    from matplotlib import colormaps
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    rows, nearest = answer.trained, answer.nearest_row()
    ends = [row for row in rows if row.rate in (rows[0].rate, rows[-1].rate)]
    ends.sort(key=lambda row: row.seeds == nearest.seeds)  # of one rate the last is shown
    shown = {row.rate: row for row in (*ends, nearest)}
    lowest, highest = _ends_of_curves(shown.values())
    for place, (rate, row) in enumerate(sorted(shown.items())):
        color = colormaps["viridis"](0.85 * place / max(1, len(shown) - 1))
        for name, style in (("val_loss", "-"), ("train_loss", "--")):
            values = row.curves[name]
            label = f"rate {rate:.3g}, {'validation' if name == 'val_loss' else 'training'}"
            axes.plot(range(1, len(values) + 1), values, style, color=color, lw=1.2, label=label)
    axes.set(xlabel="epoch", ylabel="loss, dropout off", title="rates while training")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if highest > LOGARITHMIC * lowest > 0:
        axes.set(yscale="log")
        for axis in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            axis(FuncFormatter(lambda value, _: f"{value:.2g}" if _is_round(value) else ""))
    _legend_below(axes, len(shown))


def _ends_of_curves(rows: Iterable[Row]) -> tuple[float, float]:
    values = [v for row in rows for name in ("val_loss", "train_loss") for v in row.curves[name]]
    return min(values), max(values)


def _is_round(value: float) -> bool:
    """Return whether a tick of a log axis is to be labelled: 1, 2 or 5 times a power of ten."""
    return f"{value:.0e}"[0] in "125"


def _made_of(answer: Answer, axes: Any) -> None:
    parts = answer.parts
    total = [a + b for a, b in zip(parts.train, parts.gap, strict=True)]
    name = answer.metric.replace("val_", "validation ").replace("_", " ")
    style = "o" if answer.best.ranges["dropout"].values is not None else ""
    for values, color, label in (
        (parts.train, TRAIN, "training: underfits"),
        (parts.gap, GAP, "gap: overfits"),
        (total, VAL, f"sum: {name}"),
    ):
        axes.plot(parts.rates, values, f"-{style}", lw=1.2, ms=4, color=color, label=label)
    _shade_the_set(answer, axes)
    axes.axhline(0, color="gray", lw=0.8)
    _leave_out_the_wall(axes, parts.rates, total, every=False)
    axes.set(xlabel="dropout rate", ylabel="above the best rate's")
    axes.set_title("under- and overfitting")
    _legend_below(axes)


PANELS: dict[str, Callable[[Answer, Any], None]] = {
    "over_the_rate": _over_the_rate,
    "while_training": _while_training,
    "made_of": _made_of,
}


def draw_best_rate(
    key: str, answers: Sequence[Answer], values: Sequence[float], path: Path
) -> None:
    """Draw how the best rate, and what it gains, move with a number in which studies differ."""
    known = [
        (v, a.gain)
        for v, a in zip(values, answers, strict=True)
        if a.gain and a.gain.low is not None
    ]
    figure, panels = _new_figure(2 if known else 1, (10 if known else 5, 4.2))
    panels[0].plot(
        values, [answer.best.point["dropout"] for answer in answers], "o-", color="tab:green",
        label="best rate",
    )  # fmt: skip
    said: str | None = SET
    for value, answer in zip(values, answers, strict=True):
        for low, high in answer.best.ranges["dropout"].islands:
            panels[0].plot(
                [value, value], [low, high], lw=6, alpha=0.3, color="tab:green", label=said,
                solid_capstyle="round",
            )  # fmt: skip
            said = None
    panels[0].set(xlabel=key, ylabel="dropout rate")
    _legend_below(panels[0])
    if known:
        at, gains = zip(*known, strict=True)
        middle = [gain.value for gain in gains]
        bars = [[g.value - g.low for g in gains], [g.high - g.value for g in gains]]
        panels[1].errorbar(at, middle, bars, fmt="o-", capsize=3, color=VAL)
        panels[1].axhline(0, color="gray", lw=0.8)
        name = gains[0].metric.replace("val_", "validation ").replace("_", " ")
        panels[1].set(xlabel=key, ylabel=f"{name} lower by (95%)")
    for axes in panels:
        if min(values) > 0 and max(values) > 5 * min(values):
            axes.set_xscale("log")
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()
    with whole_file(path) as file:
        figure.savefig(file, dpi=120)
