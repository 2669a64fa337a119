"""Pickles written opcode by opcode that ask for what no saved model asks for. None of them may be read."""

from __future__ import annotations

import io
import struct
import zipfile

PROTO = b"\x80\x02"


def text(value: str) -> bytes:
    raw = value.encode("utf-8")
    return b"X" + struct.pack("<I", len(raw)) + raw


def data(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def number(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def group(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def call(function: bytes, *args: bytes) -> bytes:
    return function + group(*args) + b"R"


def named(value: bytes, key: str = "embeddings.word_embeddings.weight") -> bytes:
    """A whole pickle: a dictionary of one name."""
    return PROTO + b"}" + text(key) + value + b"s."


NDARRAY, DTYPE = name("numpy", "ndarray"), name("numpy", "dtype")
RECONSTRUCT, ENCODE = name("numpy.core.multiarray", "_reconstruct"), name("_codecs", "encode")
ORDERED = name("collections", "OrderedDict")
NONE, TRUE, FALSE = b"N", b"\x88", b"\x89"


def dtype(code: str = "f4", *, state: bytes | None = None) -> bytes:
    plain = group(number(3), text("<"), NONE, NONE, NONE, number(-1), number(-1), number(0))
    return call(DTYPE, text(code), FALSE, TRUE) + (plain if state is None else state) + b"b"


EMPTY = call(RECONSTRUCT, NDARRAY, group(number(0)), data(b"b"))


def array(
    shape: bytes,
    content: bytes = data(b"A" * 24),
    *,
    kind: bytes | None = None,
    order: bytes = FALSE,
    version: bytes = number(1),
) -> bytes:
    return EMPTY + group(version, shape, kind or dtype(), order, content) + b"b"


GOOD = array(group(number(2), number(3)))

NOT_READ: dict[str, bytes] = {
    "ndarray called": named(call(NDARRAY, group(number(6)), text("f4"), data(b"A" * 24))),
    "ndarray of objects": named(call(NDARRAY, group(number(1)), text("O"), data(b"A" * 8))),
    "ndarray with a negative offset": named(call(NDARRAY, group(number(6)), text("f4"), data(b"A" * 400), number(-64))),
    "ndarray in a dictionary": named(call(ORDERED, call(NDARRAY, group(number(1)), text("O"), data(b"A" * 8)))),
    "dtype with a subarray": named(
        array(
            group(number(6)),
            kind=dtype(
                state=group(
                    number(3), text("<"), group(dtype(), group(number(10**9))), NONE, NONE, number(4), number(4), number(0)
                )
            ),
        )
    ),
    "dtype with fields": named(
        array(
            group(number(6)),
            kind=dtype(
                state=group(
                    number(3),
                    text("|"),
                    NONE,
                    group(text("a")),
                    b"}" + text("a") + group(dtype(), number(0)) + b"s",
                    number(4),
                    number(1),
                    number(16),
                )
            ),
        )
    ),
    "dtype with a size of its own": named(
        array(
            group(number(6)), kind=dtype(state=group(number(3), text("<"), NONE, NONE, NONE, number(400), number(1), number(0)))
        )
    ),
    "dtype with flags": named(
        array(
            group(number(6)),
            kind=dtype(state=group(number(3), text("<"), NONE, NONE, NONE, number(-1), number(-1), number(63))),
        )
    ),
    "dtype with two states": named(
        array(
            group(number(6)),
            kind=dtype() + group(number(3), text(">"), NONE, NONE, NONE, number(-1), number(-1), number(0)) + b"b",
        )
    ),
    "dtype of objects": named(array(group(number(3)), b"](" + number(1) + number(2) + number(3) + b"e", kind=dtype("O8"))),
    "dtype of text": named(array(group(number(6)), kind=dtype("U1"))),
    "dtype of raw bytes": named(array(group(number(6)), kind=dtype("V4"))),
    "dtype of dates": named(array(group(number(3)), kind=dtype("M8"))),
    "dtype by a list of fields": named(array(group(number(6)), kind=dtype("f4,f4"))),
    "dtype that is no text": named(array(group(number(6)), kind=call(DTYPE, NDARRAY) + NONE + b"b")),
    "dtype as an attribute setter": named(array(group(number(6)), kind=dtype(state=b"}" + text("code") + text("O") + b"s"))),
    "reconstruct of a subclass": named(call(RECONSTRUCT, name("numpy", "memmap"), group(number(0)), data(b"b"))),
    "reconstruct of a dtype": named(call(RECONSTRUCT, DTYPE, group(number(0)), data(b"b"))),
    "reconstruct with a shape": named(call(RECONSTRUCT, NDARRAY, group(number(10**12)), data(b"b"))),
    "reconstruct of objects": named(call(RECONSTRUCT, NDARRAY, group(number(0)), data(b"O"))),
    "shape too large": named(array(group(number(2**62), number(2**62)))),
    "shape that overflows to the right size": named(array(group(number(2**62 + 6)))),
    "shape of 0 and a huge one": named(array(group(number(0), number(2**62)), data(b""))),
    "shape negative": named(array(group(number(-2), number(-3)))),
    "shape one too many": named(array(group(number(7)))),
    "shape one too few": named(array(group(number(5)))),
    "shape of booleans": named(array(group(TRUE, number(6)))),
    "shape of floats": named(array(group(b"G" + struct.pack(">d", 6.0)))),
    "shape a number": named(array(number(6))),
    "shape a list": named(array(b"](" + number(6) + b"e")),
    "shape of 65 dimensions": named(array(group(*[number(1)] * 65), data(b"AAAA"))),
    "array without values": named(EMPTY),
    "array with two states": named(GOOD + group(number(1), group(number(6)), dtype(), FALSE, data(b"B" * 24)) + b"b"),
    "array that holds itself": PROTO + EMPTY + b"q\x00" + group(number(1), group(number(1)), dtype(), FALSE, b"h\x00") + b"b.",
    "array of a list": named(array(group(number(1)), b"](" + number(1) + b"e")),
    "array with attributes": named(EMPTY + b"}" + text("values") + number(1) + b"s" + b"b"),
    "array with slots": named(EMPTY + group(NONE, b"}" + text("values") + number(1) + b"s") + b"b"),
    "array with an order of 7": named(array(group(number(6)), order=number(7))),
    "array called": named(GOOD + b")R"),
    "class with attributes": named(NDARRAY + group(NONE, b"}" + text("__call__") + number(1) + b"s") + b"b"),
    "role with attributes": named(ENCODE + b"}" + text("role") + text("x") + b"s" + b"b"),
    "encode with a codec of bytes": named(array(group(number(6)), call(ENCODE, text("A" * 24), text("zip")))),
    "encode of other letters": named(array(group(number(1)), call(ENCODE, text("汉字" * 2), text("latin1")))),
    "encode of many other letters": named(array(group(number(5000)), call(ENCODE, text("汉" * 20_000), text("latin1")))),
    "system": named(call(name("os", "system"), text("true"))),
    "eval": named(call(name("builtins", "eval"), text("1"), b"}")),
    "getattr": named(call(name("builtins", "getattr"), NDARRAY, text("__class__"))),
    "frombuffer": named(call(name("numpy.core.numeric", "_frombuffer"), data(b"A" * 24), dtype(), group(number(6)), text("C"))),
    "dotted class": PROTO + text("collections") + text("OrderedDict.__class__") + b"\x93.",
    "dotted module": PROTO + text("numpy.core.multiarray.sys") + text("modules") + b"\x93.",
    "name that is no text": PROTO + number(1) + number(2) + b"\x93.",
    "name without end": PROTO + b"c" + b"a" * 10_000,
    "NEWOBJ": named(ORDERED + b")\x81"),
    "NEWOBJ_EX": named(ORDERED + b")}\x92"),
    "INST": PROTO + b"(icollections\nOrderedDict\n.",
    "OBJ": PROTO + b"(" + ORDERED + b"o.",
    "EXT1": PROTO + b"\x82\x01.",
    "EXT2": PROTO + b"\x83\x01\x00.",
    "EXT4": PROTO + b"\x84\x01\x00\x00\x00.",
    "PERSID": PROTO + b"P0\n.",
    "BINPERSID": named(group(text("storage"), text("0")) + b"Q"),
    "protocol 0": b"(dp0\nVa\np1\nI1\ns.",
    "protocol 99": b"\x80\x63}.",
    "frame longer than the file": b"\x80\x04\x95" + struct.pack("<Q", 2**63) + b"}.",
    "memo that is not there": PROTO + b"j" + struct.pack("<I", 2**32 - 1) + b".",
    "text longer than the file": PROTO + b"X" + struct.pack("<I", 2**32 - 1) + b"abc.",
    "text of 2^63": b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"abc.",
    "bytes of 2^64": b"\x80\x04\x8e" + struct.pack("<Q", 2**64 - 1) + b"abc.",
    "bytearray of 2^62": b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"abc.",
    "integer of 2^31 bytes": PROTO + b"\x8b" + struct.pack("<i", 2**31 - 1) + b"1.",
    "lone surrogate": named(number(1), "a").replace(text("a"), b"X\x03\x00\x00\x00\xed\xa0\x80"),
    "key that is a tuple": PROTO + b"}" + b")" + b"\x85" * 200_000 + number(1) + b"s.",
    "key that is a huge number": PROTO + b"}" + number(2**200) + number(1) + b"s.",
    "key that is an array": PROTO + b"}" + GOOD + number(1) + b"s.",
    "odd number of keys and values": PROTO + b"}(" + text("a") + number(1) + text("b") + b"u.",
    "append to a tuple": PROTO + b")" + number(1) + b"a.",
    "items of a list": PROTO + b"]" + number(1) + number(1) + b"s.",
    "stack that is empty": PROTO + b"R.",
    "mark that is not there": PROTO + b"t.",
    "no end": PROTO + b"}",
    "nothing": b"",
    "steps without end": PROTO + b"N0" * 600_000 + b"}.",
    "one buffer a thousand times": PROTO
    + b"}"
    + data(b"A" * 24_000)
    + b"q\x000("
    + b"".join(text(f"a{at}") + array(group(number(6000)), b"h\x00") for at in range(1000))
    + b"u.",
    "one text encoded again and again": PROTO
    + b"}"
    + text("A" * 4000)
    + b"q\x000"
    + text("latin1")
    + b"q\x010"
    + ENCODE
    + b"q\x020"
    + b"]("
    + b"h\x02h\x00h\x01\x86R" * 50_000
    + b"e.",
    "one list made a dictionary again and again": PROTO
    + ORDERED
    + b"q\x000]("
    + b"".join(group(number(at), NONE) for at in range(1000))
    + b"eq\x010"
    + b"h\x00h\x01\x85R0" * 10_000
    + b"}.",
    "dictionary of what is no pair": PROTO + call(ORDERED, b"](" + group(number(1)) + b"e") + b".",
}
"""Pickles that ``read_arrays`` must refuse."""

HARMLESS: dict[str, bytes] = {
    "a memo with a huge index": PROTO + b"}r" + struct.pack("<I", 2**32 - 1) + text("a") + GOOD + b"s.",
    "lists a hundred thousand deep": PROTO
    + b"}"
    + text("x")
    + b"]" * 100_000
    + b"a" * 99_999
    + b"s"
    + text("a")
    + GOOD
    + b"s.",
    "tuples a hundred thousand deep": PROTO + b"}" + text("x") + b")" + b"\x85" * 100_000 + b"s" + text("a") + GOOD + b"s.",
    "a list that holds itself": PROTO + b"}" + text("x") + b"]q\x00h\x00as" + text("a") + GOOD + b"s.",
    "a tuple of two of itself, 64 times": PROTO
    + b"}"
    + text("x")
    + text("!")
    + b"q\x00h\x00\x86" * 64
    + b"s"
    + text("a")
    + GOOD
    + b"s.",
    "frames again and again": b"\x80\x04" + (b"\x95" + struct.pack("<Q", 1)) * 1000 + b"}" + text("a") + GOOD + b"s.",
    "marks without end": PROTO + b"(" * 100_000 + b"1" * 100_000 + b"}" + text("a") + GOOD + b"s.",
    "a dictionary with a state": PROTO + ORDERED + b")R" + text("a") + GOOD + b"s" + b"}" + text("_metadata") + b"}s" + b"b.",
    "a long text beside": PROTO + b"}" + text("x") + text("汉" * 10_000) + b"s" + text("a") + GOOD + b"s.",
}
"""Pickles that hold one array ``a`` of shape (2, 3) beside odd things; ``read_arrays`` must give that one."""

TENSOR, PARAMETER = name("torch._utils", "_rebuild_tensor_v2"), name("torch._utils", "_rebuild_parameter")
HOOKS = ORDERED + b")R"


def storage(key: str = "0", count: bytes = number(6), kind: bytes = name("torch", "FloatStorage")) -> bytes:
    return group(text("storage"), kind, text(key), text("cpu"), count) + b"Q"


def tensor(of: bytes, offset: bytes, size: bytes, stride: bytes) -> bytes:
    return call(TENSOR, of, offset, size, stride, FALSE, HOOKS)


def simple(size: bytes = group(number(6)), stride: bytes = group(number(1)), offset: bytes = number(0)) -> bytes:
    return named(tensor(storage(), offset, size, stride))


WHOLE = tensor(storage(), number(0), group(number(2), number(3)), group(number(3), number(1)))

TENSORS_NOT_READ: dict[str, bytes] = {
    "tensor as storage": named(tensor(WHOLE, number(1), group(number(5)), group(number(1)))),
    "parameter as storage": named(tensor(call(PARAMETER, WHOLE, TRUE, HOOKS), number(1), group(number(5)), group(number(1)))),
    "class as storage": named(tensor(name("torch", "FloatStorage"), number(0), group(number(6)), group(number(1)))),
    "dictionary as storage": named(tensor(b"}", number(0), group(number(6)), group(number(1)))),
    "bytes as storage": named(tensor(data(b"A" * 24), number(0), group(number(6)), group(number(1)))),
    "class of storage called": named(call(name("torch", "FloatStorage"), number(6))),
    "storage as parameter": named(call(PARAMETER, storage(), TRUE, HOOKS)),
    "offset beyond": simple(offset=number(1)),
    "offset negative": simple(offset=number(-1)),
    "offset a boolean": simple(group(number(5)), offset=TRUE),
    "offset a float": simple(offset=b"G" + struct.pack(">d", 0.0)),
    "offset of 2^62": simple(group(number(1)), offset=number(2**62)),
    "size beyond": simple(group(number(7))),
    "size negative": simple(group(number(-1))),
    "sizes negative": simple(group(number(-2), number(-3)), group(number(3), number(1))),
    "size of booleans": simple(group(TRUE)),
    "size a list": simple(b"](" + number(6) + b"e"),
    "size of 65 dimensions": simple(group(*[number(1)] * 65), group(*[number(1)] * 65)),
    "size of 2^62 and 0": simple(group(number(2**62), number(0)), group(number(1), number(1))),
    "size that overflows": simple(group(number(2**32), number(2**32)), group(number(0), number(0))),
    "steps beyond": simple(group(number(2)), group(number(6))),
    "steps negative": simple(group(number(2)), group(number(-1)), number(5)),
    "steps of 2^61": simple(group(number(2)), group(number(2**61))),
    "steps of booleans": simple(group(number(6)), group(TRUE)),
    "steps of another number": simple(group(number(6)), group(number(1), number(1))),
    "steps of 0 to make more": simple(group(number(1000)), group(number(0))),
    "storage that is not there": named(tensor(storage("1"), number(0), group(number(6)), group(number(1)))),
    "storage with another count": named(tensor(storage(count=number(7)), number(0), group(number(6)), group(number(1)))),
    "storage with a negative count": named(tensor(storage(count=number(-6)), number(0), group(number(0)), group(number(1)))),
    "storage with a count of True": named(tensor(storage(count=TRUE), number(0), group(number(1)), group(number(1)))),
    "storage by a path": named(tensor(storage("../data.pkl"), number(0), group(number(6)), group(number(1)))),
    "storage by other digits": named(tensor(storage("٠"), number(0), group(number(6)), group(number(1)))),
    "storage of two kinds": PROTO
    + b"}"
    + text("a")
    + WHOLE
    + b"s"
    + text("b")
    + tensor(storage(kind=name("torch", "IntStorage")), number(0), group(number(6)), group(number(1)))
    + b"s.",
    "storage of no kind": named(group(text("storage"), NONE, text("0"), text("cpu"), number(6)) + b"Q"),
    "storage of a function's kind": named(group(text("storage"), TENSOR, text("0"), text("cpu"), number(6)) + b"Q"),
    "reference of four": named(group(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu")) + b"Q"),
    "reference of six": named(
        group(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), number(6), NONE) + b"Q"
    ),
    "reference that is a text": named(text("storage") + b"Q"),
    "reference to a module": named(
        group(text("module"), name("torch", "FloatStorage"), text("0"), text("cpu"), number(6)) + b"Q"
    ),
    "overlapping parts without end": PROTO
    + b"}"
    + storage()
    + b"q\x000"
    + b"".join(
        text(f"{first}.{step}") + tensor(b"h\x00", number(first), group(number(2)), group(number(step))) + b"s"
        for first in range(3)
        for step in range(4)
    )
    + b".",
    "tensor called": named(WHOLE + b")R"),
    "tensor with a state": named(WHOLE + b"}" + text("values") + number(1) + b"s" + b"b"),
    "storage with a state": named(tensor(storage() + b"}" + text("kind") + number(1) + b"s" + b"b", number(0), b")", b")")),
    "numpy's arrays": named(GOOD),
    "tensor of four arguments": named(call(TENSOR, storage(), number(0), group(number(6)), group(number(1)))),
    "load": named(call(name("torch", "load"), text("x"))),
    "storage module's functions": named(call(name("torch.storage", "_load_from_bytes"), data(b"x"))),
    "EXT1": PROTO + b"\x82\x01.",
    "NEWOBJ": named(name("torch", "FloatStorage") + b")\x81"),
}
"""Pickles of PyTorch's kind, beside a storage 0 of six floats, that must be refused."""


STORED = {
    "0": struct.pack("<6f", *range(6)),
    "1": struct.pack("<8e", *range(8)),
    "2": struct.pack("<4H", 0x3FC0, 0xC000, 0, 0x7FC0),
}
HALF, BRAIN = (name("torch", kind) for kind in ("HalfStorage", "BFloat16Storage"))
SEVERAL = b"".join(
    [
        PROTO + ORDERED + b")R(",
        text("whole") + WHOLE,
        text("tied") + WHOLE,
        text("turned") + tensor(storage(), number(0), group(number(3), number(2)), group(number(1), number(3))),
        text("half") + tensor(storage("1", number(8), HALF), number(2), group(number(3)), group(number(2))),
        text("brain"),
        call(PARAMETER, tensor(storage("2", number(4), BRAIN), number(0), group(number(4)), group(number(1))), TRUE, HOOKS),
        text("scalar") + tensor(storage(), number(5), b")", b")"),
        text("step") + number(7),
        b"u}" + text("_metadata") + b"}sb.",
    ]
)
"""What PyTorch writes of a model: tensors of three storages, one of them twice, one turned, and a state of the dictionary."""


def torch_file(pickled: bytes, *, stored: dict[str, bytes] = STORED, method: int = zipfile.ZIP_STORED) -> bytes:
    """A file as PyTorch's ``save`` writes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        for key, values in stored.items():
            archive.writestr(f"archive/data/{key}", values)
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()
