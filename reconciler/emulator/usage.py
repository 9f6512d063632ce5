"""Usage and costs of an organization.

A use is a record with a time, dimensions for grouping, and measures. Only seeding creates uses,
since no model runs here. Costs are computed as uses times prices, so that both always agree. Prices
are integers in billionths of a dollar, which add up exactly.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.emulator.store import ORGANIZATION, ObjectRow, Store

DAY = 86_400
_PEOPLE = {"user_id": "user_ids", "api_key_id": "api_key_ids"}
_MODEL = {**_PEOPLE, "model": "models"}


@dataclass(frozen=True)
class Sort:
    """One type of usage: its path segment, measures, and dimensions with their filters."""

    name: str
    measures: tuple[str, ...]
    dimensions: Mapping[str, str | None] = field(default_factory=dict)
    result: str = ""
    models: tuple[str, ...] = ("",)

    @property
    def grouped_by(self) -> dict[str, str | None]:
        """Every dimension for grouping, and the parameter that filters by it."""
        return {"project_id": "project_ids", **self.dimensions}

    @property
    def object(self) -> str:
        return f"organization.usage.{self.result or self.name}.result"


_TIERED = {**_MODEL, "batch": "batch", "service_tier": None}
_TOKENS = ("input_tokens", "input_cached_tokens", "output_tokens", "num_model_requests")
SORTS = (
    Sort("completions", _TOKENS, _TIERED, models=("gpt-4.1", "gpt-4o-mini")),
    Sort(
        "embeddings",
        ("input_tokens", "num_model_requests"),
        _MODEL,
        models=("text-embedding-3-small",),
    ),
    Sort(
        "moderations",
        ("input_tokens", "num_model_requests"),
        _MODEL,
        models=("omni-moderation-latest",),
    ),
    Sort(
        "images",
        ("images", "num_model_requests"),
        {**_MODEL, "size": "sizes", "source": "sources"},
        models=("gpt-image-1",),
    ),
    Sort("audio_speeches", ("characters", "num_model_requests"), _MODEL, models=("tts-1",)),
    Sort("audio_transcriptions", ("seconds", "num_model_requests"), _MODEL, models=("whisper-1",)),
    Sort("vector_stores", ("usage_bytes",)),
    Sort("code_interpreter_sessions", ("num_sessions",)),
    Sort(
        "file_search_calls",
        ("num_requests",),
        {**_PEOPLE, "vector_store_id": "vector_store_ids"},
        "file_searches",
    ),
    Sort(
        "web_search_calls",
        ("num_requests", "num_model_requests"),
        {**_MODEL, "context_level": "context_levels"},
        "web_searches",
        models=("gpt-4.1",),
    ),
    Sort("decisions", _TOKENS, _TIERED, models=("gpt-4.1",)),
)
_FIXED = {
    "batch": False,
    "service_tier": "default",
    "size": "1024x1024",
    "source": "image.generation",
    "context_level": "medium",
}


_PER_REQUEST = {
    "num_model_requests": (1, 1),
    "num_requests": (1, 1),
    "num_sessions": (1, 1),
    "images": (1, 3),
    "usage_bytes": (10_000, 10_000_000),
}
"""The least and the most of a measure that one request uses; of the others 20 to 400."""


@dataclass(frozen=True)
class Price:
    """The price of one unit of a measure, in billionths of a dollar, and its name on the bill."""

    line_item: str
    unit: str | None
    nano_dollars: int


# By model (or by type of usage without a model) and measure. Missing entries are free.
PRICES = {
    ("gpt-4.1", "input_tokens"): Price("gpt-4.1, input", "tokens", 2_000),
    ("gpt-4.1", "output_tokens"): Price("gpt-4.1, output", "tokens", 8_000),
    ("gpt-4o-mini", "input_tokens"): Price("gpt-4o-mini, input", "tokens", 150),
    ("gpt-4o-mini", "output_tokens"): Price("gpt-4o-mini, output", "tokens", 600),
    ("text-embedding-3-small", "input_tokens"): Price("text-embedding-3-small", "tokens", 20),
    ("gpt-image-1", "images"): Price("gpt-image-1, image", "images", 40_000_000),
    ("tts-1", "characters"): Price("tts-1", "characters", 15_000),
    ("whisper-1", "seconds"): Price("whisper-1", "duration_seconds", 100_000),
    ("code_interpreter_sessions", "num_sessions"): Price(
        "code interpreter sessions", None, 30_000_000
    ),
    ("file_search_calls", "num_requests"): Price("file search, tool calls", None, 2_500_000),
    ("gpt-4.1", "num_requests"): Price("web search, tool calls", None, 10_000_000),
}


@dataclass(frozen=True)
class Charge:
    """A line of the bill: time, project, key, item, quantity and price."""

    at: int
    dimensions: Mapping[str, Any]
    quantity: int
    unit: str | None
    nano_dollars: int


def uses(store: Store, sort: Sort) -> list[ObjectRow]:
    """All uses of one type."""
    return store.collection("usage", sort.name).ordered()


def charges(store: Store) -> Iterable[Charge]:
    """All lines of the bill."""
    for sort in SORTS:
        for use in uses(store, sort):
            for measure in sort.measures:
                price = PRICES.get((use.body.get("model") or sort.name, measure))
                if price is not None and use.body[measure]:
                    yield _charge(use.body, use.body[measure], price)


def _charge(use: Mapping[str, Any], quantity: int, price: Price) -> Charge:
    dimensions = {
        "project_id": use["project_id"],
        "api_key_id": use.get("api_key_id"),
        "line_item": price.line_item,
    }
    return Charge(use["at"], dimensions, quantity, price.unit, quantity * price.nano_dollars)


def make(store: Store, days: int) -> None:
    """Create uses of every type for each active project and each of the last days, including today.

    Amounts depend on the name of the project, the day relative to today, and the measure.
    """
    for project in store.collection("project", ORGANIZATION).ordered():
        if project.body["status"] == "active":
            for ago in range(days):
                for sort in SORTS:
                    for model in sort.models:
                        _make_one(store, project, sort, model, ago)


def _make_one(store: Store, project: ObjectRow, sort: Sort, model: str, ago: int) -> None:
    chance = random.Random(f"{project.body['name']}/{sort.name}/{model}/{ago}")  # noqa: S311 - figures, no secrets
    requests = chance.randint(1, 40)
    at = store.now() - ago * DAY
    body: dict[str, Any] = {"at": at, "project_id": project.id}
    body |= {name: _dimension(store, project, name, model) for name in sort.dimensions}
    body |= {
        name: requests * chance.randint(*_PER_REQUEST.get(name, (20, 400)))
        for name in sort.measures
    }
    if "input_cached_tokens" in body:
        body["input_cached_tokens"] = (
            body["input_tokens"] // 4
        )  # a part of the input, so never more than it
    store.add("usage", sort.name, body, id=f"{project.id}/{model}/{at}")


def _dimension(store: Store, project: ObjectRow, name: str, model: str) -> Any:
    if name == "model":
        return model
    if name == "api_key_id":
        keys = store.collection("api_key", project.id).ordered()
        return keys[0].id if keys else None
    return _FIXED.get(name)
