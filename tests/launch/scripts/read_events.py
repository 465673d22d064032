"""read_events.py FOLDER: what TensorBoard's own reader finds in a folder of event files, as JSON."""
import json
import logging
import sys

logging.disable(logging.CRITICAL)  # what it lacks of tensorflow
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "histograms": 0, "tensors": 0})
events.Reload()
tags = events.Tags()
found = {
    "scalars": {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in tags["scalars"]},
    "histograms": {
        tag: [[e.step, e.histogram_value.num, sum(e.histogram_value.bucket), e.histogram_value.sum]
              for e in events.Histograms(tag)]
        for tag in tags["histograms"]
    },
    "texts": {
        tag: [[e.step, e.tensor_proto.string_val[0].decode()] for e in events.Tensors(tag)]
        for tag in tags["tensors"]
        if events.SummaryMetadata(tag).plugin_data.plugin_name == "text"
    },
}
json.dump(found, sys.stdout)
