"""What is held of the programs' sources beyond what the linters hold: names and sizes."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import pytest

pytestmark = pytest.mark.pure

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = {
    "coordinator": ("coordinator", "common"),
    "agent": ("agent", "common"),
    "client": ("client/python/src",),
}
FOLDERS = sorted({folder for folders in PROGRAMS.values() for folder in folders})
WIRES = {
    "coordinator/documents.py",
    "coordinator/caller_documents.py",
    "coordinator/health_documents.py",
    "common/messages.py",
}
"""The two vocabularies of the wires, REST and NATS: each may have a type of a name that the domain
has, too, and the other wire; they are converted where they meet."""
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
MEDIAN_FUNCTION = 8
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(folders: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Path and text of every module that is written by hand."""
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*.py")):
            if not re.search(r"_pb2(_grpc)?$", file.stem):
                yield file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")


def type_names(text: str) -> Iterator[str]:
    """Classes, aliases and type variables of a module that others can name."""
    for node in ast.parse(text).body:
        match node:
            case ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)]) if re.match("[A-Z].*[a-z]", name):
                yield name


def functions(text: str) -> Iterator[tuple[str, int]]:
    """Name and lines of every function."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, Function):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_two_types_of_a_program_share_a_name(program: str) -> None:
    """Whoever reads a name knows which type is meant; only a wire's may be that of the domain."""
    places = defaultdict(list)
    for file, text in sources(PROGRAMS[program]):
        for name in type_names(text):
            places[name].append(file)
    shared = {name: files for name, files in places.items() if len(set(files) - WIRES) > 1}
    shared |= {name: files for name, files in places.items() if len(files) > len(set(files))}
    assert shared == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_functions_and_files_stay_small(folder: str) -> None:
    """None longer than a screen or two, and most of a few lines."""
    texts = dict(sources([folder]))
    assert [file for file, text in texts.items() if text.count("\n") > LONGEST_FILE] == []
    sizes = [(file, *found) for file, text in texts.items() for found in functions(text)]
    assert [found for found in sizes if found[2] > LONGEST_FUNCTION] == []
    assert median(lines for _, _, lines in sizes) <= MEDIAN_FUNCTION
