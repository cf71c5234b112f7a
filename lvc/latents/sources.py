"""Tensors in files: safetensors, `.npy`, and `.pt` (weights only), found in files and folders, loaded one by one."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open

from lvc.errors import MediaError, UnsupportedError, UsageError
from lvc.latents.file import DTYPE, KEY
from lvc.lvz import Sample
from lvc.notices import Loss

if TYPE_CHECKING:
    import torch

SUFFIXES = (".safetensors", ".npy", ".pt", ".pth")
CAPTION = "caption"
_MAX_CAPTION = 1 << 16
_LAYOUTS = {3: "CHW", 4: "CTHW", 5: "NCTHW"}
_USUAL_CHANNELS = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
ELEMENTS = ("bfloat16", "float16", "float32")
# the type in which a `.lvz` holds them; lossless, except for float64
_CARRIERS = {
    **{element: element for element in ELEMENTS},
    "float64": "float32", "float8_e4m3fn": "float16", "float8_e5m2": "float16",
}  # fmt: skip
_ITEM_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1}


@dataclass(frozen=True)
class Source:
    """One tensor of a file. `axes`: a letter for each axis (`Sample`). `tags` has the file's metadata and its caption,
    and `dtype` if a `.lvz` cannot hold `element`: the tensor is then stored as `carrier`."""

    path: Path
    name: str
    axes: str
    shape: tuple[int, ...]
    element: str
    tags: dict[str, str] = field(default_factory=dict)

    def size(self, axis: str) -> int:
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    @property
    def key(self) -> str:
        """Name in the file; empty if the file is one tensor."""
        return self.tags.get(KEY, "")

    @property
    def carrier(self) -> str:
        return _CARRIERS[self.element]

    @property
    def is_narrowed(self) -> bool:
        """Whether `carrier` is less precise than `element`."""
        return _ITEM_BYTES[self.element] > _ITEM_BYTES[self.carrier]

    @property
    def values(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.values * _ITEM_BYTES[self.element]

    def sample(self) -> Sample:
        return Sample(self.name, self.axes, self.size("T"), self.size("H"), self.size("W"), dict(self.tags))

    def load(self) -> torch.Tensor:
        """Load the tensor as the file has it. Raises `MediaError` if it can no longer be read."""
        with _readable(self.path):
            tensor = _load(self.path, self.key)
            if tuple(tensor.shape) == self.shape and _name_of(tensor.dtype) == self.element:
                return tensor
        raise MediaError(f"{self.path} was changed while it was read — start again")

    def frames(self) -> torch.Tensor:
        """Load the tensor as `[frames, channels, rows, columns]`, of type `carrier`."""
        letters = self.axes.replace("N", "")
        import torch

        tensor = self.load().to(getattr(torch, self.carrier))
        tensor = tensor.reshape([n for n, axis in zip(tensor.shape, self.axes, strict=True) if axis != "N"])
        placed = tensor.permute([letters.index(axis) for axis in "TCHW" if axis in letters])
        return placed if "T" in letters else placed[None]


Found = tuple[str, tuple[int, ...], str, dict[str, str]]


def find(
    paths: Iterable[str | os.PathLike[str]],
    axes: str | None,
    notice: Callable[[str], object],
    keys: str | None = None,
) -> list[Source]:
    """Find all tensors of these files and folders, folders in order of name; `axes` names their axes, `keys` is a
    pattern (`latents_image*`) for the names of tensors in their files.

    Raises `UsageError` (nothing found, axes that do not fit), `MediaError` (a file that cannot be read).
    """
    sources = []
    others: set[str] = set()
    for path, name in _files(paths):
        if path.suffix in (".pt", ".pth"):
            notice(f"{path.name}: read as tensors only, nothing in it is run — safetensors are the safer habit")
        with _readable(path):
            for key, shape, element, tags in _tensors(path):
                label = f"{path.name}{f' ({key})' if key else ''}"
                if keys is not None and not fnmatchcase(key, keys):
                    others.add(key)
                    continue
                why = _no_latent(shape, element)
                if why is not None:
                    notice(Loss(f"{label}: left out: {why}"))
                    continue
                letters = _axes_of(shape, axes)
                if any(n != 1 for n, axis in zip(shape, letters, strict=True) if axis == "N"):
                    raise UsageError(
                        f"{label} holds several latents ({list(shape)} as {letters}) — if they are frames of one, or "
                        f"to keep them together, say --axes {letters.replace('T', '').replace('N', 'T', 1)}"
                    )
                extra = {KEY: key} if key else {}
                if element not in ELEMENTS:
                    extra[DTYPE] = element
                sources.append(Source(path, name, letters, shape, element, {**tags, **extra}))
    if not sources and others:
        raise UsageError(f"no tensor's name fits --keys {keys!r} — there are {', '.join(sorted(others)[:8])}")
    if not sources:
        raise UsageError(f"no latents were found — lvc pack takes {', '.join(SUFFIXES)} files and folders of them")
    return sources


def _no_latent(shape: tuple[int, ...], element: str) -> str | None:
    """Return why a tensor is left out; None if it is taken."""
    if element not in _CARRIERS:
        return f"it is {element}, and lvc packs bfloat16, float16, float32, float64, float8_e4m3fn and float8_e5m2"
    if len(shape) not in _LAYOUTS or 0 in shape:
        return f"its shape is {list(shape)}, and latents have 3 to 5 axes"
    return None


def restored(tensor: torch.Tensor, tags: dict[str, str], *, exact: bool) -> torch.Tensor:
    """Convert a tensor from a `.lvz` to the type from which it was packed."""
    import torch

    name = tags.get(DTYPE, "")
    if name in ELEMENTS or name not in _CARRIERS:
        return tensor
    element = getattr(torch, name)
    if not exact and element.itemsize == 1:
        largest = torch.finfo(element).max
        tensor = tensor.clamp(-largest, largest)  # torch turns larger values into NaN
    return tensor.to(element)


def _files(paths: Iterable[str | os.PathLike[str]]) -> Iterator[tuple[Path, str]]:
    """(file, name): the name is the path in its folder, without the ending."""
    for path in map(Path, paths):
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.suffix in SUFFIXES and file.is_file():
                    yield file, file.relative_to(path).with_suffix("").as_posix()
        elif path.suffix in SUFFIXES:
            yield path, path.stem
        else:
            raise UsageError(f"{path} is not a file of latents — lvc pack takes {', '.join(SUFFIXES)} and folders")


def _axes_of(shape: tuple[int, ...], given: str | None) -> str:
    if given is not None:
        if len(given) != len(shape):
            raise UsageError(f"--axes {given} does not fit a tensor of {list(shape)} — a letter for each axis")
        return given
    if len(shape) == 4 and shape[0] == 1 and shape[1] in _USUAL_CHANNELS:
        return "NCHW"
    return _LAYOUTS[len(shape)]


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever readers of tensors raise into `MediaError`."""
    try:
        yield
    except (OSError, MediaError, UsageError, UnsupportedError):
        raise
    except Exception as error:
        raise MediaError(f"{path} cannot be read as tensors ({type(error).__name__})") from error


