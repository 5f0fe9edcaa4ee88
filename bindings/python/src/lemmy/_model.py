"""A loaded model, and what goes into it."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterable, Sequence
from ctypes import byref, c_size_t, c_uint32, c_void_p
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _abi, _hub
from ._calls import (
    Carrier,
    Error,
    Handle,
    Path,
    call,
    ids_of,
    library,
    make,
    options,
    path_in,
    text_in,
    text_of,
    to_fill,
)

if TYPE_CHECKING:
    from ._session import Session

#: How far loading or reading is: stage (LEMMY_STAGE_*), done, total. Returns False to stop.
Progress = Callable[[int, int, int], object]

KV_TYPES = {"f16": 0, "f32": 1, "q8_0": 2}


class Cancel:
    """Stops running work from any thread. Once triggered it stops later work too, until it is reset."""

    def __init__(self) -> None:
        self.handle = Handle("cancel_release", c_void_p(library.lemmy_cancel_new()))

    def trigger(self) -> None:
        library.lemmy_cancel_trigger(self.handle.get())

    def reset(self) -> None:
        library.lemmy_cancel_reset(self.handle.get())

    @property
    def is_triggered(self) -> bool:
        return bool(library.lemmy_cancel_is_triggered(self.handle.get()))


class Image:
    """A picture: the bytes of a PNG, JPEG, WebP, GIF or BMP file.

    soft_tokens: most tokens that it may take, 70, 140, 280 (as without it), 560 or 1120.
    """

    def __init__(self, data: bytes, soft_tokens: int | None = None):
        wishes = options("image", _abi.ImageOptions)
        if soft_tokens is not None:
            wishes.soft_tokens = soft_tokens
        address = ctypes.cast(ctypes.c_char_p(data), c_void_p)
        self.handle = make("image_release", "image_from_bytes", address, len(data), byref(wishes))

    @classmethod
    def open(cls, path: Path, soft_tokens: int | None = None) -> Image:
        with open(path, "rb") as file:
            return cls(file.read(), soft_tokens)


@dataclass(frozen=True)
class Memory:
    """Bytes that a model and one session take; see LemmyMemory."""

    weights: int
    engine: int
    kv_per_session: int
    scratch: int
    picture: int

    @property
    def total(self) -> int:
        return self.weights + self.engine + self.kv_per_session + self.scratch + self.picture

    @classmethod
    def of(cls, raw: _abi.Memory) -> Memory:
        return cls(raw.weights, raw.engine, raw.kv_per_session, raw.scratch, raw.picture)


@dataclass(frozen=True)
class ModelInfo:
    """Facts about a model; see LemmyModelInfo."""

    name: str
    architecture: str
    backend: str
    types: str
    template_warning: str | None
    parameters: int
    file_bytes: int
    context: int
    vocab: int
    bos: int | None
    has_vision: bool


class Model:
    """A loaded model: any number of sessions on any thread.

    >>> model = Model("gemma-4-26B-A4B-it-Q4_K_M.gguf")
    >>> model.session(system="Be brief.").send("Why is the sky blue?").text()
    """

    def __init__(
        self,
        path: Path,
        *,
        mmproj: Path | None = None,
        threads: int | None = None,
        chat_template: str | None = None,
        memory_limit: int | None = None,
        read_whole: bool = False,
        cancel: Cancel | None = None,
        on_progress: Progress | None = None,
    ):
        """Loads a file (of a split one: its first part).

        mmproj: the file with the model's vision tower, so that it can see. threads: the calling one included; all CPUs
        unless told. memory_limit: refuses model and sessions that would need more bytes. read_whole: for network
        drives, instead of mapping the file. on_progress returns False to stop.
        """
        carrier = Carrier()
        wishes = options("model", _abi.ModelOptions)
        if mmproj is not None:
            wishes.mmproj_path = path_in(mmproj)
        if threads is not None:
            pool_options = options("pool", _abi.PoolOptions)
            pool_options.threads = threads
            pool = make("pool_release", "pool_new", byref(pool_options))
            wishes.pool = pool.get()
        if chat_template is not None:
            wishes.chat_template, wishes.chat_template_len = text_in(chat_template)
        if memory_limit is not None:
            wishes.memory_limit = memory_limit
        if cancel is not None:
            wishes.cancel = cancel.handle.get()
        if on_progress is not None:
            wishes.on_progress = carrier.wrap(_abi.ProgressFn, on_progress)
        wishes.load_mode = int(read_whole)
        pointer = c_void_p()
        carrier.call("model_load", path_in(path), byref(wishes), byref(pointer))
        self.handle = Handle("model_release", pointer)

    @classmethod
    def from_pretrained(
        cls, repo_id: str, filename: str, *, mmproj: str | None = None, revision: str | None = None, **keywords: Any
    ) -> Model:
        """Loads a model from the Hugging Face hub; downloads what is not there yet. Needs the package huggingface_hub.

        filename may be a pattern such as "*Q4_K_M*.gguf"; it must fit one file, or the parts of one. mmproj likewise.
        Other keywords are those of Model.
        """
        if mmproj is not None:
            keywords["mmproj"] = _hub.download(repo_id, mmproj, revision)
        return cls(_hub.download(repo_id, filename, revision), **keywords)

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the model back now; its sessions keep what they need."""
        self.handle.close()

    @staticmethod
    def estimate(path: Path, context: int, *, mmproj: Path | None = None, kv_type: str = "f16") -> Memory:
        """Memory that a file will take with a session of so many tokens; reads its headers only."""
        wishes = options("model", _abi.ModelOptions)
        if mmproj is not None:
            wishes.mmproj_path = path_in(mmproj)
        memory = to_fill(_abi.Memory)
        call("model_estimate_with", path_in(path), byref(wishes), context, KV_TYPES[kv_type], byref(memory))
        return Memory.of(memory)

    @property
    def info(self) -> ModelInfo:
        raw = to_fill(_abi.ModelInfo)
        call("model_info", self.handle.get(), byref(raw))
        return ModelInfo(
            name=raw.name.decode(),
            architecture=raw.architecture.decode(),
            backend=raw.backend.decode(),
            types=raw.types.decode(),
            template_warning=raw.template_warning.decode() if raw.template_warning else None,
            parameters=raw.parameters,
            file_bytes=raw.file_bytes,
            context=raw.context,
            vocab=raw.vocab,
            bos=None if raw.bos == _abi.NO_TOKEN else raw.bos,
            has_vision=bool(raw.has_vision),
        )

    def session(
        self,
        *,
        system: str | None = None,
        tools: Sequence[dict[str, Any]] | None = None,
        context: int | None = None,
        kv_type: str = "f16",
        batch: int | None = None,
        rewind_window: int | None = None,
        cancel: Cancel | None = None,
    ) -> Session:
        """A conversation.

        system: instructions. tools: as OpenAI's interface has them. context: tokens that it can hold. kv_type: numbers
        of the cache, "f16", "f32" or "q8_0".
        """
        from ._session import Session

        wishes = options("session", _abi.SessionOptions)
        wishes.kv_type = KV_TYPES[kv_type]
        for name, value in (("context", context), ("batch", batch), ("rewind_window", rewind_window)):
            if value is not None:
                setattr(wishes, name, value)
        if system is not None:
            wishes.system, wishes.system_len = text_in(system)
        if tools is not None:
            wishes.tools_json, wishes.tools_len = text_in(json.dumps(tools))
        if cancel is not None:
            wishes.cancel = cancel.handle.get()
        return Session(make("session_free", "session_new", self.handle.get(), byref(wishes)))

    def restore(self, path: Path, cancel: Cancel | None = None) -> Session:
        """A session that Session.save has saved."""
        from ._session import Session

        token = cancel.handle.get() if cancel is not None else None
        return Session(make("session_free", "model_restore_file", self.handle.get(), path_in(path), token))

    def render_chat(
        self,
        messages: Sequence[dict[str, Any]],
        *,
        tools: Sequence[dict[str, Any]] | None = None,
        thinking: bool = False,
        add_generation_prompt: bool = True,
    ) -> str:
        """The prompt that messages become, to look at."""
        wishes = options("chat", _abi.ChatOptions)
        wishes.thinking = int(thinking)
        wishes.add_generation_prompt = int(add_generation_prompt)
        if tools is not None:
            wishes.tools_json, wishes.tools_len = text_in(json.dumps(tools))
        return text_of("model_render_chat", self.handle.get(), *text_in(json.dumps(messages)), byref(wishes))

    def tokenize(self, text: str, *, parse_control: bool = False, add_bos: bool = False) -> list[int]:
        """Tokens of a text. parse_control: "<|turn>" and its like become control tokens; never for what users typed."""
        flags = parse_control * _abi.TOKENIZE_PARSE_CONTROL | add_bos * _abi.TOKENIZE_ADD_BOS
        return ids_of("model_tokenize", self.handle.get(), *text_in(text), flags)

    def detokenize(self, ids: Iterable[int], *, control: bool = False) -> str:
        """Text of tokens. control: spell control tokens, which else give nothing."""
        ids = list(ids)
        array = (c_uint32 * len(ids))(*ids)
        size = c_size_t()
        arguments = [self.handle.get(), array, len(ids), control * _abi.DETOKENIZE_CONTROL]
        try:
            call("model_detokenize", *arguments, None, 0, byref(size))
        except Error as error:
            if error.code != _abi.E_BUFFER:
                raise
        text = ctypes.create_string_buffer(size.value + 1)
        call("model_detokenize", *arguments, text, len(text), byref(size))
        return text.raw[: size.value].decode()

    def token_bytes(self, token: int) -> bytes:
        """Bytes of one token as it would be printed: not always whole characters."""
        data, size = c_void_p(), c_size_t()
        call("model_token_bytes", self.handle.get(), token, byref(data), byref(size))
        return ctypes.string_at(data, size.value) if data else b""

    def token_find(self, text: str) -> int | None:
        """The token with exactly this spelling, control tokens included."""
        token = c_uint32()
        call("model_token_find", self.handle.get(), *text_in(text), byref(token))
        return None if token.value == _abi.NO_TOKEN else token.value

    def is_end(self, token: int) -> bool:
        """Whether the token ends a reply."""
        flags = c_uint32()
        call("model_token_flags", self.handle.get(), token, byref(flags))
        return bool(flags.value & _abi.TOKEN_END)
