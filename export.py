"""`python export.py` is `alexnet-tf export`: a trained run becomes a SavedModel for TensorFlow Serving."""

from alexnet_tf.export import main
from alexnet_tf.program.errors import run_command

if __name__ == "__main__":
    run_command(main)
