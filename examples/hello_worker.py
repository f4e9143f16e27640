"""Three ways to write a handler.

mqbridge work hello_worker:worker --concurrency 8
"""

from pydantic import BaseModel

from consumers import Reply, Request, Worker

worker = Worker("hello")


class Order(BaseModel):
    """What the body of a call to `orders` must be; anything else is a 422 that says why."""

    item: str
    count: int = 1


@worker.handler("hello")
async def hello(name: str) -> dict[str, str]:
    """An async handler runs on the loop: it waits without holding anything up. The body comes as text."""
    return {"hello": name}


@worker.handler("reverse")
def reverse(body: bytes) -> bytes:
    """A plain function runs in a thread: right for what computes or blocks."""
    return body[::-1]


@worker.handler("orders")
async def order(order: Order) -> Reply:
    """The annotation is a pydantic model, so the body is JSON and is checked. A Reply has a status of its own."""
    return Reply.json({"ordered": order.count, "item": order.item}, 201, {"location": f"/orders/{order.item}"})


@worker.handler("about")
async def about(request: Request) -> dict[str, object]:
    """A handler that asks for the Request sees all of it."""
    return {
        "method": request.method,
        "target": request.target,
        "headers": dict(request.headers),
        "attempt": request.attempt,
        "seconds_left": request.remaining(),
    }
