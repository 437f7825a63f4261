"""TensorBoard: one run a trial, its curves as means over seeds, written while it trains."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from sweep.result import CONFIRMATION

TAGS = {  # as they are called in the results -> as TensorBoard groups them
    "val_loss": "loss/val",
    "train_loss": "loss/train",
    "train_loss_dropout_on": "loss/train_dropout_on",
    "val_error": "error/val",
    "train_error": "error/train",
    "gap": "gap/loss",
}


class Curves:
    """The event files of the trials of one population."""

    def __init__(self, folder: Path, runs: Sequence[str]) -> None:
        for run in runs:  # a population that was cut short begins anew; its old points go
            for old in (folder / run).glob("events.out.tfevents.*"):
                old.unlink()
        self.writers = [SummaryWriter(str(folder / run)) for run in runs]

    def log(self, epoch: int, metrics: Mapping[str, Sequence[Sequence[float]]]) -> None:
        """Write the point of one epoch, counted from 1; metrics are (P, S)."""
        for name, table in metrics.items():
            for writer, values in zip(self.writers, table, strict=True):
                writer.add_scalar(TAGS[name], sum(values) / len(values), epoch)
        for writer in self.writers:
            writer.flush()

    def keep(self, places: Sequence[int]) -> None:
        """Go on with these runs alone."""
        for place, writer in enumerate(self.writers):
            if place not in places:
                writer.close()
        self.writers = [self.writers[place] for place in places]

    def close(self) -> None:
        for writer in self.writers:
            writer.close()


def run_name(rate: float, trial: int, generation: int) -> str:
    """Name a run so that sorting by name sorts by rate."""
    one_of = -1 - trial if trial < 0 else trial
    more = f".{one_of}" if one_of else ""
    if generation >= CONFIRMATION:
        which = f"confirmation={generation - CONFIRMATION:03d}{more}"
    elif trial < 0:
        which = f"baseline={generation:03d}{more}"
    else:
        which = f"trial={trial:03d}"
    return f"dropout={rate:.4f}_{which}"
