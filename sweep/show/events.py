"""One event file as TensorBoard reads it, written at once by the one who calls.

TensorBoard's own writer keeps a thread for every file, in which a full disk would go unnoticed.
"""

import os
import socket
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from sweep.files import naming


class EventFile:
    """A new file in a folder; part is the end of its name."""

    def __init__(self, folder: Path, part: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        who = f"{socket.gethostname()}.{os.getpid()}{part}"
        self.path = folder / f"events.out.tfevents.{time.time():.6f}.{who}"
        self.file = self.path.open("wb")
        self.records = RecordWriter(self.file)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add(self, summary: Summary, step: int = 0) -> None:
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: Event) -> None:
        with naming(self.path):
            self.records.write(event.SerializeToString())

    def flush(self) -> None:
        """Let readers see what was added."""
        with naming(self.path):
            self.file.flush()

    def close(self) -> None:
        with naming(self.path):
            self.file.close()
