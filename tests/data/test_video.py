"""Frames of a video by their indices are those of a full decode, and what cannot be decoded is named."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from stbench.data import video
from stbench.data.spatial import SPATIAL_RULES, square
from stbench.data.video import (
    MissingFramesError,
    UnreadableVideoError,
    check_whole,
    count_frames,
    frame_size,
    natural_order,
    read_frames,
)
from stbench.errors import StbenchError

WriteVideo = Callable[..., Path]
# Name of the file and encoder; H.264 comes with B-frames, VP8 and VP9 with hidden ones.
FILES = [
    ("clip.mp4", "libx264"),
    ("clip.mkv", "libx264"),
    ("clip.avi", "libx264"),
    ("clip.avi", "mpeg4"),
    ("clip.webm", "libvpx-vp9"),
    ("clip.webm", "libvpx"),
    ("clip.mkv", "mjpeg"),
    ("clip.gif", "gif"),
]
PICKS = [[0], [19], [3, 5, 7], [6, 7], [12, 15, 18], [7, 7, 2]]


@pytest.mark.parametrize(("name", "codec"), FILES)
def test_chosen_frames_are_those_of_a_full_decode(write_video: WriteVideo, name: str, codec: str) -> None:
    path = write_video(name, codec)
    with av.open(str(path)) as container:
        full = np.stack([square(frame.to_image(), 24) for frame in container.decode(video=0)])
    assert len(full) == 20
    assert len({frame.tobytes() for frame in full}) == 20
    for indices in PICKS:
        assert np.array_equal(read_frames(path, indices, 24), full[indices]), indices


@pytest.mark.parametrize(("name", "codec"), FILES)
def test_frames_are_counted(write_video: WriteVideo, name: str, codec: str) -> None:
    path = write_video(name, codec)
    assert count_frames(path, "decode") == 20
    assert count_frames(path) == 20


def test_frames_are_counted_by_decoding_where_none_are_declared_or_that_is_asked(write_video: WriteVideo) -> None:
    gif = write_video("clip.gif", "gif", num_frames=7)
    assert count_frames(gif) == count_frames(gif, "decode") == 7
    cut = write_video("cut.avi", num_frames=40)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    assert count_frames(cut) == 40 > count_frames(cut, "decode") > 0


def test_a_folder_without_images_has_no_frames(tmp_path: Path) -> None:
    with pytest.raises(UnreadableVideoError, match="has no frames"):
        count_frames(tmp_path)


@pytest.mark.parametrize(
    ("name", "codec", "seeks"), [(*FILES[0], True), (*FILES[4], True), (*FILES[3], False), (*FILES[7], False)]
)
def test_seeking_is_used_where_safe(
    write_video: WriteVideo, monkeypatch: pytest.MonkeyPatch, name: str, codec: str, seeks: bool
) -> None:
    calls: list[Path] = []
    decode = video._decode

    def counted(path: Path, wanted: set[int], to_square: Any, timeline: Any) -> dict[int, Any]:
        if timeline is None:
            calls.append(path)
        return decode(path, wanted, to_square, timeline)

    monkeypatch.setattr(video, "_decode", counted)
    read_frames(write_video(name, codec), [15, 17], 16)
    assert len(calls) == (0 if seeks else 1)


def test_image_folder_is_in_natural_order(write_images: WriteVideo) -> None:
    folder = write_images("frames", num_frames=12, size=(8, 8))
    frames = read_frames(folder, [1, 2, 10, 11], 8)
    expected = [np.asarray(Image.open(folder / f"frame_{index}.png")) for index in (1, 2, 10, 11)]
    assert np.array_equal(frames, expected)
    assert count_frames(folder) == count_frames(folder, "decode") == 12


def test_natural_order_compares_numbers() -> None:
    names = ["a10.jpg", "a9.jpg", "a09b.jpg", "b20.jpg", "b1.jpg", "1.jpg"]
    ordered = sorted((Path(name) for name in names), key=natural_order)
    assert [path.name for path in ordered] == ["1.jpg", "a9.jpg", "a09b.jpg", "a10.jpg", "b1.jpg", "b20.jpg"]


@pytest.mark.parametrize("rule", SPATIAL_RULES)
@pytest.mark.parametrize(("width", "height"), [(64, 48), (48, 64), (16, 16), (10, 7), (640, 31)])
def test_every_rule_keeps_the_centre_and_the_aspect(width: int, height: int, rule: str) -> None:
    # A horizontal and a vertical ramp: their centre and slope after the rule are known.
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    image = Image.fromarray(
        np.stack([255 * (x + 0.5) / width, 255 * (y + 0.5) / height, 0 * x + 77], -1).astype(np.uint8)
    )
    frame = square(image, 16, rule).astype(float)
    assert frame.shape == (16, 16, 3)
    assert set(np.unique(frame[..., 2])) <= {77.0 - (rule == "cdfvd-videos"), 77.0}  # which cuts 76.9999 off
    middle = frame[4:12, 4:12]
    assert middle[..., :2].mean(axis=(0, 1)) == pytest.approx([127.5, 127.5], abs=14)
    long_side = max(width, height) / min(width, height)
    slope_x = np.diff(middle[..., 0], axis=1).mean()
    slope_y = np.diff(middle[..., 1], axis=0).mean()
    assert slope_x == pytest.approx(255 / 16 / (long_side if width > height else 1), abs=1.2)
    assert slope_y == pytest.approx(255 / 16 / (long_side if height > width else 1), abs=1.2)


def test_resizing_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    frame = square(Image.fromarray(stripes), 8)
    assert np.abs(frame.astype(float) - 127.5).max() < 6


def test_grey_and_palette_images_become_rgb(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 90).save(tmp_path / "0.png")
    Image.new("P", (8, 8), 0).save(tmp_path / "1.png")
    assert read_frames(tmp_path, [0, 1], 4).shape == (2, 4, 4, 3)


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.mp4", b""), ("page.mp4", b"<html>404 not found</html>" * 50), ("noise.avi", bytes(range(256)) * 40)],
)
def test_what_is_no_video_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    for attempt in (count_frames, partial(count_frames, probe="decode"), lambda path: read_frames(path, [0], 8)):
        with pytest.raises(UnreadableVideoError, match=name) as caught:
            attempt(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_truncated_mp4_is_named(write_video: WriteVideo) -> None:
    path = write_video("cut.mp4", "libx264")
    path.write_bytes(path.read_bytes()[:-800])
    with pytest.raises(StbenchError, match=r"cut\.mp4: unreadable"):
        read_frames(path, [0], 8)


def test_truncated_avi_declares_more_than_it_holds(write_video: WriteVideo) -> None:
    path = write_video("cut.avi", "mpeg4", num_frames=40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert count_frames(path) == 40
    assert 0 < count_frames(path, "decode") < 40
    with pytest.raises(MissingFramesError, match=r"cut\.avi: frame 39 is not there"):
        read_frames(path, [0, 39], 8)


def test_sound_without_pictures_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(UnreadableVideoError, match="no video stream"):
        count_frames(path)


def test_broken_image_is_named(write_images: WriteVideo) -> None:
    folder = write_images("frames", num_frames=3)
    (folder / "frame_1.png").write_bytes(b"not a picture")
    with pytest.raises(UnreadableVideoError, match=r"frame_1\.png: unreadable image"):
        read_frames(folder, [0, 1], 8)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"\xff\xd8\xff\xe0" + bytes(range(200)), b""])
def test_damaged_images_are_named_whatever_the_decoder_raises(write_images: WriteVideo, content: bytes) -> None:
    folder = write_images("frames", num_frames=3)
    (folder / "frame_2.png").write_bytes(content)
    with pytest.raises(UnreadableVideoError, match=r"unreadable image \(frame_2\.png"):
        read_frames(folder, [0, 1, 2], 8)


def test_frames_of_16_bits_are_not_white(write_images: WriteVideo) -> None:
    folder = write_images("frames", num_frames=1)
    ramp = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1024
    Image.fromarray(ramp).save(folder / "frame_0.png")
    assert np.array_equal(read_frames(folder, [0], 8)[0, :, :, 0], ramp // 256)


def test_a_cut_image_is_found_before_a_run_where_that_is_asked(write_images: WriteVideo) -> None:
    folder = write_images("frames", num_frames=3)
    cut = folder / "frame_1.png"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    assert count_frames(folder) == 3
    with pytest.raises(UnreadableVideoError, match=r"unreadable image \(frame_1\.png"):
        count_frames(folder, "decode")


def test_a_clip_whose_images_differ_in_size_is_refused(write_images: WriteVideo) -> None:
    folder = write_images("frames", num_frames=6)
    Image.new("RGB", (20, 12)).save(folder / "frame_4.png")
    assert read_frames(folder, [0, 3], 8).shape == (2, 8, 8, 3)
    with pytest.raises(UnreadableVideoError, match=r"changes size within a clip \(16x12 and 20x12\)"):
        read_frames(folder, [0, 4], 8)


def test_a_video_that_changes_size_is_refused(write_video: WriteVideo, tmp_path: Path) -> None:
    small, large = write_video("small.ts", "mpeg2video"), write_video("large.ts", "mpeg2video", size=(64, 96))
    joined = tmp_path / "joined.ts"  # a transport stream may be laid end to end
    joined.write_bytes(small.read_bytes() + large.read_bytes())
    assert read_frames(joined, [0, 9], 8).shape == (2, 8, 8, 3)
    with pytest.raises(UnreadableVideoError, match=r"changes size within a clip \(64x48 and 96x64\)"):
        read_frames(joined, [5, 30], 8)


@pytest.mark.parametrize(("name", "codec"), FILES)
def test_whole_files_pass_for_whole(write_video: WriteVideo, name: str, codec: str) -> None:
    check_whole(write_video(name, codec))


@pytest.mark.parametrize("share", [0.7, 0.8, 0.9])
def test_a_file_that_was_cut_off_is_told(write_video: WriteVideo, share: float) -> None:
    path = write_video("cut.avi", "mpeg4", num_frames=40)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(UnreadableVideoError, match=r"cut\.avi: truncated \(declares 40 frames, holds [1-3]?[0-9]\)"):
        check_whole(path)


@pytest.mark.parametrize(
    ("numbers", "gap"),
    [
        ([0, 1, 2, 3], None),
        ([5, 10, 15], None),
        ([33, 67, 100, 134], None),
        ([7], None),
        ([], None),
        ([1, 2, 4, 5], "frame_2.png and frame_4.png"),
        ([8, 9, 11], "frame_9.png and frame_11.png"),
    ],
)
def test_a_missing_number_is_told(tmp_path: Path, numbers: list[int], gap: str | None) -> None:
    for number in numbers:
        (tmp_path / f"frame_{number}.png").write_bytes(b"")
    if gap is None:
        check_whole(tmp_path)
    else:
        with pytest.raises(UnreadableVideoError, match=rf"a frame is missing \(between {gap}\)"):
            check_whole(tmp_path)


def test_names_without_numbers_are_not_judged(tmp_path: Path) -> None:
    for name in ("a.png", "b_1.png", "b_5.png", "c_2.png"):
        (tmp_path / name).write_bytes(b"")
    check_whole(tmp_path)


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "none.mp4").write_bytes(b"")
    with pytest.raises(UnreadableVideoError, match=r"none\.mp4: empty \(0 bytes\)"):
        count_frames(tmp_path / "none.mp4")


def test_a_title_in_another_encoding_does_no_harm(write_video: WriteVideo) -> None:
    path = write_video("titled.avi", "mpeg4")
    plain = path.read_bytes()
    title = b"INFOINAM" + (4).to_bytes(4, "little") + b"\xe9\xe8\xff\0"
    chunk = b"LIST" + len(title).to_bytes(4, "little") + title
    place = plain.index(b"movi") - 8  # before the list of frames
    path.write_bytes(plain[:place] + chunk + plain[place:])
    assert read_frames(path, [0, 3], 8).shape == (2, 8, 8, 3)


def test_an_unknown_codec_is_named(write_video: WriteVideo) -> None:
    path = write_video("strange.avi", "mpeg4")
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"ZZZZ"))
    for attempt in (frame_size, partial(count_frames, probe="decode"), lambda path: read_frames(path, [0], 8)):
        with pytest.raises(UnreadableVideoError, match=r"strange\.avi: unreadable \(unknown codec\)"):
            attempt(path)


def test_frame_sizes(write_video: WriteVideo, write_images: WriteVideo) -> None:
    assert frame_size(write_video("clip.mp4", "libx264", size=(48, 80))) == (80, 48)
    assert frame_size(write_images("frames", size=(12, 16))) == (16, 12)


def test_frames_beyond_an_image_folder_are_missed(write_images: WriteVideo) -> None:
    with pytest.raises(MissingFramesError, match="frame 3 is not there"):
        read_frames(write_images("frames", num_frames=3), [2, 3, 4], 8)


@pytest.mark.parametrize(
    ("name", "num_frames"),
    [
        ("UCF-101/CricketShot/v_CricketShot_g04_c01.avi", 79),
        ("sky_timelapse/sky_train/sunset/sunset_1", 16),
        ("videos/kitten.mp4", 49),
        ("videos/train_running.mp4", 49),
        ("videos/blackswan.gif", 16),
    ],
)
def test_real_videos(shared_clips: Path, name: str, num_frames: int) -> None:
    path = shared_clips / name
    assert count_frames(path, "decode") == num_frames
    frames = read_frames(path, [0, num_frames - 1], 32)
    assert frames.shape == (2, 32, 32, 3)
    assert frames.std() > 20
    with pytest.raises(MissingFramesError):
        read_frames(path, [num_frames], 32)


# ---- files of other people -------------------------------------------------------------------------------------------


def without_first_packets(source: Path, cut: Path, dropped: int) -> Path:
    """What a cut by stream copy leaves when it does not fall on a key frame."""
    with av.open(str(source)) as old, av.open(str(cut), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(old.demux(video=0)):
            if packet.size and number >= dropped:
                packet.stream = stream
                new.mux(packet)
    return cut


@pytest.mark.parametrize("dropped", [3, 6, 9])
def test_a_file_that_does_not_begin_with_a_key_frame_has_one_numbering(
    write_video: WriteVideo, tmp_path: Path, dropped: int
) -> None:
    cut = without_first_packets(write_video("whole.mkv", "libx264", num_frames=40), tmp_path / "cut.mkv", dropped)
    with av.open(str(cut)) as container:
        full = np.stack([square(frame.to_image(), 24) for frame in container.decode(video=0)])
    for start in range(len(full) - 2):
        indices = range(start, start + 2)
        assert np.array_equal(read_frames(cut, indices, 24), full[indices]), start


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that relative paths begin in, with a video beside."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


PLAYLISTS = {
    "concat.mp4": "ffconcat version 1.0\nfile beside.mp4\nduration 1.0\n",
    "hls.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nbeside.ts\n#EXT-X-ENDLIST\n",
    "hls.ts": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:{port}/x.ts\n#EXT-X-ENDLIST\n",
    "dash.mp4": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
    '<AdaptationSet><Representation id="0" bandwidth="1"><BaseURL>beside.mp4</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "sdp.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_opens_no_other_file(write_video: WriteVideo, in_folder: Path, name: str) -> None:
    for beside in ("beside.mp4", "beside.ts"):
        write_video(beside, "libx264")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        (in_folder / name).write_text(PLAYLISTS[name].replace("{port}", str(server.getsockname()[1])))
        with pytest.raises(UnreadableVideoError, match="unreadable"):
            read_frames(Path(name), [0], 8)
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    "name", ["http:/127.0.0.1:{port}/x.mp4", "concat:beside.mp4|beside.mp4", "file:x.mp4", "a,b%03d.mp4"]
)
def test_a_name_is_never_an_address(write_video: WriteVideo, in_folder: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        path = Path(name.replace("{port}", str(server.getsockname()[1])))
        write_video("beside.mp4", num_frames=3)
        write_video(str(path), num_frames=5)
        assert count_frames(path, "decode") == 5
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_frame_of_absurd_size_is_refused_before_it_is_decoded(
    write_images: WriteVideo, write_video: WriteVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_images("frames", num_frames=2)
    Image.new("1", (13_000, 13_000)).save(folder / "frame_1.png")  # 20 kB
    with pytest.raises(UnreadableVideoError, match=r"too large \(13000x13000, more than 67108864 pixels\)"):
        read_frames(folder, [0, 1], 8)
    path = write_video("clip.mp4")
    monkeypatch.setattr(video, "LARGEST_FRAME_PIXELS", 1000)
    with pytest.raises(UnreadableVideoError, match=r"too large \(64x48, more than 1000 pixels\)"):
        count_frames(path)


def test_a_pipe_is_not_waited_for(write_images: WriteVideo, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(UnreadableVideoError, match=r"pipe\.mp4: is not a file"):
        count_frames(tmp_path / "pipe.mp4")
    folder = write_images("frames", num_frames=2)
    os.mkfifo(folder / "frame_2.png")
    assert count_frames(folder) == 2


def test_a_program_in_place_of_an_image_is_not_run(write_images: WriteVideo) -> None:
    folder = write_images("frames", num_frames=1)
    Image.new("RGB", (16, 12)).save(folder / "frame_0.png", "EPS")
    with pytest.raises(UnreadableVideoError, match="unreadable image"):
        read_frames(folder, [0], 8)
