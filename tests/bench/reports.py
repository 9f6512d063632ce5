"""Measures reports of a large plan: the cost of every format, and the page in a browser."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from msgspec.structs import replace

from reconciler import render
from reconciler.model.address import Address
from reconciler.model.change import Change, Plan
from reconciler.model.formats import REPORT_FORMATS
from tests.bench.results import Figure, Results
from tests.render import samples

CHANGES = 5_000
_PROJECTS = 40
_SHAPES = (
    *[samples.LIMIT] * 6,
    *[samples.STORE] * 5,
    samples.TAKEN,
    samples.TAKEN,
    samples.GUIDES,
    samples.PRICES,
    samples.ACCOUNT,
    samples.LIMIT_BACK,
    samples.FAQ,
    samples.TRIAGE,
    samples.BOT,
)


def reports(folder: Path, results: Results) -> None:
    """Render a plan of 5,000 changes in all formats, and open the page."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = _plan(CHANGES)
    total = 0.0
    for name in REPORT_FORMATS:
        # Imports, and the digest that all formats share, are paid once in a run too.
        began = time.process_time()
        text = render.get(name).plan(plan)
        spent = time.process_time() - began
        total += spent
        results.add(Figure(f"report of {CHANGES:,} changes as {name}: client CPU", spent, "s"))
        if name == "html":
            path = folder / "plan.html"
            path.write_text(text, encoding="utf-8")
            size = len(text.encode()) / 1e6
            results.add(Figure(f"page of {CHANGES:,} changes: size", size, "MB", 6.0))
        if name == "markdown":
            results.add(Figure("comment: characters", len(text), "", 65_536))
    results.add(
        Figure(f"report of {CHANGES:,} changes in all formats: client CPU", total, "s", 4.0)
    )
    _browse(folder / "plan.html", results)


def _browse(path: Path, results: Results) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        return
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto("about:blank")
        began = time.monotonic()
        page.goto(path.as_uri())
        expect(page.locator("#status")).not_to_be_empty()
        shown = time.monotonic() - began
        # The first search collects the texts of all cards.
        typed = [page.evaluate(_TYPE, text) for text in ("p", "pr", "pri", "prices-4", "")]
        browser.close()
    about = f"page of {CHANGES:,} changes"
    results.add(
        Figure(f"{about}: shown", shown, "s", 2.0),
        Figure(f"{about}: first search", typed[0], "s", 0.5),
        Figure(f"{about}: further letters, slowest", max(typed[1:]), "s", 0.2),
    )


def _plan(number: int) -> Plan:
    changes: list[Change] = []
    for at in range(number):
        change = _SHAPES[at % len(_SHAPES)]
        name = f"{change.address.name}-{at}"
        address = Address(change.address.kind, name, f"team-{at % _PROJECTS:02}")
        needed = (changes[-1].address,) if at % 3 == 1 else ()
        changes.append(replace(change, address=address, depends_on=needed))
    return Plan("acme", "prod", tuple(changes), calls=340, seconds=12.3)


_TYPE = """(text) => new Promise((done) => {
  const search = document.getElementById("search");
  const began = performance.now();
  search.value = text;
  search.dispatchEvent(new Event("input", {bubbles: true}));
  // Two frames later, what was filtered is on the screen.
  requestAnimationFrame(() => requestAnimationFrame(() => done((performance.now() - began) / 1000)));
})"""
