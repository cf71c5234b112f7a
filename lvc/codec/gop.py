"""A group of pictures, clip by clip: a key frame, then pyramids of frames between anchors (formats/decoder.md).

Anchors depend on each other and are coded one after the other; the frames between two anchors are independent work for
any thread. Frames are identified by `time`, their number since the key frame.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ..engine import motion
from ..engine.coder import Coder
from ..errors import CorruptError
from . import payload as layout
from .frames import Coded, FrameDecoder, FrameEncoder, Given, Planes, References, write
from .lookahead import missed_by_prediction, smaller
from .pyramid import CHAIN, INTRA, KEY, LONG_REACH, LONG_TERM, OLDER, Step, last_use
from .settings import Effort

Done = Callable[[int, Coded], None]
"""Called with the number of a frame in its clip, from 0, and the frame, when it is coded."""
Rest = Callable[..., None]
"""Decodes the frames between anchors. Takes a `Done`, optionally the numbers of the wanted frames, and whether `Done`
is called late (`Between.run`)."""
StreamOf = Callable[[Step], motion.Stream | Given]
Work = tuple[Step, int, References | None]
"""A frame to code: its step, its time and its references, if any."""
Code = Callable[[Sequence[Work]], Iterable[Coded]]
DEAR = 0.7
"""Share of a key frame's bits from which an anchor is tried without references."""
LONG_TERM_SHARE = 0.95
"""The key frame replaces the anchor before the last as second reference if its error is below this share."""
TOGETHER = 4
"""Frames of one place that are coded side by side. The cost of motion is taken from the stream before the first of
them, so that the number of threads does not change the result."""


@dataclass
class Between:
    """Frames of a clip that are still to be coded, and the frames they need, by number: from 1 in the clip, 0 the
    anchor before it, −1 the anchor before that, `KEY` the group's key frame."""

    order: Sequence[Step]
    known: dict[int, Coded]

    def run(self, code: Code, done: Done, together: int = 1, near: int | None = None, late: bool = False) -> None:
        """Code all frames. `code` gets up to `together` frames at a time, none of which is predicted from another.
        `near`: only frames that the next `near` frames need keep their prepared pictures; others are prepared again.
        `late`: `done` gets a frame when no other frame needs it any more, so that its result can take its place in
        memory."""
        uses, start, i = last_use(list(self.order)), self.known[0].time, 0
        made: set[int] = set()
        while i < len(self.order):
            group = [s for s in self.order[i : i + together] if s.place == self.order[i].place]
            work = [(s, start + s.frame, self._references(s)) for s in group]
            for step, coded in zip(group, code(work), strict=True):
                self.known[step.frame] = coded
                made.add(step.frame)
                if not late:
                    done(step.frame - 1, coded)
                i += 1
                if near is not None:
                    self._forget_pictures(self.order[i : i + near])
            for k in [k for k in self.known if uses.get(k, -1) < i]:
                coded = self.known.pop(k)
                if late and k in made:
                    done(k - 1, coded)

    def _forget_pictures(self, soon: Sequence[Step]) -> None:
        """Forget the pictures of frames that the `soon` ones do not need."""
        wanted = {k for step in soon for k in (step.first, step.second)}
        for k, coded in self.known.items():
            if k not in wanted:
                coded.forget_picture()

    def _references(self, step: Step) -> References | None:
        if step.first is None:
            return None
        return self.known[step.first], None if step.second is None else self.known[step.second]


class _Gop:
    """What encoder and decoder keep from clip to clip."""

    def __init__(self) -> None:
        self._last: list[Coded] = []  # the one before the last, if there is one, and the last
        self._key: Coded | None = None
        self.contexts: motion.Stream | None = None  # those of anchors

    def _started(self, key: Coded) -> None:
        self._key, self._last, self.contexts = key, [key], None

    @property
    def older(self) -> bool:
        return len(self._last) == 2

    def remembered(self) -> tuple[list[Coded], motion.Stream | None]:
        """Return the state that the next clip starts from; `back` restores it."""
        return self._last, self.contexts

    def back(self, to: tuple[list[Coded], motion.Stream | None]) -> None:
        self._last, self.contexts = to

    def _anchors(self, order: Sequence[Step], code: Code, done: Done) -> Between:
        """Code a clip's anchor, or all frames of a chain."""
        known = {-k: c for k, c in enumerate(reversed(self._last))}
        if self._key is not None:
            known[KEY] = self._key
        mine = [s for s in order if s.place == 0]

        def kept(number: int, coded: Coded) -> None:
            self._last = [self._last[-1], coded]
            done(number, coded)

        Between(mine, dict(known)).run(code, kept)
        return Between(order[len(mine) :], {0: known[0], len(order): self._last[-1]})


