"""The lab's page in a real browser: chosen, run and watched."""

import re
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from lab.page import runs
from tests.browser.conftest import (
    MOST_BYTES,
    Visit,
    Visitor,
    arrives,
    bytes_loaded,
    is_narrow,
    violations,
)
from tests.support.languages import untranslated


def choose(visitor: Visitor, *mechanisms: str) -> Page:
    page = visitor.tab()
    chosen = {"scenario": "double_click", "clicks": 10, "mechanism": mechanisms}
    page.goto(f"{visitor.url}/lab/?{urlencode(chosen, doseq=True)}")
    return page


def run(page: Page) -> None:
    page.locator("form.lab button").click()


def is_over(page: Page) -> None:
    expect(page.locator("#overview[data-over]")).to_have_count(1, timeout=60_000)


def read_the_source(page: Page) -> None:
    page.locator("#naive-source").click()
    arrives(page, re.compile(r"/lab/source/naive/$"))


def watch(visitor: Visitor, *mechanisms: str) -> Page:
    """Run the double click with some mechanisms, and wait until the page shows all of it."""
    page = choose(visitor, *mechanisms)
    run(page)
    is_over(page)
    return page


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_the_naive_version_is_watched_to_overcharge_beside_a_safe_one(
    language: str, visit: Visit
) -> None:
    page = watch(visit(locale=language), "naive", "request_id")

    assert "10" in page.locator("#naive .charged").inner_text()
    assert "10" not in page.locator("#request_id .charged").inner_text()
    expect(page.locator("#naive svg").first).to_be_visible()
    if language == "zh-CN":
        assert untranslated(page.content()) == []
        read_the_source(page)
        assert untranslated(page.content()) == []


def test_a_double_click_on_run_is_one_run(visit: Visit) -> None:
    before = set(runs.FOLDER.glob("*.jsonl"))
    page = choose(visit(), "naive")

    page.locator("form.lab button").dblclick(no_wait_after=True)
    arrives(page, re.compile(r"/lab/runs/"))
    is_over(page)

    assert len(set(runs.FOLDER.glob("*.jsonl")) - before) == 1


def test_a_run_that_is_over_needs_no_script(visit: Visit) -> None:
    address = watch(visit(), "naive").url
    page = visit(javascript=False).tab()

    page.goto(address)

    assert "10" in page.locator("#naive .charged").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_of_the_lab_has_a_serious_accessibility_violation(
    scheme: str, visit: Visit
) -> None:
    page = choose(visit(color_scheme=scheme), "naive", "request_id")
    assert violations(page) == []
    run(page)
    is_over(page)
    for table in page.locator("details > summary").all():
        table.click()
    assert violations(page) == []
    read_the_source(page)
    assert violations(page) == []


def test_no_page_of_the_lab_is_wider_than_a_phone(visit: Visit) -> None:
    page = choose(visit(viewport={"width": 360, "height": 700}), "naive", "request_id")
    assert is_narrow(page)
    run(page)
    is_over(page)
    assert is_narrow(page)


def test_a_page_of_the_lab_is_less_than_sixty_kilobytes_with_all_that_it_loads(
    visit: Visit,
) -> None:
    visitor = visit()
    page = choose(visitor, "naive", "request_id")
    assert 0 < bytes_loaded(page) < MOST_BYTES
    run(page)
    is_over(page)
    assert 0 < bytes_loaded(page) < MOST_BYTES
