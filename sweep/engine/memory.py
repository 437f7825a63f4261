"""How many members fit in a device's memory: their weights and states, and a step's tensors."""

import os
import sys
from pathlib import Path

import torch
from torch import nn

from sweep.command.config import TrainConfig
from sweep.engine.plain import run_once
from sweep.engine.watch import Watch
from sweep.workload.inputs import Inputs, device_of

STATES = 4  # a weight, its gradient and AdamW's two moments
PART = 2  # at most 1 / PART of the free memory is used


def fits_in_memory(model: nn.Module, n_members: int, device: torch.device) -> bool:
    """Return whether n members' weights and optimiser states leave room for a step's tensors."""
    return n_members * member_bytes(model) <= free_bytes(device) / PART


def most_members(
    model: nn.Module, x: Inputs, config: TrainConfig, n_workers: int
) -> tuple[int, int]:
    """Return how many members of a model can be trained together on batches like x.

    And in how many processes, n_workers at most, each of which takes a step of its own.
    """
    try:
        with Watch() as made:
            run_once(model.train(), x, config)
    except Exception:  # perhaps caused by the watch; training reports a real one
        return sys.maxsize, n_workers
    room = free_bytes(device_of(x)) / PART
    n_workers = max(1, min(n_workers, int(room / 2 // max(1, made.bytes))))
    return max(1, int((room - n_workers * made.bytes) // member_bytes(model))), n_workers


def member_bytes(model: nn.Module) -> int:
    """Return the bytes that a member needs between steps."""
    buffers = sum(buffer.nbytes for buffer in model.buffers())
    return STATES * sum(param.nbytes for param in model.parameters()) + buffers


def free_bytes(device: torch.device) -> float:
    """Return the free bytes of a device, as far as the system reports them."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    limits = [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        limits = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
        most, now = (
            Path(f"/sys/fs/cgroup/memory.{name}").read_text() for name in ("max", "current")
        )
        limits.append(int(most) - int(now))
    except (OSError, ValueError):  # another system, or no limit
        pass
    return min(limits)
