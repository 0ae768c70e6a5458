"""MONAI Label's web application, with errors that tell a person what is wrong.

Of an error in a transform MONAI Label itself tells its client "Internal Server Error" and no more.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from json import JSONDecodeError
from typing import Any

from bundle.handlers.plain_errors import plain_cause

__all__ = ["make_app"]

_ON_IMAGES = ("/infer/", "/datastore/label")
_NOT_THERE = ("not found", "is not initialized", "no such")


def make_app() -> Any:
    """MONAI Label's FastAPI application, answering

    - 404 for images, models and labels that there aren't,
    - 400 for what else MONAI Label refuses,
    - 422 with one sentence for input that can't be used: no image, damaged, a volume, too large,
    - 502 where the DICOMweb server fails,
    - 500 for a fault of the program; the server's log has its traceback.
    """
    from monailabel.app import app
    from monailabel.interfaces.exception import MONAILabelException

    app.middleware("http")(_find_image)
    app.add_exception_handler(MONAILabelException, _refuse)
    app.add_exception_handler(JSONDecodeError, _refuse_parameters)
    app.add_exception_handler(Exception, _explain)
    return app


async def _find_image(request: Any, answer: Callable[[Any], Awaitable[Any]]) -> Any:
    """Stop work on an image that there isn't, which MONAI Label takes for a file without a name."""
    image = request.query_params.get("image")
    if request.url.path.startswith(_ON_IMAGES) and image and not _is_known(image):
        return _answer(404, f"there is no image '{image}'; GET /datastore/?output=all lists them")
    return await answer(request)


async def _refuse(request: Any, error: Any) -> Any:
    return _answer(404 if any(words in error.msg.lower() for words in _NOT_THERE) else 400, error.msg)


async def _refuse_parameters(request: Any, error: Any) -> Any:
    return _answer(400, f"the field 'params' is no JSON: {error}")


async def _explain(request: Any, error: Exception) -> Any:
    from requests import RequestException

    cause = plain_cause(error)
    if cause is not None:
        return _answer(422, str(cause))
    if isinstance(error, RequestException):
        return _answer(502, f"the DICOMweb server does not answer as it should: {type(error).__name__}")
    return _answer(500, f"a fault of the server, see its log: {type(error).__name__}")


def _answer(status: int, detail: str) -> Any:
    from fastapi.responses import JSONResponse

    return JSONResponse({"detail": detail}, status)


def _is_known(image: str) -> bool:
    from monailabel.interfaces.utils.app import app_instance

    return os.path.exists(image) or image in app_instance().datastore().list_images()
