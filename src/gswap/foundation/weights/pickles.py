"""Reads the tensors out of a PyTorch file without unpickling it.

A pickle is a program. This module runs a small part of that language, in which nothing can be called but the handful
of constructors that a state dict needs, and these only make records of numbers; anything else is refused by name.
Both containers are read: the zip archive of torch >= 1.6 and the older stream.
"""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gswap.foundation.errors import InputError

_LARGEST_PROGRAM = 1 << 26
"""Bytes of the pickle itself, without the numbers."""
_MOST_TENSORS = 1 << 20
_MOST_AXES = 32
_LARGEST = 1 << 40
"""No shape, stride, offset or number of elements is as large."""
_LONGEST_NAME = 1024
_DEEPEST = 6
"""Levels of dictionaries around a tensor."""
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
"""Storage classes of torch and the names of their element types."""
_SIZES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1}
_SIZES |= {"uint8": 1, "bool": 1}
_OPAQUE = {1: np.dtype("u1"), 2: np.dtype("<i2"), 4: np.dtype("<i4"), 8: np.dtype("<i8")}
"""Carriers of elements whatever they mean: numpy knows no bfloat16."""


@dataclass(frozen=True)
class RawTensor:
    """A tensor's elements as integers of their size; ``dtype`` is what they are, named as in torch."""

    dtype: str
    bits: np.ndarray


@dataclass(frozen=True)
class _Global:
    """A name that the program may mention."""

    name: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    numel: int


