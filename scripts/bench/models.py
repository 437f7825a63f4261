"""Time each model in the ways it can be trained and by a plain loop, interleaved; print a table.

    python -m scripts.bench.models [model ...] [--device cuda]

The loop is a good one (sweep.check.serial): digits as tensors, torch's fused AdamW, no DataLoader.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from sweep.check import RATES, speeds
from sweep.command.config import Config, StudyConfig, TrainConfig
from sweep.engine.plain import build
from sweep.engine.proof import prove
from sweep.engine.setting import candidates_of
from sweep.workload.data import Data, load

MODELS: dict[str, Any] = {
    path.stem: OmegaConf.to_container(OmegaConf.load(path))
    for path in Path("conf/model").glob("*.yaml")
}
OTHERS = {
    name: {"_target_": f"scripts.bench.networks.{name}"}
    for name in ("Example", "Lstm", "Encoder", "Narrow")
}
DIGITS = {
    "_target_": "sweep.workload.digits.mnist5k",
    "n_train": 2560,
    "n_val": 500,
    "split_seed": 0,
}
TRIALS, SEEDS, BATCH = 8, 3, 128
HEAD = "| model | parameters | plain loop | one by one | as one program | way | of the loop |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=[*sorted(MODELS), *OTHERS])
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    digits = load(DIGITS).to(torch.device(args.device))
    print(f"{TRIALS} rates x {SEEDS} seeds, batches of {BATCH}, {torch.get_num_threads()} threads")
    print("milliseconds a step of all members\n" + HEAD)
    print("| --- | ---: | ---: | ---: | ---: | --- | ---: |")
    for name in args.models:
        print(row(name, digits), flush=True)


def row(name: str, digits: Data) -> str:
    config = Config(
        model={**MODELS, **OTHERS}[name],
        train=TrainConfig(batch_size=BATCH),
        study=StudyConfig(generation=TRIALS, seeds=SEEDS),
    )
    some = candidates_of(config, [{"dropout": rate} for rate in RATES], digits)
    device = digits.train.inputs.device
    way = prove(some, config.train, digits, device)
    seconds = speeds(config, digits, way)
    n_steps = len(digits.train) // BATCH
    loop, alone, together = (
        seconds.get(key) for key in ("by a plain loop", "one by one", "as one program")
    )
    used = together or alone
    assert loop and used
    shown = " | ".join(f"{1000 * t / n_steps:.1f}" if t else "-" for t in (loop, alone, together))
    model = build(some.zero, 0, device, torch.float32)
    n = sum(p.numel() for p in model.parameters())
    return f"| {name} | {n:,} | {shown} | {way.why or way.kind} | {used / loop:.2f} |"


if __name__ == "__main__":
    main()
