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


def test_a_cell_is_played_back_and_stepped_through(visit: Visit) -> None:
    visitor = visit(reduced_motion="reduce")
    page = visitor.tab()
    page.goto(f"{visitor.url}/lab/")
    page.get_by_role("button", name="request id, double click: charged once").click()
    is_over(page)
    player, slider = page.locator(".player"), page.locator(".player input")
    length = float(slider.get_attribute("max") or "")
    ahead = page.locator("#lanes text.ahead")

    assert float(slider.input_value()) == length, "with reduced motion the last frame is shown"
    expect(ahead).to_have_count(0)
    player.get_by_role("button", name="Step").click()
    assert 0 <= float(slider.input_value()) < length
    assert ahead.count() > 0, "what comes later is not shown yet"
    cursors = page.locator("#lanes .cursor").evaluate_all(
        "all => all.map(e => e.getAttribute('x1'))"
    )
    assert len(cursors) == 2
    assert cursors[0] == cursors[1], "one cursor for both lanes"
    before = float(slider.input_value())
    player.get_by_role("button", name="Step").click()
    assert float(slider.input_value()) > before
    part = page.locator("#lanes [data-spans]", has_text="UPDATE account").first
    start, end = map(float, (part.get_attribute("data-spans") or "").split()[0].split("-"))
    seek = "(slider, ms) => { slider.value = ms; slider.dispatchEvent(new Event('input')); }"
    slider.evaluate(seek, length * (start + end) / 2)
    expect(part).to_have_class("now")
    slider.evaluate(seek, 0)
    expect(part).not_to_have_class("now")
    player.get_by_role("combobox").select_option("1")
    player.get_by_role("button", name="Play").click()
    expect(player.get_by_role("button", name="Play")).to_be_visible()
    expect(ahead).to_have_count(0)
    expect(page.locator("#naive .charged")).to_have_text("Charged 10 times")


def test_the_naive_lane_stands_at_the_left_of_the_other(visit: Visit) -> None:
    page = watch(visit(), "naive", "request_id")

    naive, other = (page.locator(f".lane[data-lane={name}]") for name in ("naive", "request_id"))
    expect(other).to_be_visible()
    left, right = naive.bounding_box(), other.bounding_box()
    assert left is not None
    assert right is not None
    assert left["x"] + left["width"] <= right["x"]
    assert abs(left["y"] - right["y"]) < 1