def _tensors(path: Path) -> Iterator[Found]:
    """Yield key, shape, type and metadata of each tensor of a file."""
    caption = _caption(path)
    if path.suffix == ".safetensors":
        with safe_open(path, framework="np") as file:
            text = {**caption, **(file.metadata() or {})}
            for key in file.keys():  # noqa: SIM118 - no dictionary
                part = file.get_slice(key)
                yield key, tuple(part.get_shape()), _ELEMENT_NAMES.get(part.get_dtype(), part.get_dtype()), text
    elif path.suffix == ".npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        yield "", array.shape, str(array.dtype), caption
    else:
        leaves = _leaves(path, path.stat().st_mtime_ns)
        text = {**caption, **{key: leaf for key, leaf in leaves.items() if isinstance(leaf, str) and key}}
        for key, leaf in leaves.items():
            if _is_tensor(leaf):
                yield key, tuple(leaf.shape), _name_of(leaf.dtype), text


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _is_tensor(leaf: Any) -> bool:
    import torch

    return isinstance(leaf, torch.Tensor)


def _load(path: Path, key: str) -> torch.Tensor:
    import torch

    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(key)
            return tensor
    if path.suffix == ".npy":
        return torch.from_numpy(np.load(path, allow_pickle=False))
    leaf = _leaves(path, path.stat().st_mtime_ns)[key]
    if not isinstance(leaf, torch.Tensor):
        raise MediaError(f"{path} was changed while it was read — start again")
    return leaf.detach()


@lru_cache(maxsize=1)
def _leaves(path: Path, changed: int) -> dict[str, Any]:
    """Return the tensors of a `.pt` by path of keys. Only the last file is cached, since one may hold many tensors."""
    import torch

    return dict(_flat(torch.load(path, map_location="cpu", weights_only=True)))


_ELEMENT_NAMES = {
    "BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip


def _flat(content: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path of keys, leaf) of nested dictionaries and lists."""
    items: Iterable[tuple[Any, Any]]
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, (list, tuple)):
        items = enumerate(content)
    else:
        yield key, content
        return
    for name, value in items:
        yield from _flat(value, f"{key}.{name}" if key else str(name))


def _caption(path: Path) -> dict[str, str]:
    """Return the caption beside a clip, as trainers of diffusion models store it: `clip.txt` for `clip.safetensors`."""
    beside = path.with_suffix(".txt")
    if not beside.is_file() or beside.stat().st_size > _MAX_CAPTION:
        return {}
    return {CAPTION: beside.read_text("utf-8", "replace").strip()}
