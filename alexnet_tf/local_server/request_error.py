"""A fault that goes back to the client, under the name that gRPC gives its kind."""

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "UNAVAILABLE": 503,
    "INTERNAL": 500,
}
"""As TensorFlow Serving's REST interface gives them."""


class RequestError(Exception):
    """One request cannot be answered; `kind` is one of HTTP_STATUS, the message is for the sender."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.http_status = HTTP_STATUS[kind]
