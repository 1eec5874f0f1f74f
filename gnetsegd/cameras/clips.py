"""Decoded pictures of a video file or of a folder of pictures, in order, by PyAV.

A decoder makes up what is missing, and what it makes up is no picture: such a one is a ``Gap``, and what
is whole behind it goes on. Whatever is wrong with all of it ends as one ``PermanentError``: what is wrong,
and the remedy.
"""

from __future__ import annotations

import os
import stat
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from ..errors import ConfigError, PermanentError
from ..files import hidden_from_service
from ..text import clean
from . import exif, losses, mp4, pyav
from .addresses import refuse_address
from .films import Film
from .geometry import PLAIN, View
from .holes import has_hole

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What counts as a picture in a folder; everything else in it is passed over.
PICTURE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

#: Longer paths are cut in sentences; Linux has none that are longer.
_PATH_MAX_CHARACTERS = 4096
#: A picture's file may have so many bytes: it is read at once.
_PICTURE_MAX_BYTES = 256 << 20

#: A rate that is so much more or less than that of the pictures' times is wrong (fields are twice as many).
_RATES_APART = 2.2


def named(path: Path) -> str:
    """A path for sentences: names of files come from outside."""
    return clean(str(path), _PATH_MAX_CHARACTERS)


class Picture(NamedTuple):
    """One decoded ``av.VideoFrame``, its time in s from the file (None if it has none), its file, how it is
    to be seen.
    """

    image: Any
    time_s: float | None
    path: Path
    view: View = PLAIN


class Gap(NamedTuple):
    """So many pictures that are lost: ``kind`` is one of ``losses``, ``words`` are for people."""

    kind: str
    words: str
    pictures: int = 1


class Clip:
    """A video file, one picture, or a folder of pictures in the order of their names."""

    def __init__(self, path: str, decoder_threads: int = 1) -> None:
        """``PermanentError`` for what is missing (66) or not readable (77), ``ConfigError`` for an address;
        nothing is decoded yet.
        """
        if not path:
            raise ConfigError("video: no file is named; set camera.video.path to a video or a folder")
        refuse_address("camera.video.path", path, "name a video or a folder")
        self.path = Path(path)
        self._threads = decoder_threads
        self._av = pyav.load()
        #: Whether each file is one picture, so that there is no rate in them.
        self.is_pictures = False
        self._files = self._find()
        #: Frames per second by the file, 0 where it has none; known once a picture has been read.
        self.fps = 0.0
        #: Of the film that is read: its decoder, whether it is an MP4, why its end is not its end.
        self._codec = ""
        self._is_mp4 = False
        self._end_is_missing = ""
        #: Why the last pass ended before the end of the film; None where all went well.
        self.damage: PermanentError | None = None

    def pictures(self) -> Iterator[Picture | Gap | None]:
        """Decode it from its beginning to its end; None says that the search for the next picture goes on.

        ``PermanentError`` when there is not one picture in all of it.
        """
        self.damage = None
        found, reason = False, None
        for file in self._files:
            try:
                for item in [self._single(file)] if self.is_pictures else self._film(file):
                    found = found or isinstance(item, Picture)
                    yield item
            except PermanentError as error:
                # Of a folder the others may be good; a film that failed after some pictures is over.
                reason = reason or error
                if not self.is_pictures:
                    self.damage = error
                elif len(self._files) > 1:
                    yield Gap(losses.UNREADABLE, str(error))
        if not found:
            assert reason is not None
            raise reason

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
            with _opened(file) as stream:
                data = stream.read(_PICTURE_MAX_BYTES + 1)
        except OSError as error:
            raise _not_opened(file, error) from None
        if len(data) > _PICTURE_MAX_BYTES:
            raise _damaged(file, f"it has more than {_PICTURE_MAX_BYTES >> 20} MiB")
        try:
            # As bytes, because FFmpeg would take a % in a picture's name for a number.
            with self._av.open(BytesIO(data)) as container:
                stream = container.streams.video[0]
                if stream.codec_context is None:
                    raise _undecodable(file)
                codec = stream.codec_context.name
                if large := pyav.too_large(stream.codec_context):
                    raise _damaged(file, large)
                stream.codec_context.options = pyav.options_of(codec)
                if has_hole(codec, data):
                    raise _damaged(file, "there are zeros in the picture")
                for image in container.decode(stream):
                    if image.is_corrupt:
                        break
                    return Picture(image, None, file, View(exif.turn_of(data)))
        except (self._av.FFmpegError, IndexError, ValueError) as error:
            if exif.is_animated_webp(data):
                raise PermanentError(
                    f"{named(file)}: is an animated WebP, which FFmpeg does not read; save it as a GIF or a "
                    "video",
                    os.EX_DATAERR,
                ) from None
            raise _damaged(file, error) from None
        raise _damaged(file, "there is no whole picture in it")

    def _film(self, file: Path) -> Iterator[Picture | Gap | None]:
        try:
            # Python's errors tell missing from forbidden; FFmpeg's do not always.
            with _opened(file) as opened:
                is_cut_off = mp4.is_cut_off(opened)
        except OSError as error:
            raise _not_opened(file, error) from None
        held: dict[str, Gap] = {}
        for options in (pyav.STRICT, pyav.MARKED):
            found = False
            for item in self._pass(file, options):
                if isinstance(item, Gap) and not found:
                    # It counts only if there are pictures behind it.
                    pictures = item.pictures + (held[item.kind].pictures if item.kind in held else 0)
                    held[item.kind] = item._replace(pictures=pictures)
                    yield None
                    continue
                if isinstance(item, Picture) and not found:
                    found = True
                    yield from held.values()
                yield item
            if found or self._codec not in pyav.CAN_MARK:
                break
            held = {}
        if self._end_is_missing:
            raise _damaged(file, self._end_is_missing)
        if is_cut_off and self._is_mp4:
            yield Gap(losses.CUT, f"{named(file)}: pictures are lost (it is cut off)")
            raise _damaged(file, "it is cut off")

    def _pass(self, file: Path, options: dict[str, str]) -> Iterator[Picture | Gap | None]:
        """One film from its beginning to its end."""
        try:
            # The prefix keeps a name such as "http:x" from being taken for a protocol.
            with self._av.open(f"file:{file}") as container:
                self._is_mp4 = "mp4" in container.format.name
                stream = pyav.video_stream(container)
                if stream is None:
                    raise PermanentError(
                        f"{named(file)}: holds no video (a cover picture is none); name a video file",
                        os.EX_DATAERR,
                    )
                if stream.codec_context is None:
                    raise _undecodable(file)
                self._codec = stream.codec_context.name
                if large := pyav.too_large(stream.codec_context):
                    raise _damaged(file, large)
                if not self.fps:
                    self.fps = self._checked_rate(file, pyav.frame_rate(stream))
                views = pyav.Views(stream)
                film = Film(container, stream, self._threads, options)
                for item in film.images():
                    if isinstance(item, tuple):
                        kind, words, pictures = item
                        yield Gap(kind, f"{named(file)}: {words}", pictures)
                    elif item is None:
                        yield None
                    else:
                        yield Picture(item, item.time, file, views.of(item))
                self._end_is_missing = film.end_is_missing
        except (self._av.FFmpegError, IndexError, ValueError) as error:
            raise _damaged(file, error) from None

    def _checked_rate(self, file: Path, told: float) -> float:
        """The rate that the file tells, if it fits the times of its pictures; else what these say."""
        with self._av.open(f"file:{file}") as container:
            seen = pyav.seen_rate(container, pyav.video_stream(container))
        believed = told and (not seen or 1 / _RATES_APART <= told / seen <= _RATES_APART)
        return told if believed else seen


