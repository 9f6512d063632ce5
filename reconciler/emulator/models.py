"""The model catalogue: the models that `GET /models` lists, and their rate limits.

A project has one row of limits per model, with only the fields that apply to the model: images for
image models, audio for transcription, a daily limit for scarce models, batch tokens for models with
batches. The values are those of a new project; the organization's limit, which no project can
exceed, is ten times as high.
"""

from __future__ import annotations

from dataclasses import dataclass

MAXIMUM_FACTOR = 10
"""The organization's limit is this many times what a new project shows."""

RPM = "max_requests_per_1_minute"
TPM = "max_tokens_per_1_minute"
IMAGES = "max_images_per_1_minute"
AUDIO = "max_audio_megabytes_per_1_minute"
RPD = "max_requests_per_1_day"
BATCH = "batch_1_day_max_input_tokens"
LIMIT_FIELDS = (RPM, TPM, IMAGES, AUDIO, RPD, BATCH)

_FRONTIER = {RPM: 10_000, TPM: 2_000_000, BATCH: 200_000_000}
_SEEING = {**_FRONTIER, IMAGES: 50_000}
_SMALL = {RPM: 10_000, TPM: 10_000_000, BATCH: 1_000_000_000}
_SMALL_SEEING = {**_SMALL, IMAGES: 50_000}
_SCARCE = {RPM: 1_000, TPM: 300_000, RPD: 10_000, BATCH: 30_000_000}
_LEGACY = {RPM: 500, TPM: 40_000, RPD: 10_000, BATCH: 1_350_000}
_LIVE = {RPM: 1_000, TPM: 250_000, RPD: 10_000}
_IMAGE = {RPM: 500, TPM: 800_000, IMAGES: 50}
_VIDEO = {RPM: 25, TPM: 250_000}
_SPEECH = {RPM: 1_000, TPM: 600_000}
_TRANSCRIBE = {RPM: 500, TPM: 100_000, AUDIO: 100}
_EMBED = {RPM: 5_000, TPM: 1_000_000, BATCH: 100_000_000}
_MODERATE = {RPM: 1_000, TPM: 50_000, RPD: 20_000}


@dataclass(frozen=True)
class Model:
    """One model: its name, creation time, announced shutdown, and limits in a new project."""

    id: str
    created: int
    limits: dict[str, int]
    shutdown_date: str | None = None

    def as_json(self) -> dict[str, str | int | None]:
        return {
            "id": self.id,
            "object": "model",
            "created": self.created,
            "owned_by": "system",
            "shutdown_date": self.shutdown_date,
        }


_END_2026_OCTOBER = "2026-10-23"
_END_2026_IMAGES = "2026-12-01"
_END_2026_DECEMBER = "2026-12-11"
_END_2027_SPEECH = "2027-01-06"
_END_2027_JANUARY = "2027-01-14"
_END_2027_AUDIO = "2027-01-20"
_END_2027_TRANSCRIBE = "2027-02-26"
_END_2027_APRIL = "2027-04-01"

