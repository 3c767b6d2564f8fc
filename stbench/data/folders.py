"""The layouts of datasets that lie in a folder: UCF101, SkyTimelapse, and any folder of videos.

Each class knows one layout, and declares only the arguments that it has beside those of `FolderDataset`. What they
share, which videos can be used and what is done about the others, is in `scanning`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from stbench.data.scanning import VALIDATION_SEED, FolderDataset, files_below, folders_in, readable
from stbench.data.video import is_image, is_video
from stbench.errors import StbenchError, unknown_name


@dataclass(eq=False, kw_only=True)
class UCF101(FolderDataset):
    """UCF101 (Soomro, Zamir and Shah, arXiv 1212.0402): 13320 videos of 101 human actions, 320x240, 25 fps.

    `root` holds one folder per class; the label is the position of a class folder in sorted order. The default split is
    all videos, because the published protocol computes the reference statistics on training and test videos
    (universome/stylegan-v issue 30). A video that a split's list names and that is not there counts as broken.

    Attributes:
        split: "all", or "train01" to "train03" and "test01" to "test03": the lists of the official ucfTrainTestlist
            folder, which is looked for in `root` and beside it.
    """

    name = "ucf101"
    expected = "one folder per class, as in UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi"
    obtain = "https://www.crcv.ucf.edu/data/UCF101.php (UCF101.rar: unpack it with unrar or bsdtar)"

    split: str = "all"

    @property
    def frame_rate(self) -> float:
        """That of the paper."""
        return 25.0

    def _find(self) -> list[tuple[Path, int]]:
        by_class = {folder: _ucf_videos(folder) for folder in folders_in(self.folder)}
        classes = [folder for folder, videos in by_class.items() if videos]
        if not classes:
            for folder in by_class:
                if any(_ucf_videos(inner) for inner in folders_in(folder)):
                    raise self.wrong_layout(f"try dataset.root={folder}")
            if any(is_video(path) for path in self.folder.iterdir()):
                advice = "move every video into the folder of its class, or take dataset=video_folder"
                raise self.wrong_layout(f"{advice}, which needs no classes")
            raise self.wrong_layout()
        self.class_names = tuple(readable(PurePath(folder.name)) for folder in classes)
        found = [(path, label) for label, folder in enumerate(classes) for path in by_class[folder]]
        if self.split == "all":
            return found
        # The official list of the split, such as trainlist01.txt for train01.
        lists = {f"{part}0{number}": f"{part}list0{number}.txt" for part in ("train", "test") for number in (1, 2, 3)}
        if self.split not in lists:
            raise unknown_name("dataset.split", self.split, ["all", *lists])
        places = [folder / "ucfTrainTestlist" / lists[self.split] for folder in (self.folder, self.folder.parent)]
        split_list = next((place for place in places if place.is_file()), None)
        if split_list is None:
            raise StbenchError(
                f"dataset.split={self.split} needs the official list, at {places[0]} or {places[1]}: neither is there"
            )
        names = sorted(line.split()[0] for line in split_list.read_text().splitlines() if line.strip())
        # Case is ignored: folders and lists disagree on HandStandPushups and HandstandPushups.
        by_name = {self.id_of(path).lower(): (path, label) for path, label in found}
        return [by_name.get(name.lower(), (self.folder / name, -1)) for name in names]

    def _test_split(self) -> FolderDataset:
        if not self.split.startswith("train"):
            return super()._test_split()
        return replace(self, split=self.split.replace("train", "test"), seed=VALIDATION_SEED)


@dataclass(eq=False, kw_only=True)
class SkyTimelapse(FolderDataset):
    """SkyTimelapse (Xiong et al., CVPR 2018, arXiv 1709.07592): time-lapse videos of the sky, cut into frame folders.

    `root` holds sky_train and sky_test. A folder without frames counts as broken.

    Attributes:
        split: "train", "test" or "all".
    """

    name = "skytimelapse"
    expected = "frames two folders below the split's, as in sky_timelapse/sky_train/<video>/<clip>/<frame>.jpg"
    obtain = "https://github.com/weixiong-ur/mdgan (sky_timelapse.zip)"

    split: str = "train"

    def _find(self) -> list[tuple[Path, int]]:
        splits = {"train": ["sky_train"], "test": ["sky_test"], "all": ["sky_train", "sky_test"]}
        if self.split not in splits:
            raise unknown_name("dataset.split", self.split, splits)
        folders = [self.folder / name for name in splits[self.split]]
        for folder in folders:
            if not folder.is_dir():
                if self.folder.name in ("sky_train", "sky_test"):
                    raise self.wrong_layout(f"try dataset.root={self.folder.parent}")
                for inner in folders_in(self.folder):
                    if (inner / folder.name).is_dir():
                        raise self.wrong_layout(f"try dataset.root={inner}")
                if any(is_video(path) for path in files_below(self.folder)):
                    raise self.wrong_layout("it holds video files: take dataset=video_folder")
                raise self.wrong_layout(f"{folder.name} is not there")
            for path in files_below(folder):
                if is_video(path):
                    raise self.wrong_layout(f"{self.id_of(path)} is a video file: take dataset=video_folder")
                depth = len(path.relative_to(folder).parts) - 1
                if is_image(path) and depth != 2:
                    raise self.wrong_layout(f"{self.id_of(path)} lies at depth {depth} below {folder.name}, not 2")
        # A video without clips (the empty folder z6Yr7KDZhm0 of the original download) counts as one without frames.
        clips = [clip for folder in folders for video in folders_in(folder) for clip in folders_in(video) or [video]]
        return [(clip, 0) for clip in clips]

    def _test_split(self) -> FolderDataset:
        return replace(self, split="test", seed=VALIDATION_SEED) if self.split == "train" else super()._test_split()


@dataclass(eq=False, kw_only=True)
class VideoFolder(FolderDataset):
    """Every video file and every folder of images below `root`, at any depth.

    Attributes:
        labels: "none" (unconditional), or "folder": the class is the first folder below the root.
    """

    name = "video_folder"
    expected = (
        "videos or folders of images at any depth, as in my_videos/beach/waves.mp4 or my_videos/beach/waves/0001.png"
    )
    obtain = "your own disk"

    labels: str = "none"

    def _find(self) -> list[tuple[Path, int]]:
        if self.labels not in ("none", "folder"):
            raise unknown_name("dataset.labels", self.labels, ["none", "folder"])
        paths = find_videos(self.folder)
        if self.labels == "none":
            return [(path, 0) for path in paths]
        for path in paths:
            if len(path.relative_to(self.folder).parts) < 2:
                raise StbenchError(
                    f"{path} lies in no class folder: dataset.labels=folder expects root/<class>/<video>"
                )
        classes = [self.id_of(path).partition("/")[0] for path in paths]
        self.class_names = tuple(sorted(set(classes)))
        return [(path, self.class_names.index(name)) for path, name in zip(paths, classes, strict=True)]


def find_videos(root: Path) -> list[Path]:
    """Return every video file below `root` and every folder that holds images, sorted."""
    files = list(files_below(root))
    return sorted({path for path in files if is_video(path)} | {path.parent for path in files if is_image(path)})


def _ucf_videos(folder: Path) -> list[Path]:
    """Return the videos directly in a folder that are named as those of UCF101, sorted."""
    return sorted(path for path in folder.iterdir() if path.name.startswith("v_") and is_video(path))
