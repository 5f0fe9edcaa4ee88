"""How calls are made: errors become exceptions, exceptions of callbacks come through, objects free themselves."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from ctypes import byref, c_size_t, c_uint64, c_void_p
from typing import Any, TypeVar

from . import _abi

library = _abi.load(_abi.find())

Struct = TypeVar("Struct", bound=ctypes.Structure)

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]


class Error(Exception):
    """A call that failed. Its text says which file, key or argument, what was found and what was expected."""

    def __init__(self, code: int, message: str, values: dict[str, int] | None = None):
        super().__init__(message)
        #: The status, LEMMY_E_*.
        self.code = code
        #: Its name, for instance "ContextFull".
        self.name: str = library.lemmy_status_name(code).decode()
        #: Numbers of the failure: "needed", "limit", "used", "requested", "capacity", "position".
        self.values = values or {}


def take_error(code: int, pointer: c_void_p) -> Error:
    """An exception from an error object, which is freed."""
    values = {}
    number = c_uint64()
    for name, which in _abi.VALUES.items():
        if library.lemmy_error_value(pointer, which, byref(number)):
            values[name] = number.value
    message = library.lemmy_error_message(pointer).decode()
    library.lemmy_error_free(pointer)
    return Error(code, message, values)


def call(name: str, *arguments: Any) -> None:
    """Calls a fallible function."""
    error = c_void_p()
    status = getattr(library, f"lemmy_{name}")(*arguments, byref(error))
    if status:
        raise take_error(status, error)


class Carrier:
    """Brings an exception of a callback through C: caught there, work stopped, raised after the call.

    After an exception no callback runs until it is raised.
    """

    def __init__(self) -> None:
        self.raised: BaseException | None = None

    def wrap(self, kind: Any, callback: Callable[..., object]) -> Any:
        """A C function of this kind. The callback gets the arguments after user_data; only False stops the work."""

        def enter(_user_data: object, *arguments: Any) -> int:
            if self.raised is not None:
                return 1
            try:
                return int(callback(*arguments) is False)
            except BaseException as raised:  # whatever it is, it goes on in the caller
                self.raised = raised
                return 1

        return kind(enter)

    def call(self, name: str, *arguments: Any) -> None:
        """Calls a fallible function whose callbacks are wrapped here."""
        try:
            call(name, *arguments)
        finally:
            raised, self.raised = self.raised, None
            if raised is not None:
                raise raised


class Handle:
    """An object of the library; given back when nobody has it any more."""

    def __init__(self, free: str, pointer: c_void_p):
        self.pointer: c_void_p | None = pointer
        self._free = getattr(library, f"lemmy_{free}")

    def get(self) -> c_void_p:
        if self.pointer is None:
            raise ValueError("this object was closed")
        return self.pointer

    def close(self) -> None:
        pointer, self.pointer = self.pointer, None
        if pointer:
            self._free(pointer)

    def __del__(self) -> None:
        self.close()


def make(free: str, name: str, *arguments: Any) -> Handle:
    """Calls a function whose last argument but the error is an out-pointer."""
    pointer = c_void_p()
    call(name, *arguments, byref(pointer))
    return Handle(free, pointer)


def options(name: str, kind: type[Struct]) -> Struct:
    """Options with their defaults."""
    made = kind()
    getattr(library, f"lemmy_{name}_options_init")(byref(made), ctypes.sizeof(made))
    return made


def to_fill(kind: type[Struct]) -> Struct:
    """A struct that a call fills."""
    return kind(struct_size=ctypes.sizeof(kind))


def take_text(buffer: c_void_p) -> str:
    """The text of a buffer, which is freed."""
    text = ctypes.string_at(library.lemmy_buffer_data(buffer), library.lemmy_buffer_size(buffer)).decode()
    library.lemmy_buffer_free(buffer)
    return text


def text_of(name: str, *arguments: Any) -> str:
    """Calls a function that makes a buffer."""
    buffer = c_void_p()
    call(name, *arguments, byref(buffer))
    return take_text(buffer)


def ids_of(name: str, *arguments: Any) -> list[int]:
    """Calls a function that fills an array of tokens; a first call asks for their number."""
    count = c_size_t()
    try:
        call(name, *arguments, None, 0, byref(count))
    except Error as error:
        if error.code != _abi.E_BUFFER:
            raise
    array = (ctypes.c_uint32 * count.value)()
    call(name, *arguments, array, count.value, byref(count))
    return list(array[: count.value])


def text_in(text: str) -> tuple[Any, int]:
    """A text as the library takes it: UTF-8, length. ctypes keeps the bytes alive as long as the first."""
    data = text.encode()
    return ctypes.cast(ctypes.c_char_p(data), c_void_p), len(data)


def text_out(address: int | None, size: int) -> str:
    """A text that the library lends."""
    return ctypes.string_at(address, size).decode() if address else ""


def name_in(text: str) -> bytes:
    """A text as the library takes it where a NUL ends it."""
    if "\0" in text:
        raise ValueError(f"{text!r} has a NUL in it, which would end it")
    return text.encode()


def path_in(path: Path) -> bytes:
    """A path as the library takes it."""
    return name_in(os.fsdecode(path))
