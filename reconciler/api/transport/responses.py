"""Turns an HTTP response into JSON or into one of our errors.

Proxies, captive portals and load balancers sit between us and the API, and all of them send
responses too. A response counts only if it is JSON in one of the API's shapes. In particular, a 404
page in HTML must never read as "the object is gone". Control characters and secrets are removed
from a response before any part of it reaches a message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from reconciler.api.keys import Key
from reconciler.api.transport.retry import FailedAttempt, FailureKind, retry_after_seconds
from reconciler.errors import (
    AnswerError,
    ApiError,
    AuthenticationError,
    NotFoundError,
    ThrottledError,
)
from reconciler.model.json_codec import read_json
from reconciler.model.secret import Redactor

_LONGEST_MESSAGE = 600
_EXCERPT = 80
_LONGEST_WORD = 200


class Response(Struct, frozen=True):
    """A response: the JSON object, and the headers with lower-case names.

    `content` has the bytes of a download, and with `accepts_errors` those of any body that is not
    JSON; `body` is empty then.
    """

    body: dict[str, Any]
    headers: Mapping[str, str]
    content: bytes = b""
    status: int = 200
    seconds: float = 0.0
    sent_at: float = 0.0
    """When its request was sent, in unix seconds of this machine."""
    raw: bytes = b""
    """The JSON as it was received, with the secrets that `body` has masked."""

    def __repr__(self) -> str:
        return f"Response({self.status})"


class RawResponse(Struct, frozen=True):
    """A response as received, with parts of its request: `call` is like `GET /files`."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    call: str
    key: Key
    url: str  # scheme, host and port
    is_download: bool = False

    @property
    def content_type(self) -> str:
        content_type, _, _ = self.headers.get("content-type", "").partition(";")
        return content_type.strip().lower() or "no content type"


def read(
    received: RawResponse, redactor: Redactor, *, now: float, accepts_errors: bool = False
) -> Response | FailedAttempt:
    """The response as JSON, or its failure. `now` is in unix seconds, for waits given as a date.

    With `accepts_errors`, final refusals of the API are responses as well, and so are bodies that
    are neither JSON nor a web page.
    """
    # Checked before the body: the body of a redirect is never the API's answer.
    if 300 <= received.status < 400:
        return FailedAttempt(_redirected(received), FailureKind.FINAL)
    if received.is_download and received.status == 200:
        return Response({}, received.headers, received.content)
    body = _json(received, redactor)
    if 200 <= received.status < 300:
        if body is None:
            is_page = received.content_type in ("application/json", "text/html")
            if accepts_errors and not is_page:
                return Response({}, received.headers, received.content, received.status)
            # Broken JSON was truncated on the way, and a retry may help. A page of a proxy stays.
            kind = FailureKind.GARBLED
            if received.content_type == "application/json":
                kind = FailureKind.CUT_SHORT
            return FailedAttempt(_garbled(received, redactor), kind)
        if not accepts_errors:
            contradiction = _contradiction(received, body, redactor)
            if contradiction is not None:
                return FailedAttempt(contradiction, FailureKind.CUT_SHORT)
        return Response(body, received.headers, status=received.status, raw=received.content)
    refusal = _refusal(received, body, redactor, now=now)
    if accepts_errors and refusal.kind is FailureKind.FINAL and _details(body) is not None:
        return Response(body or {}, received.headers, status=received.status)
    return refusal


def clean(text: str, redactor: Redactor, *, longest: int = _LONGEST_MESSAGE) -> str:
    """Foreign text for a terminal or a log: one line, no control characters, no secrets, short."""
    redacted = redactor(text)
    printable = "".join(letter if letter.isprintable() else " " for letter in redacted)
    # Redacted twice, because a secret can become recognizable once white space and control characters are
    # normalized.
    line = redactor(" ".join(printable.split()))
    if len(line) <= longest:
        return line
    return line[: longest - 1] + "…"


def text_or_none(value: Any) -> str | None:
    """A text in an answer; None for any other value."""
    return value if isinstance(value, str) else None


