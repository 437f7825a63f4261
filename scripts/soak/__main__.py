"""Break studies on purpose, and print what was tried and what was lost.

python -m scripts.soak kills --n 200      # kill -9 at random moments
python -m scripts.soak calls --kind kill  # kill -9 before every file or storage call, in turn
python -m scripts.soak calls --kind fail  # every file or storage call fails once, in turn
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # children are forked, and threads are not

import argparse
import sys

from scripts.soak import crashes, faults


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--seed", type=int, default=0)
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("kills").add_argument("--n", type=int, default=200)
    calls = what.add_parser("calls")
    calls.add_argument("--kind", choices=faults.TITLES, required=True)
    calls.add_argument("--every", type=int, default=1, help="only each so many-th call")
    args = parser.parse_args()
    if args.what == "kills":
        tally = crashes.random_kills(args.n, args.seed)
    else:
        tally = crashes.every_call(args.kind, args.every, 1 + args.seed % args.every)
    print("| fault | tried | results lost | unreadable | left running | another end | slowest, s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    print(tally.row(), *tally.notes[:5], sep="\n\n")
    return 0 if tally.good else 1


if __name__ == "__main__":
    sys.exit(main())
