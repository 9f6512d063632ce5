"""Legacy completions: they echo the prompt."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.speaking import answer_to, no_stream, shortened, tokens, usable
from reconciler.emulator.validation import (
    anything,
    boolean,
    fields,
    integer,
    listed,
    mapping,
    nullable,
    number,
    text,
    wrong_type,
)


def _prompt(value: Any, place: str) -> list[str]:
    if value is None:
        return ["<|endoftext|>"]
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise wrong_type(value, place, "one of a string or an array")
    if value and all(isinstance(token, int) for token in value):
        return [" ".join(map(str, value))]
    found: list[str] = listed(text(), minimum=1)(value, place)
    return found


_BODY = fields(
    {"model": text(), "prompt": _prompt},
    {
        "best_of": nullable(integer(0, 20)),
        "echo": nullable(boolean()),
        "frequency_penalty": nullable(number(-2, 2)),
        "logit_bias": nullable(mapping),
        "logprobs": nullable(integer(0, 5)),
        "max_tokens": nullable(integer(minimum=0)),
        "n": nullable(integer(1, 128)),
        "presence_penalty": nullable(number(-2, 2)),
        "seed": nullable(integer()),
        "stop": anything,
        "stream": nullable(boolean()),
        "stream_options": nullable(mapping),
        "suffix": nullable(text()),
        "temperature": nullable(number(0, 2)),
        "top_p": nullable(number(0, 1)),
        "user": text(),
    },
)


def create_completion(call: Call) -> dict[str, Any]:
    sent = no_stream(call.json(_BODY))
    model = usable(call, sent["model"], "completion")
    most = sent.get("max_tokens")
    said = [
        (prompt, *shortened(answer_to(prompt), 16 if most is None else most))
        for prompt in sent["prompt"]
        for _ in range(sent.get("n") or 1)
    ]
    read, written = tokens(*sent["prompt"]), tokens(*(words for _, words, _ in said))
    return {
        "id": ids.fresh("completion"),
        "object": "text_completion",
        "created": call.now,
        "model": model,
        "choices": [
            {
                "text": prompt + words if sent.get("echo") else words,
                "index": index,
                "logprobs": None,
                "finish_reason": "length" if is_cut else "stop",
            }
            for index, (prompt, words, is_cut) in enumerate(said)
        ],
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        },
    }


ROUTES = (Route("POST", "/completions", create_completion, Access.PROJECT),)
