"""`python -m tests.coverage FOLDER`: choose the tests of the endpoints from what a run reached, and write the page.

Without a folder it prints the tests that can be chosen, for pytest to run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.coverage import page, witnesses
from tests.coverage.endpoints import all_endpoints
from tests.coverage.users import kinds_of


def main(folders: list[str]) -> None:
    if not folders:
        print(*filter(lambda path: Path(path).exists(), (*witnesses.OURS, witnesses.OTHERS)))
        return
    declared = {endpoint.call: kinds_of(endpoint) for endpoint in all_endpoints()}
    witnesses.write(witnesses.choose(Path(folders[0]), declared))
    witnesses.witnesses.cache_clear()
    page.FILE.write_text(page.page(), encoding="utf-8", newline="\n")


main(sys.argv[1:])
