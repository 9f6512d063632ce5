"""The figures as a table for people and as JSON for comparing two runs."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One thing that was measured. `bar` is the most that was promised, None where nothing was."""

    name: str
    value: float
    unit: str = ""
    bar: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """pass or miss, where something was promised."""
        if self.bar is None:
            return ""
        return "pass" if self.value <= self.bar else "MISS"


@dataclass
class Results:
    """All figures of one run, and the machine they were measured on."""

    figures: list[Figure] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, *figures: Figure) -> None:
        """Note figures, and say them at once: a whole run takes minutes."""
        for figure in figures:
            self.figures.append(figure)
            print(f"  {_row(figure)}", flush=True)

    def skip(self, name: str, why: str) -> None:
        self.skipped[name] = why
        print(f"  {name}: skipped, {why}", flush=True)

    def table(self) -> str:
        """Promises first, then the rest."""
        head = f"{'':68} {'figure':>10} {'bar':>10}"
        promised = [_row(figure) for figure in self.figures if figure.bar is not None]
        others = [_row(figure) for figure in self.figures if figure.bar is None]
        left_out = [f"{name}: skipped, {why}" for name, why in self.skipped.items()]
        lines: list[str] = []
        for title, rows in (("PROMISES", promised), ("MEASURED BESIDE THEM", others)):
            lines += ["", title, head, *rows] if rows else []
        return "\n".join([*lines, *left_out])

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {
            "machine": machine(),
            "figures": [asdict(one) for one in self.figures],
            "skipped": self.skipped,
        }
        path.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """What matters of the machine. The loop says how fast one of its processors is just now."""
    started = time.process_time()
    sum(number * number for number in range(5_000_000))
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "loop_seconds": round(time.process_time() - started, 3),
    }


def load(path: Path) -> dict[str, Any]:
    """What a run wrote; raises ValueError, in words for who named the file."""
    try:
        found = json.loads(path.read_text("utf-8"))
        {one["name"]: (one["value"] / 1, one["unit"]) for one in found["figures"]}
        found["machine"]["loop_seconds"] / 1
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(f"{path} is no result of bench") from error
    return dict(found)


def comparison(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Two runs side by side, by the names of their figures."""
    old = {one["name"]: one for one in before["figures"]}
    speed = "The same loop took {:.2f} s of processor time there and {:.2f} s here: times differ by that alone.".format(
        before["machine"]["loop_seconds"], after["machine"]["loop_seconds"]
    )
    return "\n".join([*_compared(old, after["figures"]), "", speed])


def _compared(old: Mapping[str, Any], new: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    yield f"{'':68} {'before':>10} {'after':>10} {'ratio':>7}"
    left = dict(old)
    for one in new:
        earlier = left.pop(one["name"], None)
        shown = _number(earlier["value"]) if earlier else "-"
        ratio = f"{one['value'] / earlier['value']:.2f}" if earlier and earlier["value"] else "-"
        yield f"{one['name']:68} {shown:>10} {_number(one['value']):>10} {ratio:>7}  {one['unit']}"
    for one in left.values():
        yield f"{one['name']:68} {_number(one['value']):>10} {'-':>10} {'-':>7}  {one['unit']}"


def _row(figure: Figure) -> str:
    bar = "" if figure.bar is None else _number(figure.bar)
    said = "  ".join(part for part in (figure.unit, figure.verdict, figure.note) if part)
    return f"{figure.name:68} {_number(figure.value):>10} {bar:>10}  {said}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:,.2f}"
