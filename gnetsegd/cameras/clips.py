"""Decoded pictures of a video file or of a folder of pictures, in order, by PyAV.

Whatever is wrong with a file ends as one ``PermanentError``: what is wrong, and the remedy.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from ..errors import ConfigError, PermanentError
from ..text import clean
from . import pyav

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What counts as a picture in a folder; everything else in it is passed over.
PICTURE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

#: Longer paths are cut in sentences; Linux has none that are longer.
_PATH_MAX_CHARACTERS = 4096


def named(path: Path) -> str:
    """A path for sentences: names of files come from outside."""
    return clean(str(path), _PATH_MAX_CHARACTERS)


class Picture(NamedTuple):
    """One decoded ``av.VideoFrame``, its time in s from the file (None if it has none), its file."""

    image: Any
    time_s: float | None
    path: Path


class Clip:
    """A video file, one picture, or a folder of pictures in the order of their names."""

    def __init__(
        self, path: str, decoder_threads: int = 1, check_time: Callable[[], None] = lambda: None
    ) -> None:
        """``PermanentError`` for what is missing (66) or not readable (77); nothing is decoded yet.

        ``check_time`` is called while a video is searched for its next picture, and may raise.
        """
        if not path:
            raise ConfigError("video: no file is named; set camera.video.path to a video or a folder")
        self.path = Path(path)
        self._threads = decoder_threads
        self._check_time = check_time
        self._av = pyav.load()
        #: Whether each file is one picture, so that there is no rate in them.
        self.is_pictures = False
        self._files = self._find()
        #: Frames per second by the file, 0 where it has none; known once a picture has been read.
        self.fps = 0.0

    def pictures(self) -> Iterator[Picture]:
        """Decode it from its beginning to its end.

        What comes before the damage in a damaged file is given first, then ``PermanentError`` (65).
        """
        for file in self._files:
            if self.is_pictures:
                yield self._single(file)
            else:
                yield from self._video(file)

    def _find(self) -> list[Path]:
        try:
            mode = self.path.stat().st_mode
            if not stat.S_ISDIR(mode):
                if not stat.S_ISREG(mode):
                    raise _no_file(self.path)
                self.is_pictures = self.path.suffix.lower() in PICTURE_SUFFIXES
                return [self.path]
            files = sorted(file for file in self.path.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES)
        except (OSError, ValueError) as error:  # ValueError: a name that no file can have
            raise _not_opened(self.path, error) from None
        self.is_pictures = True
        if not files:
            raise PermanentError(
                f"{named(self.path)}: holds no pictures; put files ending in "
                f"{', '.join(PICTURE_SUFFIXES)} there",
                os.EX_NOINPUT,
            )
        return files

    def _single(self, file: Path) -> Picture:
        try:
            # As an open file, because FFmpeg would take a % in a picture's name for a number.
            with _opened(file) as stream, self._av.open(stream) as container:
                for image in container.decode(video=0):
                    return Picture(image, None, file)
        except self._av.FFmpegError as error:
            raise _corrupt(file, error) from None
        except OSError as error:
            raise _not_opened(file, error) from None
        except (IndexError, ValueError) as error:
            raise _corrupt(file, error) from None
        raise _corrupt(file, "there is no picture in it")

    def _video(self, file: Path) -> Iterator[Picture]:
        try:
            with _opened(file):
                pass  # Python's errors tell missing from forbidden; FFmpeg's do not always
        except OSError as error:
            raise _not_opened(file, error) from None
        try:
            # The prefix keeps a name such as "http:x" from being taken for a protocol.
            with self._av.open(f"file:{file}") as container:
                if not container.streams.video:
                    raise PermanentError(f"{named(file)}: holds no video; name a video file", os.EX_DATAERR)
                yield from self._decode(file, container, container.streams.video[0])
        except (self._av.FFmpegError, IndexError, ValueError) as error:
            raise _corrupt(file, error) from None

    def _decode(self, file: Path, container: Any, stream: Any) -> Iterator[Picture]:
        stream.codec_context.thread_count = self._threads
        self.fps = float(stream.average_rate or stream.base_rate or 0)
        pictures = 0
        damage: object = None
        packets = container.demux(stream)
        while damage is None:
            self._check_time()
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                images = packet.decode()
                if packet.is_corrupt:
                    images, damage = [*images, *self._rest(stream)], "it is cut off"
            except self._av.FFmpegError as error:
                images, damage = self._rest(stream), error
            for image in images:
                pictures += 1
                # What is flushed out of a decoder carries no usable time.
                yield Picture(image, image.time if damage is None else None, file)
        if damage is not None:
            raise _corrupt(file, damage)
        if not pictures:
            raise _corrupt(file, "no frame in it can be decoded")

    def _rest(self, stream: Any) -> list[Any]:
        """The good pictures that the decoder still holds when it has met damage."""
        try:
            return list(stream.codec_context.decode(None))
        except self._av.FFmpegError:
            return []


def _opened(file: Path) -> BinaryIO:
    """A regular file; the other end of a pipe that has taken its name is not waited for."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK)

    stream = open(str(file), "rb", opener=opener)  # noqa: SIM115 - Path.open has no opener
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise _no_file(file)
    return stream


def _no_file(path: Path) -> PermanentError:
    return PermanentError(f"{named(path)}: is no file; name a video or a folder", os.EX_NOINPUT)


def _not_opened(path: Path, error: OSError | ValueError) -> PermanentError:
    if isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
        return PermanentError(f"{named(path)}: there is no such file; mend camera.video.path", os.EX_NOINPUT)
    if isinstance(error, PermissionError):
        return PermanentError(
            f"{named(path)}: this user may not read it; mend its owner or mode", os.EX_NOPERM
        )
    return PermanentError(f"{named(path)}: cannot be read: {error.strerror or error}", os.EX_NOINPUT)


def _corrupt(path: Path, reason: object) -> PermanentError:
    words = clean(str(getattr(reason, "strerror", None) or reason))
    return PermanentError(
        f"{named(path)}: cannot be decoded ({words}): it is corrupt, cut off or no video; "
        "copy or convert it again",
        os.EX_DATAERR,
    )
