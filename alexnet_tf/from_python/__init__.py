"""The program from Python and notebooks: `alexnet_tf.load` and what it gives."""
