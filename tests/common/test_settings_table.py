from __future__ import annotations

from pathlib import Path

from agent.settings import AgentSettings
from common.settings import Computed, ProgramSettings, Setting
from coordinator.settings import CoordinatorSettings

PAGE = Path(__file__).parents[2] / "docs/settings.md"
BEGIN, END = "<!-- settings -->", "<!-- /settings -->"


def cell(text: str) -> str:
    """Text that stays in its cell."""
    return text.replace("|", "\\|")


def default(setting: Setting[object]) -> str:
    """A default in words."""
    match setting.default:
        case Computed(words=words):
            return words
        case None:
            return "" if setting.optional else "**must be set**"
        case text:
            return f"`{text}`" if text else ""


def rows() -> list[str]:
    """The rows of the table: what both programs know first, then each one's own."""
    common = ProgramSettings.declarations().keys()
    programs: dict[str, type[ProgramSettings]] = {
        "coordinator": CoordinatorSettings,
        "agent": AgentSettings,
    }
    declared: list[tuple[str, Setting[object]]] = [
        ("both", setting) for setting in ProgramSettings.declarations().values()
    ]
    for name, program in programs.items():
        own = program.declarations().items()
        declared += [(name, setting) for field, setting in own if field not in common]
    return [
        f"| `{setting.name}` | {program} | {cell(setting.doc)} | {cell(default(setting))} "
        f"| {cell(setting.kind.accepts)} |"
        for program, setting in declared
    ]


def table() -> str:
    """The table of settings."""
    head = ["| variable | program | what it is | default | accepted |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows()])


def test_page() -> None:
    """The table is made of the declarations; the failure shows what to put there."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    written, _, _ = rest.partition(END)
    assert written.strip() == table(), f"between {BEGIN} and {END} goes:\n{table()}"


def test_words() -> None:
    """Every setting says what it is, in one line that fits a table."""
    for program in (CoordinatorSettings, AgentSettings):
        for setting in program.declarations().values():
            assert setting.doc
            assert "\n" not in setting.doc + setting.kind.accepts
            assert not setting.doc.endswith(".")
