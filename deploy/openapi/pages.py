"""The pages below /docs, all from this machine: OpenAPI with Swagger UI to read and try it, AsyncAPI, and a page that makes calls."""

import json
import shutil
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from deploy.asyncapi import document as asyncapi
from deploy.asyncapi.page import page
from deploy.openapi.document import document

UI: Final = "drf_spectacular_sidecar/static/drf_spectacular_sidecar/swagger-ui-dist"
ASSETS: Final = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
REFERENCE_PAGE: Final = Path(__file__).parents[1] / "page"
"""A small page that makes calls: plain modules, which no tool has to build."""
TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
}
"""The content type of a page, by the ending of its file."""

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Social CRM API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<p style="margin: 1rem 2rem; font-family: sans-serif"><a href="/docs/events.html">The events that services publish</a> ·
<a href="/docs/customers.html">A page that makes calls</a></p>
<div id="ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""

_START: Final = """SwaggerUIBundle({
  url: "/docs/openapi.json",
  dom_id: "#ui",
  deepLinking: true,
  docExpansion: "none",
  defaultModelsExpandDepth: 0,
  persistAuthorization: true,
  validatorUrl: null,
});
"""


def write_pages(folder: Path, descriptors: Path) -> Path:
    """Write everything that is served below /docs into `folder`, made if it is missing; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "openapi.json").write_text(json.dumps(document(descriptors), ensure_ascii=False))
    events = asyncapi.document(descriptors)
    (folder / "asyncapi.json").write_text(json.dumps(events, ensure_ascii=False))
    (folder / "events.html").write_text(page(events))
    (folder / "index.html").write_text(_PAGE)
    (folder / "start.js").write_text(_START)
    wheel = distribution("drf-spectacular-sidecar")
    for name in ASSETS:
        shutil.copyfile(str(wheel.locate_file(f"{UI}/{name}")), folder / name)
    for file in REFERENCE_PAGE.iterdir():
        shutil.copyfile(file, folder / file.name)
    return folder
