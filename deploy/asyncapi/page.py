"""The events as a page to read, from their AsyncAPI document: plain HTML, without a script."""

from collections.abc import Mapping
from html import escape
from itertools import groupby
from typing import Any, Final

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Events of the Social CRM</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<style>
body {{ font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
pre {{ background: #f4f4f4; padding: .75rem; overflow-x: auto; font-size: 13px; }}
summary {{ cursor: pointer; padding: .25rem 0; }}
code {{ font-size: 14px; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{introduction}</p>
<p><a href="/docs/asyncapi.json">This as AsyncAPI 3.0</a> · <a href="/docs/">The calls</a></p>
<h2>Headers</h2>
<ul>
{headers}
</ul>
{services}
</body>
</html>
"""
_EVENT: Final = """<details id="{key}"><summary><b>{title}</b> {summary}</summary>
<p>{description}</p><p><code>{address}</code></p><pre>{source}</pre></details>"""


def page(document: Mapping[str, Any]) -> str:
    """The whole page."""
    channels = [(key, it) for key, it in document["channels"].items()]
    services = [
        f"<h2>{escape(service)}</h2>\n" + "\n".join(_event(key, it, document) for key, it in found)
        for service, found in groupby(channels, lambda it: it[0].partition(".")[0])
    ]
    headers = document["components"]["schemas"]["Headers"]["properties"]
    return _PAGE.format(
        title=escape(document["info"]["title"]),
        introduction=escape(document["info"]["description"]),
        headers="\n".join(
            f"<li><code>{escape(name)}</code> {escape(it.get('description', it.get('const', '')))}</li>"
            for name, it in headers.items()
        ),
        services="\n".join(services),
    )


def _event(key: str, channel: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    name = channel["messages"]["event"]["$ref"].rpartition("/")[2]
    description = " ".join(channel.get("description", "").split())
    return _EVENT.format(
        key=escape(key),
        title=escape(channel["title"]),
        summary=escape(description.split(". ")[0]),
        description=escape(description),
        address=escape(channel["address"]),
        source=escape(document["components"]["messages"][name]["payload"]["schema"]),
    )
