"""AlexNet (Krizhevsky, Sutskever and Hinton, 2012) on two devices, with today's TensorFlow."""

import os

# TensorFlow reads this once, at its first import; its start-up notes are no news to a user. Errors stay visible.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
