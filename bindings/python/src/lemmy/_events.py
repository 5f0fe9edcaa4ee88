"""What a reply consists of."""

from __future__ import annotations

import ctypes
import json
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from . import _abi
from ._calls import text_out


class EventKind(IntEnum):
    """LEMMY_EVENT_*."""

    PREFILL = 1
    THINKING = 2
    TEXT = 3
    TOOL_CALL = 4
    TOKEN = 5
    WARNING = 6
    FINISHED = 7


class FinishReason(IntEnum):
    """LEMMY_FINISH_*; UNKNOWN is one of a newer library."""

    UNKNOWN = 0
    STOP = 1
    LENGTH = 2
    TOOL_CALLS = 3
    CANCELLED = 4
    CONTEXT_FULL = 5

    @classmethod
    def _missing_(cls, value: object) -> FinishReason:
        return cls.UNKNOWN


@dataclass(frozen=True)
class ToolCall:
    """A call that the model makes."""

    id: str
    name: str
    #: The text of a JSON object.
    arguments_json: str

    @property
    def arguments(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.arguments_json)
        return value


@dataclass(frozen=True)
class Event:
    """One step of a reply; `kind` says which of the others are set."""

    kind: EventKind
    #: More of the answer (TEXT) or of the thoughts (THINKING); a WARNING.
    text: str = ""
    #: TOOL_CALL: the call.
    tool_call: ToolCall | None = None
    #: PREFILL: tokens of the prompt that are read, and all that must be.
    done: int = 0
    total: int = 0
    #: TOKEN: the token, its bytes, the logarithm of its probability, the most probable ones with theirs.
    token: int = 0
    bytes: bytes = b""
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()
    #: FINISHED: why.
    finish_reason: FinishReason | None = None


@dataclass(frozen=True)
class Finish:
    """How a reply ended, and what it took: see LemmyFinish. Times are in microseconds."""

    reason: FinishReason
    seed: int
    prompt: int
    cached: int
    generated: int
    thinking: int
    drafted: int
    accepted: int
    prefill_us: int
    decode_us: int
    #: Which of the stop strings came.
    stop: int | None = None


def event(raw: _abi.Event) -> Event | None:
    """An event of the library; None for a kind that this package does not know."""
    kind = raw.kind
    if kind == EventKind.PREFILL:
        return Event(EventKind.PREFILL, done=raw.done, total=raw.total)
    if kind in (EventKind.THINKING, EventKind.TEXT, EventKind.WARNING):
        return Event(EventKind(kind), text=text_out(raw.text, raw.text_len))
    if kind == EventKind.TOOL_CALL:
        arguments = text_out(raw.tool_arguments, raw.tool_arguments_len)
        return Event(EventKind.TOOL_CALL, tool_call=ToolCall(raw.tool_id.decode(), raw.tool_name.decode(), arguments))
    if kind == EventKind.TOKEN:
        data = ctypes.string_at(raw.text, raw.text_len) if raw.text else b""
        top = tuple((raw.top[i].token, raw.top[i].logprob) for i in range(raw.top_count))
        return Event(EventKind.TOKEN, token=raw.token, bytes=data, logprob=raw.logprob, top=top)
    if kind == EventKind.FINISHED:
        return Event(EventKind.FINISHED, finish_reason=FinishReason(raw.finish_reason))
    return None


def finish(raw: _abi.Finish) -> Finish:
    """A finish of the library."""
    names = ["seed", "prompt", "cached", "generated", "thinking", "drafted", "accepted", "prefill_us", "decode_us"]
    stop = None if raw.stop == _abi.DEFAULT else raw.stop
    return Finish(FinishReason(raw.reason), stop=stop, **{name: getattr(raw, name) for name in names})
