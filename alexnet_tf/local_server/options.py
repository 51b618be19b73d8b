"""What the server may take and where it listens: its options, with their defaults. No TensorFlow here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerOptions:
    """Where the server listens, and how much it takes at a time."""

    host: str = "127.0.0.1"
    """Address to listen at; 127.0.0.1 is this machine only."""
    allow_host: tuple[str, ...] = ()
    """Further names under which REST may be asked."""
    rest_port: int = 8501
    """0 takes any free one."""
    grpc_port: int = 8500
    """0 takes any free one."""
    max_batch: int = 32
    """Pictures that run together."""
    max_waiting: int = 1024
    """Pictures that wait."""
    max_memory: int = 2000
    """Megabytes for requests: half of it for those that wait, half for the batch that runs."""
    max_body: float = 40
    """Megabytes of a request."""
    max_requests: int = 128
    """At a time, over both protocols."""
    poll: float = 2
    """Seconds between looks for new versions."""
    patience: float = 10
    """Seconds for a request's header, and until its body must come at 20 kB/s."""
    grace: float = 30
    """Seconds that open requests have after SIGTERM."""
