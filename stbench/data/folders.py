"""The layouts of datasets that lie in a folder: UCF101, SkyTimelapse, and any folder of videos.

Each class knows one layout; what is common to them, which videos can be used and what is done about the others, is in
`scanning`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stbench.data.scanning import FolderDataset, Video, files_below, folders_in
from stbench.data.spatial import DEFAULT_SPATIAL_RULE
from stbench.data.video import is_image, is_video
from stbench.errors import StbenchError, unknown_name


class UCF101(FolderDataset):
    """UCF101 (Soomro, Zamir and Shah, arXiv 1212.0402): 13320 videos of 101 human actions, 320x240, 25 fps.

    The label is the position of a class folder in sorted order. The default split is all videos, because the published
    protocol computes the reference statistics on training and test videos (universome/stylegan-v issue 30).

    Args:
        root: the folder with one folder per class.
        split: "all", or "train01" to "train03" and "test01" to "test03": the lists of the official ucfTrainTestlist
            folder, which is looked for in `root` and beside it.
        max_broken: as in `FolderDataset`, like all others; a video that the list names and that is not there counts as
            broken.
    """

    name = "ucf101"
    expected = "one folder per class, as in UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"
    obtain = "https://www.crcv.ucf.edu/data/UCF101.php (UCF101.rar: unpack it with unrar or bsdtar)"

    def __init__(
        self,
        image_size: int,
        num_frames: int,
        frame_stride: int,
        seed: int = 0,
        root: str | None = None,
        split: str = "all",
        max_broken: float = 0.05,
        probe: str = "metadata",
        spatial_rule: str = DEFAULT_SPATIAL_RULE,
    ) -> None:
        self.split = split
        super().__init__(image_size, num_frames, frame_stride, seed, root, max_broken, probe, spatial_rule)

    def _find(self) -> list[Video]:
        classes = [folder for folder in folders_in(self.root) if any(_is_ucf_video(path) for path in folder.iterdir())]
        if not classes:
            raise self.wrong_layout(self._advice())
        self.class_names = tuple(folder.name for folder in classes)
        videos = [
            Video(path, label)
            for label, folder in enumerate(classes)
            for path in sorted(folder.iterdir())
            if _is_ucf_video(path)
        ]
        return videos if self.split == "all" else self._listed(videos)

    def _advice(self) -> str:
        for folder in folders_in(self.root):
            if any(_is_ucf_video(path) for inner in folders_in(folder) for path in inner.iterdir()):
                return f"try dataset.root={folder}"
        if any(is_video(path) for path in self.root.iterdir()):
            return "move every video into the folder of its class, or take dataset=video_folder, which needs no classes"
        return ""

    def _listed(self, videos: Sequence[Video]) -> list[Video]:
        """Return the videos that the split's list names, in sorted order."""
        # Case is ignored: folders and lists disagree on HandStandPushups and HandstandPushups.
        by_name = {self.id_of(video.path).lower(): video for video in videos}
        names = sorted(line.split()[0] for line in self._split_list().read_text().splitlines() if line.strip())
        return [by_name.get(name.lower(), Video(self.root / name, -1)) for name in names]

    def _split_list(self) -> Path:
        known = {
            f"{part}{number:02d}": f"{part}list{number:02d}.txt" for part in ("train", "test") for number in (1, 2, 3)
        }
        if self.split not in known:
            raise unknown_name("dataset.split", self.split, ["all", *known])
        places = [folder / "ucfTrainTestlist" / known[self.split] for folder in (self.root, self.root.parent)]
        for place in places:
            if place.is_file():
                return place
        raise StbenchError(
            f"dataset.split={self.split} needs the official list, at {places[0]} or {places[1]}: neither is there"
        )


