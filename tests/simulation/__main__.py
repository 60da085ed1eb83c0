"""`python -m tests.simulation`: try many seeds, or tell the story of one."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation.runs import Run, many, run, shrunk


def main() -> int:
    """Exit code 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to try")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first of them")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--without", default="", help="steps to leave out, as 3,4,7")
    parser.add_argument("--trace", action="store_true", help="tell what happens")
    parser.add_argument("--shrink", action="store_true", help="leave steps out for as long as it fails")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--most", type=int, default=10, help="broken promises after which to stop")
    options = parser.parse_args()
    if options.seed is not None:
        return _one(options)
    begun, failed, number = time.monotonic(), [], 0
    seeds = range(options.first, options.first + options.seeds)
    for number, done in enumerate(many(seeds, options.processes), start=1):
        if done.broken:
            failed.append(done)
            print(f"seed {done.seed}: {done.broken}\n    {done.command}")
        if sys.stderr.isatty() and number % 50 == 0:
            print(f"\r{number} of {options.seeds}", end="", file=sys.stderr, flush=True)
        if len(failed) >= options.most:
            break
    took = time.monotonic() - begun
    print(f"{number} seeds in {took:.1f} s ({number / took:.1f} a second): {len(failed)} broke a promise")
    return int(bool(failed))


def _one(options: argparse.Namespace) -> int:
    without = {int(step) for step in options.without.split(",") if step}
    done = run(options.seed, without)
    if options.shrink and done.broken:
        done, left_out = shrunk(done)
        print(f"steps left out: {','.join(map(str, left_out))}")
    if options.trace:
        print("\n".join(done.story))
    print(_verdict(done))
    return int(bool(done.broken))


def _verdict(done: Run) -> str:
    return done.broken or f"seed {done.seed}: all promises kept in {done.steps} steps ({done.digest[:16]})"


if __name__ == "__main__":
    sys.exit(main())
