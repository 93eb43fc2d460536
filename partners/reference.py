"""The API's documentation page, made from its specification: no script, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1f26;
  background: #fff; }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid #d5dae0; padding-top: 1.5rem }
h3 { font-size: 1rem; margin: 1.5rem 0 .3rem }
code, pre { font: 14px/1.45 ui-monospace, monospace; background: #f2f4f7; border-radius: 4px }
code { padding: .1rem .25rem } pre { padding: .8rem; overflow-x: auto } pre code { padding: 0 }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid #e6e9ed }
.method { color: #fff; background: #1f6f4a; border-radius: 4px; padding: .1rem .5rem; font-size: .85rem }
@media (prefers-color-scheme: dark) { body { background: #14181d; color: #dfe4ea } code, pre { background: #20262d }
  h2, th, td { border-color: #333b45 } a { color: #7db7ff } }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the page: its own style and nothing else."""


def reference_page(spec: Mapping[str, Any]) -> str:
    """Return the documentation of an OpenAPI document as one HTML page."""
    info = spec["info"]
    operations = [
        _operation(path, method, operation)
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [_schema(name, schema) for name, schema in spec["components"]["schemas"].items()]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(info['title'])}</h1>",
            f"<p>{_text(info.get('description', ''))}</p>",
            f'<p>Version {escape(info["version"])}. <a href="openapi.json">openapi.json</a> is the same for programs.</p>',
            *operations,
            "<h2>Documents</h2>",
            *schemas,
            "</body></html>",
        ]
    )


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    parameters = [
        (f"<code>{escape(p['name'])}</code>", escape(_kind(p["schema"])), _text(p.get("description", "")))
        for p in operation.get("parameters", ())
    ]
    responses = [
        (escape(status), escape(", ".join(r.get("content", {}))), _text(r["description"]))
        for status, r in operation["responses"].items()
    ]
    curl = f'curl -H "Authorization: Bearer $KEY" "$SITE{path}"'
    python = (
        f'import httpx\n\nanswer = httpx.get(f"{{site}}{path}", headers={{"Authorization": f"Bearer {{key}}"}})\n'
        "answer.raise_for_status()\nforecast = answer.json()"
    )
    return "\n".join(
        [
            f'<h2><span class="method">{escape(method.upper())}</span> <code>{escape(path)}</code></h2>',
            f"<p><strong>{escape(operation.get('summary', ''))}.</strong> {_text(operation.get('description', ''))}</p>",
            f"<pre><code>{escape(curl)}</code></pre><pre><code>{escape(python)}</code></pre>",
            "<h3>Parameters</h3>",
            _table(("Name", "Type", "Meaning"), parameters),
            "<h3>Answers</h3>",
            _table(("Status", "Content", "Meaning"), responses),
            *_example(operation),
        ]
    )


def _example(operation: Mapping[str, Any]) -> list[str]:
    content = operation["responses"].get("200", {}).get("content", {})
    example = content.get("application/json", {}).get("example")
    if example is None:
        return []
    return ["<h3>Example</h3>", f"<pre><code>{escape(json.dumps(example, indent=1))}</code></pre>"]


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    rows = [
        (f"<code>{escape(field)}</code>", escape(_kind(about)), _text(about.get("description", "")))
        for field, about in schema.get("properties", {}).items()
    ]
    head = f"<h3>{escape(name)}</h3><p>{_text(schema.get('description', ''))}</p>"
    return head + (_table(("Field", "Type", "Meaning"), rows) if rows else f"<p>{escape(_kind(schema))}</p>")


def _kind(schema: Mapping[str, Any]) -> str:
    """Return a schema's type in words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(option) for option in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    kind = str(schema.get("type", "any"))
    return f"{kind} ({schema['format']})" if "format" in schema else kind


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [f"<tr>{''.join(f'<th>{h}</th>' for h in head)}</tr>"]
    lines += [f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows]
    return f"<table>{''.join(lines)}</table>"


def _text(text: str) -> str:
    """Return a description as HTML: paragraphs, and `code` in backquotes."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    return "</p><p>".join(part for part in marked.split("\n\n") if part)
