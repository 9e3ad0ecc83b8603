import io
import struct
import subprocess
import sys

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from more_server.audio.encode import FORMATS, encode_file, make_encoder
from more_server.audio.read import read, read_file, resample, trim_silence
from more_server.errors import BadInput, TooLarge

from .signals import RATE, chirp, encode, frequency, sine

LIMITS = {"sample_rate": RATE, "max_bytes": 2_000_000, "max_seconds": 20.0, "max_channels": 8}

CONTAINERS = {
    "m4a": ("ipod", "aac", "fltp", 48_000),
    "mp4 alac": ("mp4", "alac", "s16p", 44_100),
    "3gp": ("3gp", "aac", "fltp", 44_100),
    "aac": ("adts", "aac", "fltp", 44_100),
    "mp3": ("mp3", "libmp3lame", "fltp", 44_100),
    "webm": ("webm", "libopus", "flt", 48_000),
    "ogg opus": ("ogg", "libopus", "flt", 48_000),
    "flac 24": ("flac", "flac", "s32", 96_000),
    "wav 8": ("wav", "pcm_u8", "u8", 44_100),
    "wav 16": ("wav", "pcm_s16le", "s16", 44_100),
    "wav 24": ("wav", "pcm_s24le", "s32", 44_100),
    "wav 32": ("wav", "pcm_s32le", "s32", 44_100),
    "wav float": ("wav", "pcm_f32le", "flt", 44_100),
    "wav double": ("wav", "pcm_f64le", "dbl", 44_100),
    "wav a-law": ("wav", "pcm_alaw", "s16", 8_000),
    "w64": ("w64", "pcm_s16le", "s16", 44_100),
    "aiff": ("aiff", "pcm_s16be", "s16", 44_100),
    "caf": ("caf", "pcm_s16le", "s16", 44_100),
}


def wav(values: bytes = b"", *, rate: int = RATE, channels: int = 1, kind: int = 1, bits: int = 16) -> bytes:
    width = channels * bits // 8
    shape = struct.pack("<IHHIIHH", 16, kind, channels, rate, rate * width & 0xFFFFFFFF, width, bits)
    riff = struct.pack("<4sI4s4s", b"RIFF", 36 + len(values), b"WAVE", b"fmt ")
    return riff + shape + struct.pack("<4sI", b"data", len(values)) + values


def floats(value: float) -> bytes:
    return wav(np.array([0.1, value] * 500, "<f4").tobytes(), kind=3, bits=32)


def picture() -> bytes:
    sink = io.BytesIO()
    with av.open(sink, "w", format="image2pipe") as target:
        stream = target.add_stream("png", rate=1)
        stream.width = stream.height = 64
        stream.pix_fmt = "rgb24"
        target.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
        target.mux(stream.encode(None))
    return sink.getvalue()


def video() -> bytes:
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as target:
        stream = target.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        target.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
        target.mux(stream.encode(None))
    return sink.getvalue()


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_container_is_read(name, channels):
    container, codec, sample_format, rate = CONTAINERS[name]
    tone = sine(440, 1.0, rate)
    both = np.stack([tone, 0.5 * tone])[:channels]
    audio = read(encode(both, rate, container, codec, sample_format), **LIMITS)
    assert audio.sample_rate == RATE
    assert audio.samples.dtype == np.float32
    assert audio.samples.ndim == 1
    assert 1.0 <= audio.seconds + 1e-4 < 1.1  # mp3 and aac pad to whole frames
    middle = audio.samples[6000:18_000]
    assert frequency(middle, RATE) == pytest.approx(440, abs=2)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.3535 * (1 if channels == 1 else 0.75), rel=0.06)  # LAME: -5 %


def test_vorbis_is_read():
    tone = sine(440, 1.0, 44_100)
    sink = io.BytesIO()
    with av.open(sink, "w", format="ogg") as target:
        stream = target.add_stream("vorbis", rate=44_100, options={"strict": "experimental"})
        stream.codec_context.layout = "stereo"
        frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
        frame.sample_rate = 44_100
        target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    audio = read(sink.getvalue(), **LIMITS)
    assert audio.seconds == pytest.approx(1, abs=0.06)
    assert frequency(audio.samples, RATE) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "pcm"])
def test_our_own_streams_and_files_are_read(name):
    samples = chirp(RATE)
    with make_encoder(name, RATE) as encoder:
        stream = encoder.feed(samples) + encoder.finish()
    for data in (stream, encode_file(samples, RATE, name)):
        assert 1.0 <= read(data, **LIMITS).seconds < 1.1


def test_samples_at_the_asked_rate_are_untouched():
    values = np.array([0, 1, -1, 32767, -32768, 1234] * 100, "<i2")
    audio = read(wav(values.tobytes()), **LIMITS)
    assert np.array_equal(audio.samples * 32768, values)
    # Over full scale, as float files may be: neither clipped nor made quieter.
    assert read(floats(1.75), **LIMITS).samples.max() == 1.75


