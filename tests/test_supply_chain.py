"""What `make supply-chain` checks: hashes, explained findings, licences, advisories."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.supply_chain import (
    REQUIREMENTS,
    ROOT,
    incompatible,
    unexplained,
    vulnerabilities,
    without_hashes,
)


@pytest.mark.parametrize("file", REQUIREMENTS)
def test_every_requirement_has_a_hash(file: str) -> None:
    text = (ROOT / file).read_text()
    assert text.count("==") > 20
    assert without_hashes(text) == []


def test_a_requirement_without_a_hash_is_seen() -> None:
    text = (
        "a==1 \\\n    --hash=sha256:00\n    # via b\nb==2\n    # via c\nc==3 ; python_version > '3'"
    )
    assert without_hashes(text) == ["b==2", "c==3"]


def test_a_finding_of_bandits_is_explained_by_ruffs_noqa_of_the_same_rule(tmp_path: Path) -> None:
    def finding(rule: str, line: int) -> dict[str, Any]:
        file = str(tmp_path / "code.py")
        return {"test_id": rule, "filename": file, "line_number": line} | {
            "line_range": [line],
            "issue_text": "risky",
        }

    (tmp_path / "code.py").write_text("\n\nrandom()  # noqa: S311 - jitter\n\n\nrandom()\n")

    assert list(unexplained([finding("B311", 3), finding("B101", 6)])) == []
    assert len(list(unexplained([finding("B311", 6), finding("B608", 3)]))) == 2


def test_a_licence_that_binds_what_uses_it_is_seen() -> None:
    def package(licence: str) -> dict[str, str]:
        return {"Name": "some", "License": licence}

    fine = ("MIT", "BSD-3-Clause", "MIT AND PSF-2.0", "MIT OR GPL-2.0", "LGPL-3.0-only")
    assert list(incompatible([package(each) for each in fine])) == []
    others = ("AGPL-3.0", "GPL-3.0-or-later", "UNKNOWN", "MIT AND GPL-2.0", "Proprietary")
    assert len(list(incompatible([package(each) for each in others]))) == len(others)


def test_what_could_not_be_audited_is_named_and_does_not_pass() -> None:
    skipped = {"name": "django", "skip_reason": "not found"}
    vulnerable = {"name": "x", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
    clean = {"name": "y", "version": "1", "vulns": []}

    assert list(vulnerabilities({"dependencies": [clean]})) == []
    (unreached,) = vulnerabilities({"dependencies": [clean, skipped]})
    assert "NOT AUDITED" in unreached
    (known,) = vulnerabilities({"dependencies": [clean, vulnerable]})
    assert "CVE-1" in known
