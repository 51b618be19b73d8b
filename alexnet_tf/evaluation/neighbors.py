"""The nearest pictures by their features, found in one pass over all others.

For a handful of queries NumPy is enough: an index (faiss, hnswlib) pays where many queries search the same features
again, and here each of the others is looked at once and then forgotten.
"""

import numpy as np


class Nearest:
    """Of each query the nearest of all that are added, by Euclidean distance.

    Args:
      queries: (Q, F).
      most: how many are kept for each.

    Attributes:
      distances: (Q, up to most), ascending.
      places: int64 (Q, up to most): which of all that were added, counted from 0.
      added: how many there were.
    """

    def __init__(self, queries: np.ndarray, most: int) -> None:
        self.queries = queries.astype(np.float64)
        self.most = most
        self.added = 0
        self.distances = np.empty((len(queries), 0))
        self.places = np.empty((len(queries), 0), np.int64)

    def add(self, features: np.ndarray) -> None:
        """Looks at more of them, (n, F)."""
        features = features.astype(np.float64)
        squares = (self.queries**2).sum(axis=1)[:, None] + (features**2).sum(axis=1) - 2 * self.queries @ features.T
        new = np.sqrt(np.maximum(squares, 0))  # (Q, n); rounding may leave -1e-12 of a picture that is its own neighbor
        numbers = np.broadcast_to(self.added + np.arange(len(features)), new.shape)
        distances = np.concatenate([self.distances, new], axis=1)
        places = np.concatenate([self.places, numbers], axis=1)
        order = np.argsort(distances, axis=1, kind="stable")[:, : self.most]
        self.distances = np.take_along_axis(distances, order, axis=1)
        self.places = np.take_along_axis(places, order, axis=1)
        self.added += len(features)
