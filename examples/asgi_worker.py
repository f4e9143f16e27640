"""A Starlette app as a worker. It knows nothing of queues; any ASGI app will do.

mqbridge work --asgi asgi_worker:app --queue greetings --concurrency 8
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def greet(request: Request) -> JSONResponse:
    """Answer GET /greetings/{name} and POST /greetings/{name}."""
    message = (await request.body()).decode() or "hello"
    return JSONResponse({message: request.path_params["name"]}, headers={"cache-control": "no-store"})


app = Starlette(routes=[Route("/greetings/{name}", greet, methods=["GET", "POST"])])