def _json(received: RawResponse, redactor: Redactor) -> dict[str, Any] | None:
    """The JSON object of a response, with the keys in use masked; None where there is none."""
    is_empty = received.status == 200 and not received.content
    # Some deletes answer with an empty body.
    if received.status == 204 or (is_empty and _is_delete(received)):
        return {}
    # People put keys into objects. They are masked here, before anything is compared, truncated,
    # saved or shown. A key that this very response shows for the first time stays.
    return parsed(received.content, redactor)


def parsed(content: bytes, redactor: Redactor) -> dict[str, Any] | None:
    """The JSON object in a response with the secrets that the redactor knows masked; else None."""
    try:
        body = read_json(content)
    # Deeply nested JSON of a hostile server exhausts the stack.
    except (ValueError, RecursionError):
        return None
    # Every answer of the API is an object, its lists included.
    if not isinstance(body, dict):
        return None
    # Nearly no answer holds a secret, and searching its text is much faster than walking its JSON.
    if redactor.holds(content.decode(errors="replace")):
        masked: dict[str, Any] = redactor.masked(body)
        return masked
    return body


def _contradiction(
    received: RawResponse, parsed: Mapping[str, Any], redactor: Redactor
) -> AnswerError | None:
    """The error of a response with a status of success and a body that says otherwise."""
    start = f"{received.call}: {received.url} answered {received.status}"
    # Deletes answer with `deleted: true`; those of some keys answer with the key itself.
    if _is_delete(received) and parsed.get("deleted", True) is not True:
        return AnswerError(f"{start}, and that nothing was deleted.", status=received.status)
    # Some proxies answer every error with 200. Jobs and answers of models have an `error` too, among
    # their other fields.
    error = parsed.get("error")
    if not error or {"id", "object", "data", "type"} & parsed.keys():
        return None
    message = error
    if isinstance(error, dict):
        message = error.get("message") or error
    if not isinstance(message, str):
        message = json.dumps(message, ensure_ascii=False)
    excerpt = clean(message, redactor, longest=_EXCERPT)
    return AnswerError(
        f'{start} with an error in place of a result ("{excerpt}").', status=received.status
    )


def _is_delete(received: RawResponse) -> bool:
    return received.call.startswith("DELETE ")


def _redirected(received: RawResponse) -> AnswerError:
    return AnswerError(
        f"{received.call}: {received.url} answered with a redirect ({received.status}), "
        "which is not followed: the key must not go to another host.",
        hint="Set OPENAI_BASE_URL or --base-url to where the API really is.",
        status=received.status,
    )


def _garbled(received: RawResponse, redactor: Redactor) -> AnswerError:
    kind = clean(received.content_type, redactor, longest=_EXCERPT)
    start = f"{received.call}: {received.url} answered {received.status} with {kind}"
    text = received.content[:2000].decode("utf-8", "replace")
    excerpt = clean(text, redactor, longest=_EXCERPT)
    if received.content_type == "application/json":
        return AnswerError(
            f'{start} that is broken or cut short ("{excerpt}").', status=received.status
        )
    return AnswerError(
        f'{start} instead of JSON; it looks like a proxy ("{excerpt}").',
        hint="Check OPENAI_BASE_URL or --base-url, and the proxy settings of this machine.",
        status=received.status,
    )


def _refusal(
    received: RawResponse, parsed: dict[str, Any] | None, redactor: Redactor, *, now: float
) -> FailedAttempt:
    details = _details(parsed)
    if details is None:
        error: ApiError = _garbled(received, redactor)
    else:
        error = _refusal_error(received, details, redactor)
    kind = _kind_of(received, error)
    if kind in (FailureKind.FINAL, FailureKind.GARBLED):
        return FailedAttempt(error, kind)
    message = str((details or {}).get("message") or "")
    return FailedAttempt(error, kind, retry_after_seconds(received.headers, message, now=now))


