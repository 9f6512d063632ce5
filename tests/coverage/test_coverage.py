"""Claims about `docs/coverage.md`. That a test reaches what it is named for is claimed whenever that test runs."""

from __future__ import annotations

import os
import re

import pytest

from reconciler.emulator.routes import ROUTES
from tests.coverage import page
from tests.coverage.endpoints import all_endpoints, endpoint_of, form_of
from tests.coverage.users import NO_USE, unknown_uses, users_of
from tests.coverage.witnesses import FOLDER, is_ours, witnesses

PUBLISHED = [endpoint for endpoint in all_endpoints() if endpoint.since == "published"]


def test_the_published_description_has_148_endpoints_and_no_call_is_there_twice() -> None:
    assert len(PUBLISHED) == 148
    assert len({endpoint.form for endpoint in all_endpoints()}) == len(all_endpoints())


@pytest.mark.parametrize("group", dict.fromkeys(endpoint.group for endpoint in PUBLISHED))
def test_every_endpoint_of_a_group_has_a_user_and_a_test(group: str) -> None:
    some = [endpoint for endpoint in PUBLISHED if endpoint.group == group]
    idle = [
        endpoint.call for endpoint in some if not users_of(endpoint) and endpoint.call not in NO_USE
    ]
    untested = [endpoint.call for endpoint in some if endpoint.call not in witnesses()]
    assert (idle, untested) == ([], [])


def test_what_we_use_is_tested_with_our_own_client() -> None:
    used = [endpoint.call for endpoint in all_endpoints() if users_of(endpoint)]
    assert [call for call in used if not is_ours(witnesses().get(call, ""))] == []


def test_what_has_no_use_has_none() -> None:
    assert [
        endpoint.call
        for endpoint in all_endpoints()
        if endpoint.call in NO_USE and users_of(endpoint)
    ] == []


def test_nobody_is_said_to_use_what_is_no_endpoint() -> None:
    assert unknown_uses() == []


def test_every_route_of_the_emulator_is_an_endpoint_that_some_test_reaches() -> None:
    served = {form_of(f"{route.method} {route.path}") for route in ROUTES}
    assert served - {endpoint.form for endpoint in all_endpoints()} == set()
    reached = {form_of(call) for call in witnesses()}
    assert served - reached == set()


def test_every_test_that_is_named_exists() -> None:
    gone = []
    for test in sorted(set(witnesses().values())):
        path, _, name = test.partition("::")
        text = (page.FILE.parent.parent / path).read_text(encoding="utf-8")
        if not re.search(rf"^def {name.partition('[')[0]}\(", text, re.MULTILINE):
            gone.append(test)
    assert gone == []


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/organization/certificates/activate", "activateOrganizationCertificates"),
        ("/organization/certificates/cert_1", "modifyCertificate"),
        ("/threads/runs", "createThreadAndRun"),
        ("/threads/thread_1", "modifyThread"),
    ],
)
def test_a_request_is_taken_for_the_endpoint_that_it_went_to(path: str, operation: str) -> None:
    endpoint = endpoint_of("POST", path)
    assert endpoint is not None
    assert endpoint.operation == operation


@pytest.mark.skipif(FOLDER is not None, reason="the page is written after this")
def test_the_page_is_what_the_code_says() -> None:
    if os.environ.get("RECONCILER_GOLDEN") == "write":
        page.FILE.write_text(page.page(), encoding="utf-8", newline="\n")
    assert page.FILE.read_text(encoding="utf-8") == page.page()