def test_channels_are_averaged():
    values = np.tile(np.array([[0.8, -0.4, 0.2]], "<f4"), (500, 1))
    audio = read(wav(values.tobytes(), channels=3, kind=3, bits=32), **LIMITS)
    assert np.allclose(audio.samples, 0.2)


BAD = {
    "empty": (b"", "is empty; send wav, mp3"),
    "garbage": (bytes(range(256)) * 20, "no audio; send wav, mp3"),
    "text": (b"hello there, how are you\n" * 99, "no audio; send"),
    "picture": (picture(), "no audio; send"),
    "video": (video(), "no audio track"),
    "hls": (b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://PATH\n#EXT-X-ENDLIST\n", "no audio; send"),
    "ffconcat": (b"ffconcat version 1.0\nfile 'PATH'\n", "no audio; send"),
    "sdp": (b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n", "no audio;"),
    "header cut": (wav(bytes(2000))[:30], "no audio; send"),
    "no samples": (wav(), "has no samples"),
    "codec": (encode(sine(440, 1, 48_000)[None], 48_000, "matroska", "ac3"), "codec ac3, which is not supported"),
    "64 channels": (wav(bytes(12_800), channels=64), "has 64 channels; 1 to 8 are allowed"),
    "0 channels": (wav(bytes(2000), channels=0), "no audio; send"),
    "1 Hz": (wav(bytes(2000), rate=1), "rate of 1 Hz; 8000 to 192000 Hz are allowed"),
    "2 GHz": (wav(bytes(2000), rate=2**31 - 1), "rate of 2147483647 Hz; 8000"),
    "0 Hz": (wav(bytes(2000), rate=0), "no audio; send"),
    "NaN": (floats(float("nan")), "samples of nan; full scale is 1"),
    "signalling NaN": (wav(b"\x01\0\xa0\x7f" * 500, kind=3, bits=32), "samples of nan"),
    "infinity": (floats(float("-inf")), "samples of inf; full scale is 1"),
    "huge": (floats(3e38), "samples of 3e.38; full scale is 1"),
    "two rates": (
        encode_file(chirp(RATE), RATE, "mp3") + encode_file(chirp(RATE), 16_000, "mp3"),
        "changes its sample rate from 24000 to 16000 Hz",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_what_is_allowed(name, tmp_path):
    data, message = BAD[name]
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encode_file(chirp(RATE), RATE, "wav"))
    with pytest.raises(BadInput, match=message) as caught:
        read(data.replace(b"PATH", str(secret).encode()), **LIMITS)
    assert type(caught.value) is BadInput
    assert caught.value.param == "audio_sample"


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "pcm"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_truncated_upload_gives_what_is_there(name, kept):
    with make_encoder(name, RATE) as encoder:
        data = encoder.feed(chirp(3 * RATE)) + encoder.finish()
    audio = read(data[: round(kept * len(data))], **LIMITS)
    assert 0.2 * 3 * kept < audio.seconds < 3


def test_a_movie_without_its_index_is_refused():
    data = encode(sine(440, 1.0)[None], RATE, "mp4", "aac")
    with pytest.raises(BadInput, match="damaged"):
        read(data[: len(data) // 2], **LIMITS)


def test_too_many_bytes():
    with pytest.raises(TooLarge, match="2001 bytes; at most 2000 are allowed") as caught:
        read(bytes(2001), **LIMITS | {"max_bytes": 2000}, param="clip")
    assert caught.value.param == "clip"
    assert caught.value.status == 413


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "pcm"])
def test_too_many_seconds(name):
    with pytest.raises(TooLarge, match=r"longer than the 0\.5 s allowed"):
        read(encode_file(chirp(RATE), RATE, name), **LIMITS | {"max_seconds": 0.5})


def test_a_bomb_stops_while_it_is_decoded(monkeypatch):
    """100 s of silence in 20 kB are not decoded beyond the limit."""
    data = encode_file(np.zeros(100 * RATE, np.float32), RATE, "flac")
    assert len(data) < 30_000
    seen = 0
    from more_server.audio import read as module

    def counted(frame, original=module._full_scale):
        nonlocal seen
        seen += frame.samples
        return original(frame)

    monkeypatch.setattr(module, "_full_scale", counted)
    with pytest.raises(TooLarge):
        read(data, **LIMITS | {"max_seconds": 1.0})
    assert seen <= RATE


def test_a_header_that_claims_gigabytes_gets_none():
    # In a process of its own, for its peak of memory. Unlimited, FFmpeg zeroes 1.6 GB for this file.
    script = """
import resource
from more_server.audio.read import read
from more_server.errors import BadInput
claim = b"INFOISFT" + (0x60000000).to_bytes(4, "little")
data = b"RIFF\\xff\\xff\\xff\\x7fWAVEfmt \\x10\\0\\0\\0\\1\\0\\1\\0\\xc0]\\0\\0\\x80\\xbb\\0\\0\\2\\0\\x10\\0"
data += b"LIST" + (0x60000020).to_bytes(4, "little") + claim + bytes(2000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read(data, sample_rate=24000, max_bytes=10**6, max_seconds=10, max_channels=8)
except BadInput:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    ran = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 80_000  # kB


def test_a_cover_picture_and_foreign_tags_do_no_harm():
    audio = encode_file(chirp(RATE), RATE, "mp3")
    tag = b"TIT2" + (6).to_bytes(4, "big") + b"\0\0" + b"\x03\xff\xfe\x80ab"
    cover = b"\0image/png\0\x03\0" + picture()
    tag += b"APIC" + len(cover).to_bytes(4, "big") + b"\0\0" + cover
    size = len(tag)
    header = b"ID3\x03\0\0" + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127])
    assert read(header + tag + audio[45:], **LIMITS).seconds >= 1


VALID = {name: encode_file(chirp(6000), RATE, name) for name in FORMATS if name != "pcm"}
VALID |= {
    name: encode(chirp(6000)[None], RATE, *CONTAINERS[name][:3])
    for name in ("m4a", "mp4 alac", "webm", "wav float", "wav 24", "aiff", "caf")
}


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(VALID)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=30),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=10),
    st.floats(0, 1),
)
def test_mutated_files_are_read_or_refused(name, anywhere, in_header, kept):
    data = bytearray(VALID[name])
    for place, value in anywhere:
        data[int(place * len(data))] = value
    for place, value in in_header:
        data[place] = value
    try:
        audio = read(bytes(data[: max(len(data) // 2, int(2 * kept * len(data)))]), **LIMITS)
    except BadInput:
        return
    assert np.isfinite(audio.samples).all()
    assert 0 < audio.seconds < 21


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([b"", b"RIFF\xff\xff\0\0WAVEfmt ", b"ID3\x03\0\0\0\0\0\x05", b"fLaC\0\0\0\x22", b"OggS\0\x02"])
    | st.sampled_from([b"\0\0\0\x18ftypM4A ", b"\x1aE\xdf\xa3", b"\xff\xfb\x90\x00", b"FORM\0\0\xff\0AIFF", b"caff"]),
    st.binary(max_size=2000),
)
def test_random_bytes_are_read_or_refused(magic, data):
    try:
        audio = read(magic + data, **LIMITS)
    except BadInput:
        return
    assert np.isfinite(audio.samples).all()


def test_read_file(tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(encode_file(chirp(RATE), RATE, "wav"))
    assert read_file(path, **LIMITS).seconds == 1
    with pytest.raises(TooLarge, match="48044 bytes; at most 1000"):
        read_file(path, **LIMITS | {"max_bytes": 1000})
    with pytest.raises(BadInput, match=r"missing\.wav cannot be read: No such file"):
        read_file(tmp_path / "missing.wav", **LIMITS)
    with pytest.raises(BadInput, match="Is a directory"):
        read_file(tmp_path, **LIMITS)


def test_resample_keeps_tone_and_level_and_lets_no_alias_through():
    tone = resample(sine(1000, 1.0, 44_100), 44_100, 16_000)
    assert tone.shape == (16_000,)
    assert tone.dtype == np.float32
    assert frequency(tone, 16_000) == pytest.approx(1000, abs=1)
    assert np.sqrt(np.mean(tone[1000:-1000] ** 2)) == pytest.approx(0.3535, rel=0.001)
    alias = resample(sine(13_000, 1.0, 44_100), 44_100, 24_000)[1000:-1000]
    assert np.abs(alias).max() < 1e-5
    same = sine(10, 1.0)
    assert resample(same, RATE, RATE) is same
    assert len(resample(same[:0], RATE, 16_000)) == 0


@pytest.mark.parametrize("noise", [0, 0.001])
def test_trim_silence_leaves_50_ms(noise):
    samples = np.random.default_rng(0).normal(0, noise or 1e-9, 3 * RATE).astype(np.float32)
    samples[RATE : 2 * RATE] += sine(200, 1.0)
    for level in (1.0, 0.01):
        trimmed = trim_silence(level * samples, RATE)
        assert len(trimmed) == pytest.approx(1.1 * RATE, abs=0.03 * RATE)
        assert np.array_equal(trimmed, level * samples[round(0.95 * RATE) :][: len(trimmed)])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 30_000), st.integers(0, 30_000), st.integers(1, 3000))
def test_trim_silence_never_leaves_too_little(count, start, length):
    samples = np.zeros(count, np.float32)
    samples[start : start + length] = 0.5
    trimmed = trim_silence(samples, RATE)
    assert len(trimmed) >= min(count, round(0.35 * RATE))
    assert np.sum(trimmed) == np.sum(samples)
