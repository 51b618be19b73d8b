"""Pictures to TFRecord shards: convert, read back, verify. See README.md beside this file."""

import alexnet_tf  # noqa: F401  it keeps TensorFlow's start-up notes off stderr, whichever command imports TensorFlow
