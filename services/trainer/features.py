"""What is known of a picture before anything is learnt from the dataset: filter answers, and a backbone's maps.

Nothing here changes in training, so it is computed once for each picture. The statistics are those of the whole maps,
at their own resolution: a spread of pooled maps would no longer know of pores.
"""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from services.trainer.backbone import CHANNELS, EfficientNetLite0
from services.trainer.data import FoldData
from services.trainer.filters import FilterAnswers
from services.trainer.graph import write_graph
from shared.inference_session import inference_session
from shared.model_card import INPUT_NAME

BATCH = 8  # pictures at a time: a picture's widest map at 224 pixels takes 5 MB
_OUTPUTS = ("answers", "statistics")


class Features(nn.Module):
    """Pixels → filter answers and a backbone's maps on one grid, and the mean and spread of each over the picture.

    `scales`, `cell`: of the filters, see `ModelConfig`. `backbone`: None leaves the filters alone.
    """

    def __init__(self, scales: int, cell: int, backbone: EfficientNetLite0 | None = None) -> None:
        super().__init__()
        self._scales, self._cell = scales, cell
        self.filters = FilterAnswers(scales, cell)
        self.backbone = backbone
        self.filter_channels = self.filters.channels
        """Number of the filters' channels, which come first."""
        self.channels = self.filters.channels + (sum(CHANNELS) if backbone is not None else 0)
        """Number of all channels."""
        self.statistics = 2 * self.channels
        """Number of statistics."""
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(N, S, S, 3) in 0…255 → (N, channels, S / cell, S / cell), statistics (N, 2 · channels): means, spreads."""
        answers = self.filters(pixels)
        maps = [] if self.backbone is None else self.backbone(pixels)
        grid = torch.cat([answers, *(_to_grid(found, answers.shape[2]) for found in maps)], 1)
        return grid, torch.cat([_mean_and_spread(found) for found in (answers, *maps)], 1)

    def digest(self) -> str:
        """SHA-256 of all that the features follow from, in hexadecimal."""
        found = hashlib.sha256(f"{self._cell} {self._scales}".encode())
        for name, tensor in self.state_dict().items():
            found.update(name.encode() + tensor.numpy().tobytes())
        return found.hexdigest()

    def train(self, mode: bool = True) -> Features:
        """Nothing: a frozen network is never in training mode, where its normalisation would follow the batch."""
        return super().train(False)


def _to_grid(features: Tensor, side: int) -> Tensor:
    """Pool maps, or repeat their cells, to `side` × `side` cells."""
    if features.shape[2] >= side:
        return F.avg_pool2d(features, features.shape[2] // side)
    return F.interpolate(features, scale_factor=side / features.shape[2])


def _mean_and_spread(features: Tensor) -> Tensor:
    """(N, C, h, w) → (N, 2C)."""
    mean = features.mean((2, 3))
    spread = (features - mean[:, :, None, None]).square().mean((2, 3)).add(1e-6).sqrt()
    return torch.cat([mean, spread], 1)


@dataclass(frozen=True)
class Answers:
    """Features of the N pictures of a fold, the grid in half precision, mapped from an unnamed file.

    Twice the pictures fit, and the rounding is far below the noise of a camera. `grid`: (N, h, w, C); `statistics`:
    (N, D), in single precision.
    """

    grid: npt.NDArray[np.float16]
    statistics: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.grid)

    @property
    def widths(self) -> tuple[int, int]:
        """Number of channels of the grid, and of statistics."""
        return self.grid.shape[-1], self.statistics.shape[-1]

    def tensors(self, indices: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Some pictures' grids (n, C, h, w), channels last in memory, and statistics (n, D), float32."""
        grid = torch.from_numpy(self.grid[indices].astype(np.float32)).permute(0, 3, 1, 2)
        return grid, torch.from_numpy(np.asarray(self.statistics[indices]))


@dataclass(frozen=True)
class Sample:
    """A fold, and the features of its pictures."""

    data: FoldData
    answers: Answers


class FeatureReader:
    """Computes features: by ONNX Runtime where there is a backbone, which is four times as fast as PyTorch there.

    `directory`: where the backbone's graph is kept for further runs.
    """

    def __init__(self, features: Features, size: int, directory: Path, threads: int) -> None:
        self._features = features
        self._session: Any = None
        if features.backbone is not None:
            self._session = inference_session(_graph_of(features, size, directory), threads=threads)

    def read(self, data: FoldData, directory: Path) -> Answers:
        """Compute the features of a fold's pictures. `directory`: on a disk that has the room."""
        found: Answers | None = None
        with tempfile.TemporaryFile(dir=directory) as grids, tempfile.TemporaryFile(dir=directory) as statistics:
            for start in range(0, len(data), BATCH):
                indices = np.arange(start, min(start + BATCH, len(data)))
                grid, pooled = self._run(data.batch(indices))
                if found is None:
                    count, channels, height, width = len(data), *grid.shape[1:]
                    found = Answers(
                        _mapped(grids, np.dtype(np.float16), (count, height, width, channels)),
                        _mapped(statistics, np.dtype(np.float32), (count, pooled.shape[1])),
                    )
                found.grid[indices] = grid.transpose(0, 2, 3, 1)
                found.statistics[indices] = pooled
        assert found is not None  # no fold is empty: `check_folds`
        return found

    def _run(self, pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        if self._session is not None:
            grid, statistics = self._session.run(list(_OUTPUTS), {INPUT_NAME: pixels})
            return grid, statistics
        with torch.inference_mode():
            grid, statistics = self._features(torch.from_numpy(pixels))
            return grid.numpy(), statistics.numpy()


def _mapped(file: IO[bytes], kind: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """An array in a file whose room is taken at once: on a full disk, writing to a map ends the process (SIGBUS)."""
    size = math.prod(shape) * kind.itemsize
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:  # macOS, Windows: the room is not taken
        file.truncate(size)
    return np.memmap(file, kind, "r+", shape=shape)


def _graph_of(features: Features, size: int, directory: Path) -> Path:
    """The ONNX file of some features, named by its content's origin; written where it is not there yet."""
    digest = hashlib.sha256(f"{torch.__version__} {size} {features.digest()}".encode()).hexdigest()
    path = directory / f"features-{digest[:16]}.onnx"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        write_graph(features, size, _OUTPUTS, partial)
        os.replace(partial, path)
    return path
