"""Makes a run of published weights, which evaluates, exports and trains on like any other.

    alexnet-tf import-weights --caffemodel bvlc_alexnet.caffemodel --mean imagenet_mean.binaryproto --run RUN
    alexnet-tf import-weights --torch alexnet-owt-7be5be79.pth --run RUN
    alexnet-tf import-weights --keras vgg16_weights_tf_dim_ordering_tf_kernels.h5 --run RUN

The preset follows from the file: "caffe", "caffenet", "owt", "vgg16" or "resnet50". Classes keep the file's order, for
published nets that of their WordNet ids; --classes (a synset_words.txt) or --data gives their keys and names. Without,
the keys are "class 0", "class 1" and so on, which fit no data, so that the run can be exported but not evaluated.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from alexnet_tf.program.arguments import command_parser
from alexnet_tf.program.errors import DONE, UserError, run_command
from alexnet_tf.program.pattern_paths import refuse_pattern
from alexnet_tf.program.standard_streams import outlive_readers


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the run and says what it is."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    outlive_readers()
    if not arguments.caffemodel and (arguments.mean or arguments.preset):
        parser.error("--mean and --preset are for --caffemodel")
    refuse_pattern("--run", arguments.run)
    if arguments.run.exists() and (not arguments.run.is_dir() or any(arguments.run.iterdir())):
        raise UserError(f"{arguments.run} exists and stays as it is; give another --run")

    from alexnet_tf.training.published_weights import (
        import_run,
        name_classes,
        read_caffe,
        read_keras_applications,
        read_torchvision,
    )

    named = name_classes(arguments.classes, arguments.data)  # told before much is read
    if arguments.torch:
        published = read_torchvision(arguments.torch)
    elif arguments.keras:
        published = read_keras_applications(arguments.keras)
    else:
        published = read_caffe(arguments.caffemodel, arguments.preset, arguments.mean)
    config, classes = import_run(published, arguments.run, named, arguments.data, arguments.overrides)
    color = ", ".join(f"{value:.1f}" for value in published.mean_image.mean(axis=(0, 1)))
    print(f"{arguments.run}: preset {config.model.preset}, {len(classes.keys)} classes, mean R, G, B {color}")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("import-weights", __doc__)
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--caffemodel", type=Path, metavar="FILE",
        help="Caffe's weights: of bvlc_alexnet, bvlc_reference_caffenet or a net of their shape")  # fmt: skip
    source.add_argument("--torch", type=Path, metavar="FILE",
        help="the state dict of torchvision's alexnet; nothing in it is executed")  # fmt: skip
    source.add_argument("--keras", type=Path, metavar="FILE",
        help="the weights of VGG16 or ResNet50 of keras.applications: .h5, .weights.h5 or .keras")  # fmt: skip
    add("--run", type=Path, required=True, metavar="RUN", help="the run's folder, which must not be there yet")
    add("--mean", type=Path, metavar="FILE",
        help="Caffe's imagenet_mean.binaryproto (default: the mean color 123, 117, 104)")  # fmt: skip
    add("--preset", choices=("caffe", "caffenet"),
        help="for a .caffemodel that does not tell whether it normalizes before pooling or after it")  # fmt: skip
    names = parser.add_mutually_exclusive_group()
    names.add_argument("--classes", type=Path, metavar="FILE",
        help="the classes' names: a text with `key words...` a line, in the order of the weights")  # fmt: skip
    names.add_argument("--data", type=Path, metavar="DATA",
        help="a folder of converted pictures of the same classes; becomes data.dir")  # fmt: skip
    add("overrides", nargs="*", metavar="section.key=value",
        help="sets a field of the run's config, as in data.batch_size=64")  # fmt: skip
    return parser


if __name__ == "__main__":
    run_command(main)