class SkyTimelapse(FolderDataset):
    """SkyTimelapse (Xiong et al., CVPR 2018, arXiv 1709.07592): time-lapse videos of the sky, cut into frame folders.

    Args:
        root: the folder that holds sky_train and sky_test.
        split: "train", "test" or "all".
        max_broken: as in `FolderDataset`, like all others; a folder without frames counts as broken.
    """

    name = "skytimelapse"
    expected = "frames two folders below the split's, as in sky_timelapse/sky_train/<video>/<clip>/<frame>.jpg"
    obtain = "https://github.com/weixiong-ur/mdgan (sky_timelapse.zip)"

    def __init__(
        self,
        image_size: int,
        num_frames: int,
        frame_stride: int,
        seed: int = 0,
        root: str | None = None,
        split: str = "train",
        max_broken: float = 0.05,
        spatial_rule: str = DEFAULT_SPATIAL_RULE,
    ) -> None:
        self.split = split
        super().__init__(image_size, num_frames, frame_stride, seed, root, max_broken, "metadata", spatial_rule)

    def _find(self) -> list[Video]:
        splits = {"train": ["sky_train"], "test": ["sky_test"], "all": ["sky_train", "sky_test"]}
        if self.split not in splits:
            raise unknown_name("dataset.split", self.split, splits)
        folders = [self.root / name for name in splits[self.split]]
        for folder in folders:
            if not folder.is_dir():
                raise self.wrong_layout(self._advice(folder.name))
            self._check_files(folder)
        # A video without clips (the empty folder z6Yr7KDZhm0 of the original download) counts as one without frames.
        clips = [clip for folder in folders for video in folders_in(folder) for clip in folders_in(video) or [video]]
        return [Video(clip, 0) for clip in clips]

    def _check_files(self, folder: Path) -> None:
        """Raise when a split's folder holds video files, or images at another depth."""
        for path in files_below(folder):
            if is_video(path):
                raise self.wrong_layout(f"{self.id_of(path)} is a video file: take dataset=video_folder")
            depth = len(path.relative_to(folder).parts) - 1
            if is_image(path) and depth != 2:
                raise self.wrong_layout(f"{self.id_of(path)} lies at depth {depth} below {folder.name}, not 2")

    def _advice(self, missing: str) -> str:
        if self.root.name in ("sky_train", "sky_test"):
            return f"try dataset.root={self.root.parent}"
        for folder in folders_in(self.root):
            if (folder / missing).is_dir():
                return f"try dataset.root={folder}"
        if any(is_video(path) for path in files_below(self.root)):
            return "it holds video files: take dataset=video_folder"
        return f"{missing} is not there"


class VideoFolder(FolderDataset):
    """Every video file and every folder of images below a folder.

    Args:
        root: the folder.
        labels: "none" (unconditional), or "folder": the class is the first folder below the root.
        max_broken: as in `FolderDataset`, like all others.
    """

    name = "video_folder"
    expected = (
        "videos or folders of images at any depth, as in my_videos/beach/waves.mp4 or my_videos/beach/waves/0001.png"
    )
    obtain = "your own disk"

    def __init__(
        self,
        image_size: int,
        num_frames: int,
        frame_stride: int,
        seed: int = 0,
        root: str | None = None,
        labels: str = "none",
        max_broken: float = 0.05,
        probe: str = "metadata",
        spatial_rule: str = DEFAULT_SPATIAL_RULE,
    ) -> None:
        if labels not in ("none", "folder"):
            raise unknown_name("dataset.labels", labels, ["none", "folder"])
        self.labels = labels
        super().__init__(image_size, num_frames, frame_stride, seed, root, max_broken, probe, spatial_rule)

    def _find(self) -> list[Video]:
        paths = find_videos(self.root)
        if self.labels == "none":
            return [Video(path, 0) for path in paths]
        for path in paths:
            if len(path.relative_to(self.root).parts) < 2:
                raise StbenchError(
                    f"{path} lies in no class folder: dataset.labels=folder expects root/<class>/<video>"
                )
        classes = [path.relative_to(self.root).parts[0] for path in paths]
        self.class_names = tuple(sorted(set(classes)))
        return [Video(path, self.class_names.index(name)) for path, name in zip(paths, classes, strict=True)]


def find_videos(root: Path) -> list[Path]:
    """Return every video file below `root` and every folder that holds images, sorted."""
    files = list(files_below(root))
    return sorted({path for path in files if is_video(path)} | {path.parent for path in files if is_image(path)})


def _is_ucf_video(path: Path) -> bool:
    return path.name.startswith("v_") and is_video(path)
