"""The study's own run in TensorBoard: ready charts, the columns of the table, and the answer.

Pictures are added after every generation; the rest lies in files that are replaced, so that no
curve is ever drawn twice.
"""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Never

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
from tensorboard.plugins.hparams.api_pb2 import DATA_TYPE_FLOAT64, DATA_TYPE_STRING, HParamInfo
from torch.utils.tensorboard.summary import text

from sweep.answer.answer import Answer
from sweep.command.rate import all_rates_zero
from sweep.command.space import Axis
from sweep.show import figure
from sweep.show.curves import Run, band_tags, scalar_summary, tag_of
from sweep.show.events import EventFile
from sweep.show.markdown import answer_text

SHOWN_BY_DEFAULT = 500  # runs; if there are more, TensorBoard shows none by default
Point = tuple[int, Mapping[str, float]]  # a step, and values by tag
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
        hparams = [summary_v2.HParam(key, AnyOf(str)) for key in ("study", "model", "data")]
        hparams += [summary_v2.HParam(axis.key, AnyOf(float)) for axis in axes]
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
        """Write the verdict, its curves and the values of its table, in place of those before."""
        writer = self._begin_anew("answer")
        writer.add(text("answer/verdict", answer_text(answer)), generation)  # type: ignore[no-untyped-call]
        writer.close()
        runs = {f"answer/{name}": points for name, points in _lines(answer).items()}
        for name, points in (runs | _table_points(answer)).items():
            writer = self._begin_anew("answer", name)
            for step, values in points:
                writer.add(scalar_summary(values), step)
            writer.close()

    def close(self) -> None:
        if self.pictures is not None:
            self.pictures.close()

    def _begin_anew(self, part: str, run: str = ".") -> EventFile:
        folder = self.folder / run
        for old in folder.glob(f"*.tfevents.*.{part}"):
            old.unlink()
        return EventFile(folder, f".{part}")


class AnyOf(summary_v2.Domain):  # type: ignore[misc]
    """Any value of a type: bounds would hide the trials of studies that have others."""

    def __init__(self, dtype: type) -> None:
        self._dtype = dtype

    @property
    def dtype(self) -> type:
        return self._dtype

    def sample_uniform(self, rng: object = None) -> Never:
        raise NotImplementedError

    def update_hparam_info(self, hparam_info: HParamInfo) -> None:
        hparam_info.type = DATA_TYPE_STRING if self.dtype is str else DATA_TYPE_FLOAT64


def _columns(second: str | None) -> dict[str, str]:
    """Return the columns of the table of hyperparameters, {tag: name}."""
    others = {f"reported/{second}": f"validation {second.replace('_', ' ')}"} if second else {}
    return {"reported/loss": "validation loss", **others, "reported/gap": "gap"}


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
        _joint_chart("over the rate (step 300 is rate 0.3)", "^over_1000_rate/"),
        _joint_chart("over epochs, the best rate and none", "^over_epochs/"),
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


def _lines(answer: Answer) -> dict[str, list[Point]]:
    """Return the curves of the answer by name: each is a run, which has a colour of its own."""
    return {**_over_the_rate(answer), **_over_epochs(answer)}


def _over_the_rate(answer: Answer) -> dict[str, list[Point]]:
    """Return what the trials found, and the curve fitted to them, at steps of 1000 x rate."""
    best, metric = answer.best, answer.metric
    of = {"validation": metric, "training": metric.replace("val", "train")}
    if metric == "val_loss":
        of["gap"] = "gap"
    rows = answer.trained if len(answer.space) == 1 else ()
    found = {name: [(row.rate, row.metrics[m].best_mean) for row in rows] for name, m in of.items()}
    found["fitted curve"] = list(zip(best.rates, best.mean, strict=True))
    tag = f"over_1000_rate/{metric.removeprefix('val_')}"
    return {
        name: [
            (round(1000 * rate), {tag: value}) for rate, value in sorted(points, key=itemgetter(0))
        ]
        for name, points in found.items()
    }


def _over_epochs(answer: Answer) -> dict[str, list[Point]]:
    """Return the losses of the trial nearest to the best rate and of one without dropout."""
    shown = {"best rate": answer.nearest_row()}
    without = next((row for row in answer.trained if all_rates_zero(row.params)), None)
    shown |= {"no dropout": without} if without else {}
    return {
        name: [
            (epoch, {"over_epochs/validation": val, "over_epochs/training": train})
            for epoch, (val, train) in enumerate(
                zip(row.curves["val_loss"], row.curves["train_loss"], strict=True), 1
            )
        ]
        for name, row in shown.items()
    }


def _table_points(answer: Answer) -> dict[str, list[Point]]:
    """Return the report's values of each trial, which are less what its seeds cost."""
    names = {"loss": "val_loss", "gap": "gap"}
    if second := answer.second_metric:
        names[second] = f"val_{second}"
    return {
        Run(row.params, row.number, 0).name: [
            (0, {f"reported/{name}": row.metrics[m].best_mean for name, m in names.items()})
        ]
        for row in answer.trained
        if row.number is not None
    }
