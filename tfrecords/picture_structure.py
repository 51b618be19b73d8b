"""A picture file's structure, followed as the decoders follow it, before one of them gets the file. No TensorFlow here.

What the limits of `picture_limits` refuse is refused here. Of other JPEG, PNG and GIF files only what the pixels need
is passed on: decoders spend time and memory on comments, profiles, texts and further pictures as well, stumble over
damage in them, and do not agree on what a damaged header or a missing color means. The same rules, as a graph, are in
`alexnet_tf.serving.picture_structure`.
"""

from tfrecords.essence import Essence
from tfrecords.essence import UnreadablePicture as UnreadablePicture
from tfrecords.gif_structure import gif_essence
from tfrecords.jpeg_structure import jpeg_essence
from tfrecords.picture_kinds import GIF_SIGN, JPEG_SIGN, PNG_SIGNATURE
from tfrecords.png_structure import png_essence


def essence(data: bytes, *, thorough: bool = False) -> Essence:
    """Follows a file's structure.

    Args:
      data: a picture file of any kind; of those that are no JPEG, PNG or GIF nothing is judged here.
      thorough: whether the compressed data of PNG and GIF files are looked through: that they are whole, that a PNG
        file has no more of them than the picture needs (TensorFlow's decoder goes on beyond the pixels, 2 s for each
        compressed MB at worst), and that the codes of a GIF file stand for something.

    Raises:
      UnreadablePicture: its size is beyond the limits, it demands too much work, its structure is damaged, or it is
        of a kind that no decoder here reads.
    """
    if data.startswith(JPEG_SIGN):
        return jpeg_essence(data)
    if data.startswith(PNG_SIGNATURE):
        return png_essence(data, thorough)
    if data.startswith(GIF_SIGN):
        return gif_essence(data, thorough)
    return Essence(data)
