"""Break studies on purpose, and print what was tried and what was lost.

python -m scripts.soak kills --n 200           # kill -9 at random moments
python -m scripts.soak calls --kind kill       # kill -9 before every file or storage call, in turn
python -m scripts.soak calls --kind fail       # every file or storage call fails once, in turn
python -m scripts.soak disk                    # full, read-only, vanished
python -m scripts.soak lock --seconds 1 10 70  # the database is held by another process
python -m scripts.soak inputs --n 2000         # commands that nobody would think of
python -m scripts.soak endless --n 5000        # trials of one step in one process
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # children are forked, and threads are not

import argparse
import sys

from scripts.soak import crashes, disk, endless, inputs

HEAD = "| fault | tried | results lost | unreadable | left running | another end | slowest, s |"


def arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--seed", type=int, default=0)
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("kills").add_argument("--n", type=int, default=200)
    calls = what.add_parser("calls")
    calls.add_argument("--kind", choices=("kill", "fail"), required=True)
    calls.add_argument("--every", type=int, default=1, help="only each so many-th call")
    what.add_parser("disk").add_argument("--sizes", type=int, nargs="+", default=disk.SIZES)
    what.add_parser("lock").add_argument("--seconds", type=float, nargs="+", default=(1, 10, 70))
    what.add_parser("inputs").add_argument("--n", type=int, default=2000)
    what.add_parser("endless").add_argument("--n", type=int, default=5000)
    return parser.parse_args()


def tallies(args: argparse.Namespace) -> list[crashes.Tally]:
    if args.what == "kills":
        return [crashes.random_kills(args.n, args.seed)]
    if args.what == "calls":
        return [crashes.every_call(args.kind, args.every, 1 + args.seed % args.every)]
    if args.what == "disk":
        return [disk.full(args.sizes), disk.closed(), disk.gone()]
    if args.what == "inputs":
        return [inputs.try_many(args.n, args.seed)]
    return [disk.held(args.seconds)]


def main() -> int:
    args = arguments()
    if args.what == "endless":
        print(*endless.endless(args.n), sep="\n")
        return 0
    found = tallies(args)
    print(HEAD, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |", sep="\n")
    for tally in found:
        print(tally.row())
    for tally in found:
        print(f"\n{tally.title}:", *tally.notes[:5], sep="\n")
    return 0 if all(tally.good for tally in found) else 1


if __name__ == "__main__":
    sys.exit(main())
