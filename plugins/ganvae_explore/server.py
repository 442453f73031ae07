"""A small server on this machine for the page: decoding, encoding and inversion by the model itself."""

from __future__ import annotations

import secrets
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from torch import Tensor

from ganvae_core.errors import ConfigurationError, GanvaeError

if TYPE_CHECKING:
    from ganvae_core.runs.loading import Run

Work = Callable[["Run", Tensor, "Tensor | None"], "Tensor | bytes"]
"""What a request asks for: run, values and condition -> numbers, or the bytes of a file."""
HOST = "127.0.0.1"
MOST_BYTES = 2**26
"""Of a request."""


def serve(runs: Sequence[Run], page: str, port: int, started: Callable[[str], None]) -> None:
    """Show the page until Ctrl-C.

    Args:
        runs: in the order of the page.
        page: as ``page_of_server`` makes it.
        port: 0 for a free one.
        started: called with the page's address once the port is held.

    Raises:
        ConfigurationError: the port is in use, or not for this user.
    """
    import uvicorn

    token = secrets.token_urlsafe(16)
    with socket.socket() as held:
        try:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((HOST, port))
            held.listen()
        except OSError as error:
            raise ConfigurationError(
                f"port {port} cannot be had: {error.strerror}.", "leave --port out for a free one"
            ) from error
        started(f"http://{HOST}:{held.getsockname()[1]}/?token={token}")
        settings = uvicorn.Config(application(runs, page, token), log_level="warning", access_log=False)
        uvicorn.Server(settings).run(sockets=[held])


def application(runs: Sequence[Run], page: str, token: str) -> Starlette:
    """The page at ``/``, and ``/decode``, ``/encode``, ``/invert`` and ``/sound`` with the number of a run.

    All of them need the token. Requests under another name of the host are refused, so that a page of another host
    cannot reach them through a name that leads here.
    """
    lock = threading.Lock()

    def is_allowed(given: str | None) -> bool:
        return given is not None and secrets.compare_digest(given.encode(), token.encode())

    def show(request: Request) -> Response:
        if not is_allowed(request.query_params.get("token")):
            return PlainTextResponse("The address lacks its token: open the one that ganvae printed.", 403)
        return HTMLResponse(page, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})

    def answering(work: Work) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            number = request.path_params["number"]
            if not is_allowed(request.headers.get("x-token")):
                return PlainTextResponse("The token is missing or wrong.", 403)
            if number >= len(runs):
                return PlainTextResponse(f"There is no run {number}.", 404)
            if int(request.headers.get("content-length", MOST_BYTES + 1)) > MOST_BYTES:
                return PlainTextResponse("This is too large.", 413)
            run = runs[number]
            try:
                given = await request.json()
                values = torch.tensor(given["values"], dtype=torch.float32, device=run.device)
                condition = given.get("condition")
                if condition is not None:
                    condition = torch.tensor(condition, dtype=torch.float32, device=run.device)
                made = await run_in_threadpool(_locked, lock, work, run, values, condition)
            except GanvaeError as error:
                return PlainTextResponse(" ".join([error.message, *error.hints]), 400)
            except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
                return PlainTextResponse(f"This cannot be used: {error}", 400)
            if isinstance(made, bytes):
                return Response(made, media_type="audio/wav")
            return Response(np.ascontiguousarray(made.cpu().numpy(), "<f4").tobytes())

        return answer

    routes = [
        Route("/", show),
        Route("/decode/{number:int}", answering(_decode), methods=["POST"]),
        Route("/encode/{number:int}", answering(_encode), methods=["POST"]),
        Route("/invert/{number:int}", answering(_invert), methods=["POST"]),
        Route("/sound/{number:int}", answering(_sound), methods=["POST"]),
    ]
    return Starlette(
        routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])]
    )


def _locked(
    lock: threading.Lock, work: Work, run: Run, values: Tensor, condition: Tensor | None
) -> Tensor | bytes:
    with lock, run.computing():
        return work(run, values, condition)


def _decode(run: Run, values: Tensor, condition: Tensor | None) -> Tensor:
    shape: Any = getattr(run.model.prior, "latent_shape", None)
    with torch.no_grad():
        return run.model(values.reshape(-1, *shape), _conditions(run, condition))


def _encode(run: Run, values: Tensor, condition: Tensor | None) -> Tensor:
    if run.model.encoder is None:
        raise ValueError("this model has no encoder")
    with torch.no_grad():
        return run.model.encode(values.reshape(-1, *run.spec.shape), _conditions(run, condition)).mean


def _invert(run: Run, values: Tensor, condition: Tensor | None) -> Tensor:
    from ganvae_core.data.randomness import seeded
    from ganvae_core.latent import invert

    with seeded(run.device, 0):
        return invert(run.model, values.reshape(-1, *run.spec.shape), _conditions(run, condition)).z


def _sound(run: Run, values: Tensor, condition: Tensor | None) -> bytes:
    """A row as a .wav file, as its view writes it: the phases of a spectrogram take their time to be found."""
    from ganvae_core.views.showing import shown_rows

    if ".wav" not in run.view.endings:
        raise ValueError("this data is not sound")
    rows = shown_rows(values.reshape(-1, *run.spec.shape), run.spec, run.view)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sound.wav"
        run.view.write(rows, run.spec, file, {})
        return file.read_bytes()


def _conditions(run: Run, condition: Tensor | None) -> Tensor | None:
    shape = run.spec.condition
    if shape is None:
        return None
    if condition is None:
        raise ValueError("this model takes a condition")
    return condition.reshape(-1, *shape)
