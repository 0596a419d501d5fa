"""``ips completion``: scripts for shells, made from the options as they are.

Ids of tasks come from the service itself, by ``ips ls -o name``, while one types.
"""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Iterator

from ips_client.command import codes
from ips_client.command.output import write

_TAKES_IDS = ("wait", "show", "cancel", "retry", "events")
_IDS = "ips ls --patience 0 -o name 2>/dev/null"

_BASH = """\
_ips() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command=
    local each
    for each in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $each in
            {commands}) command=$each; break ;;
        esac
    done
    case $before in
{values}
        -f|--file) COMPREPLY=($(compgen -f -- "$word")); return ;;
    esac
    case $command in
{options}
        *) COMPREPLY=($(compgen -W "{words} --server --version --help" -- "$word")) ;;
    esac
}}
complete -o default -F _ips ips
"""
_BASH_VALUES = '        {names}) COMPREPLY=($(compgen -W "{values}" -- "$word")); return ;;'
_BASH_OPTIONS = '        {command}) COMPREPLY=($(compgen -W "{words}" -- "$word")) ;;'

_ZSH = """\
#compdef ips
autoload -U +X bashcompinit && bashcompinit
{bash}"""

_FISH_COMMAND = "complete -c ips -f -n __fish_use_subcommand -a {command} -d '{about}'"
_FISH_OPTION = "complete -c ips -f -n '__fish_seen_subcommand_from {command}'{flags}{values}"
_FISH_IDS = f"complete -c ips -f -n '__fish_seen_subcommand_from {{command}}' -a '({_IDS})'"


def completion(arguments: Namespace) -> int:
    """Print the script for a shell."""
    parsers: dict[str, argparse.ArgumentParser] = arguments.commands.choices
    make = {"bash": _bash, "zsh": _zsh, "fish": _fish}[arguments.shell]
    write(make(parsers).rstrip("\n"))
    return codes.COMPLETED


def _bash(parsers: dict[str, argparse.ArgumentParser]) -> str:
    choices = {
        "|".join(action.option_strings): " ".join(map(str, action.choices))
        for parser in parsers.values()
        for action in _options(parser)
        if action.choices
    }
    return _BASH.format(
        commands="|".join(parsers),
        words=" ".join(parsers),
        values="\n".join(
            _BASH_VALUES.format(names=names, values=values) for names, values in choices.items()
        ),
        options="\n".join(
            _BASH_OPTIONS.format(command=name, words=" ".join(_words(name, parser)))
            for name, parser in parsers.items()
        ),
    )


def _zsh(parsers: dict[str, argparse.ArgumentParser]) -> str:
    return _ZSH.format(bash=_bash(parsers))


def _fish(parsers: dict[str, argparse.ArgumentParser]) -> str:
    return "\n".join(line for name, parser in parsers.items() for line in _fish_of(name, parser))


def _fish_of(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    about = (parser.description or "").partition(".")[0].replace("\n", " ").replace("'", "")
    yield _FISH_COMMAND.format(command=name, about=about)
    if name in _TAKES_IDS:
        yield _FISH_IDS.format(command=name)
    for action in _options(parser):
        flags = "".join(map(_fish_flag, action.option_strings))
        values = f" -x -a '{' '.join(map(str, action.choices))}'" if action.choices else ""
        yield _FISH_OPTION.format(command=name, flags=flags, values=values)


def _fish_flag(flag: str) -> str:
    return f" -l {flag[2:]}" if flag.startswith("--") else f" -s {flag[1:]}"


def _words(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in _options(parser):
        yield from action.option_strings
    if name in _TAKES_IDS:
        yield f"$({_IDS})"
    for action in parser._actions:  # noqa: SLF001 -- argparse has no other way to list them
        if not action.option_strings and action.choices:
            yield from map(str, action.choices)


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.option_strings]  # noqa: SLF001
