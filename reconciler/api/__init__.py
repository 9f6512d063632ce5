"""The platform's HTTP API: the only package that knows requests, responses, pages and rate limits.

`transport/` sends requests: connections, retries, rate limits, pages. `objects/` turns the
declaration of a kind into calls; `objects.provider.HttpProvider` is what the engine uses. Errors
leave the package as those of `reconciler.errors`.
"""

import sys

if "httpx" not in sys.modules:
    # If click and rich are installed, httpx imports them for its own command line, which takes half
    # of its start-up time. It works without that module, so block the import while httpx loads.
    sys.modules["httpx._main"] = None  # type: ignore[assignment]
    import httpx  # noqa: F401

    del sys.modules["httpx._main"]
