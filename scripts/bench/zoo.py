"""Time the networks of the tests, as people write them, in our way and by a plain loop, in turns.

    python -m scripts.bench.zoo [network ...] [--device cuda]

Needs what the tests need (transformers). Prints the table of scripts.bench.models.
"""

import argparse
from dataclasses import replace

import torch

from scripts.bench.models import WORK, head, row
from sweep.check import read_config
from sweep.workload.data import Data
from sweep.workload.split import Split
from tests.engine import zoo

NETWORKS = {network.__name__: network for network in (*zoo.OF_WORDS, *zoo.OF_IMAGES)}
SIZE, N_VAL, N_CLASSES = 2560, 500, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    device = torch.device(args.device)
    config = read_config(WORK)
    config = replace(config, study=replace(config.study, generation=4, seeds=2))
    print(head(config))
    for name in args.networks:
        of_it = replace(config, model={"_target_": f"{zoo.__name__}.{name}"})
        print(row(name, of_it, samples(name).to(device), device), flush=True)


def samples(name: str) -> Data:
    """Return whole sequences of words, or images, and classes, all drawn at random."""
    generator, n = torch.Generator().manual_seed(0), SIZE + N_VAL
    if NETWORKS[name] in zoo.OF_WORDS:
        x = torch.randint(1, zoo.WORDS, (n, zoo.LENGTH), generator=generator).float()
    else:
        x = torch.randn(n, 1, 28, 28, generator=generator)
    y = torch.randint(N_CLASSES, (n,), generator=generator)
    train, val = (Split(x[rows], y[rows]) for rows in (slice(SIZE), slice(SIZE, None)))
    return Data(train, train, val, "")


if __name__ == "__main__":
    main()
