"""A fault that goes back to the client, under the name that gRPC gives its kind."""

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "DEADLINE_EXCEEDED": 408,  # only of a sender that is too slow
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "INTERNAL": 500,
}
"""As TensorFlow Serving's REST interface gives them."""
LONGEST = 500
"""Letters of a message: what a sender wrote is not sent back in full."""


class RequestError(Exception):
    """One request cannot be answered; `kind` is one of HTTP_STATUS, the message is for the sender."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message if len(message) <= LONGEST else f"{message[:LONGEST]} ...")
        self.kind = kind
        self.http_status = HTTP_STATUS[kind]


def invalid(message: str) -> RequestError:
    """A fault of the request's own."""
    return RequestError("INVALID_ARGUMENT", message)


def stopping() -> RequestError:
    """The answer to requests that come while the server stops."""
    return RequestError("UNAVAILABLE", "the server is stopping")
