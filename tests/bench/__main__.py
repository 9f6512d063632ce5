"""`make bench` and `make bench-compare` measure the promised figures against the emulator.

python -m tests.bench [--out FILE] [--only NAME ...]
python -m tests.bench compare BEFORE AFTER
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench import adoption, backends, fleets, measures, policies, reports, sizing
from tests.bench.results import Results, comparison, load

SUBJECTS = {
    "start-up": measures.start_up,
    "reference": measures.reference,
    "rehearsals": measures.rehearsals,
    "adoption": adoption.adoption,
    "sizes": measures.sizes,
    "linearity": measures.linearity,
    "folders": measures.folders,
    "backends": backends.backends,
    "reports": reports.reports,
    "policies": policies.policies,
    "fleets": fleets.fleets,
    "sizing": sizing.sizing,
    "peer": measures.peer,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or compare; 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--out", type=Path, default=Path("bench-results", time.strftime("%Y%m%d-%H%M%S.json"))
    )
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    modes = parser.add_subparsers(dest="mode")
    compare = modes.add_parser("compare")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    options = parser.parse_args(arguments)
    if options.mode == "compare":
        try:
            print(comparison(load(options.before), load(options.after)))
        except ValueError as error:
            compare.error(str(error))
        return 0
    results = Results()
    with tempfile.TemporaryDirectory(prefix="reconciler-bench-") as folder:
        for name in options.only:
            print(f"{name} …", flush=True)
            SUBJECTS[name](Path(folder), results)
    results.write(options.out)
    print(results.table())
    print(f"\nWritten to {options.out}.")
    return int(any(figure.verdict == "MISS" for figure in results.figures))


if __name__ == "__main__":
    raise SystemExit(main())