@dataclass(frozen=True)
class _View:
    """A tensor, as its place in a storage (offset and strides in elements)."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Mark:
    """The bottom of a run of values on the stack."""


def read_tensors(path: Path) -> dict[str, RawTensor]:
    """The tensors of a ``.bin``, ``.pt`` or ``.pth`` file, by name.

    Names inside nested dictionaries are joined by dots. Values that are not tensors (a step counter) are left out.

    Raises:
        InputError: It is no such file, is damaged, or its program asks for anything beyond tensors.
    """
    try:
        with open(path, "rb") as handle:
            if handle.read(4) == b"PK\x03\x04":
                return _read_archive(path)
            handle.seek(0)
            return _read_stream(handle, path)
    except OSError as error:
        raise InputError(f"Cannot read the file ({error.strerror}).", path=path) from error


# ---------------------------------------------------------------- containers
def _read_archive(path: Path) -> dict[str, RawTensor]:
    try:
        with zipfile.ZipFile(path) as archive:
            programs = [n for n in archive.namelist() if n.endswith("/data.pkl") and n.count("/") == 1]
            if len(programs) != 1:
                raise InputError(
                    "Expected one data.pkl in the archive (a state dict), found another layout.", path=path
                )
            folder = programs[0].removesuffix("data.pkl")
            for entry in archive.infolist():
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise InputError(f"Expected stored entries, found a compressed one ({entry.filename}).", path=path)
            order = f"{folder}byteorder"
            if order in archive.namelist() and archive.read(order) != b"little":
                raise InputError("Expected little-endian numbers.", path=path)
            if archive.getinfo(programs[0]).file_size > _LARGEST_PROGRAM:
                raise InputError("The file's pickle is larger than any state dict's.", path=path)
            views = _collect(_run(io.BytesIO(archive.read(programs[0])), path), path)

            def storage(item: _Storage) -> bytes:
                return archive.read(f"{folder}data/{item.key}")

            return dict(_materialise(views, storage, path))
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise InputError(f"The archive is damaged ({error}).", path=path) from error


def _read_stream(handle: BinaryIO, path: Path) -> dict[str, RawTensor]:
    if _run(handle, path) != _LEGACY_MAGIC or _run(handle, path) != _LEGACY_PROTOCOL:
        raise InputError("Expected a file saved by torch, found something else.", path=path)
    _run(handle, path)  # how the writing machine stored integers
    views = _collect(_run(handle, path), path)
    keys = _run(handle, path)
    storages = {v.storage.key: v.storage for v in views.values()}
    if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys) or not storages.keys() <= set(keys):
        raise InputError("The file's list of storages does not fit its tensors.", path=path)
    places: dict[str, int] = {}
    end = path.stat().st_size
    for key in keys:
        count = int.from_bytes(handle.read(8), "little")
        item = storages.get(key)
        if item is None or count != item.numel:
            raise InputError(f"The file's storage {key!r} does not fit its tensors.", path=path)
        places[key] = handle.tell()
        size = count * _SIZES[item.dtype]
        if places[key] + size > end:
            raise InputError("The file ends before its numbers do.", path=path)
        handle.seek(size, io.SEEK_CUR)

    def storage(item: _Storage) -> bytes:
        handle.seek(places[item.key])
        return handle.read(item.numel * _SIZES[item.dtype])

    return dict(_materialise(views, storage, path))


def _collect(value: Any, path: Path) -> dict[str, _View]:
    """Tensors in nested dictionaries, by dotted name."""
    found: dict[str, _View] = {}
    budget = _MOST_TENSORS

    def visit(item: Any, name: str, depth: int) -> None:
        nonlocal budget
        budget -= 1
        if budget < 0 or depth > _DEEPEST:
            raise InputError("The file nests more dictionaries than any state dict.", path=path)
        if isinstance(item, _View):
            if name in found:
                raise InputError(f"Two tensors are named {name}.", path=path)
            found[name] = item
        elif isinstance(item, dict):
            for key, inner in item.items():
                if isinstance(inner, (_View, dict)):
                    visit(inner, f"{name}.{key}" if name else str(key), depth + 1)

    visit(value, "", 0)
    if not found:
        raise InputError("Expected a dictionary of tensors, found none in the file.", path=path)
    return found


def _materialise(
    views: Mapping[str, _View], storage: Callable[[_Storage], bytes], path: Path
) -> Iterator[tuple[str, RawTensor]]:
    """Numbers of the tensors, each made contiguous. A storage is read once for the tensors that follow one another."""
    allowance = 2 * path.stat().st_size + _LARGEST_PROGRAM
    held: tuple[_Storage, bytes] | None = None
    for name, view in sorted(views.items(), key=lambda pair: (pair[1].storage.key, pair[0])):
        size = _SIZES[view.storage.dtype]
        allowance -= math.prod(view.shape) * size
        if allowance < 0:
            raise InputError("The file's tensors are larger than the file.", path=path)
        if held is None or held[0] != view.storage:
            held = (view.storage, storage(view.storage))
        if len(held[1]) != view.storage.numel * size:
            raise InputError(f"The storage of {name} has another size than the file says.", path=path)
        numbers = np.frombuffer(held[1], _OPAQUE[size])
        last = view.offset + sum((n - 1) * s for n, s in zip(view.shape, view.stride, strict=True))
        if math.prod(view.shape) and last >= view.storage.numel:
            raise InputError(f"The tensor {name} reaches beyond its storage.", path=path)
        strides = tuple(s * size for s in view.stride)
        bits = np.empty(view.shape, numbers.dtype)
        if bits.size:
            bits[...] = np.lib.stride_tricks.as_strided(numbers[view.offset :], view.shape, strides, writeable=False)
        yield name, RawTensor(view.storage.dtype, bits)


# ---------------------------------------------------------------- the language
def _ordered_dict(*arguments: Any) -> dict[Any, Any]:
    return dict(_named(arguments[0] if arguments else ()))


def _named(pairs: Iterable[Any]) -> Iterator[tuple[str | int, Any]]:
    """Entries of a dictionary. Nested tuples as keys are refused: to hash them may take for ever, or the stack."""
    for key, value in pairs:
        if not isinstance(key, (str, int)) or (isinstance(key, str) and len(key) > _LONGEST_NAME):
            raise ValueError("a dictionary whose keys are no names")
        yield key, value


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> _View:
    numbers = (offset, *shape, *stride) if isinstance(shape, tuple) and isinstance(stride, tuple) else (None,)
    good = all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < _LARGEST for n in numbers)
    good = good and len(shape) == len(stride) <= _MOST_AXES
    good = good and math.prod(n or 1 for n in shape) < _LARGEST
    if not isinstance(storage, _Storage) or not good:
        raise ValueError("a tensor whose shape is no shape")
    return _View(storage, offset, shape, stride)


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _size(*arguments: Any) -> tuple[Any, ...]:
    return tuple(arguments[0]) if arguments else ()


_CALLABLE: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch.Size": _size,
}
"""The only names that a program may call, and what happens instead of the call."""
_KNOWN = frozenset(_CALLABLE) | {f"torch.{name}" for name in _STORAGES}


def _name(module: Any, name: Any) -> _Global:
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("a name that is no text")
    full = f"{module}.{name}"
    if full not in _KNOWN:
        raise ValueError(f"the name {full}, which is no part of a state dict")
    return _Global(full)


def _persistent(value: Any) -> _Storage:
    """``('storage', class, key, location, count[, view])``: the numbers are elsewhere in the file."""
    if not isinstance(value, tuple) or len(value) not in (5, 6) or value[0] != "storage":
        raise ValueError("a persistent id that is no storage")
    kind, key, count = value[1], value[2], value[4]
    if not isinstance(kind, _Global) or kind.name.removeprefix("torch.") not in _STORAGES:
        raise ValueError("a storage of unknown type")
    if len(value) == 6 and value[5] is not None:
        raise ValueError("a view of a storage")
    if not isinstance(key, str) or "/" in key or not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError("a storage without a name or a size")
    return _Storage(key, _STORAGES[kind.name.removeprefix("torch.")], count)


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES".split()
)
"""Opcodes that push their argument."""
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _run(stream: BinaryIO, path: Path) -> Any:
    """Run one pickle of the stream and leave the stream behind it.

    Raises:
        InputError: It asks for more than tensors in dictionaries, or is damaged.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(_Bounded(stream)):  # type: ignore[arg-type]
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.step(opcode.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, UnicodeError, OverflowError) as error:
        raise InputError(
            f"Expected a pickle of tensors and nothing else, found {error}.",
            hint="Nothing of it was executed. Take the original file, or a safetensors version of it.",
            path=path,
        ) from error
    raise InputError("The pickle has no end.", path=path)


