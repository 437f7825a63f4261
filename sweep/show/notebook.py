"""An answer as a notebook or a script has it."""

from pathlib import Path
from typing import Any

from sweep.answer.answer import Answer
from sweep.files import write_whole
from sweep.show.figure import panels_figure, png_of
from sweep.show.markdown import answer_text
from sweep.show.sentences import answer_sentences
from sweep.show.table import csv_text


class ShownAnswer(Answer):
    """An answer that prints as sentences, and shows itself in a notebook."""

    def plot(self) -> Any:
        """Return the report's picture as a figure of matplotlib, which a notebook shows."""
        figure = panels_figure(self)
        figure._repr_png_ = lambda: png_of(figure)  # else only figures of pyplot are shown
        return figure

    def to_csv(self, path: str | Path | None = None) -> str:
        """Return a line for each training, as text; also write it to a file, if one is named."""
        text = csv_text(self)
        if path is not None:
            write_whole(Path(path), text)
        return text

    def __str__(self) -> str:
        return "\n".join(answer_sentences(self))

    def _repr_markdown_(self) -> str:
        return answer_text(self)


def shown_answer(answer: Answer) -> ShownAnswer:
    return ShownAnswer(**vars(answer))
