"""Which records each of several workers reads. No TensorFlow here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """Worker `index`'s part of what `of` workers divide among them, in contiguous parts of equal size.

    Where a number does not divide, parts differ by one. Over epochs the longer parts go round, so that no worker ever
    runs more than one record ahead: after E epochs of R records, worker i has read (R * E + i) // of of them.
    """

    index: int = 0
    of: int = 1

    def range_of(self, total: int) -> tuple[int, int]:
        """First record and the one after the last, where records are read once."""
        return self.index * total // self.of, (self.index + 1) * total // self.of

    def read_before(self, epoch: int, per_epoch: int) -> int:
        """How many records this worker reads in all epochs before `epoch`, which counts from 0."""
        return (per_epoch * epoch + self.index) // self.of

    def range_in_epoch(self, epoch: int, per_epoch: int) -> tuple[int, int]:
        """First record and the one after the last, in the order of `epoch`."""
        lengths = [Share(index, self.of).length(epoch, per_epoch) for index in range(self.index + 1)]
        return sum(lengths[:-1]), sum(lengths)

    def length(self, epoch: int, per_epoch: int) -> int:
        """How many records this worker reads in `epoch`."""
        return self.read_before(epoch + 1, per_epoch) - self.read_before(epoch, per_epoch)

    def place_after(self, read: int, per_epoch: int) -> tuple[int, int]:
        """The epoch, and the place in this worker's part of it, of the record after the first `read` ones."""
        epoch = read * self.of // per_epoch
        while self.read_before(epoch + 1, per_epoch) <= read:
            epoch += 1
        while self.read_before(epoch, per_epoch) > read:
            epoch -= 1
        return epoch, read - self.read_before(epoch, per_epoch)


WHOLE = Share()
"""The share of a single process: everything."""
