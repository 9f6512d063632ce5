"""Escaped text acts on no terminal, page or spreadsheet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.render import escape


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Zürich 日本 🎉", "Zürich 日本 🎉"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b2J", r"\x9b2J"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("abc\u202ecod.exe", r"abc\u202ecod.exe"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("lone\ud800", r"lone\ud800"),
        ("blank\u3164letter", r"blank\u3164letter"),
        ("del\x7f", r"del\x7f"),
    ],
)
def test_invisible_characters_are_spelled_out(text: str, shown: str) -> None:
    assert escape.terminal(text) == shown


@given(st.text())
def test_escaping_twice_is_escaping_once(text: str) -> None:
    assert escape.terminal(escape.terminal(text)) == escape.terminal(text)


def test_a_quoted_text_cannot_end_its_quotes() -> None:
    assert escape.quoted('a" + b\\') == '"a\\" + b\\\\"'


def test_html_has_no_tag_of_a_stranger() -> None:
    assert (
        escape.code("<img src=x onerror='a'>\x1b")
        == "<code>&lt;img src=x onerror=&#x27;a&#x27;&gt;\\x1b</code>"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("*bold* _it_ `code`", r"\*bold\* \_it\_ \`code\`"),
        ("<b>&amp;", "&lt;b&gt;&amp;&#8203;amp;"),
        ("@ann #1 GH-2", "@&#8203;ann #&#8203;1 GH-&#8203;2"),
        ("[x](http://e.vil)", r"\[x\](http:&#8203;//e.vil)"),
        ("# head", r"\# head"),
        ("12. list", r"12\. list"),
        ("- list", r"\- list"),
        ("www.e.vil", "www&#8203;.e.vil"),
        ("a\n\nb", r"a\\n\\nb"),
        ("costs 3.50, or 4 - 5", "costs 3.50, or 4 - 5"),
    ],
)
def test_prose_is_read_as_it_was_written(text: str, shown: str) -> None:
    assert escape.prose(text) == shown


def test_a_code_span_outlasts_the_backticks_inside() -> None:
    assert escape.code_span("a``b") == "```a``b```"
    assert escape.code_span("`") == "`` ` ``"
    assert escape.code_span("a|b", in_table=True) == r"`a\|b`"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ci.acme.example/job/1/", "<https://ci.acme.example/job/1/>"),
        ("https://ci.acme.example/a%20b?c=1", "<https://ci.acme.example/a%20b?c=1>"),
        ("javascript:alert(1)", "`javascript:alert(1)`"),
        ("https://x/><img src=y>", "`https://x/><img src=y>`"),
        ("https://x/\n# head", r"`https://x/\n# head`"),
        ("https://x/a b", "`https://x/a b`"),
        ("https://x/`b`", "`` https://x/`b` ``"),
    ],
)
def test_only_a_plain_web_address_can_be_followed(url: str, shown: str) -> None:
    assert escape.web_link(url) == shown


def test_json_keeps_its_meaning() -> None:
    assert escape.json_safe('{"a": "\u202e\U000e0041ü"}\n') == '{"a": "\\u202e\\udb40\\udc41ü"}\n'
