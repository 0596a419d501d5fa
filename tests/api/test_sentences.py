from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.pure

COORDINATOR = Path(__file__).parents[2] / "coordinator"

SAYS = {"Text", "StoreAway", "Refusal", "InvalidSelector", "unavailable", "_conflict", "Template"}
"""What takes a sentence, wherever among its arguments."""
SAYS_SECOND = {"fault", "_fault"}
FIELDS = {"message", "detail", "problem", "text", "waiting_for"}


def written_here(node: ast.expr) -> bool:
    """Whether an expression makes a text on the spot."""
    match node:
        case ast.Constant(value=str(text)):
            return text != ""
        case ast.JoinedStr() | ast.BinOp():
            return True
        case ast.BoolOp(values=parts):
            return any(map(written_here, parts))
        case ast.IfExp(body=body, orelse=orelse):
            return written_here(body) or written_here(orelse)
        case ast.Call(func=ast.Attribute(value=value, attr="format" | "join")):
            return written_here(value)
    return False


def name_of(call: ast.Call) -> str:
    """What is called."""
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def sentences(source: str) -> Iterator[int]:
    """Lines of a module that say a sentence which is not of common/texts.py."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or (name := name_of(node)).isupper():
            continue  # a template, which takes parameters
        places = [word.value for word in node.keywords if word.arg in FIELDS]
        places += node.args if name in SAYS else node.args[1:] if name in SAYS_SECOND else []
        if any(map(written_here, places)):
            yield node.lineno


def modules() -> Iterator[Path]:
    """What answers, and what it is made from."""
    yield from COORDINATOR.glob("*.py")
    for room in ("api", "nodes", "views"):
        yield from (COORDINATOR / room).rglob("*.py")


def test_no_sentence_is_made_elsewhere() -> None:
    """Whatever is said to people comes from the one module that words it."""
    found = {path.name: lines for path in modules() if (lines := list(sentences(path.read_text())))}
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        'raise StoreAway("Away.")',
        'raise StoreAway(Text(f"{a} is away."))',
        'raise Refusal(HTTPStatus.NOT_FOUND, "There is none.")',
        'yield fault(at, "is wrong")',
        'self._fault("name", f"is {wrong}")',
        'Fault(field="", message=f"{a} is wrong")',
        'Problem(title=t, status=404, detail="No " + what)',
        'Node(labels, problem="Node is {}.".format(state))',
        'Snapshot(head, waiting_for=why or "Waits.")',
    ],
)
def test_the_search_finds_what_it_is_for(line: str) -> None:
    """A text written on the spot is found; one that comes from a template is not."""
    assert list(sentences(line)) == [1]
    assert not list(sentences('yield fault("/images", texts.VALUE_NOT_LIST(got="an object"))'))
    assert not list(sentences('Refusal(404, texts.IMAGE_TAG(text="x"))'))
