"""The front door: `python train.py` is `alexnet-tf train`.

Whoever wants to read this program begins here. Each line is one station of an image, in its order:

    pictures become records       tfrecords/convert.py
    arguments become a config     alexnet_tf/train.py, alexnet_tf/settings/config.py
    all the rest, step by step    alexnet_tf/training/start.py, which reads downward, each call one hop away
        records become batches    alexnet_tf/pictures/input_pipeline.py
        batches meet two towers   alexnet_tf/networks/alexnet.py
        loss, gradient, update    alexnet_tf/training/step.py
        again and again, saved    alexnet_tf/training/loop.py, alexnet_tf/runs/folder.py
    the best weights are served   alexnet_tf/export.py, alexnet_tf/serving/
"""

from alexnet_tf.program.errors import run_command
from alexnet_tf.train import main

if __name__ == "__main__":
    run_command(main)
