"""Rebuild the bundled digits from the full MNIST and verify them.

They are the first 500 training digits of each class, in the order of the file.

    uv run python -m scripts.make_mnist5k --root data           verify
    uv run python -m scripts.make_mnist5k --root data --write   write them anew
"""

import argparse
import gzip
import hashlib
from pathlib import Path

import numpy as np

from sweep.workload.digits import BUNDLED, checksums, folder_of, read_pair

PER_CLASS = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="holds MNIST/raw")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    images, labels = read_pair(folder_of("MNIST", args.root, download=True), "MNIST", "train")
    rows = np.concatenate([np.flatnonzero(labels == c)[:PER_CLASS] for c in range(10)])
    names = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
    for name, array in zip(names, (images[rows], labels[rows]), strict=True):
        header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        content = header + array.tobytes()
        if args.write:
            (BUNDLED / f"{name}.gz").write_bytes(gzip.compress(content, 9, mtime=0))
        digest = hashlib.sha256(content).hexdigest()
        if digest != checksums()[f"mnist5k/{name}"]:
            raise SystemExit(f"{name}: {digest} is not what sweep/workload/SHA256SUMS says")
        print(f"{name}: verified")


if __name__ == "__main__":
    main()
