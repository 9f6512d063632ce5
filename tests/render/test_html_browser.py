"""The HTML page in a browser: it runs nothing from outside, filters, and works from the keyboard."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs
from playwright.sync_api import Browser, Page, expect, sync_playwright

from reconciler.model.address import Address
from reconciler.model.change import Plan
from reconciler.render.html import HtmlRenderer

from . import samples
from .test_html_page import hostile_plan

pytestmark = pytest.mark.slow
SHAPES = (
    samples.LIMIT, samples.LIMIT, samples.LIMIT, samples.STORE, samples.STORE, samples.TAKEN, samples.GUIDES,
    samples.PRICES, samples.ACCOUNT, samples.LIMIT_BACK, samples.FAQ, samples.TRIAGE, samples.LIMIT, samples.STORE,
)  # fmt: skip


def many(number: int) -> Plan:
    """A plan of so many changes of every action, in 40 projects."""
    changes = []
    for at in range(number):
        change = SHAPES[at % len(SHAPES)]
        name = f"{change.address.name}-{at}"
        address = Address(change.address.kind, name, f"team-{at % 40:02}")
        changes.append(structs.replace(change, address=address))
    return Plan("acme", "prod", tuple(changes), calls=340, seconds=12.3)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, which `make servers` installs."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium: run `make servers`")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that must log no error: a violation of the policy would be one."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("console", lambda message: errors.append(message.text))
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "request",
        lambda request: errors.append(request.url) if request.url[:5] != "file:" else None,
    )
    yield opened
    context.close()
    assert errors == []


def show(page: Page, folder: Path, text: str) -> None:
    path = folder / "report.html"
    path.write_text(text, encoding="utf-8")
    page.goto(path.as_uri())


def status(page: Page) -> str:
    return page.locator("#status").inner_text()


def test_hostile_texts_do_nothing(page: Page, tmp_path: Path) -> None:
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    show(page, tmp_path, HtmlRenderer().plan(hostile_plan()))
    page.locator("#search").fill("</script><img src=x onerror=alert(1)>")
    page.get_by_role("button", name="Unfold all").click()
    page.wait_for_timeout(100)
    assert dialogs == []
    assert page.locator("img").count() == 0


def test_the_policy_stops_a_script_that_an_escaping_mistake_would_let_in(
    browser: Browser, tmp_path: Path
) -> None:
    page = browser.new_page()
    text = HtmlRenderer().plan(samples.SMALL)
    text = text.replace("<main", "<script>document.title = 'taken'</script><main", 1)
    show(page, tmp_path, text.replace("<h1>", "<h1 onmouseover=\"document.title='taken'\">", 1))
    page.hover("h1")
    assert page.title() == "reconciler plan · acme/prod"
    page.close()


def test_search_and_filters_show_what_fits(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, HtmlRenderer().plan(samples.FULL))
    total = page.locator("article").count()
    assert status(page) == f"{total} of {total} shown"
    page.locator("#search").fill("TRIAGE rule 3b")
    expect(page.locator("#status")).to_have_text(re.compile("^1 of"))
    # Cards are painted as they come into view, so the text of one can be a moment late.
    expect(page.locator("article:visible code").first).to_have_text("Assistant/support/triage")
    page.locator("#search").fill("")
    page.get_by_label("Project", exact=True).select_option("search")
    expect(page.locator("#status")).to_have_text(re.compile("^2 of"))
    page.get_by_label("Project", exact=True).select_option("")
    page.get_by_role("checkbox", name="delete", exact=True).uncheck()
    expect(page.locator("#status")).not_to_have_text(re.compile(f"^{total} of"))
    assert page.locator("article[data-action=delete]:visible").count() == 0


def test_everything_is_reached_from_the_keyboard(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, HtmlRenderer().plan(samples.FULL))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    summary = page.locator("article summary").last
    summary.focus()
    before = page.locator("article details").last.evaluate("each => each.open")
    page.keyboard.press("Enter")
    assert page.locator("article details").last.evaluate("each => each.open") is not before


def test_a_screen_reader_finds_landmarks_and_names(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, HtmlRenderer().plan(samples.FULL))
    for role in ("banner", "main", "contentinfo", "search"):
        assert page.get_by_role(role).count() == 1  # type: ignore[arg-type]
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("region", name="Changes").count() == 1
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, select, button')].filter("
        "each => !each.labels?.length && !each.textContent.trim()).length"
    )
    assert unnamed == 0
    assert page.get_by_role("img").first.get_attribute("aria-label")


def test_long_texts_stand_side_by_side(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, HtmlRenderer().plan(samples.FULL))
    page.get_by_role("button", name="Unfold all").click()
    old = page.locator("td.b", has_text="Rule 3: be kind.").first.bounding_box()
    new = page.locator("td.a", has_text="Rule 3: be very kind.").first.bounding_box()
    assert old is not None
    assert new is not None
    assert old["y"] == new["y"]
    assert old["x"] < new["x"]


def test_a_phone_scrolls_in_one_direction_only(browser: Browser, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 740})
    show(page, tmp_path, HtmlRenderer().plan(samples.FULL))
    page.get_by_role("button", name="Unfold all").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_background(
    browser: Browser, tmp_path: Path, scheme: str
) -> None:
    page = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]
    show(page, tmp_path, HtmlRenderer().plan(samples.FULL))
    assert page.evaluate(CONTRAST) >= 4.5
    page.close()


def test_paper_shows_what_the_screen_folds(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, HtmlRenderer().plan(samples.FULL))
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("article details:not([open])").count() == 0
    assert not page.locator("#tools").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("article details:not([open])").count() > 0


def test_without_scripts_the_page_is_complete(browser: Browser, tmp_path: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    show(page, tmp_path, HtmlRenderer().plan(samples.FULL))
    assert page.locator("article:visible").count() == len(samples.FULL.pending) + 2
    assert not page.locator("#tools").is_visible()
    context.close()


def test_five_thousand_changes_are_found_by_a_word(page: Page, tmp_path: Path) -> None:
    text = HtmlRenderer().plan(many(5_000))
    assert len(text.encode()) <= 6_000_000
    show(page, tmp_path, text)
    page.locator("#search").fill("prices-4977")
    expect(page.locator("#status")).to_have_text(re.compile("^1 of 5,000"))


CONTRAST = """() => {
  const number = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = (text) => {
    const [red, green, blue] = number(text).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const back = getComputedStyle(at).backgroundColor;
      if (number(back)[3] !== 0) return back;
    }
    return "rgb(255, 255, 255)";
  };
  let least = 21;
  for (const element of document.querySelectorAll("p, td, th, summary, .mark, code, h1, h2, h3, li, label")) {
    if (!element.textContent.trim()) continue;
    const pair = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => b - a);
    least = Math.min(least, (pair[0] + 0.05) / (pair[1] + 0.05));
  }
  return least;
}"""
"""The least contrast between a text and what is behind it, as WCAG computes it."""
