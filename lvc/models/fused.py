"""The networks as the codec runs them on a CPU: activations, sums and gains inside the convolutions around them.

What `FrameCodec.context`, `analysis` and `synthesis` compute, up to rounding: oneDNN applies activations and adds
residuals before it writes a convolution's result, gains are multiplied into the weights of the layer before them (kept
per level), layers without anything between them are one, and what is concatenated is added instead. One frame at a
time, channels last. Only where no gradients are wanted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from .network import Block, Context, FrameCodec

SLOPE = 0.1
"""Of leaky ReLUs below 0."""
LEVELS_KEPT = 4
"""Levels whose weights are kept; a frame of another level costs a millisecond more."""
KEPT = 4_000_000
"""Elements of the largest features that are kept for gradients."""
Tensor = torch.Tensor


def available() -> bool:
    """Whether this PyTorch has the convolutions with activations inside, as its own compiler uses them."""
    try:
        return bool(torch.backends.mkldnn.is_available()) and all(  # type: ignore[no-untyped-call]
            hasattr(torch.ops.mkldnn._convolution_pointwise, name) for name in ("default", "binary")
        )
    except (AttributeError, RuntimeError):
        return False


class Conv:
    """A convolution of stride 1 that keeps the size. `after`: "none", "leaky_relu" or "hardtanh" with its numbers."""

    def __init__(self, weight: Tensor, bias: Tensor | None, after: str = "none", *numbers: float) -> None:
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self._bias = bias
        self._after, self._numbers = after, list(numbers)
        self._pad = [weight.shape[2] // 2] * 2
        self._groups = weight.shape[0] if weight.shape[1] == 1 and weight.shape[2] > 1 else 1

    def __call__(self, x: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self._bias, self._pad, [1, 1], [1, 1], self._groups, self._after, self._numbers, ""
        )
        return out

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        """The convolution of `x`, plus `other`; without the activation."""
        out: Tensor = torch.ops.mkldnn._convolution_pointwise.binary(
            x, other, self.weight, self._bias, self._pad, [1, 1], [1, 1], self._groups, "add", 1.0, None, [], None
        )
        return out

    def turned(self) -> Conv:
        """The layer of gradients: of its input, from those of its result (without its activation)."""
        if self._groups > 1:
            return Conv(self.weight.flip(2, 3), None)
        return Conv(self.weight.transpose(0, 1), None)


def _leaky_back(gradient: Tensor, after: Tensor) -> Tensor:
    """Through a leaky ReLU, by the sign of what came out of it; overwrites `gradient`."""
    return gradient.mul_(torch.where(after > 0, 1.0, SLOPE).to(gradient.dtype))


class FusedBlock:
    """`Block` in six operations."""

    def __init__(self, block: Block, dtype: torch.dtype, gate: float) -> None:
        def conv(weight: Tensor, bias: Tensor | None, after: str = "none", *numbers: float) -> Conv:
            return Conv(weight.to(dtype), None if bias is None else bias.to(dtype), after, *numbers)

        (u, v), (bias_u, bias_v) = block.f.weight.chunk(2), _of(block.f.bias).chunk(2)
        self._a, self._d = conv(block.a.weight, block.a.bias, "leaky_relu", SLOPE), conv(block.d.weight, block.d.bias)
        self._u, self._v = conv(u, bias_u, "leaky_relu", SLOPE), conv(v, bias_v, "hardtanh", -gate, gate)
        self._b, self._g = conv(block.b.weight, block.b.bias), conv(block.g.weight, block.g.bias)

        self._gate = gate
        self._turned: list[Conv] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        x = self._b.plus(self._d(self._a(x)), x)
        return self._g.plus(self._u(x).mul_(self._v(x)), x)

    def keeping(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What the call gives, and what `back` needs for it."""
        a = self._a(x)
        x = self._b.plus(self._d(a), x)
        u, v = self._u(x), self._v(x)
        return self._g.plus(u * v, x), (a, u, v)

    def back(self, gradient: Tensor, kept: tuple[Tensor, ...]) -> Tensor:
        """The gradient of the block's input from that of its result."""
        if self._turned is None:
            self._turned = [c.turned() for c in (self._a, self._d, self._b, self._u, self._v, self._g)]
        to_a, to_d, to_b, to_u, to_v, to_g = self._turned
        a, u, v = kept
        product = to_g(gradient)
        of_u = _leaky_back(product * v, u)
        of_v = product.mul_(u).mul_(v.abs() < self._gate)
        gradient = to_v.plus(of_v, to_u.plus(of_u, gradient))
        return to_a.plus(_leaky_back(to_d(to_b(gradient)), a), gradient)