def _details(parsed: dict[str, Any] | None) -> Mapping[str, Any] | None:
    """The four fields of a refusal; None for a body that is none of the API's."""
    if parsed is None:
        return None
    # The envelope is {"error": {…}}. A few calls, such as the delete of an eval, answer with the
    # four fields alone, and some compatible servers with a sentence in place of them.
    inner = parsed.get("error", parsed)
    if isinstance(inner, str):
        return {"message": inner}
    if isinstance(inner, dict) and isinstance(inner.get("message"), str):
        return inner
    return None


def _kind_of(received: RawResponse, error: ApiError) -> FailureKind:
    status = received.status
    # 408 and 5xx say nothing about whether the server acted, not even with `x-should-retry`.
    if status == 408 or status >= 500:
        return FailureKind.UNCLEAR
    # An explicit instruction of the server outranks its status.
    if received.headers.get("x-should-retry", "").lower() == "false":
        return FailureKind.FINAL
    if status == 409:
        return FailureKind.CONFLICT
    # The API answers 429 for a used-up quota too, which no wait renews.
    if status == 429 and error.code != "insufficient_quota":
        return FailureKind.THROTTLED
    return FailureKind.FINAL


def _refusal_error(
    received: RawResponse, details: Mapping[str, Any], redactor: Redactor
) -> ApiError:
    code = _text(details.get("code"), redactor)
    param = _text(details.get("param"), redactor)
    message = clean(str(details["message"]), redactor)
    # The API has named it in either field. A used-up quota must not be retried as a rate limit.
    if code is None and details.get("type") == "insufficient_quota":
        code = "insufficient_quota"
    error_type, sentence, hint = _sentence(received, message, code=code, param=param)
    return error_type(
        redactor(sentence),
        hint=hint,
        status=received.status,
        code=code,
        param=param,
        request_id=_text(received.headers.get("x-request-id"), redactor),
    )


def _sentence(
    received: RawResponse, message: str, *, code: str | None, param: str | None
) -> tuple[type[ApiError], str, str]:
    """The class of the error, its message and its hint."""
    status, call = received.status, received.call
    if status in (401, 403):
        key = received.key
        sentence = (
            f"{call} was refused ({status}) with the key from {key.source} "
            f"({key.secret.hint}): {message}"
        )
        return AuthenticationError, sentence, _key_hint(key, code)
    about = ""
    if param:
        about += f", param {param}"
    if code:
        about += f", code {code}"
    # The support of the API asks for the request id. Without one, a proxy may have answered.
    source = received.url
    request_id = received.headers.get("x-request-id", "")
    if request_id and request_id.isprintable():
        source = f"request {request_id}"
    sentence = f"{call} answered {status}{about}: {message} [{source}]"
    if status == 404:
        return NotFoundError, sentence, ""
    if status != 429:
        return ApiError, sentence, ""
    if code == "insufficient_quota":
        hint = "The quota is used up; waiting does not help. See billing."
        return ThrottledError, sentence, hint
    return ThrottledError, sentence, ""


def _key_hint(key: Key, code: str | None) -> str:
    # Admin keys and keys of projects are disjoint: neither can make the calls of the other, and the
    # API refuses both with the same 401 or 403.
    if code == "invalid_api_key":
        return f"The key itself is wrong, incomplete or revoked: check what is in {key.source}."
    if key.is_admin:
        return (
            "This call needs an admin key of the organization (OPENAI_ADMIN_KEY, or "
            "credentials.admin in the stack file); a project's key cannot make it."
        )
    if key.project is None:
        return (
            "This call needs a project's key (OPENAI_API_KEY, or credentials.default); an admin "
            "key cannot make it."
        )
    if code == "mismatched_project":
        return (
            f'The key is of another project than "{key.project}". Set '
            f"credentials.projects.{key.project} in the stack file to a key of that project."
        )
    return (
        f'This call needs a key of the project "{key.project}" (credentials.projects.{key.project} '
        "in the stack file); an admin key cannot make it."
    )


def _text(value: Any, redactor: Redactor) -> str | None:
    if not isinstance(value, str):
        return None
    return clean(value, redactor, longest=_LONGEST_WORD) or None
