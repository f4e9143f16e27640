"""Images made smaller, with Pillow."""

from __future__ import annotations

import io
from typing import Final

_FORMATS: Final = ("JPEG", "PNG")
_MAX_PIXELS: Final = 50_000_000  # a file of a few hundred KB can stand for gigabytes of them


class NotAnImageError(Exception):
    """The bytes are not an image that can be scaled down; the text is for the caller."""


def scale_down(data: bytes, size: int) -> tuple[bytes, str]:
    """Return a JPEG or PNG that fits into ``size`` × ``size`` pixels, and its media type. None is blown up.

    Raises :class:`NotAnImageError`, and RuntimeError if Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps  # noqa: PLC0415 - part of the `demo` extra
    except ImportError as error:
        raise RuntimeError(
            "thumbnails need Pillow: pip install '.[demo]' in a checkout of activemq-rest-bridge"
        ) from error
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise NotAnImageError(f"the image has more than {_MAX_PIXELS} pixels")
            kind = image.format or "PNG"
            image.draft("RGB", (size, size))  # a JPEG need not be decoded in full
            small = ImageOps.exif_transpose(image)
            small.thumbnail((size, size))
            scaled = io.BytesIO()
            small.save(scaled, kind)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise NotAnImageError("the body is not a JPEG or PNG that can be read") from error
    return scaled.getvalue(), f"image/{kind.lower()}"