def _by_place(weight: Tensor) -> Tensor:
    """Rows of a layer before a pixel shuffle by 2, [C·4,…] → [4·C,…]: the four places' channels together."""
    return weight.reshape(-1, 4, *weight.shape[1:]).transpose(0, 1).flatten(0, 1)


def _spread(x: Tensor) -> Tensor:
    """[1,4·C,H,W] with channels as `_by_place` leaves them → [1,C,2H,2W]: long runs of bytes move."""
    _, c4, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(1, h, w, 2, c4 // 2).transpose(2, 3)
    return rows.reshape(1, 2 * h, 2 * w, c4 // 4).permute(0, 3, 1, 2)


def _gathered(weight: Tensor) -> Tensor:
    """Weights of a 2x2 convolution of stride 2 → of a 1x1 one after `_gather`."""
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1, 1, 1)


def _gather(x: Tensor) -> Tensor:
    """[1,C,2H,2W] → [1,4·C,H,W]: `_spread` backwards."""
    _, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(1, h // 2, 2, w // 2, 2 * c).transpose(2, 3)
    return rows.reshape(1, h // 2, w // 2, 4 * c).permute(0, 3, 1, 2)


class _Levelled:
    """Layers of one level: what `make` gives for it, for the last few levels."""

    def __init__(self, make: Callable[[Tensor], Any]) -> None:
        self._make, self._kept = make, dict[float, Any]()

    def __call__(self, level: Tensor) -> Any:
        at = float(level)
        made = self._kept.get(at)  # of several threads, each may make it
        if made is None:
            made = self._make(level)
            if len(self._kept) >= LEVELS_KEPT:
                self._kept.pop(next(iter(self._kept)), None)
            self._kept[at] = made
        return made


class Fused:
    """`context`, `analysis` and `synthesis` of a float32 `FrameCodec` as it is now, run in `dtype`: levels are [1],
    frames one."""

    def __init__(
        self, net: FrameCodec, dtype: torch.dtype, largest: float, gate: float, step: Callable[[Tensor], Tensor]
    ) -> None:
        self._net = net = copy.deepcopy(net).requires_grad_(
            False
        )  # gains are folded in float32, whatever `net` becomes
        self._dtype, self._largest, self._step = dtype, largest, step
        self._encoder = [FusedBlock(b, dtype, gate) for b in net.encoder]  # type: ignore[arg-type]
        self._decoder = [FusedBlock(b, dtype, gate) for b in net.decoder]  # type: ignore[arg-type]
        self._at_context, self._at_analysis = _Levelled(self._context), _Levelled(self._analysis)
        self._at_synthesis = _Levelled(self._synthesis)
        if not net.intra:
            self._block = FusedBlock(net.context_block, dtype, gate)
            self._side = self._made(_gathered(net.context_side.weight), net.context_side.bias)

    def _made(self, weight: Tensor, bias: Tensor | None) -> Conv:
        return Conv(weight.to(self._dtype), None if bias is None else bias.to(self._dtype))

    def _context(self, level: Tensor) -> Conv:
        layer, gain = self._net.context_in, self._net.context_gain(level).reshape(-1)
        return self._made(_scaled(layer.weight, gain), _scaled(layer.bias, gain))

    def context(self, w: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """(c, side)."""
        c = self._block(self._at_context(level)(w.to(self._dtype)))
        return c, self._side(_gather(c))

    def _analysis(self, level: Tensor) -> tuple[Any, ...]:
        net, patch = self._net, self._net.encoder_linear.in_channels
        gain, latent = net.encoder_gain(level).reshape(-1), net.latent_gain(level).reshape(-1)
        delta = float(self._step(level))
        head = _scaled(net.encoder_in.weight, gain)
        scale = 2.0 if net.intra else 1 / (4 * delta)
        return (
            scale,
            self._made(head[:, :patch], _scaled(net.encoder_in.bias, gain)),
            None if net.intra else self._made(head[:, patch:], None),
            self._made(_gathered(_scaled(net.encoder_linear.weight, latent / delta)),
                       _scaled(net.encoder_linear.bias, latent / delta)),
            self._made(_gathered(_scaled(net.encoder_out.weight, latent)), _scaled(net.encoder_out.bias, latent)),
        )  # fmt: skip

    def analysis(self, r: Tensor, context: Context, level: Tensor) -> Tensor:
        """`r`: what is to be coded, patches less their prediction."""
        scale, first, beside, linear, last = self._at_analysis(level)
        scaled = r * scale
        if context.c is None:
            e = first(scaled.to(self._dtype))
        else:
            e = beside.plus(context.c, first(scaled.clamp_(-4, 4).to(self._dtype)))
        for block in self._encoder:
            e = block(e)
        y: Tensor = linear(_gather(r.to(self._dtype))).float()
        return y.add_(last(_gather(e)))

    def _synthesis(self, level: Tensor) -> tuple[Any, ...]:
        net, c = self._net, self._net.decoder_mix.out_channels
        delta, gain = float(self._step(level)), net.decoder_gain(level).reshape(-1)
        mix = _scaled(net.decoder_mix.weight, gain)[:, :, 0, 0]
        bias = _scaled(net.decoder_mix.bias, gain)
        # decoder_in, the shuffle and the mix have nothing between them: at each of four places, one matrix
        weight = _by_place(net.decoder_in.weight.float())[:, :, 0, 0].reshape(4, c, -1)
        inner = _by_place(_of(net.decoder_in.bias)).reshape(4, c) @ mix[:, :c].t()
        both = (mix[:, :c] @ weight).flatten(0, 1)[:, :, None, None]
        out = float(net.output_gain(level)) * delta
        inverse = net.inverse_gain(level)
        return (
            inverse,
            self._made(both, (inner + (bias if net.intra else 0)).flatten()),
            None if net.intra else self._made(mix[:, c:, None, None], bias),
            self._made(net.decoder_out.weight.float() * out, _of(net.decoder_out.bias) * out),
            self._made(_by_place(net.decoder_linear.weight.float()) * delta, _by_place(_of(net.decoder_linear.bias))),
        )

    def synthesis(self, n: Tensor, context: Context, level: Tensor) -> Tensor:
        """float32, channels last."""
        inverse, first, beside, last, linear = self._at_synthesis(level)
        n = n * inverse
        f = _spread(first(n.clamp(-self._largest, self._largest).to(self._dtype)))
        if context.c is not None:
            f = beside.plus(context.c, f)
        for block in self._decoder:
            f = block(f)
        total: Tensor = _spread(linear(n.to(self._dtype))).float()
        return total.add_(last(f))

    def synthesis_and_back(
        self, n: Tensor, context: Context, level: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """What `synthesis` gives, and the map from its gradient to that of `n`, both float32."""
        inverse, first, beside, last, linear = self._at_synthesis(level)
        to_first, to_last, to_linear = first.turned(), last.turned(), linear.turned()
        scaled = n * inverse
        bounded = scaled.clamp(-self._largest, self._largest)
        f = _spread(first(bounded.to(self._dtype)))
        if context.c is not None:
            f = beside.plus(context.c, f)
        kept: list[tuple[Tensor, ...]] = []
        for block in self._decoder:
            # a large frame's are made again on the way back: 0.75 GB less for 1080p
            f, parts = block.keeping(f) if f.numel() <= KEPT else (block(f), (f,))
            kept.append(parts)
        total: Tensor = _spread(linear(scaled.to(self._dtype))).float().add_(last(f))

        def back(gradient: Tensor) -> Tensor:
            given = gradient.to(self._dtype)
            g = to_last(given)
            for block, parts in zip(reversed(self._decoder), reversed(kept), strict=True):
                g = block.back(g, parts if len(parts) > 1 else block.keeping(*parts)[1])
            bent = to_first(_gather(g)).float().mul_(bounded == scaled)
            of_n: Tensor = bent.add_(to_linear(_gather(given))).mul_(inverse)
            return of_n

        return total, back

    def linear_synthesis(self, n: Tensor, level: Tensor) -> Tensor:
        inverse, *_, linear = self._at_synthesis(level)
        return _spread(linear((n * inverse).to(self._dtype))).float()


def _of(bias: Tensor | None) -> Tensor:
    if bias is None:
        raise ValueError("a layer has no bias")
    return bias.float()


def _scaled(weight: Tensor | None, gain: Tensor) -> Tensor:
    """Rows times gains, float32."""
    return _of(weight) * gain.reshape(-1, *[1] * (_of(weight).dim() - 1))
