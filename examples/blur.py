"""A blurred or another background, or blurred people, in the camera's own size.

    python examples/blur.py out.mp4                         the background is blurred, the person stays sharp
    python examples/blur.py out.mp4 --background beach.jpg  it is another one
    python examples/blur.py out.mp4 --people                people are blurred, the room stays sharp

Needs `publish.images = true` in the daemon's configuration, Pillow and PyAV. `-` in place of a file writes
motion JPEG to stdout; as a webcam of its own, with v4l2loopback:

    python examples/blur.py - | ffmpeg -f mjpeg -i - -f v4l2 -pix_fmt yuv420p /dev/video10
"""

import argparse
import io
import sys
from fractions import Fraction

import av
import numpy as np
from PIL import Image, ImageFilter, ImageOps

from gnetsegd.client import DEFAULT_ENDPOINT, MaskSubscriber, NoDataError, Smoother

#: Of the blur, and of the soft edge between person and background, as shares of the picture's width.
BLUR, EDGE = 1 / 40, 1 / 200


def composed(mask, steady, arguments):
    """The picture of `mask` as wanted; `steady` is how much of each mask pixel is person, 0 to 1."""
    picture = Image.fromarray(mask.picture)
    # Enlarged softly: the mask is smaller than the picture.
    share = Image.fromarray((mask.on_picture(steady) * 255).astype(np.uint8))
    person = share.filter(ImageFilter.GaussianBlur(EDGE * picture.width))
    if arguments.background and not arguments.people:
        behind = ImageOps.fit(arguments.background, picture.size)
    else:
        behind = picture.filter(ImageFilter.GaussianBlur(BLUR * picture.width))
    if arguments.people:
        # What is hidden is hidden with a margin: a sharp ear tells enough.
        margin = person.filter(ImageFilter.MaxFilter(2 * int(picture.width * EDGE) + 1))
        return Image.composite(behind, picture, margin)
    return Image.composite(picture, behind, person)


class Film:
    """A video file by the camera's own time, or motion JPEG on stdout."""

    def __init__(self, path):
        self.container = None if path == "-" else av.open(path, "w")
        self.stream = self.first_ns = None

    def write(self, image, sensor_ns):
        if self.container is None:
            file = io.BytesIO()
            image.save(file, "JPEG", quality=85)
            sys.stdout.buffer.write(file.getvalue())
            sys.stdout.buffer.flush()
            return
        if self.stream is None:
            self.first_ns = sensor_ns
            self.stream = self.container.add_stream("mpeg4", rate=30)
            self.stream.width, self.stream.height = (side // 2 * 2 for side in image.size)
            self.stream.pix_fmt, self.stream.bit_rate = "yuv420p", 4_000_000
            self.stream.codec_context.time_base = Fraction(1, 1000)
        frame = av.VideoFrame.from_image(image.crop((0, 0, self.stream.width, self.stream.height)))
        frame.pts, frame.time_base = (sensor_ns - self.first_ns) // 1_000_000, Fraction(1, 1000)
        self.container.mux(self.stream.encode(frame))

    def close(self):
        if self.stream is not None:
            self.container.mux(self.stream.encode(None))
        if self.container is not None:
            self.container.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", help="a video file, or - for motion JPEG on stdout")
    parser.add_argument("--people", action="store_true", help="blur the people, not what is behind them")
    parser.add_argument("--background", type=Image.open, help="a picture to put behind")
    parser.add_argument("--endpoint", default=DEFAULT_ENDPOINT)
    parser.add_argument("--pictures", type=int, default=0, help="end after so many; 0: with Ctrl-C")
    arguments = parser.parse_args()
    if arguments.background:
        arguments.background = ImageOps.exif_transpose(arguments.background).convert("RGB")
    film, smoother, written = Film(arguments.out), Smoother(0.15), 0
    try:
        with MaskSubscriber(arguments.endpoint, picture=True) as masks:
            for mask in masks:  # NoDataError when they stop
                if mask.picture is None:
                    sys.exit("no pictures come: set publish.images = true in the daemon's configuration")
                film.write(composed(mask, smoother(mask), arguments), mask.sensor_timestamp_ns)
                written += 1
                if written == arguments.pictures:
                    break
    except KeyboardInterrupt:
        pass
    except (NoDataError, ValueError) as error:  # ValueError: an endpoint that is none
        sys.exit(str(error))
    finally:
        film.close()


if __name__ == "__main__":
    main()
