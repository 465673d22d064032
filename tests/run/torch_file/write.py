"""write.py FILE: tensors as torch.save wrote them until PyTorch 1.6."""

import sys
from collections import OrderedDict

import torch

numbers = torch.arange(6.0).reshape(2, 3)
state = OrderedDict(
    rows=numbers,
    columns=numbers.t(),
    last=numbers[1, 2],
    count=torch.tensor(2**40),
    half=torch.tensor([0.5, -2.0], dtype=torch.float16),
    step=7,
)
torch.save(state, sys.argv[1], _use_new_zipfile_serialization=False)
