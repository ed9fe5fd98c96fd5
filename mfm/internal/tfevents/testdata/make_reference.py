"""Writes an event file with TensorBoard, and the values that TensorBoard reads from it as JSON.

    pip install tensorboard
    python make_reference.py reference.tfevents reference.json

With one argument it prints the values in that event file.
"""

import json
import math
import sys

from tensorboard.backend.event_processing import event_file_loader
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util


def write(path):
    """Writes a version and steps with names, sizes and numbers at the ends of their ranges."""
    long = "a name of more than 127 bytes " * 6
    steps = [
        (1, 1700000000.5, [("loss", 0.75), ("rate", 1e-3)]),
        (127, 1700000001.25, [("loss", 0.5), ("rate", 1e-3), ("diagonal/λ", -3.5e-39)]),
        (128, 1700000002.125, [("loss", 0.0), ("rate", 3.4e38), (long, math.pi)]),
        (2**40, 1700086400.0, [("loss", math.inf), ("rate", -math.inf)]),
    ]
    with open(path, "wb") as f:
        writer = RecordWriter(f)
        writer.write(event_pb2.Event(wall_time=1700000000, file_version="brain.Event:2").SerializeToString())
        for step, wall_time, scalars in steps:
            values = [summary_pb2.Summary.Value(tag=tag, simple_value=v) for tag, v in scalars]
            event = event_pb2.Event(wall_time=wall_time, step=step, summary=summary_pb2.Summary(value=values))
            writer.write(event.SerializeToString())
        writer.flush()


def number(v):
    """Returns a float as JSON has it."""
    v = float(v)
    return v if math.isfinite(v) else "Infinity" if v > 0 else "-Infinity"


def read(path):
    """Returns the events that TensorBoard's reader finds."""
    events = []
    for e in event_file_loader.EventFileLoader(path).Load():
        event = {"wall_time": e.wall_time}
        if e.file_version:
            event["file_version"] = e.file_version
        else:
            event["step"] = e.step
            event["scalars"] = [
                {"tag": v.tag, "value": number(tensor_util.make_ndarray(v.tensor))} for v in e.summary.value
            ]
        events.append(event)
    return events


if len(sys.argv) == 2:
    print(json.dumps(read(sys.argv[1]), indent=1, ensure_ascii=False))
else:
    write(sys.argv[1])
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        f.write(json.dumps(read(sys.argv[1]), indent=1, ensure_ascii=False) + "\n")
