"""Sound of the output: the original packets, unchanged, or AAC/Opus where the container cannot hold them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet

from gswap.foundation.errors import InputError
from gswap.media.probe import open_video

_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "4.1", 6: "5.1", 8: "7.1"}
"""What a number of channels usually means."""
_FEWEST = "stereo"
_USUAL_RATE = 48_000
"""Hertz; what an encoder is given that does not know the source's rate."""


@dataclass
class _Track:
    """One sound stream on its way to the output; ``resampler`` is there when it is transcoded."""

    source: AudioStream
    output: AudioStream
    resampler: AudioResampler | None = None


class SoundCopier:
    """Moves the sound of one file into an output container, in step with the pictures.

    Args:
        output: Container whose header is not yet written.
        path: File whose sound streams are taken.
        start: Seconds on that file's clock that become 0; packets that begin earlier are left out.
        stop: Where to end, or ``None`` for the end of the sound.
        bitrate: Bits per second where transcoding is needed.

    Attributes:
        notes: What was changed, one sentence each.
    """

    def __init__(
        self, output: OutputContainer, path: Path, start: Fraction | None, stop: Fraction | None, bitrate: int
    ) -> None:
        self.notes: list[str] = []
        self._output = output
        self._path = path
        self._start = start
        self._stop = stop
        self._stack = ExitStack()
        container = self._stack.enter_context(open_video(path))
        self._tracks: dict[int, _Track] = {}
        for number, source in enumerate(container.streams.audio, 1):
            if source.codec_context is None:
                self.notes.append(f"Sound track {number} was left out: FFmpeg does not know its codec.")
            else:
                self._tracks[source.index] = self._add(source, bitrate)
        streams = [t.source for t in self._tracks.values()]
        self._packets: Iterator[Packet] = container.demux(*streams) if streams else iter(())
        self._waiting: Packet | None = None

    def advance(self, until: Fraction) -> None:
        """Write the sound that begins before ``until`` seconds on the output's clock."""
        shift = self._start or Fraction(0)
        while True:
            packet = self._next()
            if packet is None:
                return
            time = _seconds(packet)
            if time is not None and time - shift >= until:
                self._waiting = packet
                return
            self._write(packet, time)

    def finish(self) -> None:
        """Write what is left."""
        while (packet := self._next()) is not None:
            self._write(packet, _seconds(packet))
        for track in self._tracks.values():
            if track.resampler is not None:
                for frame in track.resampler.resample(None):
                    self._output.mux(track.output.encode(frame))
                self._output.mux(track.output.encode(None))

    def close(self) -> None:
        """Close the source file."""
        self._stack.close()

    def _add(self, source: AudioStream, bitrate: int) -> _Track:
        codec = source.codec_context.name
        names = {codec, source.codec_context.codec.canonical_name}
        if names & self._output.supported_codecs and _is_taken(self._path, source.index, self._output.format.name):
            output = self._output.add_stream_from_template(source)
            _copy_labels(source, output)
            return _Track(source, output)
        name = "libopus" if self._output.format.name == "webm" else "aac"
        rates = av.Codec(name, "w").audio_rates or ()
        rate = source.codec_context.sample_rate
        rate = rate if rate in rates else _USUAL_RATE
        layout = _encodable_layout(source, name, rate)
        output = self._output.add_stream(name, rate=rate, layout=layout, bit_rate=bitrate)
        _copy_labels(source, output)
        self.notes.append(
            f"The sound was converted from {codec} to {'Opus' if name == 'libopus' else 'AAC'}, because "
            f"{self._output.format.name} cannot hold {codec}."
        )
        resampler = AudioResampler(format=output.codec_context.format, layout=layout, rate=rate)
        return _Track(source, output, resampler)

    def _next(self) -> Packet | None:
        if self._waiting is not None:
            packet, self._waiting = self._waiting, None
            return packet
        try:
            while (packet := next(self._packets, None)) is not None:
                if packet.size:
                    return packet
        except FFmpegError as error:
            raise InputError("The sound of the clip is damaged.", hint="Export it again.", path=self._path) from error
        return None

    def _write(self, packet: Packet, time: Fraction | None) -> None:
        track = self._tracks[packet.stream_index]
        if time is not None and (
            (self._start is not None and time < self._start) or (self._stop is not None and time >= self._stop)
        ):
            return
        if track.resampler is None:
            if self._start and packet.time_base:
                shift = round(self._start / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts - shift
                packet.dts = None if packet.dts is None else packet.dts - shift
            packet.stream = track.output
            self._output.mux(packet)
            return
        for frame in packet.decode():
            if self._start and frame.pts is not None and frame.time_base:
                frame.pts -= round(self._start / frame.time_base)
            for resampled in track.resampler.resample(frame):
                self._output.mux(track.output.encode(resampled))


def _encodable_layout(source: AudioStream, encoder: str, rate: int) -> str:
    """The channel layout of ``source`` that an encoder takes: its own, the usual one of so many channels, or stereo."""
    own = source.codec_context.layout
    for layout in (own.name, _LAYOUTS.get(own.nb_channels, _FEWEST)):
        context = av.CodecContext.create(encoder, "w")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate, context.layout = rate, layout
        context.format = context.codec.audio_formats[0]  # type: ignore[index]
        try:
            context.open()
        except (FFmpegError, ValueError):
            continue
        return layout
    return _FEWEST


def _is_taken(path: Path, index: int, muxer: str) -> bool:
    """Whether a muxer takes a stream as it is, tried with its first packet.

    Its list of codecs promises too much: mov refuses Opus and FLAC, mp4 refuses PCM without a channel layout.
    """
    with open_video(path) as container:
        source = container.streams[index]
        first = next((packet for packet in container.demux(source) if packet.size), None)
        try:
            with av.open(io.BytesIO(), mode="w", format=muxer) as trial:
                stream = trial.add_stream_from_template(source)
                trial.start_encoding()
                if first is not None:
                    first.stream = stream
                    trial.mux(first)
        except (FFmpegError, ValueError):
            return False
    return True


def _copy_labels(source: AudioStream, output: AudioStream) -> None:
    if "language" in source.metadata:
        output.metadata["language"] = source.metadata["language"]
    output.disposition = source.disposition


def _seconds(packet: Packet) -> Fraction | None:
    stamp = packet.dts if packet.pts is None else packet.pts
    return None if stamp is None or packet.time_base is None else stamp * packet.time_base
