"""The page that describes the API. It needs no network but this server's: hospitals have none.

Swagger UI comes with fastapi-offline's package; FastAPI's own page loads it from elsewhere and starts it inline, which
our content security policy forbids.
"""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles

STATIC = "/docs/static"
_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Teachback: the HTTP API</title>
<link rel="stylesheet" href="{STATIC}/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="{STATIC}/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START = 'SwaggerUIBundle({url: "/openapi.json", dom_id: "#api", deepLinking: true});\n'
# Swagger UI sets styles on elements and draws its icons from data URLs.
_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"

router = APIRouter(include_in_schema=False)


def install(app: FastAPI) -> None:
    """Serve the page and what it loads."""
    app.mount(STATIC, StaticFiles(directory=Path(str(files("fastapi_offline"))) / "static"))
    app.include_router(router)


@router.get("/docs")
def docs() -> HTMLResponse:
    """Return the page."""
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


@router.get("/docs/start.js")
def start() -> Response:
    """Return the line that starts it."""
    return Response(_START, media_type="text/javascript")
