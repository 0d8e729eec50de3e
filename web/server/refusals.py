"""What the server itself refuses, before there is a request for the application."""

from http import HTTPStatus


class ErrorSink:
    """Takes gunicorn's HTML about a request that it can't parse; `status` is all it is read for."""

    status = 400

    def gettimeout(self) -> float:
        return 0.0

    def sendall(self, data: bytes) -> None:
        self.status = int(data.split(b" ", 2)[1])


def refusal(status: int) -> bytes:
    """Return a whole HTTP response, after which the connection closes."""
    from web.problems import for_status  # noqa: PLC0415 - needs Django, which only workers load

    outcome = "unknown" if status == HTTPStatus.INTERNAL_SERVER_ERROR else "none"
    body = for_status(status, outcome=outcome)
    reason = HTTPStatus(status).phrase
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: {body['Content-Type']}\r\n"
        f"Content-Length: {len(body.content)}\r\nCache-Control: private, no-store\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body.content
