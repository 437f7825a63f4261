"""How many members a device holds."""

import os
from pathlib import Path

import torch
from torch import nn

STATES = 4  # a weight, its gradient and AdamW's two moments
PART = 2  # of free memory one part may be taken


def fits(model: nn.Module, n_members: int, device: torch.device) -> bool:
    """Tell whether the weights of so many members, with what trains them, leave room for steps."""
    return n_members * size(model) <= free(device) / PART


def size(model: nn.Module) -> int:
    """Return the bytes that a member keeps from step to step."""
    buffers = sum(buffer.nbytes for buffer in model.buffers())
    return STATES * sum(param.nbytes for param in model.parameters()) + buffers


def free(device: torch.device) -> float:
    """Return the bytes that can be had, as far as the system tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    limits = [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        limits = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
        most, now = (Path(f"/sys/fs/cgroup/memory.{name}").read_text() for name in ("max", "current"))
        limits.append(int(most) - int(now))
    except (OSError, ValueError):  # another system, or no limit
        pass
    return min(limits)
