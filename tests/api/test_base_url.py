"""Keys are sent only to https and loopback addresses."""

from __future__ import annotations

import pytest

from reconciler.api.transport.base_url import check_base_url
from reconciler.errors import UsageError


@pytest.mark.parametrize(
    "url",
    ["https://api.openai.com/v1", "http://127.0.0.1:8000/v1", "http://127.9.9.9/v1", "http://[::1]:80/v1",
     "http://localhost:1/v1", "HTTPS://proxy.example/openai"],
)  # fmt: skip
def test_https_and_loopback_are_accepted(url: str) -> None:
    assert check_base_url(url + "/") == url


@pytest.mark.parametrize(
    "url",
    ["http://api.openai.com/v1", "http://10.0.0.1/v1", "http://localhost.evil.example/v1", "http://127.0.0.1.nip.io",
     "http://0.0.0.0/v1", "ftp://api.openai.com", "file:///etc/passwd", "api.openai.com/v1", "https://", "https:///v1",
     "https://user:pass@api.openai.com/v1", "http://127.0.0.1@evil.example/", "https://api.openai.com/v1?x=1",
     "https://api.openai.com/v1#x", "https://api.openai.com:port/v1", "https://[::1/v1", "https://a b/v1",
     "https://api.openai.com/v1\n", ""],
)  # fmt: skip
def test_urls_that_keys_must_not_be_sent_to_are_refused(url: str) -> None:
    with pytest.raises(UsageError):
        check_base_url(url)


def test_the_refusal_does_not_repeat_a_password() -> None:
    with pytest.raises(UsageError) as caught:
        check_base_url("https://user:hunter2secret@api.openai.com/v1")
    assert "hunter2secret" not in str(caught.value) + caught.value.hint
