"""Measure the accuracy of every smooth function and its slopes against mpmath.

    PYTHONPATH=compiler:runtime:. python benchmarks/accuracy.py [--points 10000] [names ...]

Prints the largest errors of values and first derivatives in units in the last place, float32 and
float64, in compiled code; a name in brackets tells of a limit that is not met.  The points are
spread over each function's domain, over all magnitudes, tails and subnormals.  Takes about a
minute a function for 10,000 points.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.accuracy.survey import SCALARS, measured, subjects


def _shown(error: float, limit: float) -> str:
    if math.isinf(limit) and not error:
        return "-"
    return f"{error:.2f}" if error <= limit else f"[{error:.2f}]"


def main() -> None:
    """Survey all functions, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--mode", default="fast")
    options = parser.parse_args()
    print("| function | value f32 | value f64 | slope f32 | slope f64 |\n|---|---|---|---|---|")
    for subject in subjects():
        if options.names and subject.name not in options.names:
            continue
        rows = [measured(subject, s, options.points, mode=options.mode) for s in SCALARS]
        cells = [_shown(r.value, b) for r, b in zip(rows, subject.values, strict=True)]
        cells += [_shown(r.slope, b) for r, b in zip(rows, subject.slopes, strict=True)]
        print(f"| `{subject.name}` | {' | '.join(cells)} |", flush=True)
        for row in rows:
            if any("[" in c for c in cells):
                sys.stderr.write(f"  {subject.name}: value at {row.value_at}, "
                                 f"slope at {row.slope_at}\n")  # fmt: skip


if __name__ == "__main__":
    main()