class _Bounded:
    """A stream that never allocates more than what is left of its file, whatever length a program claims."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        here = stream.tell()
        self._end = min(stream.seek(0, io.SEEK_END), here + _LARGEST_PROGRAM)
        stream.seek(here)

    def read(self, count: int) -> bytes:
        """At most ``count`` bytes."""
        return self._stream.read(min(count, max(self._end - self._stream.tell(), 0)))

    def readline(self) -> bytes:
        """Up to and with the next line feed."""
        return self._stream.readline(max(self._end - self._stream.tell(), 0))

    def tell(self) -> int:
        """Place in the stream."""
        return self._stream.tell()


class _Machine:
    """Stack and memo of one pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Run one opcode.

        Raises:
            ValueError: It is not on the list.
        """
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("PROTO", "FRAME"):
            return
        elif name == "MARK":
            stack.append(_Mark())
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in _TUPLES:
            count = _TUPLES[name]
            values = tuple(stack[len(stack) - count :])
            del stack[len(stack) - count :]
            stack.append(values)
        elif name == "TUPLE":
            stack.append(tuple(self._above_mark()))
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name in ("SETITEM", "SETITEMS"):
            flat = self._above_mark() if name == "SETITEMS" else [stack.pop() for _ in range(2)][::-1]
            stack[-1].update(_named(zip(flat[::2], flat[1::2], strict=True)))
        elif name in ("APPEND", "APPENDS"):
            items = self._above_mark() if name == "APPENDS" else [stack.pop()]
            stack[-1].extend(items)
        else:
            self._construct(name, argument)

    def _construct(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name == "GLOBAL":
            module, _, attribute = argument.partition(" ")
            stack.append(_name(module, attribute))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_name(module, attribute))
        elif name == "BINPERSID":
            stack.append(_persistent(stack.pop()))
        elif name == "REDUCE":
            arguments, what = stack.pop(), stack.pop()
            if not isinstance(what, _Global) or what.name not in _CALLABLE or not isinstance(arguments, tuple):
                raise ValueError("a call of something that is no constructor of tensors")
            stack.append(_CALLABLE[what.name](*arguments))
        elif name == "BUILD":
            state = stack.pop()
            if not isinstance(stack[-1], dict) or not isinstance(state, dict):
                raise ValueError("the state of an object that is no dictionary")
            # Attributes of an ordered dictionary (a state dict's _metadata) hold no tensors.
        else:
            raise ValueError(f"the opcode {name}")

    def _above_mark(self) -> list[Any]:
        """The values above the last mark, which is taken off with them."""
        for depth in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[depth], _Mark):
                values = self.stack[depth + 1 :]
                del self.stack[depth:]
                return values
        raise ValueError("a run of values without a beginning")
