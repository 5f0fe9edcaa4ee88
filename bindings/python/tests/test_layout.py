"""The structs of ctypes are those of the header: a C compiler compares sizes and offsets."""

import ctypes
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from lemmy import _abi

HEADER = Path(os.environ["LEMMY_TEST_INCLUDE"])


def structs() -> list[type[ctypes.Structure]]:
    found = [value for value in vars(_abi).values() if isinstance(value, type) and issubclass(value, ctypes.Structure)]
    return [struct for struct in found if struct is not ctypes.Structure]


def assertions(struct: type[ctypes.Structure]) -> list[str]:
    name = f"Lemmy{struct.__name__}"
    lines = [f'_Static_assert(sizeof({name}) == {ctypes.sizeof(struct)}, "{name}");']
    for field, kind in struct._fields_:
        offset, size = getattr(struct, field).offset, ctypes.sizeof(kind)
        lines.append(f'_Static_assert(offsetof({name}, {field}) == {offset}, "{name}.{field}");')
        lines.append(f'_Static_assert(sizeof((({name} *)0)->{field}) == {size}, "{name}.{field}");')
    return lines


def compile_c(lines: list[str]) -> subprocess.CompletedProcess[str]:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    assert compiler is not None, "this test needs a C compiler"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "layout.c")
        source.write_text("\n".join(["#include <lemmy.h>", *lines, ""]))
        command = [compiler, "-std=c11", "-fsyntax-only", "-I", str(HEADER), str(source)]
        return subprocess.run(command, capture_output=True, text=True)


class Layout(unittest.TestCase):
    def test_structs_are_those_of_the_header(self) -> None:
        self.assertGreater(len(structs()), 12)
        ran = compile_c([line for struct in structs() for line in assertions(struct)])
        self.assertEqual(ran.returncode, 0, ran.stderr)

    def test_a_difference_would_be_noticed(self) -> None:
        ran = compile_c([assertions(_abi.Event)[0].replace("==", "!=")])
        self.assertNotEqual(ran.returncode, 0)

    def test_numbers_are_those_of_the_header(self) -> None:
        names = ["ABI_MAJOR", "ABI_MINOR", "DEFAULT", "DEFAULT_64", "NO_TOKEN", "E_BUFFER", "TOKENIZE_PARSE_CONTROL"]
        names += ["TOKENIZE_ADD_BOS", "DETOKENIZE_CONTROL", "TOKEN_END", "TOOLS_NAMED"]
        ran = compile_c([f'_Static_assert(LEMMY_{n} == {getattr(_abi, n)}u, "{n}");' for n in names])
        self.assertEqual(ran.returncode, 0, ran.stderr)


if __name__ == "__main__":
    unittest.main()
