"""gRPC's standard health service: what probes and load balancers ask (github.com/grpc/grpc, doc/health-checking.md)."""

from collections.abc import AsyncIterator

from grpc_health.v1 import health_pb2

from alexnet_tf.local_server.memory import Share
from alexnet_tf.local_server.request_error import RequestError
from alexnet_tf.local_server.service import Service

SERVICES = {
    "", "PredictionService", "ModelService",  # as TensorFlow Serving names them
    "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService",
}  # fmt: skip
MAX_WATCHERS = 100
"""Each holds a call for as long as it likes."""


class Health:
    """Check and Watch. The server serves once it listens, for a version is loaded by then, until it stops."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.watchers = 0

    async def Check(self, request: health_pb2.HealthCheckRequest, share: Share) -> health_pb2.HealthCheckResponse:
        """The status now."""
        if request.service not in SERVICES:
            raise RequestError("NOT_FOUND", f"unknown service {request.service}")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, share: Share
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status now, and as soon as it changes."""
        if self.watchers >= MAX_WATCHERS:
            raise RequestError("RESOURCE_EXHAUSTED", f"{MAX_WATCHERS} callers watch already; call Check instead")
        self.watchers += 1
        try:
            yield health_pb2.HealthCheckResponse(status=self._status(request.service))
            await self.service.stopping.wait()
            yield health_pb2.HealthCheckResponse(status=self._status(request.service))
        finally:
            self.watchers -= 1

    def _status(self, name: str) -> int:
        if name not in SERVICES:
            return health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        return (
            health_pb2.HealthCheckResponse.NOT_SERVING
            if self.service.stopping.is_set()
            else health_pb2.HealthCheckResponse.SERVING
        )
