"""The picture of a study: loss against the rate, and each trial's way there."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SEED_SEMS = 2  # half the height of a bar


def draw(
    answer: Mapping[str, Any], curves: Sequence[tuple[float, Sequence[float]]], path: Path
) -> None:
    """Draw final losses over the rate, and beside them the metric over the epochs."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    _rates(answer, left)
    low, high = min(rate for rate, _ in curves), max(rate for rate, _ in curves)
    scale = matplotlib.colors.Normalize(low, high if high > low else low + 1)
    for rate, values in curves:
        epochs = range(1, len(values) + 1)
        right.plot(epochs, values, color=plt.cm.viridis(scale(rate)), lw=1.2)
    right.set(xlabel="epoch", ylabel=answer["metric"].replace("_", " "), title="while training")
    figure.colorbar(plt.cm.ScalarMappable(scale, "viridis"), ax=right, label="dropout rate")
    figure.suptitle(answer["study"])
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _rates(answer: Mapping[str, Any], axes: Any) -> None:
    rows = [row for row in answer["trials"] if row["state"] == "complete"]
    rows.sort(key=lambda row: row["params"]["dropout"])
    rates = [row["params"]["dropout"] for row in rows]
    for metric, color in (("val_loss", "tab:orange"), ("train_loss", "tab:blue")):
        means = [row[metric]["aligned"] for row in rows]
        bars = [SEED_SEMS * (row[metric]["sem"] or 0) for row in rows]
        axes.errorbar(
            rates,
            means,
            bars,
            fmt="o-",
            ms=4,
            lw=1,
            capsize=2,
            color=color,
            label=metric.replace("_", " "),
        )
    axes.axvline(answer["best"]["params"]["dropout"], color="gray", ls=":", lw=1)
    losses = [row["val_loss"]["aligned"] for row in rows]
    middle = sorted(losses)[len(losses) // 2]
    if max(losses) > min(losses) + 6 * (middle - min(losses)) > min(losses):
        axes.set_ylim(top=min(losses) + 6 * (middle - min(losses)))  # the wall at high rates
    axes.set(
        xlabel="dropout rate",
        ylabel="loss, dropout off",
        title=f"aligned mean over seeds ± {SEED_SEMS} sem",
    )
    axes.legend()
