"""Puts the C library into the wheel, if LEMMY_LIBRARY names one while the wheel is built.

    LEMMY_LIBRARY=target/dist/lib/liblemmy.so.0 pip wheel bindings/python

Without it the wheel is pure Python and looks for a library that is installed.
"""

import os
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class LibraryHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        library = os.environ.get("LEMMY_LIBRARY")
        if not library:
            return
        path = Path(library).resolve(strict=True)
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
        build_data["force_include"][str(path)] = f"lemmy/_library/{path.name}"
