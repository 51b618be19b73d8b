"""The page to try the model on, and what it asks for beside TensorFlow Serving's interface: what the model is."""

import html
import json
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from alexnet_tf.local_server.served_model import LoadedVersion
from alexnet_tf.local_server.service import Service

FOLDER = Path(__file__).with_name("page")
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".jpg": "image/jpeg", ".png": "image/png"}
HEADERS = {
    # Nothing but itself and its own server: no script, font or picture from elsewhere.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # a browser asks each time, so that a newer program's page is seen
}


def page_routes(service: Service) -> list[Route]:
    """Those of the page, its style and scripts, and of what it shows of the model."""

    async def page(request: Request) -> Response:
        text = (FOLDER / "page.html").read_text(encoding="utf-8").replace("@MODEL@", html.escape(service.model.name))
        return HTMLResponse(text, headers=HEADERS)

    async def file(request: Request) -> Response:
        path = FOLDER / request.url.path.rpartition("/")[2]
        return Response(path.read_bytes(), media_type=MEDIA_TYPES[path.suffix], headers=HEADERS)

    async def model(request: Request) -> Response:
        version = service.model.version(service.model.name, None)
        about = {
            "name": service.model.name,
            "version": version.number,
            "signatures": sorted(version.signatures),
            "max_bytes": service.max_bytes,
            **version.description,
            "examples": [_class_name(version, example.label) for example in version.examples],
        }
        return Response(json.dumps(about), media_type="application/json", headers=HEADERS)

    async def example(request: Request) -> Response:
        version = service.model.version(service.model.name, None)
        # As texts, for nobody knows how many digits a number in a path has.
        known = {(str(version.number), str(place)): one for place, one in enumerate(version.examples)}
        found = known.get((request.path_params["version"], request.path_params["place"]))
        if found is None:
            raise HTTPException(404)
        return Response(found.file, media_type=MEDIA_TYPES[f".{found.suffix}"], headers=HEADERS)

    files = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".css", ".js"))
    return [
        Route("/", page, methods=["GET"]),
        Route("/page/model", model, methods=["GET"]),
        Route("/page/examples/{version}/{place}", example, methods=["GET"]),
        *(Route(f"/page/{name}", file, methods=["GET"]) for name in files),
    ]


def _class_name(version: LoadedVersion, label: int) -> str:
    names = (version.description["classes"] or {}).get("names", [])
    return names[label] if label < len(names) else f"class {label}"
