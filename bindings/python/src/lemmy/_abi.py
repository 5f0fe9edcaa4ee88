"""include/lemmy.h for ctypes: structs, functions, and where the library is found. Names are those of the header."""

from __future__ import annotations

import ctypes
import os
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char_p,
    c_double,
    c_float,
    c_int32,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from ctypes.util import find_library
from pathlib import Path
from typing import Any

ABI_MAJOR, ABI_MINOR = 0, 2

DEFAULT = 0xFFFFFFFF
DEFAULT_64 = 0xFFFFFFFFFFFFFFFF
NO_TOKEN = 0xFFFFFFFF

E_BUFFER = 2
E_UNSUPPORTED = 300

TOKENIZE_PARSE_CONTROL, TOKENIZE_ADD_BOS = 1, 2
DETOKENIZE_CONTROL = 1
TOKEN_END = 2
TOOLS_NAMED = 3
VALUES = {"needed": 1, "limit": 2, "used": 3, "requested": 4, "capacity": 5, "position": 6}

# Text and bytes go in and out by address and length: a char pointer of ctypes would end at the first NUL.
Bytes = c_void_p
Ids = POINTER(c_uint32)
Floats = POINTER(c_float)
Out = POINTER(c_void_p)
Size = POINTER(c_size_t)


class TopToken(Structure):
    _fields_ = [("token", c_uint32), ("reserved", c_uint32), ("logprob", c_double)]


class Event(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("kind", c_uint32),
        ("token", c_uint32),
        ("text", Bytes),
        ("text_len", c_size_t),
        ("logprob", c_double),
        ("done", c_uint64),
        ("total", c_uint64),
        ("tool_id", c_char_p),
        ("tool_name", c_char_p),
        ("tool_arguments", Bytes),
        ("tool_arguments_len", c_size_t),
        ("top", POINTER(TopToken)),
        ("top_count", c_size_t),
        ("zone", c_uint32),
        ("finish_reason", c_uint32),
    ]


ProgressFn = CFUNCTYPE(c_int32, c_void_p, c_uint32, c_uint64, c_uint64)
EventFn = CFUNCTYPE(c_int32, c_void_p, POINTER(Event))
LogitsFn = CFUNCTYPE(c_int32, c_void_p, c_uint64, Floats, c_size_t)


class PoolOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("threads", c_uint32),
        ("spin_us", c_uint32),
        ("cpus", Ids),
        ("cpu_count", c_size_t),
    ]


class ModelOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("mmproj_path", c_char_p),
        ("pool", c_void_p),
        ("cancel", c_void_p),
        ("chat_template", Bytes),
        ("chat_template_len", c_size_t),
        ("memory_limit", c_uint64),
        ("on_progress", ProgressFn),
        ("user_data", c_void_p),
        ("load_mode", c_uint32),
        ("reserved", c_uint32),
    ]


class Memory(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("weights", c_uint64),
        ("engine", c_uint64),
        ("kv_per_session", c_uint64),
        ("scratch", c_uint64),
        ("picture", c_uint64),
    ]


class ModelInfo(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("name", c_char_p),
        ("architecture", c_char_p),
        ("backend", c_char_p),
        ("types", c_char_p),
        ("template_warning", c_char_p),
        ("parameters", c_uint64),
        ("file_bytes", c_uint64),
        ("context", c_uint64),
        ("vocab", c_uint32),
        ("bos", c_uint32),
        ("has_vision", c_uint32),
        ("reserved", c_uint32),
    ]


class ChatOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("tools_json", Bytes),
        ("tools_len", c_size_t),
        ("thinking", c_uint32),
        ("preserve_thinking", c_uint32),
        ("add_generation_prompt", c_uint32),
        ("reserved", c_uint32),
        ("on_progress", ProgressFn),
        ("user_data", c_void_p),
    ]


class ImageOptions(Structure):
    _fields_ = [("struct_size", c_size_t), ("soft_tokens", c_uint32), ("reserved", c_uint32)]


class SessionOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("context", c_uint64),
        ("kv_type", c_uint32),
        ("batch", c_uint32),
        ("rewind_window", c_uint32),
        ("reserved", c_uint32),
        ("system", Bytes),
        ("system_len", c_size_t),
        ("tools_json", Bytes),
        ("tools_len", c_size_t),
        ("cancel", c_void_p),
    ]


class SyncReport(Structure):
    _fields_ = [("struct_size", c_size_t), ("reused", c_uint64), ("prefilled", c_uint64)]


class SessionInfo(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("position", c_uint64),
        ("capacity", c_uint64),
        ("memory", c_uint64),
        ("messages", c_uint64),
        ("is_generating", c_uint32),
        ("reserved", c_uint32),
    ]


class SamplerOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("temperature", c_float),
        ("top_p", c_float),
        ("min_p", c_float),
        ("repeat_penalty", c_float),
        ("frequency_penalty", c_float),
        ("presence_penalty", c_float),
        ("top_k", c_uint32),
        ("repeat_last", c_uint32),
        ("seed", c_uint64),
        ("order", c_uint32 * 8),
        ("order_count", c_uint32),
        ("reserved", c_uint32),
        ("bias_ids", Ids),
        ("bias_values", Floats),
        ("bias_count", c_size_t),
        ("suppress", Ids),
        ("suppress_count", c_size_t),
    ]


class Finish(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("reason", c_uint32),
        ("stop", c_uint32),
        ("seed", c_uint64),
        ("prompt", c_uint64),
        ("cached", c_uint64),
        ("generated", c_uint64),
        ("thinking", c_uint64),
        ("drafted", c_uint64),
        ("accepted", c_uint64),
        ("prefill_us", c_uint64),
        ("decode_us", c_uint64),
    ]


class GenerateOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("max_tokens", c_uint64),
        ("seed", c_uint64),
        ("sampler", POINTER(SamplerOptions)),
        ("stop", POINTER(c_char_p)),
        ("stop_count", c_size_t),
        ("thinking", c_uint32),
        ("thinking_budget", c_uint32),
        ("constraint_kind", c_uint32),
        ("tool_choice", c_uint32),
        ("constraint", Bytes),
        ("constraint_len", c_size_t),
        ("tool_name", c_char_p),
        ("logprobs", c_uint32),
        ("speculate", c_uint32),
        ("single_tool_call", c_uint32),
        ("penalize_reply_only", c_uint32),
        ("cancel", c_void_p),
        ("on_logits", LogitsFn),
        ("on_token", EventFn),
        ("user_data", c_void_p),
    ]


OPTIONS = {
    "pool": PoolOptions,
    "model": ModelOptions,
    "chat": ChatOptions,
    "image": ImageOptions,
    "session": SessionOptions,
    "sampler": SamplerOptions,
    "generate": GenerateOptions,
}

