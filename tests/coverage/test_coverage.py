"""Claims about `docs/coverage.md`. That a test reaches what it is named for is claimed whenever that test runs."""

from __future__ import annotations

import os
import re

import pytest

from reconciler.emulator.routes import ROUTES
from tests.coverage import page
from tests.coverage.endpoints import all_endpoints, endpoint_of, form_of
from tests.coverage.users import NO_USE, call_forms_of_kinds, unknown_uses, users_of
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
    assert (idle, untested) == ([], []), (
        "idle: name a user in tests/coverage/users.py; untested: run `make coverage`"
    )


def test_what_we_use_is_tested_with_our_own_client() -> None:
    used = [endpoint.call for endpoint in all_endpoints() if users_of(endpoint)]
    untested = [call for call in used if not is_ours(witnesses().get(call, ""))]
    assert untested == [], (
        "write a test of these calls with our own client, and run `make coverage`"
    )


def test_what_has_no_use_has_none() -> None:
    assert [
        endpoint.call
        for endpoint in all_endpoints()
        if endpoint.call in NO_USE and users_of(endpoint)
    ] == []


def test_nobody_is_said_to_use_what_is_no_endpoint() -> None:
    assert unknown_uses() == [], "add these endpoints to tests/coverage/endpoints.csv"


def test_the_emulator_serves_every_call_of_a_kind() -> None:
    served = {form_of(f"{route.method} {route.path}") for route in ROUTES}
    missing = sorted(call_forms_of_kinds() - served)
    assert missing == [], (
        "add these to `ROUTES` of a module in reconciler/emulator/routes, and the module to `_MODULES`"
    )


def test_every_route_of_the_emulator_is_an_endpoint_that_some_test_reaches() -> None:
    served = {form_of(f"{route.method} {route.path}") for route in ROUTES}
    unknown = sorted(served - {endpoint.form for endpoint in all_endpoints()})
    assert unknown == [], "add these endpoints to tests/coverage/endpoints.csv"
    unreached = sorted(served - {form_of(call) for call in witnesses()})
    assert unreached == [], "write a test that calls these, and run `make coverage`"


def test_every_test_that_is_named_exists() -> None:
    gone = []
    for test in sorted(set(witnesses().values())):
        path, _, name = test.partition("::")
        text = (page.FILE.parent.parent / path).read_text(encoding="utf-8")
        if not re.search(rf"^def {name.partition('[')[0]}\(", text, re.MULTILINE):
            gone.append(test)
    assert gone == [], "rename these in tests/coverage/witnesses.csv, or run `make coverage`"


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
