"""Notices as a server receives them through apprise."""

from __future__ import annotations

import json

import pytest

from reconciler.errors import UsageError
from reconciler.model.secret import Redactor
from reconciler.telemetry.notices import Notice, NoticeSeverity
from reconciler.telemetry.targets import targets_of, urls_in
from tests.telemetry.collector import Server

NOTICE = Notice("reconciler: 1 drifted", "stacks/a (prod): drifted", NoticeSeverity.WARNING)


def url_of(server: Server, path: str = "") -> str:
    """The URL of a server, as apprise writes it."""
    return server.url.replace("http://", "json://") + path


def test_a_target_receives_the_title_the_body_and_the_severity(server: Server) -> None:
    (target,) = targets_of([url_of(server)], Redactor())
    assert target.send(NOTICE)
    (request,) = server.requests
    received = json.loads(request.body)
    assert received["title"] == NOTICE.title
    assert received["message"] == NOTICE.body
    assert received["type"] == "warning"


def test_a_target_that_refuses_was_not_reached(server: Server) -> None:
    server.status = 500
    (target,) = targets_of([url_of(server)], Redactor())
    assert not target.send(NOTICE)


@pytest.mark.parametrize(
    ("url", "secrets", "words"),
    [
        (
            "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/platform",
            ["T1JJ3T3L2", "TIiajkdnlazkcOXrIdevi7FQ"],
            ["platform"],
        ),
        (
            "mailto://robot:hunter2hunter@mail.example.com?to=ada@example.com",
            ["hunter2hunter"],
            ["mail.example.com", "ada@example.com"],
        ),
        (
            "json://user:pass%20word@hooks2.example.com:8080/a1b2c3d4e5",
            ["pass%20word", "pass word", "a1b2c3d4e5"],
            ["hooks2.example.com"],
        ),
    ],
)
def test_the_redactor_learns_tokens_and_no_ordinary_words(
    url: str, secrets: list[str], words: list[str]
) -> None:
    redactor = Redactor()
    targets_of([url], redactor)
    shown = redactor(" ".join([url, *secrets, *words]))
    assert [secret for secret in secrets if secret in shown] == []
    assert [word for word in words if word not in shown] == []


def test_an_unknown_service_is_named_by_its_position_only() -> None:
    with pytest.raises(UsageError) as caught:
        targets_of(["json://localhost", "nothing://T0ken123456"], Redactor())
    assert "number 2" in str(caught.value)
    assert "T0ken" not in str(caught.value)


def test_targets_keep_their_id_and_differ() -> None:
    urls = ["json://a.example/T0kenaaaaa", "json://a.example/T0kenbbbbb", "json://b.example"]
    first = [target.id for target in targets_of(urls, Redactor())]
    assert first == [target.id for target in targets_of(urls, Redactor())]
    assert len(set(first)) == 3


def test_urls_are_separated_by_spaces_newlines_or_commas() -> None:
    text = "json://a.example/x,y\n slack://b/c, mailto://d:e@f?to=g@h "
    assert urls_in(text) == ["json://a.example/x,y", "slack://b/c", "mailto://d:e@f?to=g@h"]
    assert urls_in("  ") == []
