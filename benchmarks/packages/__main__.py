"""Ours and six packages from PyPI under the same faults: `python -m benchmarks.packages`.

Exits with 1 where ours fails a check that it promises, and with 2 where two runs differ.
"""

import argparse
import sys
from datetime import UTC, datetime
from typing import Any

from benchmarks.packages import checks, report
from benchmarks.packages.catalogue import CONTENDERS, OURS
from benchmarks.packages.deployment import Deployment
from benchmarks.packages.servers import database_server


def main() -> int:
    """Print the table and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--markdown", action="store_true", help="the table as in the README")
    parser.add_argument("--twice", action="store_true", help="run all, and compare the verdicts")
    parser.add_argument("--only", metavar="FILE", help="one of contenders/, without .py")
    chosen = parser.parse_args()
    server, _ = database_server()
    results = _run(server, chosen.only)
    day = datetime.now(UTC).date()
    if chosen.markdown:
        sys.stdout.write(report.markdown(results, day=day))
    else:
        report.show(results, day=day)
    if broken := report.broken_promises(OURS, results):
        sys.stderr.write("\n".join(["Ours promises and does not keep:", *broken, ""]))
        return 1
    return _differences(results, _run(server, chosen.only)) if chosen.twice else 0


def _run(server: dict[str, Any], only: str | None) -> report.Results:
    results: report.Results = {}
    for contender in CONTENDERS:
        if only in {None, contender.module}:
            for configuration in contender.configurations:
                sys.stderr.write(f"{report.title(contender, configuration)}\n")
                with Deployment(contender, configuration, server) as deployment:
                    results[contender.module, configuration.name] = checks.run(deployment)
    return results


def _differences(first: report.Results, second: report.Results) -> int:
    differing = [
        f"{' '.join(row)}: {check}: {verdict} / {second[row][check]}"
        for row, verdicts in first.items()
        for check, verdict in verdicts.items()
        if verdict != second[row][check]
    ]
    lines = ["The second run differs:", *differing] if differing else ["Twice the same verdicts."]
    sys.stderr.write("\n".join([*lines, ""]))
    return 2 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
