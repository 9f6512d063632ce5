"""Audio: speech is a second of silence; transcripts state the size of the file."""

from __future__ import annotations

import io
import wave
from typing import Any

from reconciler.emulator.errors import bad_request
from reconciler.emulator.forms import from_form
from reconciler.emulator.routing import Access, Call, Reply, Route, Upload
from reconciler.emulator.speaking import tokens, usable
from reconciler.emulator.validation import (
    Check,
    anything,
    boolean,
    choice,
    fields,
    listed,
    mapping,
    nullable,
    number,
    text,
)

_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
_RATE = 24_000


def _voice(value: Any, place: str) -> Any:
    return mapping(value, place) if isinstance(value, dict) else text(minimum=1)(value, place)


_SPEECH = fields(
    {"model": text(), "input": text(minimum=1, maximum=4096), "voice": _voice},
    {
        "instructions": text(maximum=4096),
        "response_format": choice(*_TYPES),
        "speed": number(0.25, 4),
        "stream_format": choice("sse", "audio"),
    },
)
_FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
_HEARD: dict[str, Check] = {"file": anything, "model": text()}
_HOW: dict[str, Check] = {"prompt": text(), "temperature": number(0, 1)}
_TRANSCRIPTION = fields(
    _HEARD,
    {
        **_HOW,
        "response_format": choice(*_FORMATS, "diarized_json"),
        "language": text(),
        "languages": listed(text(), minimum=1),
        "keywords": listed(text()),
        "include": listed(choice("logprobs")),
        "timestamp_granularities": listed(choice("word", "segment")),
        "stream": nullable(boolean()),
        "chunking_strategy": anything,
        "known_speaker_names": listed(text(), maximum=4),
        "known_speaker_references": listed(text(), maximum=4),
    },
)
_TRANSLATION = fields(_HEARD, {**_HOW, "response_format": choice(*_FORMATS)})


def create_speech(call: Call) -> Reply:
    sent = call.json(_SPEECH)
    usable(call, sent["model"], "speech")
    if sent.get("stream_format") == "sse":
        raise bad_request(
            "The emulator does not stream.", param="stream_format", code="unsupported_value"
        )
    kind = sent.get("response_format", "mp3")
    return Reply(_silence() if kind == "wav" else sent["input"].encode(), _TYPES[kind])


def create_transcription(call: Call) -> dict[str, Any] | Reply:
    sent = from_form(call, _TRANSCRIPTION, files=("file",), typed=("temperature", "stream"))
    usable(call, sent["model"], "transcription")
    if sent.get("stream"):
        raise bad_request("The emulator does not stream.", param="stream", code="unsupported_value")
    answer = _heard(sent, "transcribe")
    if isinstance(answer, dict) and sent.get("response_format") == "diarized_json":
        segment = {
            "type": "transcript.text.segment",
            "id": "seg_1",
            "start": 0.0,
            "end": 1.0,
            "text": answer["text"],
        }
        head = {"task": "transcribe", "duration": 1.0, "text": answer["text"]}
        return {**head, "segments": [{**segment, "speaker": "A"}]}
    return answer


def create_translation(call: Call) -> dict[str, Any] | Reply:
    sent = from_form(call, _TRANSLATION, files=("file",), typed=("temperature",))
    usable(call, sent["model"], "transcription")
    return _heard(sent, "translate")


def _heard(sent: dict[str, Any], task: str) -> dict[str, Any] | Reply:
    file: Upload = sent["file"]
    if not file.content:
        raise bad_request("The audio file is empty.", param="file")
    words = f"This is {file.filename}, with {len(file.content)} bytes of sound."
    kind = sent.get("response_format", "json")
    if kind == "text":
        return Reply(f"{words}\n".encode(), "text/plain; charset=utf-8")
    if kind in ("srt", "vtt"):
        head, point = ("WEBVTT\n\n", ".") if kind == "vtt" else ("1\n", ",")
        span = f"00:00:00{point}000 --> 00:00:01{point}000"
        return Reply(f"{head}{span}\n{words}\n\n".encode(), "text/plain; charset=utf-8")
    if kind == "verbose_json":
        language = {"translate": "english"}.get(task, sent.get("language", "english"))
        return {
            "task": task,
            "language": language,
            "duration": 1.0,
            "text": words,
            "segments": [_segment(words)],
        }
    if task == "translate":
        return {"text": words}
    if sent["model"] == "whisper-1":
        return {"text": words, "usage": {"type": "duration", "seconds": 1}}
    written = tokens(words)
    read = {"input_tokens": 10, "input_token_details": {"text_tokens": 0, "audio_tokens": 10}}
    return {
        "text": words,
        "usage": {"type": "tokens", **read, "output_tokens": written, "total_tokens": 10 + written},
    }


def _segment(words: str) -> dict[str, Any]:
    return {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": 1.0,
        "text": words,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": -0.1,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
    }


def _silence() -> bytes:
    written = io.BytesIO()
    with wave.open(written, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(_RATE)
        sound.writeframes(bytes(2 * _RATE // 10))
    return written.getvalue()


ROUTES = (
    Route("POST", "/audio/speech", create_speech, Access.PROJECT),
    Route("POST", "/audio/transcriptions", create_transcription, Access.PROJECT, takes_form=True),
    Route("POST", "/audio/translations", create_translation, Access.PROJECT, takes_form=True),
)
