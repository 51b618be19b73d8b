"""For programs that tests start and send signals to, `preexec_fn=hear_signals`."""

import signal


def hear_signals() -> None:
    """In a shell's background jobs SIGINT is ignored, under nohup SIGHUP; what is started here must hear them."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
