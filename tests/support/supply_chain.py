"""`make supply-chain`: what we install, and what a reader of the code would want explained.

1. Every requirement has hashes, so pip installs the very files that were locked.
2. bandit: a finding is explained where it stands, by ruff's `noqa` of the same rule and its reason.
3. The licence of every package, printed; each is one that this project's can live with.
4. Known vulnerabilities of every requirement (pip-audit). Where advisories can't be reached,
   nothing was audited, and that is a failure.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")
CODE = (
    *("config", "web", "orders", "payments", "shop", "operations", "lab", "simulator", "demo"),
    *("idempotency", "embedded_postgres", "manage.py"),
)
# ruff's rules S… are bandit's by other names; those that have none, or that it ignores here:
SAME_RULE = {"B703": "S308"}
EXPLAINED_BY_RUFF = {
    "B101": "asserts narrow types; ruff's configuration says so",
    "B105": "examples in the schema; ruff's S105 finds the real ones",
    "B106": "the same",
    "B404": "to import subprocess does nothing; each call is a finding of its own",
    "B603": "the commands are our own lists; ruff's configuration says so",
}
# Permissive, or weak copyleft of a library that is installed beside ours and not changed.
LICENCES = re.compile(
    r"MIT|BSD|Apache|PSF|Python Software Foundation|ISC|MPL-2\.0|Mozilla Public License 2\.0"
    r"|LGPL-3\.0-only|Unlicense|0BSD|CC0"
)
NOT_IN_METADATA = {"axe-playwright-python": "MIT"}  # by the LICENSE file in its wheel


def without_hashes(text: str) -> list[str]:
    """Return the requirements of a file that have no hash."""
    requirements = re.split(r"\n(?=[A-Za-z0-9])", text.replace("\\\n", " "))
    pinned = [each for each in requirements if re.match(r"[A-Za-z0-9].*==", each)]
    return [each.split()[0] for each in pinned if "--hash=sha256:" not in each]


def unexplained(findings: list[dict[str, Any]]) -> Iterator[str]:
    """Yield bandit's findings that nothing in the code explains."""
    for each in findings:
        rule = each["test_id"]
        lines = (ROOT / each["filename"]).read_text().splitlines()
        where = "\n".join(lines[each["line_range"][0] - 2 : each["line_range"][-1]])
        noqa = rf"noqa: [A-Z0-9, ]*{SAME_RULE.get(rule, rule.replace('B', 'S'))}\b"
        if rule not in EXPLAINED_BY_RUFF and not re.search(noqa, where):
            yield f"{each['filename']}:{each['line_number']} {rule} {each['issue_text']}"


def incompatible(packages: list[dict[str, str]]) -> Iterator[str]:
    """Yield the packages with a licence, or a part of one, that is not on the list."""
    for each in packages:
        licence = NOT_IN_METADATA.get(each["Name"], each["License"])
        parts = re.split(r" AND |; ", licence)  # of `A OR B` one is enough
        if not all(LICENCES.search(part) for part in parts):
            yield f"{each['Name']}: {licence}"


def vulnerabilities(report: dict[str, Any]) -> Iterator[str]:
    """Yield what pip-audit knows of the requirements, and those of which it knows nothing."""
    unknown = [each["name"] for each in report["dependencies"] if "skip_reason" in each]
    if unknown:
        yield f"NOT AUDITED, for no advisories could be reached: {len(unknown)} of " + (
            f"{len(report['dependencies'])} packages, such as {unknown[0]}"
        )
    for each in report["dependencies"]:
        for known in each.get("vulns", ()):
            fixed = ", ".join(known["fix_versions"]) or "no version"
            yield f"{each['name']} {each['version']}: {known['id']}, fixed in {fixed}"


def main() -> int:
    """Print everything; return 1 if anything is wrong."""
    sys.stdout.write(_output("pip-licenses", "--from=mixed") + "\n")
    wrong = [name for file in REQUIREMENTS for name in without_hashes((ROOT / file).read_text())]
    found = json.loads(
        _output("bandit", "--quiet", "--recursive", *CODE, "--exclude", "*/tests/*", "-f", "json")
    )
    wrong += unexplained(found["results"])
    wrong += incompatible(json.loads(_output("pip-licenses", "--from=mixed", "--format=json")))
    wrong += vulnerabilities(_audited())
    verdict = "\n".join(wrong) or "hashes, bandit, licences and advisories: nothing is wrong"
    sys.stdout.write(verdict + "\n")
    return 1 if wrong else 0


def _audited() -> dict[str, Any]:
    files = [argument for file in REQUIREMENTS for argument in ("--requirement", file)]
    options = ("--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json")
    try:
        report: dict[str, Any] = json.loads(_output("pip-audit", *options, *files))
    except ValueError:  # its message is on stderr
        return {"dependencies": [{"name": "all", "skip_reason": "pip-audit failed"}]}
    return report


def _output(tool: str, *arguments: str) -> str:
    command = [str(Path(sys.executable).with_name(tool)), *arguments]
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return ran.stdout


if __name__ == "__main__":
    sys.exit(main())
