"""Files of the Hugging Face hub, by the package huggingface_hub."""

from __future__ import annotations

import fnmatch
import re

PART = re.compile(r"-(\d{5})-of-\d{5}\.gguf$")


def download(repo_id: str, pattern: str, revision: str | None) -> str:
    """The local path of a file, or of the first part of a split one; all parts are downloaded."""
    try:
        from huggingface_hub import HfApi, hf_hub_download
    except ImportError as error:
        raise ImportError("from_pretrained needs the package huggingface_hub: pip install lemmy-gguf[hub]") from error
    names = [pattern]
    if any(c in pattern for c in "*?["):
        files = HfApi().list_repo_files(repo_id, revision=revision)
        names = choose(pattern, files)
    paths = [hf_hub_download(repo_id, name, revision=revision) for name in names]
    return str(paths[0])


def choose(pattern: str, files: list[str]) -> list[str]:
    """The one file that fits, or all parts of it in order."""
    found = sorted(name for name in files if fnmatch.fnmatch(name, pattern))
    whole = {PART.sub("", name) for name in found}
    if len(whole) != 1:
        raise ValueError(f"{pattern!r} must fit one file, found {found or sorted(files)}")
    return found
