"""A picture's EXIF orientation is read alike in the converter and in an exported model."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from alexnet_tf.serving.exif_orientation import exif_orientation as in_graph
from alexnet_tf.serving.exif_orientation import file_orientation
from tests.faults.hostile_pictures import chunk, encoded, segment, with_segments
from tests.picture_zoo.files import pixels
from tests.picture_zoo.orientations import odd_exif, upright
from tests.picture_zoo.png_files import png
from tfrecords.exif import EXIF, UPRIGHT, exif_orientation, exif_with
from tfrecords.picture_structure import essence
from tfrecords.pictures import as_png, load_picture

ORIENTATIONS = tf.function(
    lambda exifs: tf.map_fn(in_graph, exifs, fn_output_signature=tf.TensorSpec((), tf.int32)),
    input_signature=[tf.TensorSpec((None,), tf.string)],
)
FILES = tf.function(
    lambda files: tf.map_fn(file_orientation, files, fn_output_signature=tf.TensorSpec((), tf.int32)),
    input_signature=[tf.TensorSpec((None,), tf.string)],
)
SMALL = Image.fromarray(pixels())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["TIFF", "WEBP"])
def test_files_that_the_converter_alone_reads_are_turned_alike_and_sent_on_as_png(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    file = encoded(SMALL, kind, exif=exif, **options)
    plain, turned = (load_picture(encoded(one, "PNG"), 32) for one in (SMALL, upright(SMALL, orientation)))
    sent = as_png(file)
    for one in (file, sent):
        assert np.array_equal(load_picture(one, 32), plain)
        assert np.array_equal(load_picture(one, 32, exif="apply"), turned)


def test_odd_exif_data_tell_the_graph_what_they_tell_the_converter() -> None:
    exifs = odd_exif()
    expected = list(map(exif_orientation, exifs))
    assert ORIENTATIONS(tf.constant(exifs)).numpy().tolist() == expected
    assert len(set(expected)) >= 4 and expected.count(UPRIGHT) < len(expected) * 0.9


def test_exif_data_are_found_in_the_same_place() -> None:
    """Before the pixels, in the first segment and the last chunk that hold any."""
    jpeg, six, three = encoded(SMALL, "JPEG"), EXIF + exif_with(6), EXIF + exif_with(3)
    app1 = 0xE1
    scan = jpeg.index(b"\xff\xda")
    files = {
        6: [
            with_segments(jpeg, segment(app1, six)),
            with_segments(jpeg, segment(app1, six), segment(app1, three)),
            with_segments(jpeg, segment(app1, b"http://ns.adobe.com/xap/1.0/\0..."), segment(app1, six)),
            with_segments(jpeg, segment(0xFE, b"c"), b"\0\0\0", segment(app1, six)),
            with_segments(jpeg, b"\xff\xff\xff", segment(app1, six)),
            with_segments(jpeg, segment(0xFE, segment(app1, three)), segment(app1, six)),
            png(before=chunk(b"eXIf", exif_with(6))),
            png(before=chunk(b"eXIf", exif_with(3)) + chunk(b"tEXt", b"a\0b") + chunk(b"eXIf", exif_with(6))),
            png(before=chunk(b"eXIf", six)),
        ],
        1: [
            jpeg,
            with_segments(jpeg, segment(app1, EXIF), segment(app1, three)),
            with_segments(jpeg, segment(0xE2, six)),
            with_segments(jpeg, segment(app1, six[1:])),
            jpeg[:scan] + jpeg[scan:-2] + segment(app1, six) + jpeg[-2:],
            png(after=chunk(b"eXIf", exif_with(6))),
            png(before=chunk(b"tEXt", b"a\0b")),
            encoded(SMALL.quantize(16), "GIF"),
        ],
    }
    for orientation, ones in files.items():
        told = [exif_orientation(essence(one, thorough=True).exif or b"") for one in ones]
        assert told == [orientation] * len(ones)
        assert FILES(tf.constant(ones)).numpy().tolist() == told
