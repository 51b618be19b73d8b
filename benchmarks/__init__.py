"""How fast the parts are, each against what the machine could do at best. Run by hand.

    python -m benchmarks.step     the training step against Keras, PyTorch and a matrix product
    python -m benchmarks.input    the training pipeline against bare JPEG decoding, a naive pipeline and PyTorch
    python -m benchmarks.evaluation  one view against ten
    python -m benchmarks.convert  the conversion of pictures against a plain Pillow loop
    python -m benchmarks.serving  an exported model against other engines, and the server against the model itself
    python -m benchmarks.load     the server under a long mixed load, with new versions beneath

Both sides of a comparison run in one process and take turns, so that a machine that slows down,
or that somebody else uses, does so for both. What is reported is the median of the rounds' ratios.
"""

import alexnet_tf  # noqa: F401 -- first of all, for it keeps TensorFlow's start-up notes quiet
