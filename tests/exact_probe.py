"""python exact_probe.py THREADS MODEL JOB: what integers this process reads, as JSON, for tests that compare processes.

JOB is JSON: width, height and the payloads (hex) of one GOP with their frame counts.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

from lvc.codec.scales import Scales
from lvc.entropy.clip import Geometry, latents_crc
from lvc.entropy.rans import GopCoder
from lvc.models import load_model
from lvc.models.config import ModelConfig
from lvc.models.integer import ScaleNet


def scale_digest() -> str:
    """Of a network of the default model's size over a 480p frame."""
    config = ModelConfig()
    rng = np.random.default_rng(0)
    net = ScaleNet(2 * config.latent + config.hyper + 3, config.scale_hidden, config.latent).requires_grad_(False)
    for layer in (net.first, net.second, net.last):
        fan = layer.weight.shape[1]
        layer.weight.copy_(torch.from_numpy(rng.integers(-127, 128, layer.weight.shape) * (3 / 127) * fan**-0.5))
        layer.bias.copy_(torch.from_numpy(rng.integers(-1024, 1025, layer.bias.shape) / 1024))
        layer.freeze()
    x = torch.from_numpy(rng.integers(-127, 128, (1, net.first.weight.shape[1], 30, 54)).astype(np.float32))
    return hashlib.sha256(net(x).numpy().astype(np.uint8).tobytes()).hexdigest()


def crcs(path: str, job: dict[str, object]) -> list[int]:
    model = load_model(path)
    geometry = Geometry(int(str(job["width"])), int(str(job["height"])), 16, model.planes)
    coder = GopCoder(geometry, Scales(model), model.tables)
    clips = job["clips"]
    assert isinstance(clips, list)
    return [latents_crc(coder.unpack(bytes.fromhex(data), count), geometry) for data, count in clips]


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    found = {
        "capability": torch.backends.cpu.get_cpu_capability(),
        "scales": scale_digest(),
        "crcs": crcs(sys.argv[2], json.loads(Path(sys.argv[3]).read_text())),
    }
    print(json.dumps(found))
