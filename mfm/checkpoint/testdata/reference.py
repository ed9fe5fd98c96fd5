"""Writes reference.safetensors with the format's reference implementation (pip install safetensors; made with 0.8.0): every element type, an empty tensor and a scalar."""
import ctypes
import os
import struct

from safetensors import TensorSpec, serialize_file

values = {
    "bool": ("?", [3], [True, False, True]),
    "uint8": ("B", [3], [0, 255, 7]),
    "int8": ("b", [2], [-128, 127]),
    "int16": ("h", [2], [-32768, 32767]),
    "uint16": ("H", [1], [65535]),
    "float16": ("e", [2], [1.5, -2.0]),
    "bfloat16": ("H", [2], [0x3FC0, 0xC000]),  # 1.5, -2
    "int32": ("i", [3, 1], [-(2**31), -1, 2**31 - 1]),
    "uint32": ("I", [1], [2**32 - 1]),
    "float32": ("f", [2, 3], [0.0, -0.0, 1.5, float("inf"), 2.0**-149, -3.25]),
    "float64": ("d", [2], [3.141592653589793, -1e300]),
    "int64": ("q", [2], [-(2**63), 2**63 - 1]),
    "uint64": ("Q", [2], [2**64 - 1, 42]),
}
tensors, alive = {}, []


def add(name, dtype, shape, data):
    memory = ctypes.create_string_buffer(data, max(len(data), 1))
    alive.append(memory)  # the specification holds but the address
    tensors[name] = TensorSpec(dtype=dtype, shape=shape, data_ptr=ctypes.addressof(memory), data_len=len(data))


for name, (code, shape, x) in values.items():
    add(f"kind/{name}", name, shape, struct.pack(f"<{len(x)}{code}", *x))
add("scalar", "float32", [], struct.pack("<f", 3))
add("empty", "float64", [3, 0], b"")
serialize_file(tensors, os.path.join(os.path.dirname(__file__), "reference.safetensors"), {"größe": 'a\n"b" c'})
