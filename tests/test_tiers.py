"""Every test is of one tier, and one that says it starts no process can start none."""

import os

import pytest

from tests.support.tiers import TIERS


def test_every_test_is_of_one_tier(request: pytest.FixtureRequest) -> None:
    for item in request.session.items:
        assert len({mark.name for mark in item.iter_markers()} & set(TIERS)) == 1, item.nodeid


def test_a_test_of_the_first_two_tiers_can_start_no_process() -> None:
    with pytest.raises(RuntimeError, match="a test of the tier unit starts a process"):
        os.posix_spawn("/bin/true", ["true"], {})
