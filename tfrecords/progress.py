"""What a user sees of a conversion: the bar, and the pictures that have to be left out."""

import sys
from types import TracebackType

from tqdm import tqdm

from alexnet_tf.program.errors import UserError
from tfrecords.plan import Advance


class Progress:
    """Progress bar with images/s, bytes and the time left; and the limit on unreadable pictures.

    Args:
      total: pictures of the whole conversion.
      done: those of them that an earlier call has converted.
      max_unreadable: more than so many pictures left out end the conversion.
    """

    def __init__(self, total: int, done: int, max_unreadable: int) -> None:
        self._max_unreadable = max_unreadable
        self._unreadable = 0
        self._bytes = 0
        self._bar = tqdm(
            total=total,
            initial=done,
            unit=" images",
            file=sys.stderr,
            dynamic_ncols=True,
            # In a log file a line a minute is enough.
            mininterval=0.2 if sys.stderr.isatty() else 60,
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def report(self, advance: Advance) -> None:
        """Counts the progress of a shard.

        Raises:
          UserError: too many pictures cannot be read.
        """
        self._bytes += advance.bytes
        self._bar.set_postfix_str(f"{self._bytes / 1e9:.2f} GB written", refresh=False)
        self._bar.update(advance.pictures)
        for unreadable in advance.unreadable:
            self._unreadable += 1
            name = f"{unreadable.split}/{unreadable.file} ({unreadable.reason})"
            self._bar.write(f"unreadable, left out: {name}", file=sys.stderr)
            if self._unreadable > self._max_unreadable:
                raise UserError(
                    f"more than --max-unreadable {self._max_unreadable} pictures cannot be read, "
                    f"the last was {name}: mend or remove them, or raise the limit"
                )