class GopDecoder(_Gop):
    """Clips in order, beginning with a key clip. Every method raises `CorruptError`."""

    def __init__(self, decoder: FrameDecoder) -> None:
        super().__init__()
        self._decoder = decoder

    def key(self, payload: bytes) -> Coded:
        quality, part = layout.unpack_key(payload)
        coder = Coder(part)
        coded = self._decoder.key(0, quality, coder)
        coder.finish()
        self._started(coded)
        return coded

    def key_given(self, quality: int, given: Given) -> Coded:
        """Decode a key frame from given integers instead of a stream."""
        coded = self._decoder.key(0, layout.checked_quality(quality), given)
        self._started(coded)
        return coded

    def anchors(self, payload: bytes, frames: int, done: Done) -> tuple[layout.ClipHead, Rest]:
        """Decode a clip's anchors. Return the clip's head and the remaining work, for any thread."""
        head, parts = layout.unpack(payload, frames)
        contexts = self.contexts = motion.Stream(Coder(parts[0]), self.contexts)
        rest = self._clip(head, lambda step: contexts, done)
        contexts.coder.finish()

        def between(done: Done, wanted: Collection[int] | None = None, late: bool = False) -> None:
            if len(parts) > 1:
                stream = motion.Stream(Coder(parts[1]))
                if rest(lambda step: stream, done, wanted, late):
                    stream.coder.finish()

        return head, between

    def anchors_given(self, head: layout.ClipHead, frames: Sequence[Given], done: Done) -> Rest:
        """The same from given integers, in coding order."""
        by_frame = {s.frame: given for s, given in zip(layout.order_of(head, self.older), frames, strict=True)}
        rest = self._clip(head, lambda step: by_frame[step.frame], done)

        def between(done: Done, wanted: Collection[int] | None = None, late: bool = False) -> None:
            rest(lambda step: by_frame[step.frame], done, wanted, late)

        return between

    def _clip(self, head: layout.ClipHead, stream_of: StreamOf, done: Done) -> Callable[..., bool]:
        if not self._last:
            raise CorruptError("the video starts with a predicted frame")
        order = layout.order_of(head, self.older)
        if head.structure == LONG_TERM and self._last[-1].time + len(order) > LONG_REACH:
            raise CorruptError("an anchor is too far from its group's key frame to be predicted from it")
        qualities = dict(zip(order, head.qualities, strict=True))

        def coding(stream_of: StreamOf) -> Code:
            def one(step: Step, time: int, refs: References | None) -> Coded:
                stream, quality = stream_of(step), qualities[step]
                if refs is None:
                    exposure = stream.exposure(self._last[-1].exposure)
                    coded = self._decoder.key(time, quality, stream if isinstance(stream, Given) else stream.coder)
                    coded.exposure = exposure
                    return coded
                return self._decoder.predicted(time, refs, step.place, quality, stream)

            return lambda work: [one(*it) for it in work]

        rest = self._anchors(order, coding(stream_of), done)

        def between(stream_of: StreamOf, done: Done, wanted: Collection[int] | None, late: bool) -> bool:
            """Decode the rest up to the last wanted frame. Return whether that was all of it."""
            whole = len(rest.order)
            if wanted is not None:
                last = max((i + 1 for i, s in enumerate(rest.order) if s.frame - 1 in wanted), default=0)
                rest.order = rest.order[:last]
            rest.run(coding(stream_of), done, late=late)
            return len(rest.order) == whole

        return between


