"""A server of files that can go on where a download stopped."""

from werkzeug import Response


def whole(request, content: bytes, etag: str | None = '"one"') -> Response:
    """The file, or the part of it that is asked for."""
    start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
    headers = {"ETag": etag} if etag else {}
    if not start or request.headers.get("If-Range", etag) != etag:
        return Response(content, headers=headers, content_type="application/x-bzip2")
    headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    return Response(content[start:], 206, headers, content_type="application/x-bzip2")
