"""What the converter and an exported model make of each file of the zoo."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from alexnet_tf.serving.picture_files import read_files
from tests.picture_zoo.gif_files import gif_files
from tests.picture_zoo.jpeg_files import jpeg_files
from tests.picture_zoo.other_files import converter_files, unread_files
from tests.picture_zoo.png_files import png_files
from tfrecords.pictures import UnreadablePicture, load_picture

FORMATS = {"JPEG": jpeg_files, "PNG": png_files, "GIF": gif_files, "converter": converter_files, "none": unread_files}
READ = tf.function(lambda files: read_files(files, tf.identity), input_signature=[tf.TensorSpec((None,), tf.string)])


def conv(file):
    try:
        return "ok", load_picture(file, 256)
    except UnreadablePicture as f:
        return str(f), None


if __name__ == "__main__":
    import sys

    bad_only = "-b" in sys.argv
    for fmt, make in FORMATS.items():
        files = make()
        pics, stats = READ(tf.constant(list(files.values())))
        for (key, file), pic, stat in zip(files.items(), pics.numpy(), stats.numpy()):
            c, p = conv(file)
            s = stat.decode()
            if c == "ok" == s:
                d = np.abs(pic - p.astype(np.float32)).max()
                verdict = "same" if d <= 1 else "DIFFERS"
                d = f"{d:.0f} {np.abs(pic - p.astype(np.float32)).mean():.2f}"
            elif c != "ok" and s != "ok":
                verdict, d = ("refused" if c == s else "refused, other words"), ""
            else:
                verdict, d = "ONE SIDE", ""
            if verdict == "same" and bad_only:
                continue
            print(f"{verdict:20} {fmt} {key} {d} {'' if c == 'ok' == s else f'[{c}] [{s}]'}")
