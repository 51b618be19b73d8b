"""A few pictures of many, of as many classes as can be."""

import numpy as np


def one_of_each_class(labels: np.ndarray, most: int) -> np.ndarray:
    """The places of pictures of as many classes as can be: (up to most,), chosen by nothing but their order.

    Of more classes than `most` evenly spread ones, the first picture of each; of fewer, then the second of each.
    """
    order = np.argsort(labels, kind="stable")
    first_of_class = np.searchsorted(labels[order], labels[order])
    occurrence = np.empty(len(labels), np.int64)
    occurrence[order] = np.arange(len(labels)) - first_of_class
    ranked = np.lexsort((labels, occurrence))
    classes = len(np.unique(labels))
    if classes > most:
        return ranked[np.linspace(0, classes - 1, most).round().astype(np.int64)]
    return ranked[:most]
