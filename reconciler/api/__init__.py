"""The platform's HTTP API: the one place that knows requests, answers, pages, limits and keys of the wire.

`provider.HttpProvider` turns the declaration of a kind into calls; `client.Client` makes them. Everything that goes
wrong leaves this package as one of `reconciler.errors`.
"""

import sys

if "httpx" not in sys.modules:
    # Where click and rich are installed, httpx imports them for a command line of its own, which is half of what it
    # takes to start. It does without where that module cannot be imported, and nobody else is to notice.
    sys.modules["httpx._main"] = None  # type: ignore[assignment]
    import httpx  # noqa: F401

    del sys.modules["httpx._main"]