MODELS: tuple[Model, ...] = (
    Model("gpt-3.5-turbo", 1677610602, _SMALL, _END_2026_OCTOBER),
    Model("gpt-3.5-turbo-0125", 1706048358, _SMALL, _END_2026_OCTOBER),
    Model("gpt-4", 1687882411, _LEGACY, _END_2026_OCTOBER),
    Model("gpt-4-0613", 1686588896, _LEGACY, _END_2026_OCTOBER),
    Model("gpt-4-turbo", 1712361441, _LEGACY, _END_2026_OCTOBER),
    Model("gpt-4-turbo-2024-04-09", 1712601677, _LEGACY, _END_2026_OCTOBER),
    Model("gpt-4o-2024-05-13", 1715368132, _SEEING, _END_2026_OCTOBER),
    Model("gpt-4o", 1715367049, _SEEING, _END_2027_JANUARY),
    Model("gpt-4o-2024-08-06", 1722814719, _SEEING, _END_2027_JANUARY),
    Model("gpt-4o-2024-11-20", 1739331543, _SEEING, _END_2027_JANUARY),
    Model("gpt-4o-mini", 1721172741, _SMALL_SEEING, _END_2027_JANUARY),
    Model("gpt-4o-mini-2024-07-18", 1721172717, _SMALL_SEEING, _END_2027_JANUARY),
    Model("gpt-4.1", 1744316542, _SEEING, _END_2027_JANUARY),
    Model("gpt-4.1-2025-04-14", 1744315746, _SEEING, _END_2027_JANUARY),
    Model("gpt-4.1-mini", 1744318173, _SMALL_SEEING, _END_2027_JANUARY),
    Model("gpt-4.1-mini-2025-04-14", 1744317547, _SMALL_SEEING, _END_2027_JANUARY),
    Model("gpt-4.1-nano", 1744321707, _SMALL_SEEING, _END_2026_OCTOBER),
    Model("gpt-4.1-nano-2025-04-14", 1744321025, _SMALL_SEEING, _END_2026_OCTOBER),
    Model("o1", 1734375816, _SCARCE, _END_2026_OCTOBER),
    Model("o1-2024-12-17", 1734326976, _SCARCE, _END_2026_OCTOBER),
    Model("o3-mini", 1737146383, _SMALL, _END_2026_OCTOBER),
    Model("o3-mini-2025-01-31", 1738010200, _SMALL, _END_2026_OCTOBER),
    Model("o3", 1744225308, _SEEING, _END_2026_DECEMBER),
    Model("o3-2025-04-16", 1744133301, _SEEING, _END_2026_DECEMBER),
    Model("o4-mini", 1744225351, _SMALL_SEEING, _END_2026_OCTOBER),
    Model("o4-mini-2025-04-16", 1744133506, _SMALL_SEEING, _END_2026_OCTOBER),
    Model("gpt-5", 1754425777, _FRONTIER, _END_2026_DECEMBER),
    Model("gpt-5-2025-08-07", 1754075360, _FRONTIER, _END_2026_DECEMBER),
    Model("gpt-5-mini", 1754425928, _SMALL, _END_2026_DECEMBER),
    Model("gpt-5-mini-2025-08-07", 1754425867, _SMALL, _END_2026_DECEMBER),
    Model("gpt-5-nano", 1754426384, _SMALL, _END_2026_DECEMBER),
    Model("gpt-5-nano-2025-08-07", 1754426303, _SMALL, _END_2026_DECEMBER),
    Model("gpt-5.1", 1762800673, _FRONTIER, _END_2027_APRIL),
    Model("gpt-5.1-2025-11-13", 1762800353, _FRONTIER, _END_2027_APRIL),
    Model("gpt-5.2", 1765313051, _FRONTIER),
    Model("gpt-5.2-2025-12-11", 1765313028, _FRONTIER),
    Model("gpt-5.2-pro", 1765343983, _SCARCE),
    Model("gpt-5.4", 1772600000, _FRONTIER),
    Model("gpt-5.4-mini", 1773700000, _SMALL),
    Model("gpt-5.4-mini-2026-03-17", 1773700001, _SMALL),
    Model("gpt-5.4-nano", 1773700002, _SMALL, _END_2027_APRIL),
    Model("gpt-5.4-nano-2026-03-17", 1773700003, _SMALL, _END_2027_APRIL),
    Model("gpt-5.5", 1776900000, _FRONTIER),
    Model("gpt-5.5-2026-04-23", 1776900001, _FRONTIER),
    Model("gpt-5.5-pro", 1776900002, _SCARCE),
    Model("gpt-5.6-luna", 1780000000, _SMALL),
    Model("gpt-5.6-sol", 1780000001, _FRONTIER),
    Model("gpt-6-sol", 1784000000, _FRONTIER),
    Model("gpt-realtime", 1756271701, _LIVE),
    Model("gpt-audio", 1756339249, _LIVE),
    Model("gpt-audio-mini", 1759512027, _LIVE, _END_2027_AUDIO),
    Model("gpt-image-1", 1745517030, _IMAGE, _END_2026_OCTOBER),
    Model("gpt-image-1-mini", 1758845821, _IMAGE, _END_2026_IMAGES),
    Model("gpt-image-1.5", 1764030620, _IMAGE, _END_2026_IMAGES),
    Model("gpt-image-2", 1776729600, _IMAGE),
    Model("sora-2", 1759708615, _VIDEO),
    Model("whisper-1", 1677532384, _TRANSCRIBE, _END_2027_TRANSCRIBE),
    Model("gpt-4o-transcribe", 1742068463, _TRANSCRIBE, _END_2027_TRANSCRIBE),
    Model("gpt-4o-mini-transcribe", 1742068596, _TRANSCRIBE, _END_2027_TRANSCRIBE),
    Model("gpt-transcribe", 1782000000, _TRANSCRIBE),
    Model("tts-1", 1681940951, _SPEECH, _END_2027_SPEECH),
    Model("gpt-4o-mini-tts", 1742403959, _SPEECH, _END_2027_SPEECH),
    Model("text-embedding-3-small", 1705948997, _EMBED),
    Model("text-embedding-3-large", 1705953180, _EMBED),
    Model("text-embedding-ada-002", 1671217299, _EMBED),
    Model("omni-moderation-latest", 1731689265, _MODERATE),
)

BY_ID: dict[str, Model] = {model.id: model for model in MODELS}
POSITIONS: dict[str, int] = {model.id: index for index, model in enumerate(MODELS)}

FINE_TUNABLE = {
    "gpt-3.5-turbo": "gpt-3.5-turbo-0125",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
    "o4-mini": "o4-mini-2025-04-16",
}
"""The names of models that can be fine-tuned, and the dated ones that jobs show for them."""
FINE_TUNABLE |= {dated: dated for dated in FINE_TUNABLE.values()} | {
    name: name for name in ("babbage-002", "davinci-002")
}
