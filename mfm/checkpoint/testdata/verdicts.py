"""Write verdicts.json: files in the safetensors format, valid and malformed, with the verdict of
the reference implementation, the Python package safetensors 0.8.0.

    pip install safetensors==0.8.0
    python mfm/checkpoint/testdata/verdicts.py
"""

import base64
import json
import pathlib
import struct

from safetensors import SafetensorError, deserialize


def file(header, data=0):
    raw = header if isinstance(header, bytes) else header.encode()
    body = data if isinstance(data, bytes) else bytes(data)
    return struct.pack("<Q", len(raw)) + raw + body


def entry(shape="[]", offsets="[0,4]", dtype="F32", extra=""):
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}{extra}}}'


def one(tensor, data=4, name="w"):
    return file(f'{{"{name}":{tensor}}}', data)


def two(a, b, data=8):
    return file(f'{{"a":{a},"b":{b}}}', data)


PLAIN = '{"w":' + entry() + "}"
FILES = {
    # Sizes and the header's length.
    "empty": b"",
    "seven bytes": b"\x02\0\0\0\0\0\0",
    "length alone": struct.pack("<Q", 0),
    "no tensors": file("{}"),
    "length beyond the end": struct.pack("<Q", 9) + b"{}",
    "length negative": struct.pack("<q", -1) + b"{}",
    "length above the limit": struct.pack("<Q", 100_000_001) + b"{}",
    "length at the limit, truncated": struct.pack("<Q", 100_000_000) + b"{}",
    # The JSON text.
    "valid": file(PLAIN, 4),
    "space in front": file(" " + PLAIN, 4),
    "newline in front": file("\n" + PLAIN, 4),
    "padded with spaces": file(PLAIN + "    ", 4),
    "padded with newlines": file(PLAIN + "\n\n", 4),
    "padded with tabs": file(PLAIN + "\t", 4),
    "padded with zeros": file(PLAIN + "\0\0", 4),
    "not padded to 8 bytes": file('{"ww":' + entry() + "}", 4),
    "byte order mark": file(b"\xef\xbb\xbf" + PLAIN.encode(), 4),
    "two objects": file(PLAIN + " {}", 4),
    "text after the object": file(PLAIN + "x", 4),
    "list": file("[]"),
    "null": file("null"),
    "number": file("1"),
    "string": file('"w"'),
    "blanks alone": file("        "),
    "unclosed": file(PLAIN[:-1], 4),
    "trailing comma": file(PLAIN[:-1] + ",}", 4),
    "comment": file(PLAIN[:-1] + "/**/}", 4),
    "single quotes": file(PLAIN.replace('"', "'"), 4),
    "bytes that are not UTF-8 in a name": file(PLAIN.encode().replace(b"w", b"\xff"), 4),
    "bytes that are not UTF-8 in metadata": file(b'{"__metadata__":{"a":"\xff"}}'),
    "overlong UTF-8 in a name": file(PLAIN.encode().replace(b"w", b"\xc0\xaf"), 4),
    "encoded surrogate in a name": file(PLAIN.encode().replace(b"w", b"\xed\xa0\x80"), 4),
    "escaped lone surrogate in a name": one(entry(), name="\\ud800"),
    "escaped lone low surrogate in a name": one(entry(), name="\\udc00"),
    "escaped lone surrogate in metadata": file('{"__metadata__":{"a":"\\ud800"}}'),
    "escaped lone surrogate in an unknown field": one(entry(extra=',"x":"\\ud800"')),
    "escaped pair of surrogates in a name": one(entry(), name="\\ud83d\\ude42"),
    "escape unknown": one(entry(), name="\\x"),
    "escaped zero in a name": one(entry(), name="\\u0000"),
    "control character in a name": one(entry(), name="\n"),
    "empty name": one(entry(), name=""),
    "escaped letters in a field": file(PLAIN.replace("dtype", "d\\u0074ype"), 4),
    "escaped letters in the metadata's name": file('{"__m\\u0065tadata__":{"a":"b"}}'),
    # Keys.
    "tensor twice, the same": file('{"w":' + entry() + ',"w":' + entry() + "}", 4),
    "tensor twice, side by side": file('{"w":' + entry() + ',"w":' + entry(offsets="[4,8]") + "}", 8),
    "tensor twice, the first a gap": file('{"w":' + entry(offsets="[4,8]") + ',"w":' + entry() + "}", 4),
    "tensor twice, once escaped": file('{"w":' + entry() + ',"\\u0077":' + entry() + "}", 4),
    "metadata twice": file('{"__metadata__":{"a":"1"},"__metadata__":{"a":"1"}}'),
    "metadata twice, null": file('{"__metadata__":null,"__metadata__":null}'),
    "metadata key twice": file('{"__metadata__":{"a":"1","a":"2"}}'),
    "dtype twice": one(entry(extra=',"dtype":"F32"')),
    "shape twice": one(entry(extra=',"shape":[]')),
    "data_offsets twice": one(entry(extra=',"data_offsets":[0,4]')),
    "unknown field": one(entry(extra=',"device":"cpu"')),
    "unknown field twice": one(entry(extra=',"x":1,"x":2')),
    "DType beside dtype": one(entry(extra=',"DType":"I32"')),
    "Shape beside shape": one(entry(extra=',"Shape":[9]')),
    "DType alone": one(entry().replace("dtype", "DType")),
    "SHAPE alone": one(entry().replace("shape", "SHAPE")),
    "Data_Offsets alone": one(entry().replace("data_offsets", "Data_Offsets")),
    "__METADATA__": file('{"__METADATA__":{"a":"1"}}'),
    # Metadata.
    "metadata null": file('{"__metadata__":null}'),
    "metadata empty": file('{"__metadata__":{}}'),
    "metadata last": file(PLAIN[:-1] + ',"__metadata__":{"a":"1"}}', 4),
    "metadata number": file('{"__metadata__":{"a":1}}'),
    "metadata null value": file('{"__metadata__":{"a":null}}'),
    "metadata nested": file('{"__metadata__":{"a":{}}}'),
    "metadata list": file('{"__metadata__":[]}'),
    "metadata list of pairs": file('{"__metadata__":[["a","b"]]}'),
    "metadata string": file('{"__metadata__":"a"}'),
    "metadata that is a tensor": one(entry(), name="__metadata__"),
    # The entry of a tensor.
    "tensor null": one("null", 0),
    "tensor a number": one("1", 0),
    "tensor a string": one('"F32"', 0),
    "tensor an empty list": one("[]", 0),
    "tensor a list": one('["F32",[],[0,4]]'),
    "tensor a list of four": one('["F32",[],[0,4],1]'),
    "tensor a list of two": one('["F32",[]]'),
    "tensor empty": one("{}", 0),
    "no dtype": one('{"shape":[],"data_offsets":[0,4]}'),
    "no shape": one('{"dtype":"F32","data_offsets":[0,4]}'),
    "no data_offsets": one('{"dtype":"F32","shape":[]}'),
    "dtype null": one('{"dtype":null,"shape":[],"data_offsets":[0,4]}'),
    "shape null": one(entry("null")),
    "data_offsets null": one(entry(offsets="null")),
    "dtype lower case": one(entry(dtype="f32")),
    "dtype unknown": one(entry(dtype="F31")),
    "dtype empty": one(entry(dtype="")),
    "dtype a number": one('{"dtype":9,"shape":[],"data_offsets":[0,4]}'),
    "dtype an object": one('{"dtype":{"F32":null},"shape":[],"data_offsets":[0,4]}'),
    "dtype escaped": one(entry(dtype="\\u004632")),
    "shape a number": one(entry("1")),
    "shape an object": one(entry("{}")),
    "shape negative": one(entry("[-1]")),
    "shape negative twice": one(entry("[-1,-1]")),
    "shape of a fraction": one(entry("[1.5]")),
    "shape of 1.0": one(entry("[1.0]")),
    "shape of 1e0": one(entry("[1e0]")),
    "shape of -0": one(entry("[-0]", "[0,0]"), 0),
    "shape of 01": one(entry("[01]")),
    "shape of a string": one(entry('["1"]')),
    "shape of null": one(entry("[null]")),
    "shape of null, no data": one(entry("[null]", "[0,0]"), 0),
    "shape of true": one(entry("[true]")),
    "shape nested": one(entry("[[1]]")),
    "shape beyond 64 bits": one(entry("[18446744073709551616]")),
    "shape overflows": one(entry("[4294967296,4294967296]", "[0,0]"), 0),
    "shape overflows in bytes": one(entry("[4611686018427387904]", "[0,0]"), 0),
    "shape with 0 overflows": one(entry("[0,4294967296,4294967296]", "[0,0]"), 0),
    "shape overflows before a 0": one(entry("[4294967296,4294967296,0]", "[0,0]"), 0),
    "shape of 2^63 with 0": one(entry("[9223372036854775808,0]", "[0,0]"), 0),
    "shape of 2^64 - 1 with 0": one(entry("[0,18446744073709551615]", "[0,0]"), 0),
    "shape of 2^61 with 0, bytes overflow": one(entry("[2305843009213693952,0,8]", "[0,0]"), 0),
    "shape of 2^62 with 0, bits overflow": one(entry("[4611686018427387904,0]", "[0,0]"), 0),
    "shape of bits beyond 64, too few data": one(entry("[1152921504606846976]", "[0,4]"), 4),
    "scalar": one(entry()),
    "many axes": one(entry("[" + ",".join(["1"] * 100) + "]")),
    "zero size": one(entry("[0]", "[0,0]"), 0),
    "zero size with data": one(entry("[0]", "[0,4]")),
    "zero size between": file(
        '{"a":' + entry("[1]", "[0,4]") + ',"e":' + entry("[3,0]", "[4,4]") + ',"b":' + entry("[1]", "[4,8]") + "}", 8
    ),
    "zero sizes at one offset": two(entry("[0]", "[0,0]"), entry("[0,2]", "[0,0]"), 0),
    "zero size inside another tensor": two(entry("[2]", "[0,8]"), entry("[0]", "[4,4]")),
    "zero size beyond the end": two(entry("[2]", "[0,8]"), entry("[0]", "[12,12]")),
    "zero size before its time": two(entry("[2]", "[0,8]"), entry("[0]", "[0,0]")),
    # Offsets.
    "offsets of one": one(entry(offsets="[0]")),
    "offsets of three": one(entry(offsets="[0,4,4]")),
    "offsets empty": one(entry(offsets="[]")),
    "offsets an object": one(entry(offsets='{"0":0,"1":4}')),
    "offsets negative": one(entry(offsets="[-4,0]")),
    "offsets of -0": one(entry(offsets="[-0,4]")),
    "offsets of fractions": one(entry(offsets="[0.0,4.0]")),
    "offsets of null": one(entry(offsets="[null,4]")),
    "offsets beyond 64 bits": one(entry(offsets="[0,18446744073709551616]")),
    "offsets of 2^63": one(entry("[0]", "[9223372036854775808,9223372036854775808]"), 0),
    "offsets reversed": one(entry(offsets="[4,0]")),
    "offsets beyond the end": one(entry(offsets="[4,8]")),
    "offsets a byte short": one(entry(offsets="[0,3]"), 3),
    "offsets a byte long": one(entry(offsets="[0,5]"), 5),
    "huge": one(entry("[1000000000000]", "[0,4000000000000]")),
    "overlap": two(entry("[2]", "[0,8]"), entry("[1]", "[4,8]")),
    "the same data": two(entry("[1]", "[0,4]"), entry("[1]", "[0,4]"), 4),
    "hole": two(entry("[1]", "[0,4]"), entry("[1]", "[8,12]"), 12),
    "hole in front": one(entry("[1]", "[4,8]"), 8),
    "offsets out of order": two(entry("[1]", "[4,8]"), entry("[1]", "[0,4]")),
    "data too short": one(entry(), 3),
    "data too long": one(entry(), 5),
    "data without tensors": file("{}", 1),
    # Contents.
    "not a number": one(entry(), struct.pack("<f", float("nan"))),
    "bool of 1": one(entry(dtype="BOOL", offsets="[0,1]"), b"\1"),
    "bool of 2": one(entry(dtype="BOOL", offsets="[0,1]"), b"\2"),
    "not aligned": two(entry("[1]", "[0,1]", "U8"), entry("[1]", "[1,5]"), 5),
    "zip": b"PK\x03\x04PK\x03\x04PK",
}
for depth in 125, 126, 200:
    FILES[f"unknown field of depth {depth}"] = one(entry(extra=',"x":' + "[" * depth + "]" * depth))
for number in "1e999", "-0", "18446744073709551616", "01", "NaN":
    FILES["unknown field of " + number] = one(entry(extra=',"x":' + number))
for dtype, bits in {
    "BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "F64": 64, "I64": 64, "U64": 64, "C64": 64, "C128": 128, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4, "F4_E2M1": 4, "I4": 4,
}.items():
    FILES["dtype " + dtype] = one(entry("[8]", f"[0,{bits}]", dtype), bits)


def verdict(data):
    try:
        deserialize(data)
    except SafetensorError as error:
        return str(error).removeprefix("Error while deserializing: ")
    return ""


if __name__ == "__main__":
    rows = [
        {"name": name, "file": base64.b64encode(data).decode(), "error": verdict(data)} for name, data in FILES.items()
    ]
    path = pathlib.Path(__file__).with_name("verdicts.json")
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