class GopEncoder(_Gop):
    """`effort` may be changed between clips. `each` runs independent work, as `map` does. `near` saves memory for a
    little more work: only references of the next `near` frames stay prepared for the search. `intra`: an anchor may be
    coded without references where that is better."""

    def __init__(
        self,
        encoder: FrameEncoder,
        effort: Effort,
        each: Callable[..., Iterable[Any]] = map,
        near: int | None = None,
        intra: bool = True,
    ) -> None:
        super().__init__()
        self._encoder, self.effort, self._each, self._near, self._intra = encoder, effort, each, near, intra
        self._key_bits = 0.0

    def turn(self) -> AbstractContextManager[object]:
        """Context of a frame's work, which may have to wait (`Loop.turn`)."""
        return self._encoder.turn()

    def key(self, source: Planes, quality: int) -> tuple[bytes, Coded]:
        """Return the payload of a key clip, and the frame as a decoder reconstructs it."""
        coder = Coder()
        coded = self._encoder.key(0, source, quality, coder, self.effort.rounds)
        self._started(coded)
        self._key_bits = coder.bits()
        return layout.pack_key(quality, coder.finish()), coded

    def anchors(self, sources: Sequence[Planes], head: layout.ClipHead, done: Done) -> Callable[[Done], bytes]:
        """Code the anchors of a clip of `sources`, in display order. Return the remaining work, for any thread: it
        codes the frames between and returns the clip's payload."""
        held = {len(sources): sources[len(sources) - 1]}
        if head.structure == OLDER and self._long_term(held[len(sources)], len(sources)):
            head = layout.ClipHead(LONG_TERM, head.qualities)
        order = layout.order_of(head, self.older)
        qualities, effort = dict(zip(order, head.qualities, strict=True)), self.effort

        def coding(stream: motion.Stream) -> Code:
            def code(work: Sequence[Work]) -> Iterator[Coded]:
                prices = motion.Stream(after=stream)

                def one(it: Work) -> tuple[Coded, References | None, Coder]:
                    with self.turn():  # the frames that filter a source take memory too
                        return alone(*it)

                def alone(step: Step, time: int, refs: References | None) -> tuple[Coded, References | None, Coder]:
                    source, quality = held.pop(step.frame, None) or sources[step.frame - 1], qualities[step]
                    if refs is None:
                        coder = Coder()
                        return self._encoder.key(time, source, quality, coder, effort.rounds), None, coder
                    coded, latents = self._encoder.predicted(time, refs, step.place, quality, source, prices, effort)
                    if step.place == 0 and (own := self._by_itself(source, coded, refs, latents, stream)):
                        return own[0], None, own[1]
                    return coded, refs, latents

                run = self._each if len(work) > 1 else map
                for coded, refs, latents in run(one, work):
                    if refs is None:
                        nonlocal head
                        head = layout.ClipHead(INTRA, head.qualities)
                        stream.exposure(self._last[-1].exposure, coded.exposure)
                        stream.coder.append(latents)
                    else:
                        write(stream, coded, refs, latents)
                    yield coded

            return code

        chain = head.structure == CHAIN
        self.contexts = motion.Stream(after=self.contexts)
        rest = self._anchors(order, coding(self.contexts), done)
        if self._key is not None and all(c is not self._key for c in (rest.known[0], *self._last)):
            self._key.forget_picture()  # few anchors are predicted from it
        parts = [self.contexts.coder.finish()]

        def between(done: Done) -> bytes:
            if not chain and len(sources) > 1:
                stream = motion.Stream()
                rest.run(coding(stream), done, TOGETHER, self._near)
                parts.append(stream.finish())
            return layout.pack(head, parts)

        return between

    def _long_term(self, source: Planes, frames: int) -> bool:
        """Return whether the key frame is a better second reference than the anchor before the last, for an anchor
        `frames` after the last one."""
        older, last = self._last
        key = self._key
        if not self._intra or key is None or key is older or last.time + frames > LONG_REACH:
            return False
        time, exposure = last.time + frames, self._encoder.exposure(source, (last, None), 0)
        one, two, three = (smaller(motion.exposed(c.planes, c.exposure, exposure)[0]) for c in (last, older, key))
        now = smaller(source[0])
        old, long = (
            missed_by_prediction(now, (one, other), time, (last.time, c.time))
            for other, c in ((two, older), (three, key))
        )
        return long < LONG_TERM_SHARE * old

    def _by_itself(
        self, source: Planes, coded: Coded, refs: References, latents: Coder, stream: motion.Stream
    ) -> tuple[Coded, Coder] | None:
        """Return an anchor coded as a key frame, if that is better than the predicted `coded`."""
        if not self._intra or latents.bits() < DEAR * self._key_bits:
            return None
        tried = motion.Stream(after=stream)
        write(tried, coded, refs, latents)
        coder = Coder()
        key = self._encoder.key(coded.time, source, coded.quality, coder, self.effort.rounds)
        key.exposure = coded.exposure
        spent, missed = coder.bits() - tried.coder.bits(), self._encoder.missed
        return (key, coder) if spent + missed(source, key) < missed(source, coded) else None
