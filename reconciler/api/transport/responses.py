"""The edge: what the server said, turned into JSON or into one of our errors.

Between us and the API sit proxies, captive portals and load balancers, and all of them answer too. So an answer is
believed only if it is JSON in one of the API's shapes; a 404 page in HTML in particular must never read as "the object
is gone". Nothing from an answer reaches a message before control characters and secrets are taken out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from reconciler.api.keys import Key
from reconciler.api.transport.retry import Failure, FailureKind, told_seconds
from reconciler.errors import AnswerError, ApiError, AuthenticationError, NotFoundError, ThrottledError
from reconciler.model.json_codec import read_json
from reconciler.model.secret import Redactor

_LONGEST_MESSAGE = 600
_EXCERPT = 80


class Response(Struct, frozen=True):
    """An answer to work with: the JSON object, and the response headers with lower-case names.

    A download has its bytes in `content`, and no object; so has what is no JSON, for whoever takes answers as they are.
    """

    body: dict[str, Any]
    headers: Mapping[str, str]
    content: bytes = b""
    status: int = 200
    seconds: float = 0.0


class RawResponse(Struct, frozen=True):
    """An answer as it came from the wire, with what is known of the request: `call` reads `GET /files`."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    call: str
    key: Key
    url: str  # scheme, host and port
    is_download: bool = False

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() or "no content type"


def read(received: RawResponse, redactor: Redactor, *, now: float, as_is: bool = False) -> Response | Failure:
    """The JSON of an answer, or what is wrong with it. `now` is in unix seconds, for waits given as a date.

    Taken `as_is`, what the API refuses for good is an answer as well, and so is what is neither JSON nor a web page.
    """
    if 300 <= received.status < 400:
        return Failure(_redirected(received), FailureKind.FINAL)
    if received.is_download and received.status == 200:
        return Response({}, received.headers, received.content)
    parsed = _json(received, redactor)
    if 200 <= received.status < 300:
        if parsed is None and as_is and received.content_type not in ("application/json", "text/html"):
            return Response({}, received.headers, received.content, received.status)
        if parsed is None:
            # JSON that does not end lost its end on the way; a page of somebody else's will be there again.
            cut = received.content_type == "application/json"
            return Failure(_garbled(received, redactor), FailureKind.CUT_SHORT if cut else FailureKind.GARBLED)
        contradiction = None if as_is else _contradiction(received, parsed, redactor)
        if contradiction is not None:
            return Failure(contradiction, FailureKind.CUT_SHORT)
        return Response(parsed, received.headers, status=received.status)
    refusal = _refusal(received, parsed, redactor, now=now)
    if as_is and refusal.kind is FailureKind.FINAL and _details(parsed) is not None:
        return Response(parsed or {}, received.headers, status=received.status)
    return refusal


def clean(text: str, redactor: Redactor, *, longest: int = _LONGEST_MESSAGE) -> str:
    """Foreign text fit for a terminal and a log: one line, without control characters and secrets, not too long."""
    printable = "".join(character if character.isprintable() else " " for character in redactor(text))
    line = redactor(" ".join(printable.split()))
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _json(received: RawResponse, redactor: Redactor) -> dict[str, Any] | None:
    """The JSON object of an answer, without the keys in use that somebody may have put into an object.

    They are taken out here, before anything is compared, cut short, saved or shown. A key that this very answer tells
    for the first time is not known yet, and stays.
    """
    if received.status == 204 or (received.status == 200 and not received.content and _is_delete(received)):
        return {}
    try:
        parsed = read_json(received.content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict):
        return None
    return redactor.masked(parsed) if redactor.holds(received.content.decode(errors="replace")) else parsed


def _contradiction(received: RawResponse, parsed: Mapping[str, Any], redactor: Redactor) -> AnswerError | None:
    """The error of an answer whose status says success and whose body says that nothing was done."""
    start = f"{received.call}: {received.url} answered {received.status}"
    if _is_delete(received) and parsed.get("deleted", True) is not True:
        return AnswerError(f"{start}, and that nothing was deleted.", status=received.status)
    error = parsed.get("error")
    # Jobs and answers of models show the errors that they ended with, beside what they are.
    if not error or {"id", "object", "data", "type"} & parsed.keys():
        return None
    told = error.get("message") if isinstance(error, dict) else error
    excerpt = clean(str(told), redactor, longest=_EXCERPT)
    return AnswerError(f'{start} with an error in place of a result ("{excerpt}").', status=received.status)


def _is_delete(received: RawResponse) -> bool:
    """Whether nothing at all is an answer: that of some deletes is."""
    return received.call.startswith("DELETE ")


