"""A decoder is not believed: what is damaged is lost and counted, the rest is played, an end is an end."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest

from gnetsegd.cameras import pyav
from gnetsegd.cameras.clips import Clip, Gap, Picture
from gnetsegd.cameras.holes import has_hole, unit_length_bytes
from gnetsegd.cameras.v4l2 import V4l2Camera, V4l2Options
from gnetsegd.cameras.video import VideoCamera, VideoOptions
from gnetsegd.errors import ConfigError, EndOfVideo, NotYet, PermanentError
from gnetsegd.frame import Frame, FrameSpec
from gnetsegd.testing.clock import FakeClock
from gnetsegd.testing.fake_v4l2 import FakeWebcam

from .helpers import av, picture_of

Image = pytest.importorskip("PIL.Image")

#: The distance of key frames in the films that are made here, in pictures.
GROUP = 10


def scene(index: int) -> np.ndarray:
    """Something that moves, with detail, so that damage shows."""
    y, x = np.mgrid[0:96, 0:128]
    picture = 60 + 50 * np.sin((x + 3 * index) / 7) + 40 * np.cos((y - 2 * index) / 5)
    picture[30:50, (5 * index) % 100 : (5 * index) % 100 + 20] = 220
    return picture.clip(16, 235).astype(np.uint8)


def make_film(path, codec="libx264", frames=40, size=(128, 96), mux=None):
    with av.open(str(path), "w", options=mux or {}) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 10)
        if codec != "mjpeg":
            stream.codec_context.options = {"g": str(GROUP), "bf": "2", "threads": "1"}
        for index in range(frames):
            picture = picture_of(scene(index)[: size[1], : size[0]], stream.pix_fmt)
            picture.pts, picture.time_base = index, Fraction(1, 10)
            for packet in stream.encode(picture):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """By codec: the bytes of a film, where its packets lie (start, size), what its pictures are, and its
    key frames (number of the packet, time).
    """
    folder = tmp_path_factory.mktemp("films")
    made = {}
    for codec in ("libx264", "mpeg4", "mjpeg"):
        path = make_film(folder / f"{codec}.mp4", codec, mux={"movflags": "faststart"})
        with av.open(str(path)) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
            keys = [
                (at, float(packet.pts * packet.time_base))
                for at, packet in enumerate(packets)
                if packet.is_keyframe
            ]
            packets = [(packet.pos, packet.size) for packet in packets]
        whole, _, _ = played(path)
        assert len(whole) == 40
        made[codec] = (path.read_bytes(), packets, whole, keys)
    return made


def played(path, threads=1):
    """The pictures of a clip by their time, what was lost, the clip."""
    clip, shown, lost = Clip(str(path), threads), {}, {}
    for item in clip.pictures():
        if isinstance(item, Picture):
            assert item.time_s not in shown
            shown[item.time_s] = item.image.to_ndarray(format="gray").tobytes()
        elif isinstance(item, Gap):
            lost[item.kind] = lost.get(item.kind, 0) + item.pictures
    return shown, lost, clip


def overwrite(content, start, size):
    noise = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    return content[:start] + noise + content[start + size :]


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mjpeg"])
@pytest.mark.parametrize("part", [0.0, 0.5], ids=["all of it", "its second half"])
@pytest.mark.parametrize("at", [5, 20, 33])
def test_a_damaged_packet_costs_its_picture_and_those_made_from_it(codec, part, at, films, tmp_path):
    content, packets, whole, keys = films[codec]
    start, size = packets[at]
    skipped = int(size * part)
    path = tmp_path / "film.mp4"
    path.write_bytes(overwrite(content, start + skipped, size - skipped))
    shown, lost, clip = played(path)
    # Nothing is shown that differs from what was recorded, and after the next key frame all of it.
    assert shown.items() <= whole.items()
    sound_again = min((time for packet, time in keys if packet > at), default=9.0)
    assert {time for time in whole if time >= sound_again} <= set(shown)
    assert len(shown) + sum(lost.values()) == len(whole)
    assert lost["damaged"] >= 1
    if codec == "mjpeg":
        assert lost == {"damaged": 1}
    assert (clip.damage is None) == (sound_again < 9)


def test_a_decoder_with_several_threads_is_not_believed_either(films, tmp_path):
    content, packets, whole, _ = films["libx264"]
    path = tmp_path / "film.mp4"
    path.write_bytes(overwrite(content, *packets[15]))
    shown, lost, _ = played(path, threads=2)
    assert shown.items() <= whole.items()
    assert len(shown) >= 20
    assert lost["damaged"] >= 1


def test_a_film_that_was_cut_off_gives_what_is_whole_and_then_says_so(films, tmp_path):
    content, packets, whole, _ = films["libx264"]
    start, size = packets[30]
    path = tmp_path / "film.mp4"
    path.write_bytes(content[: start + size // 2])
    shown, _, clip = played(path)
    assert shown.items() <= whole.items()
    assert len(shown) == 30
    assert clip.damage is not None
    assert clip.damage.exit_code == os.EX_DATAERR


def test_two_recordings_joined_are_played_to_the_end_of_the_second(tmp_path):
    first = make_film(tmp_path / "a.ts")
    second = make_film(tmp_path / "b.ts", size=(112, 80))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    items = list(Clip(str(joined)).pictures())
    sizes = [(item.image.width, item.image.height) for item in items if isinstance(item, Picture)]
    assert sizes == [(128, 96)] * 40 + [(112, 80)] * 40


def test_a_recording_whose_first_part_was_cut_costs_only_what_was_cut(tmp_path):
    whole = make_film(tmp_path / "a.ts").read_bytes()
    joined = tmp_path / "joined.ts"
    joined.write_bytes(whole[: len(whole) // 2 // 188 * 188] + whole)
    pictures = [item for item in Clip(str(joined)).pictures() if isinstance(item, Picture)]
    assert len(pictures) >= 40 + GROUP
    with av.open(str(tmp_path / "a.ts")) as container:
        recorded = {image.to_ndarray(format="gray").tobytes() for image in container.decode(video=0)}
    assert {item.image.to_ndarray(format="gray").tobytes() for item in pictures} <= recorded


def transport_packets(content):
    """Where each packet of the video lies (FFmpeg gives it number 256)."""
    starts = range(0, len(content), 188)
    return [at for at in starts if int.from_bytes(content[at + 1 : at + 3], "big") & 0x1FFF == 256]


def test_a_lost_packet_of_a_transport_stream_is_never_shown_where_the_decoder_does_not_notice(tmp_path):
    path = make_film(tmp_path / "a.ts", "libx265")
    whole, content = set(played(path)[0].values()), path.read_bytes()
    # FFmpeg keeps to itself what it knows of the very first pictures.
    packets = transport_packets(content)
    for at in packets[len(packets) // 4 : -8]:
        path.write_bytes(content[:at] + content[at + 188 :])
        shown, lost, _ = played(path)
        assert set(shown.values()) <= whole
        assert len(shown) >= 10
        assert sum(lost.values()) >= 1


def test_where_such_recordings_are_joined_only_the_last_pictures_of_the_first_are_lost(tmp_path):
    path = make_film(tmp_path / "a.ts", "libx265")
    whole = played(path)[0].values()
    joined = tmp_path / "joined.ts"
    joined.write_bytes(path.read_bytes() * 2)
    shown = [item.image for item in Clip(str(joined)).pictures() if isinstance(item, Picture)]
    assert len(shown) >= 80 - 3
    assert {image.to_ndarray(format="gray").tobytes() for image in shown} <= set(whole)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_a_hole_of_zeros_is_damage_also_where_the_decoder_does_not_notice(codec, name, tmp_path):
    path = make_film(tmp_path / name, codec, mux={"movflags": "faststart"} if name.endswith("mp4") else {})
    content = path.read_bytes()
    whole, nothing_lost, _ = played(path)
    assert not nothing_lost
    with av.open(str(path)) as container:
        packet = [bytes(packet) for packet in container.demux(video=0)][GROUP + 2]
    start, size = content.index(packet) + len(packet) // 2, len(packet) // 4
    path.write_bytes(content[:start] + bytes(size) + content[start + size :])
    shown, lost, _ = played(path)
    assert shown.items() <= whole.items()
    assert lost["damaged"] == 1
    assert len(shown) >= 20


def test_units_that_lie_about_their_length_are_looked_at_to_the_end_of_the_packet():
    assert unit_length_bytes("h264", b"\1" + bytes(3) + b"\xff") == 4
    assert unit_length_bytes("h264", b"\0\0\0\1\x67") == 0
    assert unit_length_bytes("hevc", b"\1") == 0
    assert unit_length_bytes("vp9", b"\1" * 40) == 0
    assert not has_hole("h264", b"", 4)
    assert not has_hole("h264", b"\xff\xff\xff\xff" + b"\1" * 50, 4)
    assert has_hole("h264", b"\xff\xff\xff\xff" + b"\1" * 50 + bytes(3) + b"\1", 4)
    assert not has_hole("h264", b"\0\0\0\2\7\7" * 50 + bytes(64), 4)
    assert not has_hole("h264", bytes(4) * 10_000 + b"\1", 4)


def sequences(camera, frame):
    """Numbers until it raises something else than that nothing is due; what that was."""
    seen = []
    while True:
        try:
            camera.capture(frame)
        except NotYet:
            continue
        except Exception as error:
            return seen, error
        seen.append(frame.sequence)


@pytest.mark.parametrize(
    ("damaged_at", "code"), [(15, os.EX_OK), (39, os.EX_DATAERR)], ids=["within", "at the end"]
)
def test_a_film_ends_once_and_says_with_its_code_whether_its_end_was_there(
    damaged_at, code, films, tmp_path, request_of, frame
):
    content, packets, *_ = films["libx264"]
    path = tmp_path / "film.mp4"
    path.write_bytes(overwrite(content, *packets[damaged_at]))
    camera = VideoCamera(VideoOptions(path=str(path), loop=False), FakeClock())
    info = camera.open(request_of())
    assert not info.may_sleep
    seen, end = sequences(camera, frame)
    assert isinstance(end, EndOfVideo)
    assert end.exit_code == code
    assert seen == sorted(set(seen))
    assert len(seen) + sum(camera.lost.values()) == 40
    assert sequences(camera, frame)[0] == []
    camera.close()


def test_what_is_lost_is_counted_in_the_numbers_of_the_frames(films, tmp_path, request_of, frame):
    content, packets, *_ = films["mjpeg"]
    path = tmp_path / "film.mp4"
    path.write_bytes(overwrite(content, *packets[7]))
    camera = VideoCamera(VideoOptions(path=str(path), loop=False, rate="max"), FakeClock())
    camera.open(request_of())
    seen, _ = sequences(camera, frame)
    assert seen == [*range(7), *range(8, 40)]
    assert camera.lost == {"damaged": 1}
    camera.close()


def test_a_looping_film_with_a_damaged_end_begins_again(films, tmp_path, request_of, frame):
    content, packets, *_ = films["mjpeg"]
    path = tmp_path / "film.mp4"
    path.write_bytes(content[: packets[3][0]])
    camera = VideoCamera(VideoOptions(path=str(path), rate="max"), FakeClock())
    camera.open(request_of())
    for _ in range(10):
        camera.capture(frame)
    assert camera.lost
    camera.close()


def test_the_journal_tells_of_many_losses_rarely(films, tmp_path, request_of, frame, caplog):
    content, packets, *_ = films["mjpeg"]
    for start, size in packets[1::2]:
        content = overwrite(content, start, size)
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    camera = VideoCamera(VideoOptions(path=str(path), loop=False, rate="max"), FakeClock())
    camera.open(request_of())
    seen, _ = sequences(camera, frame)
    assert len(seen) == 20
    assert camera.lost == {"damaged": 20}
    assert 1 <= len(caplog.records) <= 6
    camera.close()


def jpeg(size=(64, 48), level=120, **options):
    data = BytesIO()
    noise = np.random.default_rng(level).integers(0, 60, (size[1], size[0]), np.uint8)
    Image.fromarray(noise + np.uint8(level)).save(data, "JPEG", quality=90, **options)
    return data.getvalue()


def png(size=(64, 48)):
    data = BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (size[1], size[0]), np.uint8)
    Image.fromarray(noise).save(data, "PNG")
    return data.getvalue()


@pytest.mark.parametrize("kind", [jpeg, png])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[: len(data) // 2] + b"\xff\xd9",
        lambda data: data[: len(data) // 3] + data[len(data) // 3 + 512 :],
        lambda data: data[: len(data) // 3] + bytes(512) + data[len(data) // 3 + 512 :],
        lambda data: data[:-4] if data[:1] == b"\x89" else data[: len(data) - 300],
        lambda data: data[:1],
    ],
    ids=["cut in half", "cut, with an end marker", "a hole", "zeros", "its end is missing", "of 1 byte"],
)
def test_half_a_picture_is_none(kind, damage, tmp_path, request_of):
    path = tmp_path / "picture.png"
    path.write_bytes(damage(kind()))
    with pytest.raises(PermanentError, match=r"picture\.png: cannot be decoded") as caught:
        VideoCamera(VideoOptions(path=str(path)), FakeClock()).open(request_of())
    assert caught.value.exit_code == os.EX_DATAERR


def test_half_a_tiff_is_none_and_a_whole_one_with_tags_of_its_own_is_taken(tmp_path):
    data, path = BytesIO(), tmp_path / "scan.tif"
    Image.new("RGB", (64, 48), (90, 90, 90)).save(
        data, "TIFF", tiffinfo={0x0112: 1, 0xC000: "a scanner's own"}
    )
    path.write_bytes(data.getvalue())
    assert len([item for item in Clip(str(path)).pictures() if isinstance(item, Picture)]) == 1
    path.write_bytes(data.getvalue()[: len(data.getvalue()) // 2])
    with pytest.raises(PermanentError, match="cannot be decoded"):
        list(Clip(str(path)).pictures())


def test_a_film_that_a_strict_decoder_refuses_wholly_is_tried_with_one_that_marks(
    films, tmp_path, monkeypatch
):
    content, packets, whole, _ = films["libx264"]
    path = tmp_path / "odd.mp4"
    path.write_bytes(content)
    monkeypatch.setattr(pyav, "STRICT", {"max_pixels": "1"})
    shown, lost, clip = played(path)
    assert (shown, lost, clip.damage) == (whole, {}, None)
    path.write_bytes(overwrite(content, *packets[15]))
    shown, lost, _ = played(path)
    assert lost["damaged"] == 1
    assert shown.items() <= whole.items()


@pytest.mark.parametrize("at", [0, 1, 2], ids=["the first", "the second", "the last"])
def test_one_bad_picture_of_a_folder_ends_nothing(at, tmp_path, request_of, frame, caplog):
    for index in range(3):
        (tmp_path / f"{index}.jpg").write_bytes(b"" if index == at else jpeg(level=40 * index + 40))
    camera = VideoCamera(VideoOptions(path=str(tmp_path), loop=False, rate="max"), FakeClock())
    camera.open(request_of())
    seen, end = sequences(camera, frame)
    assert seen == [index for index in range(3) if index != at]
    assert (isinstance(end, EndOfVideo), end.exit_code) == (True, 0)
    assert camera.lost == {"unreadable": 1}
    assert f"{at}.jpg" in caplog.text
    camera.close()


def test_a_folder_without_one_good_picture_is_an_error(tmp_path, request_of):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(PermanentError, match=r"a\.jpg") as caught:
        VideoCamera(VideoOptions(path=str(tmp_path)), FakeClock()).open(request_of())
    assert caught.value.exit_code == os.EX_DATAERR


def test_pictures_that_are_too_large_are_called_so(tmp_path, monkeypatch):
    monkeypatch.setattr(pyav, "MAX_PIXELS", 128 * 96 - 1)
    film, photo = make_film(tmp_path / "film.mp4"), tmp_path / "photo.jpg"
    photo.write_bytes(jpeg((128, 96)))
    for path in (film, photo):
        with pytest.raises(PermanentError, match=r"its pictures of 128x96 have more than \d+ million pixels"):
            list(Clip(str(path)).pictures())
    monkeypatch.setattr(pyav, "MAX_PIXELS", 128 * 96)
    for path in (film, photo):
        assert any(isinstance(item, Picture) for item in Clip(str(path)).pictures())


def test_an_animated_webp_is_called_what_it_is(tmp_path, monkeypatch):
    pictures = [Image.new("RGB", (32, 32), (40 * index, 0, 0)) for index in range(3)]
    path = tmp_path / "moves.webp"
    pictures[0].save(path, save_all=True, append_images=pictures[1:])

    def decode(*_):  # as an FFmpeg that does not read them
        raise av.error.InvalidDataError(1, "no")

    monkeypatch.setattr(av, "open", decode)
    with pytest.raises(PermanentError, match="is an animated WebP"):
        list(Clip(str(path)).pictures())


def make_sound_with_cover(path):
    """FLAC with a PICTURE block: music as people have it."""
    plain = BytesIO()
    with av.open(plain, "w", format="flac") as container:
        sound = container.add_stream("flac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8192), np.int16), format="s16", layout="mono")
        silence.sample_rate = 8000
        for packet in [*sound.encode(silence), *sound.encode(None)]:
            container.mux(packet)
    cover = jpeg()
    block = struct.pack(">II", 3, 10) + b"image/jpeg" + struct.pack(">5I", 0, 64, 48, 24, 0)
    block += struct.pack(">I", len(cover)) + cover
    data = plain.getvalue()
    head = 4 + 4 + 34  # the mark and the block that describes the stream
    path.write_bytes(
        data[:4]
        + bytes([data[4] & 0x7F])
        + data[5:head]
        + struct.pack(">I", 6 << 24 | len(block))
        + block
        + data[head:]
    )
    return path


def test_a_cover_picture_is_no_video(tmp_path):
    path = make_sound_with_cover(tmp_path / "song.flac")
    with av.open(str(path)) as container:
        assert container.streams.video  # FFmpeg takes it for one
    with pytest.raises(PermanentError, match="holds no video") as caught:
        list(Clip(str(path)).pictures())
    assert caught.value.exit_code == os.EX_DATAERR


@pytest.mark.parametrize("new_pyav", [True, False])
def test_beside_a_cover_picture_the_film_is_played(new_pyav):
    def stream(codec, rate, attached):
        told = {"disposition": 0x400 if attached else 1} if new_pyav else {}
        context = SimpleNamespace(name=codec)
        return SimpleNamespace(average_rate=rate, base_rate=rate or 90_000, codec_context=context, **told)

    cover, film = stream("mjpeg", None, True), stream("h264", 30, False)
    container = SimpleNamespace(streams=SimpleNamespace(video=[cover, film]))
    assert pyav.video_stream(container) is film


@pytest.mark.parametrize(
    "path",
    ["rtsp://user:secret@192.0.2.1/s", "http://user:secret@192.0.2.1/v", "udp://0.0.0.0:1234?key=secret"],
)
def test_an_address_is_no_file_and_its_password_is_not_repeated(path, request_of):
    for camera in (VideoCamera(VideoOptions(path=path)), V4l2Camera(V4l2Options(device=path))):
        with pytest.raises(ConfigError, match=r"is an address .* set camera\.driver to network") as caught:
            camera.open(request_of())
        assert "secret" not in str(caught.value)
        assert caught.value.exit_code == os.EX_CONFIG


class TestWebcam:
    """Motion JPEG that arrives damaged."""

    def opened(self, request_of):
        self.frame = Frame(FrameSpec(64, 48), 10)
        webcam = FakeWebcam(("MJPG",), ((64, 48),))
        webcam.jpeg = lambda luma: jpeg(level=int(luma[0, 0]) // 2)
        camera = V4l2Camera(V4l2Options(), webcam.open, webcam.clock)
        camera.open(request_of(self.frame.spec))
        return webcam, camera

    @pytest.mark.parametrize("part", [0.3, 0.5, 0.9])
    @pytest.mark.parametrize("end", [b"", b"\xff\xd9"], ids=["cut", "cut, with an end marker"])
    def test_a_cut_picture_is_lost_and_no_picture_of_two_moments(
        self, part, end, request_of, monkeypatch, caplog
    ):
        webcam, camera = self.opened(request_of)
        camera.capture(self.frame)
        before = self.frame.sequence
        real, cut = webcam.jpeg, [True, True, False]

        def jpeg_of(*arguments):
            data = real(*arguments)
            return data[: int(len(data) * part)] + end if cut and cut.pop(0) else data

        monkeypatch.setattr(webcam, "jpeg", jpeg_of)
        camera.capture(self.frame)
        assert self.frame.sequence == before + 3
        assert camera.lost == {"damaged": 2}
        assert "a picture arrived damaged" in caplog.text
        camera.close()
