"""The server of the page: this machine only unless told otherwise, nothing kept, nothing fetched."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bundle.data.errors import DataError
from scripts.showing.answers import Answers
from scripts.showing.style import CSS

__all__ = ["serve"]

_LARGEST = "512mb"  # of a file: an uncompressed radiograph of 80 megapixels has 160
_HEADERS = {
    # Gradio's scripts are inline and make others; with any server but this one nothing is exchanged.
    b"content-security-policy": b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'",
    b"cache-control": b"no-store",
    b"referrer-policy": b"no-referrer",
}
_ASGI = Callable[[Any, Any, Any], Awaitable[None]]


def serve(answers: Answers, host: str, port: int) -> None:
    """Serve the page until the process is interrupted; then remove what was dropped on it.

    Args:
        answers: what the page asks.
        host: address to listen on; other machines reach 0.0.0.0.
        port: 0 takes any that is free.

    Raises:
        DataError: the address can't be listened on.
    """
    with tempfile.TemporaryDirectory(prefix="cxr_page_") as dropped, _listening(host, port) as listener:
        _set_environment(Path(dropped))
        # Not before the settings.
        import uvicorn

        config = uvicorn.Config(_application(answers, host), log_level="warning", timeout_graceful_shutdown=2)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        print("the page is on http://{}:{} (Ctrl-C ends it)".format(*listener.getsockname()), flush=True)
        uvicorn.Server(config).run(sockets=[listener])


def _set_environment(dropped: Path) -> None:
    """Settings that Gradio and its packages read when they are imported."""
    os.environ |= {
        "GRADIO_TEMP_DIR": str(dropped),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_MCP_SERVER": "False",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise DataError(f"--host {host} --port {port}: can't listen there ({reason}); choose others") from error


def _application(answers: Answers, host: str) -> _ASGI:
    import gradio as gr
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from scripts.showing.page import make_page, theme

    mounted = gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        make_page(answers),
        "/",
        # Gradio would keep every image and answer in the browser's own storage.
        run_history=False,
        footer_links=[],
        show_error=False,
        max_file_size=_LARGEST,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        theme=theme(),
        css=CSS,
    )
    # A name that some website has pointed at this machine is not this page's.
    names = ["*"] if host == "0.0.0.0" else [host, "localhost", "127.0.0.1"]
    return _with_headers(TrustedHostMiddleware(mounted, allowed_hosts=names))


def _with_headers(application: _ASGI) -> _ASGI:
    """The application, with its answers neither kept by the browser nor able to reach other machines."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def send_on(message: Any) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in _HEADERS]
                message = {**message, "headers": [*kept, *_HEADERS.items()]}
            await send(message)

        await application(scope, receive, send_on)

    return answer