def _opened(file: Path) -> BinaryIO:
    """A regular file; the other end of a pipe that has taken its name is not waited for."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK)

    stream = open(str(file), "rb", opener=opener)  # noqa: SIM115 - Path.open has no opener
    found = os.fstat(stream.fileno())
    if not stat.S_ISREG(found.st_mode):
        stream.close()
        raise _no_file(file)
    if not found.st_size:
        # Nor the kernel's files, which have no size, and of which some are waited for.
        stream.close()
        raise PermanentError(f"{named(file)}: is empty; copy it again", os.EX_DATAERR)
    return stream


def _no_file(path: Path) -> PermanentError:
    return PermanentError(f"{named(path)}: is no file; name a video or a folder", os.EX_NOINPUT)


def _not_opened(path: Path, error: OSError | ValueError) -> PermanentError:
    if isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
        return PermanentError(
            f"{named(path)}: there is no such file; mend camera.video.path{hidden_from_service(path)}",
            os.EX_NOINPUT,
        )
    if isinstance(error, PermissionError):
        return PermanentError(
            f"{named(path)}: this user may not read it; mend its owner or mode{hidden_from_service(path)}",
            os.EX_NOPERM,
        )
    return PermanentError(f"{named(path)}: cannot be read: {error.strerror or error}", os.EX_NOINPUT)


def _undecodable(file: Path) -> PermanentError:
    return PermanentError(
        f"{named(file)}: FFmpeg has no decoder for its pictures; convert it, to H.264 for example",
        os.EX_DATAERR,
    )


def _damaged(path: Path, reason: object) -> PermanentError:
    words = clean(str(getattr(reason, "strerror", None) or reason))
    return PermanentError(
        f"{named(path)}: cannot be decoded ({words}); copy or convert it again", os.EX_DATAERR
    )
