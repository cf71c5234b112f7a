"""Parameters and multiply-accumulates per luma pixel of a model: python scripts/figures/model_cost.py [MODEL]."""

from __future__ import annotations

import sys

import torch

from lvc.models import resolve
from lvc.models.integer import IntegerConv
from lvc.models.network import Codec, FrameCodec

SIDE = 256


def cost(net: FrameCodec, part: str) -> float:
    """kMAC per pixel of what a decoder, or an encoder (its decision pass included), runs for one frame."""
    total = 0
    handles = []

    def count(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        weight = module.get_parameter("weight")
        per_output = weight.shape[1] if weight.ndim == 2 else weight[0].numel()
        total += output.shape[1] * output.shape[2] * output.shape[3] * per_output

    for module in net.modules():
        if isinstance(module, (torch.nn.Conv2d, IntegerConv)):
            handles.append(module.register_forward_hook(count))
    level = torch.tensor([10.0])
    h8, h16, h64 = SIDE // 8, SIDE // 16, SIDE // 64
    x = torch.zeros(1, 96, h8, h8)
    w = None if net.intra else x
    q, z = torch.zeros(1, net.latent, h16, h16), torch.zeros(1, net.hyper, h64, h64)
    flags, code = torch.zeros(1, 1, h16, h16), torch.zeros(1)
    context = net.context(w, level)
    if part == "encode":
        y = net.analysis(x, w, context, level)
        net.hyper_analysis(y, context)
        if not net.intra:
            net.synthesis(q, context, level)
            net.means1(z, context, (h16, h16))
    inputs = net.scale_inputs(z, q, flags, flags, code)
    net.indices1(inputs)
    net.indices2(inputs, q)
    features, _ = net.means1(z, context, (h16, h16))
    net.means2(features, q)
    net.synthesis(q, context, level)
    for handle in handles:
        handle.remove()
    return total / SIDE**2 / 1000


def main() -> int:
    codec = Codec(resolve(sys.argv[1] if len(sys.argv) > 1 else None).config)  # as trained: all layers one by one
    print(f"{sum(p.numel() for p in codec.parameters()) / 1e6:.2f} M parameters")
    with torch.inference_mode():
        for name, net in (("key frame", codec.intra), ("predicted frame", codec.inter)):
            print(f"{name}: decode {cost(net, 'decode'):.2f}, encode {cost(net, 'encode'):.2f} kMAC/pixel")
    return 0


if __name__ == "__main__":
    sys.exit(main())