# Fallible functions and their arguments but the last, which takes an error; they return a status.
FALLIBLE: dict[str, list[Any]] = {
    "pool_new": [POINTER(PoolOptions), Out],
    "model_estimate_with": [c_char_p, POINTER(ModelOptions), c_uint64, c_uint32, POINTER(Memory)],
    "model_load": [c_char_p, POINTER(ModelOptions), Out],
    "model_info": [c_void_p, POINTER(ModelInfo)],
    "model_memory": [c_void_p, POINTER(SessionOptions), POINTER(Memory)],
    "model_render_chat": [c_void_p, Bytes, c_size_t, POINTER(ChatOptions), Out],
    "model_tokenize": [c_void_p, Bytes, c_size_t, c_uint32, Ids, c_size_t, Size],
    "model_detokenize": [c_void_p, Ids, c_size_t, c_uint32, Bytes, c_size_t, Size],
    "model_token_bytes": [c_void_p, c_uint32, Out, Size],
    "model_token_find": [c_void_p, Bytes, c_size_t, Ids],
    "model_token_flags": [c_void_p, c_uint32, Ids],
    "image_from_bytes": [Bytes, c_size_t, POINTER(ImageOptions), Out],
    "session_new": [c_void_p, POINTER(SessionOptions), Out],
    "session_add": [c_void_p, Bytes, c_size_t, Out, c_size_t],
    "session_sync": [c_void_p, Bytes, c_size_t, Out, c_size_t, POINTER(ChatOptions), POINTER(SyncReport)],
    "session_messages": [c_void_p, Out],
    "session_info": [c_void_p, POINTER(SessionInfo)],
    "session_tokens": [c_void_p, Ids, c_size_t, Size],
    "session_rewind": [c_void_p, c_uint64],
    "session_fork": [c_void_p, Out],
    "session_clear": [c_void_p],
    "session_send": [c_void_p, Bytes, c_size_t, Out, c_size_t, POINTER(GenerateOptions)],
    "session_generate": [c_void_p, POINTER(GenerateOptions)],
    "session_next": [c_void_p, POINTER(Event)],
    "session_stop": [c_void_p],
    "session_finish": [c_void_p, POINTER(Finish)],
    "session_forward": [c_void_p, Ids, c_size_t, POINTER(Floats), Size],
    "session_save_file": [c_void_p, c_char_p],
    "model_restore_file": [c_void_p, c_char_p, c_void_p, Out],
    "sampler_new": [POINTER(SamplerOptions), Out],
    "sampler_sample": [c_void_p, Floats, c_size_t, Ids],
    "sampler_accept": [c_void_p, c_uint32],
}

# The others: result, arguments.
PLAIN: dict[str, tuple[Any, list[Any]]] = {
    "abi_version": (c_uint32, []),
    "version": (c_char_p, []),
    "features": (c_char_p, []),
    "status_name": (c_char_p, [c_int32]),
    "error_message": (c_char_p, [c_void_p]),
    "error_value": (c_int32, [c_void_p, c_uint32, POINTER(c_uint64)]),
    "error_free": (None, [c_void_p]),
    "buffer_data": (Bytes, [c_void_p]),
    "buffer_size": (c_size_t, [c_void_p]),
    "buffer_free": (None, [c_void_p]),
    "cancel_new": (c_void_p, []),
    "cancel_trigger": (None, [c_void_p]),
    "cancel_reset": (None, [c_void_p]),
    "cancel_is_triggered": (c_int32, [c_void_p]),
    "cancel_release": (None, [c_void_p]),
    "pool_release": (None, [c_void_p]),
    "model_release": (None, [c_void_p]),
    "image_release": (None, [c_void_p]),
    "session_free": (None, [c_void_p]),
    "sampler_free": (None, [c_void_p]),
}


def find() -> str:
    """Where the library is: LEMMY_LIBRARY, else the one of this package, else an installed one."""
    if named := os.environ.get("LEMMY_LIBRARY"):
        return named
    for path in sorted((Path(__file__).parent / "_library").glob("*lemmy*")):
        return str(path)
    if installed := find_library("lemmy"):
        return installed
    raise OSError("the Lemmy library was not found: install it, or name it in LEMMY_LIBRARY")


def load(path: str) -> ctypes.CDLL:
    """Opens the library and declares its functions."""
    library = ctypes.CDLL(path)
    library.lemmy_abi_version.restype = c_uint32
    abi = library.lemmy_abi_version()
    if abi >> 16 != ABI_MAJOR or abi & 0xFFFF < ABI_MINOR:
        raise OSError(f"{path} has ABI {abi >> 16}.{abi & 0xFFFF}, expected {ABI_MAJOR}.{ABI_MINOR} or a later minor")
    for name, arguments in FALLIBLE.items():
        declare(library, name, c_int32, [*arguments, Out])
    for name, (result, arguments) in PLAIN.items():
        declare(library, name, result, arguments)
    for name, options in OPTIONS.items():
        declare(library, f"{name}_options_init", c_int32, [POINTER(options), c_size_t])
    return library


def declare(library: ctypes.CDLL, name: str, result: Any, arguments: list[Any]) -> None:
    function = getattr(library, f"lemmy_{name}")
    function.restype, function.argtypes = result, arguments
