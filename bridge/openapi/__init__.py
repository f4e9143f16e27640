"""What the bridge tells of its API: an OpenAPI 3.1 document from the route table, and a page made of that."""

from bridge.openapi.document import make_document
from bridge.openapi.page import BASE, content_security_policy, make_page

__all__ = ["BASE", "content_security_policy", "make_document", "make_page"]
