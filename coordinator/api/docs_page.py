"""``GET /docs``: both documents that machines read, drawn as one page for people.

Made here and once, from the documents as they are served: no script and no outside address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from html import escape
from typing import Any, Final

import msgspec

from coordinator.api.asyncapi import asyncapi_document
from coordinator.api.described import Schema
from coordinator.api.openapi import openapi_document

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Image Prewarm: API reference</title>
<link rel="icon" href="/web/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/web/css/theme.css">
<link rel="stylesheet" href="/web/css/docs.css">
</head>
<body>
<nav aria-label="Contents">
<p><a href="/">Image Prewarm</a></p>
<h2>Requests</h2><ul>{request_links}</ul>
<h2>Events</h2><ul>{event_links}</ul>
<h2>Schemas</h2><ul>{shape_links}</ul>
</nav>
<main>
<h1>API reference</h1>
<p>Drawn from <a href="/openapi.json">/openapi.json</a> and
<a href="/asyncapi.json">/asyncapi.json</a>.</p>
<h2 id="requests">Requests</h2><p>{about_requests}</p>{requests}
<h2 id="events">Events on NATS</h2><p>{about_events}</p>{events}
<h2 id="shapes">Schemas</h2>{shapes}
</main>
</body>
</html>
"""
_CODE: Final = re.compile(r"`([^`]+)`")
_RULES: Final = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "pattern": "as <code>{}</code>",
    "format": "{}",
}


@cache
def docs_page() -> bytes:
    """The whole page."""
    rest = msgspec.json.decode(openapi_document())
    bus = msgspec.json.decode(asyncapi_document())
    operations = [
        (method, path, operation)
        for path, item in rest["paths"].items()
        for method, operation in item.items()
    ]
    shapes = dict(sorted(rest["components"]["schemas"].items()))
    page = _PAGE.format(
        request_links=_links((o["operationId"], o["summary"]) for _, _, o in operations),
        event_links=_links((name, m["name"]) for name, m in bus["components"]["messages"].items()),
        shape_links=_links((_anchor(name), name) for name in shapes),
        about_requests=_words(rest["info"]["description"]),
        about_events=_words(bus["info"]["description"]),
        requests="".join(_operation(*each) for each in operations),
        events="".join(_channel(name, bus) for name in bus["channels"]),
        shapes="".join(_shape(name, schema) for name, schema in shapes.items()),
    )
    return page.encode()


def _links(targets: Iterable[tuple[str, str]]) -> str:
    return "".join(f'<li><a href="#{escape(to)}">{escape(text)}</a>' for to, text in targets)


def _words(text: str) -> str:
    """A description: what stands in backticks is code."""
    return _CODE.sub(r"<code>\1</code>", escape(text, quote=False))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{cell}' for cell in row)}" for row in rows)
    if not body:
        return ""
    columns = "".join(f'<th scope="col">{title}' for title in head)
    return f"<table><thead><tr>{columns}<tbody>{body}</table>"


# ── requests ─────────────────────────────────────────────────────────────────────────────────


def _operation(method: str, path: str, operation: Schema) -> str:
    parameters = _table(
        ("Parameter", "In", "Type", ""),
        (
            (
                f"<code>{escape(each['name'])}</code>",
                each["in"],
                _type(each["schema"]),
                _words(each.get("description", "")),
            )
            for each in operation.get("parameters", ())
        ),
    )
    answers = _table(("Status", "Answer", ""), map(_answer, operation["responses"].items()))
    return (
        f'<section id="{operation["operationId"]}"><h3>{escape(operation["summary"])}</h3>'
        f"<p><b>{method.upper()}</b> <code>{escape(path)}</code></p>"
        f"{parameters}{_body(operation)}{answers}</section>"
    )


def _body(operation: Schema) -> str:
    body = operation.get("requestBody")
    if body is None:
        return ""
    may = "" if body["required"] else " (may be left out)"
    return f"<p>Body: {_content(body['content'])}{may}</p>"


def _answer(entry: tuple[str, Schema]) -> tuple[str, str, str]:
    status, answer = entry
    headers = [
        f"<code>{escape(name)}</code>: {_words(header['description'])}"
        for name, header in answer.get("headers", {}).items()
    ]
    text = " ".join([_words(answer["description"]), *headers])
    return status, text, _content(answer.get("content", {}))


def _content(content: Schema) -> str:
    return ", ".join(
        f"{_type(media['schema'])} as <code>{escape(kind)}</code>"
        for kind, media in content.items()
    )


# ── events ───────────────────────────────────────────────────────────────────────────────────


def _channel(name: str, document: Schema) -> str:
    channel = document["channels"][name]
    message = document["components"]["messages"][name]
    (shape, _) = message["payload"]["allOf"]
    return (
        f'<section id="{name}"><h3>{escape(channel["summary"])}</h3>'
        f"<p><code>{escape(channel['address'])}</code></p>"
        f"<p>{_type(shape)} of type <code>{escape(message['name'])}</code>. "
        f"{_words(message.get('description', ''))}</p></section>"
    )


# ── shapes ───────────────────────────────────────────────────────────────────────────────────


def _anchor(shape: str) -> str:
    return f"shape-{shape}"


def _shape(name: str, schema: Schema) -> str:
    required = schema.get("required", ())
    fields = _table(
        ("Field", "Type", ""),
        (
            (
                f"<code>{escape(field)}</code>{'' if field in required else ' <i>optional</i>'}",
                _type(of),
                _words(of.get("description", "")),
            )
            for field, of in schema.get("properties", {}).items()
        ),
    )
    own = fields or _values(schema) or f"<p>{_type(schema)}</p>"
    about = _words(schema.get("description", ""))
    return f'<section id="{_anchor(name)}"><h3>{escape(name)}</h3><p>{about}</p>{own}</section>'


def _values(schema: Schema) -> str:
    """A table of the values of a shape that is nothing but that."""
    return _table(
        ("Value", ""),
        (
            (f"<code>{escape(each['const'])}</code>", _words(each["description"]))
            for each in schema.get("anyOf", ())
            if "const" in each
        ),
    )


def _type(schema: Schema) -> str:
    """A type and its rules, on one line."""
    parts = [_kind(schema), *_rules(schema)]
    return ", ".join(part for part in parts if part)


def _kind(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{_anchor(name)}">{escape(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of ({_type(schema['items'])})" if schema.get("items") else "list"
    if isinstance(values := schema.get("additionalProperties"), dict):
        return f"object of ({_type(values)})"
    return escape(str(schema.get("type", "anything")))


def _rules(schema: Schema) -> Iterator[str]:
    for key, text in _RULES.items():
        if key in schema:
            value = schema[key]
            yield text.format(f"{value:,}" if isinstance(value, int) else escape(str(value)))
    if "default" in schema:
        yield f"default {_json(schema['default'])}"
    if examples := schema.get("examples"):
        yield f"for example {' or '.join(map(_json, examples))}"


def _json(value: Any) -> str:
    return f"<code>{escape(msgspec.json.encode(value).decode())}</code>"
