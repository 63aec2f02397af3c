"""EfficientNet-Lite0, trained on ImageNet, as far as its middle blocks: what a few hundred pictures cannot teach.

The network is that of Tan & Le, 2019 (https://arxiv.org/abs/1905.11946) in its Lite variant (2020): ReLU6, no
squeeze-and-excitation, and TensorFlow's "same" padding, which is uneven at stride 2. Its modules bear the names of the
weights' file, which is loaded strictly.
"""

from __future__ import annotations

import io

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.errors import ConfigurationError, WeightsUnusable
from shared.faces import FaceDetector, FaceSearch, detector_from
from shared.installed_models import installed_model

_STAGES = (  # repeats, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD, _CLASSES = 32, 1280, 1000
_CENTRE, _SCALE = 127.0, 128.0  # of 0…255: how pixels were normalised in its training
NONE = "none"
TRAINED_ON = "ImageNet (ILSVRC 2012): 1.3 million photographs of 1,000 kinds of things"
MIDDLE = (2, 4, 10)  # blocks, counted from 0: the last ones at strides 4, 8 and 16
CHANNELS = (24, 40, 112)  # of their maps


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _same(features: Tensor, convolution: nn.Conv2d) -> Tensor:
    """Convolve with TensorFlow's "same" padding: the odd pixel goes to the right and below."""
    kernel, stride = convolution.kernel_size[0], convolution.stride[0]
    height, width = (max(0, (-(-side // stride) - 1) * stride + kernel - side) for side in features.shape[2:])
    padding = (width // 2, width - width // 2, height // 2, height - height // 2)
    return F.conv2d(F.pad(features, padding), convolution.weight, None, stride, groups=convolution.groups)


class _Block(nn.Module):
    """Expand, convolve each channel for itself, project; around a shortcut where the shapes allow one."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self._shortcut = stride == 1 and inputs == outputs
        self._expands = expansion > 1
        if self._expands:
            self._expand_conv = nn.Conv2d(inputs, wide, 1, bias=False)
            self._bn0 = _norm(wide)
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = _norm(wide)
        self._project_conv = nn.Conv2d(wide, outputs, 1, bias=False)
        self._bn2 = _norm(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, h, w) → (N, outputs, h / stride, w / stride)."""
        found = F.relu6(self._bn0(self._expand_conv(features))) if self._expands else features
        found = F.relu6(self._bn1(_same(found, self._depthwise_conv)))
        projected: Tensor = self._bn2(self._project_conv(found))
        return features + projected if self._shortcut else projected


class EfficientNetLite0(nn.Module):
    """The whole network, so that its weights fit; `forward` goes as far as the last block in MIDDLE."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = nn.Conv2d(3, _STEM, 3, 2, bias=False)
        self._bn0 = _norm(_STEM)
        blocks, inputs = [], _STEM
        for repeats, kernel, stride, expansion, channels in _STAGES:
            for number in range(repeats):
                blocks.append(_Block(inputs, channels, kernel, 1 if number else stride, expansion))
                inputs = channels
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(inputs, _HEAD, 1, bias=False)
        self._bn1 = _norm(_HEAD)
        self._fc = nn.Linear(_HEAD, _CLASSES)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """(N, S, S, 3) in 0…255, RGB → the maps of the blocks in MIDDLE, (N, channels, S / stride, S / stride)."""
        features = (pixels.permute(0, 3, 1, 2).float() - _CENTRE) / _SCALE
        features = F.relu6(self._bn0(_same(features, self._conv_stem)))
        maps = []
        for number, block in enumerate(self._blocks[: MIDDLE[-1] + 1]):
            features = block(features)
            if number in MIDDLE:
                maps.append(features)
        return maps


def load_backbone(name: str) -> EfficientNetLite0 | None:
    """The backbone of a name, with its installed weights; None for NONE.

    Raises WeightsUnusable where the file is absent, or is not the one that `shared/models.toml` promises.
    """
    if name == NONE:
        return None
    try:
        weights = installed_model(name)
    except ConfigurationError as error:
        advice = (
            f"{error.advice} Or set EVENSKIN_BACKBONE={NONE}: then fixed filters are all that a model sees through."
        )
        raise WeightsUnusable(error.message, advice=advice) from error
    backbone = EfficientNetLite0()
    backbone.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
    return backbone


def load_detector(faces: FaceSearch) -> FaceDetector | None:
    """The face detector, where faces are looked for. Raises WeightsUnusable where its file is absent or another one."""
    try:
        return detector_from(faces)
    except ConfigurationError as error:
        raise WeightsUnusable(error.message, advice=error.advice) from error
