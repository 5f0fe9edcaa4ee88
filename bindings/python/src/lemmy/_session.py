"""A conversation with a model, and its replies."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ctypes import POINTER, Array, byref, c_char_p, c_float, c_size_t, c_uint32, c_void_p, cast, memmove, pointer
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from . import _abi, _events
from ._calls import Carrier, Handle, Path, call, ids_of, make, name_in, options, path_in, text_in, text_of, to_fill
from ._events import Event, EventKind, Finish, ToolCall
from ._model import Cancel, Image, Progress

#: Sees the logits before a token is sampled, and may change them in place: position, logits, which are lent until it
#: returns. Returns False to stop.
OnLogits = Callable[[int, "Array[c_float]"], object]


class Constraint(IntEnum):
    """What an answer must look like: LEMMY_CONSTRAINT_*."""

    JSON_SCHEMA = 1
    REGEX = 2
    LARK = 3


TOOL_CHOICES = {"auto": 0, "none": 1, "required": 2}


@dataclass(frozen=True)
class Sampling:
    """How tokens are picked. None: as the model recommends. See LemmySamplerOptions."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    repeat_last: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    bias: Mapping[int, float] | None = None

    def raw(self, seed: int | None = None) -> _abi.SamplerOptions:
        """The struct of the library, which keeps its arrays alive."""
        raw = options("sampler", _abi.SamplerOptions)
        for name, value in vars(self).items():
            if value is not None and name != "bias":
                setattr(raw, name, value)
        if self.bias:
            raw.bias_ids = (c_uint32 * len(self.bias))(*self.bias)
            raw.bias_values = (c_float * len(self.bias))(*self.bias.values())
            raw.bias_count = len(self.bias)
        if seed is not None:
            raw.seed = seed
        return raw


class Sampler:
    """Picks tokens in a loop of one's own. Same sampling, seed and logits: same tokens, for ever."""

    def __init__(self, sampling: Sampling | None = None, seed: int | None = None):
        self.handle = make("sampler_free", "sampler_new", byref((sampling or Sampling()).raw(seed)))

    def sample(self, logits: array[float]) -> int:
        token = c_uint32()
        row = (c_float * len(logits)).from_buffer(logits)
        call("sampler_sample", self.handle.get(), row, len(logits), byref(token))
        return token.value

    def accept(self, token: int) -> None:
        """Tells the penalties what was said."""
        call("sampler_accept", self.handle.get(), token)


class Reply:
    """A reply in the making: an iterator over its events, the last of which is FINISHED.

    It begins with the call that makes it and goes on as it is iterated. A later call on the session ends it.
    """

    def __init__(self, session: Session, carrier: Carrier):
        self._session = session
        self._carrier = carrier
        self._is_over = False

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        while not self._is_over:
            self._check()
            raw = to_fill(_abi.Event)
            self._carrier.call("session_next", self._session.handle.get(), byref(raw))
            event = _events.event(raw)
            if event is not None:
                self._is_over = event.kind == EventKind.FINISHED
                return event
        raise StopIteration

    def text(self) -> str:
        """Runs to the end: the whole answer, without thoughts."""
        return "".join(event.text for event in self if event.kind == EventKind.TEXT)

    def tool_calls(self) -> list[ToolCall]:
        """Runs to the end: the calls that the model makes."""
        return [event.tool_call for event in self if event.tool_call is not None]

    def stop(self) -> None:
        """Ends it; what was said stays in the conversation."""
        if self._session.carrier is self._carrier:
            call("session_stop", self._session.handle.get())

    def finish(self) -> Finish:
        """How it ended."""
        self._check()
        raw = to_fill(_abi.Finish)
        call("session_finish", self._session.handle.get(), byref(raw))
        return _events.finish(raw)

    def _check(self) -> None:
        if self._session.carrier is not self._carrier:
            raise RuntimeError("the session has begun another reply")


