"""Ephemeral keys for browsers: short-lived and shown once. The emulator accepts no connections for them."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.speaking import usable
from reconciler.emulator.validation import (
    anything,
    choice,
    fields,
    integer,
    listed,
    mapping,
    nullable,
    number,
    tagged,
    text,
)

_LIFETIME = 600
_SHORT_LIFETIME = 60
_INCLUDE = listed(choice("item.input_audio_transcription.logprobs"))
_FORMATS = choice("pcm16", "g711_ulaw", "g711_alaw")
_SESSION = fields(
    {},
    {
        "client_secret": anything,
        "model": text(),
        "modalities": listed(choice("text", "audio")),
        "instructions": text(),
        "voice": anything,
        "input_audio_format": _FORMATS,
        "output_audio_format": _FORMATS,
        "input_audio_transcription": nullable(mapping),
        "input_audio_noise_reduction": nullable(mapping),
        "speed": number(0.25, 1.5),
        "tracing": anything,
        "turn_detection": nullable(mapping),
        "tools": listed(mapping),
        "tool_choice": text(),
        "temperature": number(0.6, 1.2),
        "max_response_output_tokens": anything,
        "truncation": anything,
        "prompt": nullable(mapping),
    },
)
_TRANSCRIBED = fields(
    {},
    {
        "model": text(),
        "language": text(),
        "languages": listed(text()),
        "prompt": text(),
        "keywords": listed(text()),
        "delay": choice("minimal", "low", "medium", "high", "xhigh"),
    },
)
_TRANSCRIPTION = fields(
    {},
    {
        "client_secret": anything,
        "include": _INCLUDE,
        "input_audio_format": _FORMATS,
        "input_audio_noise_reduction": nullable(mapping),
        "input_audio_transcription": _TRANSCRIBED,
        "modalities": anything,
        "turn_detection": nullable(mapping),
    },
)
_EXPIRES = fields({}, {"anchor": choice("created_at"), "seconds": integer(10, 7200)})
_OF_REALTIME = fields(
    {"type": anything},
    {
        "model": text(),
        "instructions": text(),
        "output_modalities": listed(choice("text", "audio")),
        "audio": mapping,
        "include": _INCLUDE,
        "tracing": anything,
        "tools": listed(mapping),
        "tool_choice": anything,
        "parallel_tool_calls": anything,
        "reasoning": mapping,
        "max_output_tokens": anything,
        "truncation": anything,
        "prompt": nullable(mapping),
    },
)
_OF_TRANSCRIPTION = fields({"type": anything}, {"audio": mapping, "include": _INCLUDE})
_SECRET = fields(
    {},
    {
        "expires_after": _EXPIRES,
        "session": tagged({"realtime": _OF_REALTIME, "transcription": _OF_TRANSCRIPTION}),
    },
)
_TRANSLATED = fields(
    {"session": fields({"model": text()}, {"audio": mapping, "include": anything})},
    {"expires_after": _EXPIRES},
)


def create_session(call: Call) -> dict[str, Any]:
    sent = call.json(_SESSION)
    model = usable(call, sent.get("model", "gpt-realtime"), "realtime")
    shown = {name: value for name, value in sent.items() if name != "client_secret"}
    return {
        "id": ids.fresh("session"),
        "object": "realtime.session",
        "modalities": ["audio", "text"],
        "tools": [],
        "tool_choice": "auto",
        **shown,
        "model": model,
        "client_secret": {"value": ids.ephemeral_key(), "expires_at": call.now + _SHORT_LIFETIME},
    }


def create_transcription_session(call: Call) -> dict[str, Any]:
    sent = call.json(_TRANSCRIPTION)
    heard = sent.get("input_audio_transcription") or {}
    usable(call, heard.get("model", "gpt-4o-transcribe"), "transcription")
    shown = {
        name: value for name, value in sent.items() if name != "client_secret" and value is not None
    }
    return {
        "id": ids.fresh("session"),
        "object": "realtime.transcription_session",
        "modalities": ["audio", "text"],
        "input_audio_format": "pcm16",
        "turn_detection": {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 200,
        },
        **shown,
        "client_secret": {"value": ids.ephemeral_key(), "expires_at": call.now + _SHORT_LIFETIME},
    }


def create_client_secret(call: Call) -> dict[str, Any]:
    sent = call.json(_SECRET)
    session = sent.get("session") or {"type": "realtime"}
    if session["type"] == "realtime":
        session = {
            "model": "gpt-realtime",
            "output_modalities": ["audio"],
            "tools": [],
            "tool_choice": "auto",
            **session,
        }
        usable(call, session["model"], "realtime")
    kind = "realtime.session" if session["type"] == "realtime" else "realtime.transcription_session"
    return _secret(call, sent, {**session, "object": kind})


def create_translation_secret(call: Call) -> dict[str, Any]:
    sent = call.json(_TRANSLATED)
    usable(call, sent["session"]["model"], "realtime", "transcription")
    return _secret(
        call,
        sent,
        {**sent["session"], "type": "translation", "object": "realtime.translation_session"},
    )


def _secret(call: Call, sent: dict[str, Any], session: dict[str, Any]) -> dict[str, Any]:
    seconds = (sent.get("expires_after") or {}).get("seconds", _LIFETIME)
    return {
        "value": ids.ephemeral_key(),
        "expires_at": call.now + seconds,
        "session": {**session, "id": ids.fresh("session"), "expires_at": 0},
    }


_BASE = "/realtime"
ROUTES = (
    Route("POST", f"{_BASE}/sessions", create_session, Access.PROJECT),
    Route("POST", f"{_BASE}/transcription_sessions", create_transcription_session, Access.PROJECT),
    Route("POST", f"{_BASE}/client_secrets", create_client_secret, Access.PROJECT),
    Route(
        "POST", f"{_BASE}/translations/client_secrets", create_translation_secret, Access.PROJECT
    ),
)
