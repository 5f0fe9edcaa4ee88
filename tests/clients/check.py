"""Cases that go on after a failure, and checks that say what was expected and what was found."""

import json
import os
import sys
import time
import traceback
import urllib.request

URL = os.environ["LEMMY_URL"]
"""A server with four slots and no key."""
LOCKED_URL = os.environ["LEMMY_LOCKED_URL"]
"""A server that wants LOCKED_KEY."""
LOCKED_KEY = os.environ["LEMMY_LOCKED_KEY"]
NARROW_URL = os.environ["LEMMY_NARROW_URL"]
"""A server with one slot and one place to wait."""
SEES = os.environ["LEMMY_SEES"] == "1"
"""Whether the model has a vision tower."""

CASES = []


class Failed(AssertionError):
    """A check that did not hold."""


def case(function):
    """Makes a function one of the cases of its file."""
    CASES.append(function)
    return function


def equal(what, found, expected):
    if found != expected:
        raise Failed(f"{what}: expected {expected!r}, found {found!r}")


def holds(what, condition, found):
    if not condition:
        raise Failed(f"{what}: found {found!r}")


def refused(what, kind, call):
    """The error of this very class that a call ends with."""
    try:
        found = call()
    except kind as error:
        return error
    except Exception as error:
        raise Failed(f"{what}: expected {kind.__name__}, found {type(error).__name__}: {error}") from error
    raise Failed(f"{what}: expected {kind.__name__}, found the answer {found!r}")


def health(url):
    with urllib.request.urlopen(f"{url}/health", timeout=30) as answer:
        return json.load(answer)


def becomes(url, name, value, seconds=60):
    """Waits until a number of /health is this."""
    end = time.monotonic() + seconds
    while (found := health(url)[name]) != value:
        if time.monotonic() > end:
            raise Failed(f"{name} of {url}: expected {value} within {seconds} s, found {found}")
        time.sleep(0.02)


def endless():
    """A bias against every token that ends a reply, so that it goes on until somebody leaves."""
    bias = {}
    for text in ("<eos>", "<turn|>", "<|tool_response>"):
        body = json.dumps({"content": text, "add_special": False, "parse_special": True}).encode()
        request = urllib.request.Request(f"{URL}/tokenize", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            tokens = json.load(answer)["tokens"]
        equal(f"tokens of {text}", len(tokens), 1)
        bias[str(tokens[0])] = -100
    return bias


def main():
    """Runs the cases of a file; the exit code says whether all passed."""
    failed = 0
    for function in CASES:
        name = function.__name__.replace("_", " ")
        try:
            function()
        except Failed as error:
            failed += 1
            print(f"FAILED {name}\n    {error}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc(limit=-3)}", flush=True)
        else:
            print(f"ok     {name}", flush=True)
    print(f"{len(CASES) - failed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)
