"""The explanations in the errors of sinks' servers."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.secrets.http import error_message_in, errors_in, message_in


@pytest.mark.parametrize(
    "explanation",
    [
        message_in({"message": None}),
        message_in({}),
        message_in([None]),
        error_message_in({"error": {"message": None}}),
        error_message_in({"error": None}),
        error_message_in({"error": ["no object"]}),
        errors_in({"errors": [None]}),
        errors_in({"errors": None}),
        errors_in({}),
    ],
)
def test_an_error_without_a_message_explains_nothing(explanation: str) -> None:
    assert explanation == ""


@pytest.mark.parametrize(
    ("explanation", "text"),
    [
        (message_in({"message": "full"}), "full"),
        (error_message_in({"error": {"message": "full"}}), "full"),
        (errors_in({"errors": ["full", None, "sealed"]}), "full; sealed"),
    ],
)
def test_the_message_of_an_error_is_its_explanation(explanation: Any, text: str) -> None:
    assert explanation == text
