"""`python -m league`: plays what is asked for and is not done, and prints who won."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from threadpoolctl import threadpool_limits

import aruba_fast as af

from . import season, standings, tables
from .methods import ENTRANTS
from .protocol import SHOTS


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="league", description=__doc__)
    parser.add_argument("--tables", help="names, with commas; all that are at hand if absent")
    parser.add_argument("--methods", default=",".join(ENTRANTS), help="names, with commas")
    parser.add_argument("--seeds", type=int, default=10, help="number of splits")
    # Those below 100 were seen when the library's own rule was made.
    parser.add_argument("--first", type=int, default=100, help="seed of the first (default 100)")
    parser.add_argument("--out", type=Path, default=Path("build/league"), help="folder of results")
    parser.add_argument(
        "--keep", type=Path, help="also write the numbers to this file, and go on from what it has"
    )
    parser.add_argument("--again", action="store_true", help="play the methods anew")
    args = parser.parse_args(arguments)
    names = args.tables.split(",") if args.tables else tables.at_hand()
    methods = args.methods.split(",")
    for given, known in ((names, tables.NAMES), (methods, ENTRANTS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"{', '.join(unknown)}: unknown, expected of {', '.join(known)}")
    absent = [name for name in tables.NAMES if name not in tables.at_hand()]
    if wanted := [name for name in names if name in absent]:
        parser.error(f"{', '.join(wanted)}: not in the folder ARUBA_FAST_DATA")
    for option, least in (("seeds", 1), ("first", 0)):
        if getattr(args, option) < least:
            parser.error(f"--{option} must be at least {least}: got {getattr(args, option)}")

    af.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    console, notes = Console(), Console(stderr=True)
    if absent and not args.tables:
        notes.print(f"left out, not in the folder ARUBA_FAST_DATA: {', '.join(absent)}")
    entrants = {name: ENTRANTS[name] for name in methods}
    kept = json.loads(args.keep.read_text("utf-8")) if args.keep and args.keep.exists() else {}
    results = {}
    with threadpool_limits(1):
        for name in names:
            path = args.out / f"{name}.json"
            table, yes_no = tables.load(name), name in tables.YES_NO
            seeds = range(args.first, args.first + args.seeds)
            results[name] = season.play(
                *(table, yes_no, entrants, seeds, path, notes.print),
                again=args.again,
                kept=kept.get(name),
            )
    if args.keep:
        kept |= season.kept(results)
        args.keep.write_text(json.dumps(kept) + "\n", encoding="utf-8")
    for shots in SHOTS:
        console.print(standings.grid(results, shots))
    console.print(standings.times(results))
    for sentence in standings.summary(results):
        console.print(sentence, highlight=False)


if __name__ == "__main__":
    main()
