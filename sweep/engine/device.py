"""The device that a job trains on."""

import torch

from sweep.errors import BadInput


def pick_device(name: str, place: int = 0) -> torch.device:
    """Return the device that train.device names, if this machine has it.

    If it does not say which GPU, jobs take the GPUs in turn: `place` is a job's number.
    """
    n_gpus = torch.cuda.device_count()
    if name == "auto":
        name = "cuda" if n_gpus else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= n_gpus:
        raise BadInput(f"train.device={name}: this machine has {n_gpus} CUDA devices; use auto")
    if name == "cuda" and place:
        return torch.device("cuda", place % n_gpus)
    return device


def multiplies_bf16(device: str) -> bool:
    """Return whether a device of this machine multiplies bf16 itself, as far as torch knows."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    ask = getattr(torch.cpu, "get_capabilities", None)  # which torch 2.11 may not have
    if ask is None:
        return True
    return any(has is True for name, has in ask().items() if "bf16" in name)
