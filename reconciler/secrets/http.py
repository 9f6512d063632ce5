"""Requests of sinks: short time limits, a few attempts, and errors that are sentences for the user.

A sink's writes are idempotent, so a write without an answer is sent again. If no attempt is
answered, its outcome is unknown, and UncertainDeliveryError is raised.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from reconciler.errors import SinkError, SinkUnreachableError, UncertainDeliveryError
from reconciler.model.sinks import SinkContext

if TYPE_CHECKING:
    import httpx

PAUSES = (0.5, 1.0, 2.0)
"""How many seconds to wait after each attempt but the last."""
_LONGEST_PAUSE = 10.0
_LARGEST_ANSWER_BYTES = 4 << 20
_SERVER_ERROR = 500
_BUSY = (429, 502, 503, 504)
_UNAUTHORIZED = (401, 403)
_SHOWN_CHARACTERS = 300


class SinkResponse(Struct, frozen=True):
    """An answer: its status, its JSON (None if it has none), and its headers in lower case."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class _NoAnswer(Struct, frozen=True):
    """An attempt without an answer, or with one that asks for another attempt."""

    problem: str
    may_have_arrived: bool
    is_server_error: bool = False
    pause: float | None = None
    """How long the server asks to wait, in seconds."""


class SinkHttp:
    """Sends the requests of one sink to one server. Thread-safe.

    `server` names the server in messages, for example "Vault at https://vault.example:8200".
    `message_of` finds the server's own explanation in the JSON of an error.
    """

    def __init__(
        self,
        client: httpx.Client,
        context: SinkContext,
        server: str,
        *,
        message_of: Callable[[Any], str] = lambda body: "",  # noqa: ARG005 - no explanation
        busy: tuple[int, ...] = _BUSY,
    ) -> None:
        self._client = client
        self._context = context
        self.server = server
        self._message_of = message_of
        self._busy = busy

    def get(self, path: str, **more: Any) -> SinkResponse:
        """Send a read. Raises SinkError if there is no answer."""
        return self.send("GET", path, is_write=False, **more)

    def send(
        self,
        method: str,
        path: str,
        *,
        json_body: Any = None,
        content: bytes | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        is_write: bool = True,
    ) -> SinkResponse:
        """Send a request until the server answers without asking for another attempt.

        Raises UncertainDeliveryError for a write that may have happened, and SinkError for a
        request that certainly had no effect.
        """
        if json_body is not None:
            content = json.dumps(json_body).encode()
            headers = {"Content-Type": "application/json", **(headers or {})}
        # Stays true once an attempt may have arrived, whatever happens to the attempts after it.
        is_uncertain = False
        problem = ""
        for pause in (*PAUSES, None):
            # The lease of the run may have ended while an attempt was under way.
            if is_write:
                self._context.permit()
            result = self._attempt(method, path, content, params, headers)
            if isinstance(result, SinkResponse):
                if not is_uncertain or result.status not in _UNAUTHORIZED:
                    return result
                # It refuses this attempt, and says nothing about the attempt whose answer was lost.
                problem = self._refusal(result)
                break
            problem = result.problem
            is_uncertain = is_uncertain or (is_write and result.may_have_arrived)
            # A read that breaks the server breaks it again. A write is repeated, because an answer
            # would end the uncertainty.
            if result.is_server_error and not is_write:
                break
            if pause is not None:
                self._context.sleep(pause if result.pause is None else result.pause)
        raise self._unanswered(problem, is_uncertain)

    def explanation(self, answer: SinkResponse) -> str:
        """The server's explanation of an error, redacted: `: …`, or an empty string."""
        if not isinstance(answer.body, dict | list):
            return ""
        # Redacted before it is cut, so that no cut leaves half a key.
        text = " ".join(self._context.redactor(self._message_of(answer.body)).split())
        shown = "".join(character for character in text if character.isprintable())
        if not shown:
            return ""
        return f": {shown[:_SHOWN_CHARACTERS]}"

    def _unanswered(self, problem: str, is_uncertain: bool) -> SinkError:
        text = self._context.redactor(f"{self.server} {problem}")
        if is_uncertain:
            return UncertainDeliveryError(
                f"{text}, so it is unknown whether the key arrived",
                hint="run the same command again once the server answers",
            )
        return SinkUnreachableError(text, hint="check its address, and that it is running")

    def _attempt(
        self,
        method: str,
        path: str,
        content: bytes | None,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
    ) -> SinkResponse | _NoAnswer:
        # Imported late: validation loads drivers and sends nothing.
        import httpx

        try:
            answer = self._once(method, path, content, params, headers)
        except (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            httpx.ProxyError,
        ) as error:
            return _NoAnswer(f"cannot be reached: {_why(error)}", may_have_arrived=False)
        except httpx.TransportError as error:
            return _NoAnswer(f"cannot be reached: {_why(error)}", may_have_arrived=True)
        except (httpx.InvalidURL, httpx.DecodingError, _TooLarge) as error:
            problem = f"gives an answer that cannot be read: {error}"
            return _NoAnswer(problem, may_have_arrived=True)
        if answer.status not in self._busy and answer.status < _SERVER_ERROR:
            return answer
        return _NoAnswer(
            self._refusal(answer),
            may_have_arrived=answer.status >= _SERVER_ERROR,
            is_server_error=answer.status not in self._busy,
            pause=_retry_after(answer),
        )

    def _refusal(self, answer: SinkResponse) -> str:
        return f"answers with status {answer.status}{self.explanation(answer)}"

    def _once(
        self,
        method: str,
        path: str,
        content: bytes | None,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
    ) -> SinkResponse:
        with self._client.stream(
            method, path, content=content, params=params, headers=headers
        ) as response:
            received = bytearray()
            for part in response.iter_bytes():
                received += part
                if len(received) > _LARGEST_ANSWER_BYTES:
                    raise _TooLarge("it is larger than 4 MiB")
        # The page of a proxy is no JSON, and an empty answer has none: both have a status that tells.
        try:
            body = json.loads(received)
        except ValueError:
            body = None
        return SinkResponse(response.status_code, body, dict(response.headers))


class _TooLarge(Exception):
    """An answer that no sink would give."""


def fields_of(body: Any) -> Mapping[str, Any]:
    """The fields of a JSON object; none for any other JSON."""
    return body if isinstance(body, Mapping) else {}


def message_in(body: Any) -> str:
    """The explanation in an error like `{"message": …}`."""
    return str(fields_of(body).get("message") or "")


def error_message_in(body: Any) -> str:
    """The explanation in an error like `{"error": {"message": …}}`."""
    return message_in(fields_of(body).get("error"))


def errors_in(body: Any) -> str:
    """The explanations in an error like `{"errors": […]}`."""
    errors = fields_of(body).get("errors")
    if not isinstance(errors, list):
        return ""
    return "; ".join(str(error) for error in errors if error is not None)


def _why(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__


def _retry_after(answer: SinkResponse) -> float | None:
    text = answer.headers.get("retry-after", "")
    # The other form of the header, a date, is not used by any of these servers.
    if not text.isdigit():
        return None
    return min(float(text), _LONGEST_PAUSE)