class Session:
    """One conversation. Made by Model.session; one thread at a time."""

    def __init__(self, handle: Handle):
        self.handle = handle
        # Of the newest reply: its way back for exceptions, by which it knows itself, and the callbacks that the library
        # uses until it is over. The reply itself is not kept: in a circle with it the session would hold its memory
        # until the garbage collector comes.
        self.carrier: Carrier | None = None
        self._kept: _abi.GenerateOptions | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives its memory back now."""
        self.handle.close()

    def send(self, text: str, images: Sequence[Image] = (), **wishes: Any) -> Reply:
        """Says something, with pictures before it, and begins the reply. Keywords are those of generate."""
        pictures = pointers(images)
        return self._begin("session_send", [*text_in(text), pictures, len(images)], **wishes)

    def generate(self, **wishes: Any) -> Reply:
        """Begins the reply to messages that were added, synchronised or read.

        max_tokens, seed, stop (list of texts), thinking (True, or most tokens of thoughts), sampling (Sampling, or its
        fields by themselves, such as temperature), constraint ((Constraint, text), or a JSON schema as a dict),
        tool_choice ("auto", "none", "required" or a tool's name), single_tool_call, penalize_reply_only, logprobs,
        speculate, cancel, on_logits, on_token.
        """
        return self._begin("session_generate", [], **wishes)

    def add(self, messages: Sequence[Mapping[str, Any]], images: Sequence[Image] = ()) -> None:
        """Adds messages without a reply, for instance what tools answered."""
        call("session_add", self.handle.get(), *text_in(json.dumps(messages)), pointers(images), len(images))

    def sync(
        self,
        messages: Sequence[Mapping[str, Any]],
        images: Sequence[Image] = (),
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        thinking: bool = False,
        preserve_thinking: bool = False,
        on_progress: Progress | None = None,
    ) -> tuple[int, int]:
        """Makes these messages the whole conversation and reads what is new. Tokens that were there, that were read."""
        carrier = Carrier()
        wishes = options("chat", _abi.ChatOptions)
        wishes.thinking, wishes.preserve_thinking = int(thinking), int(preserve_thinking)
        if tools is not None:
            wishes.tools_json, wishes.tools_len = text_in(json.dumps(tools))
        if on_progress is not None:
            wishes.on_progress = carrier.wrap(_abi.ProgressFn, on_progress)
        report = to_fill(_abi.SyncReport)
        text = text_in(json.dumps(messages))
        pictures = pointers(images)
        carrier.call(
            "session_sync", self.handle.get(), *text, pictures, len(images), byref(wishes), byref(report)
        )
        return report.reused, report.prefilled

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far."""
        messages: list[dict[str, Any]] = json.loads(text_of("session_messages", self.handle.get()))
        return messages

    @property
    def tokens(self) -> list[int]:
        """The tokens that it has read."""
        return ids_of("session_tokens", self.handle.get())

    @property
    def position(self) -> int:
        """Their number."""
        raw = to_fill(_abi.SessionInfo)
        call("session_info", self.handle.get(), byref(raw))
        return int(raw.position)

    def rewind(self, position: int) -> None:
        """Forgets all tokens from a position on."""
        call("session_rewind", self.handle.get(), position)

    def clear(self) -> None:
        """Begins anew: no tokens, no messages but the instructions."""
        call("session_clear", self.handle.get())

    def fork(self) -> Session:
        """A second session with the same past."""
        return Session(make("session_free", "session_fork", self.handle.get()))

    def save(self, path: Path) -> None:
        """Saves it to a file; Model.restore brings it back."""
        call("session_save_file", self.handle.get(), path_in(path))

    def forward(self, ids: Iterable[int]) -> array[float]:
        """Reads tokens, at least one; logits of the last one in the order of ids."""
        ids = list(ids)
        row, count = POINTER(c_float)(), c_size_t()
        call("session_forward", self.handle.get(), (c_uint32 * len(ids))(*ids), len(ids), byref(row), byref(count))
        logits = array("f", bytes(4 * count.value))
        memmove((c_float * count.value).from_buffer(logits), row, 4 * count.value)
        return logits

    def _begin(
        self,
        name: str,
        arguments: list[Any],
        *,
        sampling: Sampling | None = None,
        seed: int | None = None,
        stop: Sequence[str] = (),
        thinking: bool | int = False,
        constraint: tuple[Constraint, str] | dict[str, Any] | None = None,
        tool_choice: str = "auto",
        cancel: Cancel | None = None,
        on_logits: OnLogits | None = None,
        on_token: Callable[[Event], object] | None = None,
        **more: Any,
    ) -> Reply:
        carrier = Carrier()
        wishes = options("generate", _abi.GenerateOptions)
        for field in ("max_tokens", "logprobs", "speculate", "single_tool_call", "penalize_reply_only"):
            if (value := more.pop(field, None)) is not None:
                setattr(wishes, field, int(value))
        if more:
            sampling = Sampling(**more)
        if sampling is not None:
            wishes.sampler = pointer(sampling.raw())
        if seed is not None:
            wishes.seed = seed
        wishes.stop = (c_char_p * len(stop))(*(name_in(text) for text in stop))
        wishes.stop_count = len(stop)
        wishes.thinking = int(thinking is not False)
        if thinking is not True and thinking is not False:
            wishes.thinking_budget = thinking
        if isinstance(constraint, dict):
            constraint = Constraint.JSON_SCHEMA, json.dumps(constraint)
        if constraint is not None:
            wishes.constraint_kind = constraint[0]
            wishes.constraint, wishes.constraint_len = text_in(constraint[1])
        wishes.tool_choice = TOOL_CHOICES.get(tool_choice, _abi.TOOLS_NAMED)
        if wishes.tool_choice == _abi.TOOLS_NAMED:
            wishes.tool_name = name_in(tool_choice)
        if cancel is not None:
            wishes.cancel = cancel.handle.get()
        if on_logits is not None:
            wishes.on_logits = carrier.wrap(_abi.LogitsFn, lambda at, row, count: on_logits(at, view(row, count)))
        if on_token is not None:
            wishes.on_token = carrier.wrap(_abi.EventFn, lambda raw: on_token(known(raw.contents)))
        call(name, self.handle.get(), *arguments, byref(wishes))
        self.carrier, self._kept = carrier, wishes
        return Reply(self, carrier)


def view(row: Any, count: int) -> Array[c_float]:
    """Logits that the library lends to a callback, to be read and changed in place."""
    logits: Array[c_float] = cast(row, POINTER(c_float * count)).contents
    return logits


def known(raw: _abi.Event) -> Event:
    """The event of a token."""
    event = _events.event(raw)
    assert event is not None, "on_token gets TOKEN events only"
    return event


def pointers(images: Sequence[Image]) -> Any:
    """The array of pictures that a call takes."""
    return (c_void_p * len(images))(*(image.handle.get() for image in images))
