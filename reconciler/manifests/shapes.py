"""Recognises credentials by the prefixes that their issuers use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

# Anthropic, OpenRouter and Langfuse have keys of the same form.
OPENAI_KEY = re.compile(r"sk-(?!ant-|or-|lf-)[A-Za-z0-9_-]{4,}")
"""A key of the OpenAI API, but not of other services whose keys begin similarly."""

_SHAPES: Mapping[str, str] = {
    "a private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY",
    "a GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{16,}|\bgithub_pat_[A-Za-z0-9_]{16,}",
    "a GitLab token": r"\bgl(?:pat|dt|rt|cbt|ptt|soat|agent)-[A-Za-z0-9_-]{16,}",
    "an AWS access key": r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}",
    "a Slack token": r"\bxox[a-z]-[A-Za-z0-9-]{8,}|\bxapp-[A-Za-z0-9-]{16,}|hooks\.slack\.com/services/\w+/\w+/\w+",
    "a JSON web token": r"\beyJ[A-Za-z0-9_-]{6,}\.eyJ[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*",
    "a Google credential": r"\bAIza[A-Za-z0-9_-]{20,}|\bGOCSPX-[A-Za-z0-9_-]{16,}|\bya29\.[A-Za-z0-9_-]{16,}",
    "a Stripe key": r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{10,}",
    "an npm token": r"\bnpm_[A-Za-z0-9]{20,}",
    "a PyPI token": r"\bpypi-[A-Za-z0-9_-]{20,}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{20,}",
    "a DigitalOcean token": r"\bdo[opr]_v1_[a-f0-9]{32,}",
    "a Docker token": r"\bdckr_[a-z]+_[A-Za-z0-9_-]{16,}",
    "a SendGrid key": r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    "a Vault token": r"\bhv[sbr]\.[A-Za-z0-9_-]{16,}",
    "an Azure storage key": r"\bAccountKey=[A-Za-z0-9+/=]{20,}",
    "an age identity": r"AGE-SECRET-KEY-1[A-Z0-9]{16,}",
    "an API key": r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{16,}",
}

_SECRET_HEADER = re.compile("auth|cookie|credential|key|passw|secret|session|signature|token")
_PASSWORD_IN_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s:@]*:[^/?#\s@]+@\S*", re.IGNORECASE)


@cache
def _any_shape() -> re.Pattern[str]:
    # Compiled at its first use: it takes a millisecond, and most stacks insert no files.
    return re.compile("|".join(_SHAPES.values()))


def credential_in(text: str) -> str:
    """The credential that a text seems to contain, such as "a GitHub token"; empty if none."""
    match = _any_shape().search(text)
    if match is None:
        return ""
    return next(name for name, shape in _SHAPES.items() if re.search(shape, text))


def is_secret_header(name: str) -> bool:
    """Whether an HTTP header of this name usually carries a credential."""
    return _SECRET_HEADER.search(name.lower()) is not None


def credential_of_value(value: str) -> str:
    """The same as `credential_in`, for a whole value, which may be a URL with a password."""
    if _PASSWORD_IN_ADDRESS.fullmatch(value):
        return "a URL with a password"
    return credential_in(value)


def without_credentials(value: Any, mask: str) -> Any:
    """A JSON value in which `mask` stands for each known credential."""
    if isinstance(value, str):
        return _any_shape().sub(mask, value)
    if isinstance(value, dict):
        return {key: without_credentials(element, mask) for key, element in value.items()}
    if isinstance(value, list):
        return [without_credentials(element, mask) for element in value]
    return value


def credential_below(value: Any) -> str:
    """The same as `credential_in`, for all texts and keys in a JSON value."""
    return next(filter(None, map(credential_in, _texts(value))), "")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, element in value.items():
            yield str(key)
            yield from _texts(element)
    elif isinstance(value, list):
        for element in value:
            yield from _texts(element)