def _redirected(received: RawResponse) -> AnswerError:
    return AnswerError(
        f"{received.call}: {received.url} answered with a redirect ({received.status}), which is not followed: the "
        "key must not go to another host.",
        hint="Set OPENAI_BASE_URL or --base-url to where the API really is.",
        status=received.status,
    )


def _garbled(received: RawResponse, redactor: Redactor) -> AnswerError:
    kind = clean(received.content_type, redactor, longest=_EXCERPT)
    start = f"{received.call}: {received.url} answered {received.status} with {kind}"
    text = received.content[:2000].decode("utf-8", "replace")
    excerpt = clean(text, redactor, longest=_EXCERPT)
    if received.content_type == "application/json":
        return AnswerError(f'{start} that is broken or cut short ("{excerpt}").', status=received.status)
    return AnswerError(
        f'{start} instead of JSON; it looks like a proxy ("{excerpt}").',
        hint="Check OPENAI_BASE_URL or --base-url, and the proxy settings of this machine.",
        status=received.status,
    )


def _refusal(received: RawResponse, parsed: dict[str, Any] | None, redactor: Redactor, *, now: float) -> Failure:
    found = _details(parsed)
    error = _garbled(received, redactor) if found is None else _worded(received, found, redactor)
    trouble = _trouble(received, error)
    if trouble in (FailureKind.FINAL, FailureKind.GARBLED):
        return Failure(error, trouble)
    text = str((found or {}).get("message") or "")
    return Failure(error, trouble, told_seconds(received.headers, text, now=now))


def _details(parsed: dict[str, Any] | None) -> Mapping[str, Any] | None:
    """The four fields of a refusal, from the usual envelope or bare; None where it is neither."""
    if parsed is None:
        return None
    inner = parsed.get("error", parsed)
    if isinstance(inner, str):
        return {"message": inner}
    return inner if isinstance(inner, dict) and isinstance(inner.get("message"), str) else None


def _trouble(received: RawResponse, error: ApiError) -> FailureKind:
    status = received.status
    never = received.headers.get("x-should-retry", "").lower() == "false"
    if status == 429:
        return FailureKind.FINAL if never or error.code == "insufficient_quota" else FailureKind.THROTTLED
    if status == 409:
        return FailureKind.FINAL if never else FailureKind.CONFLICT
    return FailureKind.UNCLEAR if status == 408 or status >= 500 else FailureKind.FINAL


def _worded(received: RawResponse, found: Mapping[str, Any], redactor: Redactor) -> ApiError:
    status = received.status
    code, param = _text(found.get("code"), redactor), _text(found.get("param"), redactor)
    message = clean(str(found["message"]), redactor)
    if code is None and found.get("type") == "insufficient_quota":
        code = "insufficient_quota"
    kind, sentence, hint = _sentence(received, message, code=code, param=param)
    return kind(
        redactor(sentence),
        hint=hint,
        status=status,
        code=code,
        param=param,
        request_id=_text(received.headers.get("x-request-id"), redactor),
    )


def _sentence(
    received: RawResponse, message: str, *, code: str | None, param: str | None
) -> tuple[type[ApiError], str, str]:
    status, call = received.status, received.call
    if status in (401, 403):
        key = received.key
        return (
            AuthenticationError,
            f"{call} was refused ({status}) with the key from {key.source} ({key.secret.hint}): {message}",
            _key_hint(key, code),
        )
    about = "".join(f", {name} {value}" for name, value in (("param", param), ("code", code)) if value)
    request_id = received.headers.get("x-request-id", "")
    where = f" [{'request ' + request_id if request_id.isprintable() and request_id else received.url}]"
    sentence = f"{call} answered {status}{about}: {message}{where}"
    if status == 404:
        return NotFoundError, sentence, ""
    if status == 429:
        quota = code == "insufficient_quota"
        return ThrottledError, sentence, "The quota is used up; waiting does not help. See billing." if quota else ""
    return ApiError, sentence, ""


def _key_hint(key: Key, code: str | None) -> str:
    if code == "invalid_api_key":
        return f"The key itself is wrong, incomplete or revoked: check what is in {key.source}."
    if key.is_admin:
        return (
            "This call needs an admin key of the organization (OPENAI_ADMIN_KEY, or credentials.admin in the stack "
            "file); a project's key cannot make it."
        )
    if key.project is None:
        return "This call needs a project's key (OPENAI_API_KEY, or credentials.default); an admin key cannot make it."
    if code == "mismatched_project":
        return (
            f'The key is of another project than "{key.project}". Set credentials.projects.{key.project} in the stack '
            "file to a key of that project."
        )
    return (
        f'This call needs a key of the project "{key.project}" (credentials.projects.{key.project} in the stack '
        "file); an admin key cannot make it."
    )


def _text(value: Any, redactor: Redactor) -> str | None:
    return clean(value, redactor, longest=200) or None if isinstance(value, str) else None
