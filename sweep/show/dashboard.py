"""The study's own run in TensorBoard: ready charts, the columns of the table, and the answer.

Pictures are added after every generation; the rest lies in files that are replaced, so that no
curve is ever drawn twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.custom_scalar import metadata as custom_scalars
from tensorboard.plugins.custom_scalar.layout_pb2 import (
    Category,
    Chart,
    Layout,
    MarginChartContent,
    MultilineChartContent,
)
from tensorboard.plugins.hparams import summary_v2
from torch.utils.tensorboard.summary import text

from sweep.answer.answer import Answer
from sweep.command.rate import all_rates_zero
from sweep.command.space import Axis, Number
from sweep.show import figure
from sweep.show.curves import band_tags, scalar_summary, tag_of
from sweep.show.events import EventFile
from sweep.show.markdown import answer_text

SHOWN_BY_DEFAULT = 500  # runs; if there are more, TensorBoard shows none by default
PICTURES = {
    "answer/1_loss_over_rate": "over_the_rate",
    "answer/2_made_of": "made_of",
    "answer/3_while_training": "while_training",
}


class Dashboard:
    """The event files of the study's own run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pictures: EventFile | None = None  # one file: readers take files by name, not by time

    def announce(self, axes: Sequence[Axis], n_seeds: int, second: str | None) -> None:
        """Write the columns of the table and the ready charts."""
        writer = self._begin_anew("study")
        hparams = [summary_v2.HParam(axis.key, _axis_domain(axis)) for axis in axes]
        metrics = [
            summary_v2.Metric(tag, display_name=name) for tag, name in _columns(second).items()
        ]
        writer.add(summary_v2.hparams_config_pb(hparams, metrics))
        writer.add(_chart_layout(n_seeds, second))
        writer.close()

    def show(self, answer: Answer, generation: int) -> None:
        """Write the answer after a generation, counted from 1, with its pictures."""
        if self.pictures is None:
            self.pictures = EventFile(self.folder, ".pictures")
        for tag, panel in PICTURES.items():
            png = Summary.Image(
                encoded_image_string=figure.panel_image(answer, panel), colorspace=4
            )
            value = Summary.Value(tag=tag, image=png)
            self.pictures.add(Summary(value=[value]), generation)
        self.pictures.flush()
        self.write_answer(answer, generation)

    def write_answer(self, answer: Answer, generation: int) -> None:
        """Write the verdict and the curves of the answer, in place of those before."""
        writer = self._begin_anew("answer")
        writer.add(text("answer/verdict", answer_text(answer)), generation)  # type: ignore[no-untyped-call]
        for step, points in (*_over_the_rate(answer), *_over_epochs(answer)):
            writer.add(scalar_summary(points), step)
        writer.close()

    def close(self) -> None:
        if self.pictures is not None:
            self.pictures.close()

    def _begin_anew(self, part: str) -> EventFile:
        for old in self.folder.glob(f"*.tfevents.*.{part}"):
            old.unlink()
        return EventFile(self.folder, f".{part}")


def _columns(second: str | None) -> dict[str, str]:
    """Return the columns of the table of hyperparameters, {tag: name}."""
    others = {f"{second}/val": f"validation {second.replace('_', ' ')}"} if second else {}
    return {"loss/val": "validation loss", **others, "gap/loss": "gap"}


def _axis_domain(axis: Axis) -> summary_v2.Domain:
    if axis.values:
        return summary_v2.Discrete(axis.values)
    whole = isinstance(axis.low, int)
    return (summary_v2.IntInterval if whole else summary_v2.RealInterval)(axis.low, axis.high)


def _chart_layout(n_seeds: int, second: str | None) -> Summary:
    """Lay the charts of the Custom Scalars tab out."""
    fit = [
        _joint_chart(f"{name.replace('_', ' ')}, validation and training", f"^{name}/(val|train)$")
        for name in ("loss", second)
        if name
    ]
    if n_seeds > 1:
        fit += [
            _banded_chart("validation loss", tag_of("val_loss")),
            _banded_chart("training loss", tag_of("train_loss")),
            _banded_chart("gap, validation less training loss", tag_of("gap")),
        ]
    answer = [
        _joint_chart("loss over 1000 x rate", "^over_1000_rate/"),
        _joint_chart("loss of the best rate and of none", "^over_epochs/"),
    ]
    layout = Layout(
        category=[
            Category(title="the answer", chart=answer),
            Category(title="under- and overfitting: dropout off, bands of 2 sem", chart=fit),
        ]
    )
    about = custom_scalars.create_summary_metadata()
    content = TensorProto(dtype=DT_STRING, string_val=[layout.SerializeToString()])
    tag = custom_scalars.CONFIG_SUMMARY_TAG
    return Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=content)])


def _joint_chart(title: str, tags: str) -> Chart:
    return Chart(title=title, multiline=MultilineChartContent(tag=[tags]))


def _banded_chart(title: str, tag: str) -> Chart:
    """Show one curve: with two in a chart TensorBoard finds fault with the study's own run."""
    low, high = band_tags(tag)
    series = MarginChartContent.Series(value=tag, lower=low, upper=high)
    return Chart(title=title, margin=MarginChartContent(series=[series]))


def _over_the_rate(answer: Answer) -> Iterator[tuple[int, Mapping[str, float]]]:
    """Yield what the trials found, and the curve fitted to them, at steps of 1000 x rate."""
    best, metric = answer.best, answer.metric
    of = {"val": metric, "train": metric.replace("val", "train"), "gap": "gap"}
    points: list[tuple[Number, dict[str, float]]] = []
    if len(answer.space) == 1:
        for row in answer.trained:
            values = {name: row.metrics[m].best_mean for name, m in of.items()}
            points.append((row.rate, values))
    points += [(rate, {"fit": mean}) for rate, mean in zip(best.rates, best.mean, strict=True)]
    for rate, values in sorted(points, key=lambda point: point[0]):
        yield round(1000 * rate), {f"over_1000_rate/{name}": y for name, y in values.items()}


def _over_epochs(answer: Answer) -> Iterator[tuple[int, Mapping[str, float]]]:
    """Yield the losses of the trial nearest to the best rate and of one without dropout."""
    shown = {"best": answer.nearest_row()}
    without = next((row for row in answer.trained if all_rates_zero(row.params)), None)
    shown |= {"none": without} if without else {}
    for name, row in shown.items():
        for kind in ("val", "train"):
            for epoch, value in enumerate(row.curves[f"{kind}_loss"], 1):
                yield epoch, {f"over_epochs/{kind}_{name}": value}
