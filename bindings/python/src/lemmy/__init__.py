"""Run Lemmy / Gemma 4 26B-A4B from its GGUF files.

>>> import lemmy
>>> model = lemmy.Model("gemma-4-26B-A4B-it-Q4_K_M.gguf")
>>> session = model.session(system="Be brief.")
>>> for event in session.send("Why is the sky blue?"):
...     if event.kind == lemmy.EventKind.TEXT:
...         print(event.text, end="", flush=True)
>>> answer = session.send("And at dusk?").text()

What each function does and how it fails is in lemmy.h, the header of the C library beneath.
"""

from ._calls import Error, library
from ._events import Event, EventKind, Finish, FinishReason, ToolCall
from ._model import Cancel, Image, Memory, Model, ModelInfo
from ._session import Constraint, Reply, Sampler, Sampling, Session

#: Version of the library, and what was built in.
library_version: str = library.lemmy_version().decode()
features: list[str] = library.lemmy_features().decode().split(",")

__all__ = [
    "Cancel",
    "Constraint",
    "Error",
    "Event",
    "EventKind",
    "Finish",
    "FinishReason",
    "Image",
    "Memory",
    "Model",
    "ModelInfo",
    "Reply",
    "Sampler",
    "Sampling",
    "Session",
    "ToolCall",
    "features",
    "library_version",
]
