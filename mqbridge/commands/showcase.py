"""The demo's requests: what is sent, as the reader would send it, and what should come back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from mqbridge.commands.job_scenes import JOB_SCENES
from mqbridge.commands.stage import Stage, curl

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from mqbridge.commands.children import Child

TEXT = "The first idle worker takes it, and its reply becomes the response of the held connection."


@dataclass(frozen=True, slots=True)
class Scene:
    """One request and what it shows; ``upload`` is a file for its body, ``text`` else; ``status`` is expected."""

    title: str
    path: str
    content_type: str
    status: int
    text: str = ""
    upload: Path | None = None
    save: Path | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def curl(self, url: str) -> str:
        """Return the command that does the same."""
        headers = (("Content-Type", self.content_type), *self.headers)
        body = ("--data-binary", f"@{self.upload}") if self.upload else ("--data-raw", self.text)
        return curl("POST", url + self.path, headers, *body, *(("-o", str(self.save)) if self.save else ("-i",)))


def scenes(folder: Path) -> list[Scene]:
    """Return what the demo shows."""
    photo, thumbnail = folder / "photo.jpg", folder / "thumbnail.jpg"
    _make_photo(photo)
    wait = (("Prefer", "wait=1"),)
    return [
        Scene("A text to analyse", "/texts", "text/plain", 200, TEXT),
        Scene("A JPEG to scale down", "/thumbnails/160", "image/jpeg", 200, upload=photo, save=thumbnail),
        Scene(
            "A job that fails: the caller is told so, its trace is for the worker's log",
            "/flaky",
            "text/plain",
            502,
            "x",
        ),
        Scene("One that is too slow for its route, which waits 2 s", "/slow", "text/plain", 504, "x"),
        Scene("The same, from a caller who waits 1 s only", "/slow", "text/plain", 504, "x", headers=wait),
    ]


async def show_all(console: Console, url: str, folder: Path, workers: Sequence[Child]) -> int:
    """Send all, print each as it can be repeated; return how many did not go as expected."""
    failed = 0
    async with httpx.AsyncClient(base_url=url, timeout=30.0, trust_env=False) as client:
        for scene in scenes(folder):
            console.print(f"[bold]{scene.title}[/]")
            console.print(f"  $ {scene.curl(url)}", markup=False)
            if not await _show(console, client, scene):
                failed += 1
            console.print()
        stage = Stage(console, client, url, workers)
        for title, act in JOB_SCENES:
            console.print(f"[bold]{title}[/]")
            if not await stage.play(act):
                failed += 1
            console.print()
    return failed


async def _show(console: Console, client: httpx.AsyncClient, scene: Scene) -> bool:
    body = scene.upload.read_bytes() if scene.upload else scene.text.encode()
    headers = {"content-type": scene.content_type, **dict(scene.headers)}
    started = time.perf_counter()
    try:
        response = await client.post(scene.path, content=body, headers=headers)
    except httpx.HTTPError as error:
        console.print(f"  [red]✗[/] no answer: {error!r}")
        return False
    took = (time.perf_counter() - started) * 1_000
    ok = response.status_code == scene.status
    mark = "[green]✓[/]" if ok else f"[red]✗ expected {scene.status}[/]"
    media_type = response.headers.get("content-type", "")
    console.print(f"  {mark} {response.status_code} {media_type}, {len(response.content)} bytes in {took:.0f} ms")
    if scene.save and ok:
        scene.save.write_bytes(response.content)
        console.print(f"  {len(body)} bytes in, {len(response.content)} out: {scene.save}", markup=False)
    else:
        console.print(f"  {response.text[:500]}", markup=False)
    return ok


def _make_photo(path: Path) -> None:
    """Draw something that is worth scaling down."""
    from PIL import Image  # noqa: PLC0415 - part of the `demo` extra

    gradient = Image.linear_gradient("L").resize((1280, 960))
    photo = Image.merge("RGB", (gradient, gradient.transpose(Image.Transpose.ROTATE_180), gradient.rotate(90)))
    photo.save(path, quality=92)
