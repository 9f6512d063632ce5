"""A lower bound for reading: a loop that only fetches the requested pages.

Run as a program of its own, with JSON on standard input: the base URL, how many lists to read at a time, and the lists,
each a path with its query and headers. The pages of a list follow one another, since each names the next.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx


def read(client: httpx.Client, base_url: str, wanted: dict[str, Any]) -> int:
    """Read one list to its end; how many pages it had."""
    query, pages = dict(wanted["query"]), 0
    while True:
        page = client.get(base_url + wanted["path"], params=query, headers=wanted["headers"]).json()
        pages += 1
        if not page.get("has_more"):
            return pages
        query["after"] = page["last_id"]


def main() -> None:
    """Read all lists, and print how many pages there were."""
    told = json.load(sys.stdin)
    with (
        httpx.Client(verify=False, trust_env=False) as client,
        ThreadPoolExecutor(told["at_a_time"]) as pool,
    ):
        print(sum(pool.map(lambda wanted: read(client, told["base_url"], wanted), told["lists"])))


if __name__ == "__main__":
    main()
