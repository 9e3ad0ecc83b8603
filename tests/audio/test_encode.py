import io
import struct
import subprocess
import sys
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from more_server.audio.encode import FORMATS, Encoder, encode_file, make_encoder
from more_server.errors import BadInput

from .signals import RATE, chirp, cut, decibels, decode

NAMES = list(FORMATS)
CODED = [name for name in NAMES if FORMATS[name].codec]
DELAY = {"mp3": 1105, "aac": 1024}
"""Samples of silence that the codec puts first and that its stream cannot declare."""


def encode_stream(name: str, pieces, rate: int = RATE) -> bytes:
    with make_encoder(name, rate) as encoder:
        return b"".join([*(encoder.feed(piece) for piece in pieces), encoder.finish()])


def decode_format(name: str, data: bytes, rate: int = RATE):
    if not FORMATS[name].codec:
        return np.frombuffer(data[44 if name == "wav" else 0 :], "<i2") / 32768, rate
    # FFmpeg does not recognise AAC of two frames by itself.
    return decode(data, "aac" if name == "aac" else None)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None)
@given(
    st.integers(600, 12_000),
    st.lists(st.integers(0, 3000), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) > 50),
)
def test_chunked_input_gives_what_whole_input_gives(name, count, sizes):
    samples = chirp(count)
    whole, chunked = encode_stream(name, [samples]), encode_stream(name, cut(samples, sizes))
    assert len(whole) == len(chunked)
    if name != "opus":  # every Ogg stream carries a serial number drawn by chance
        assert whole == chunked
    assert np.array_equal(decode_format(name, whole)[0], decode_format(name, chunked)[0])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(st.integers(600, 8000))
def test_no_sample_is_lost(name, count):
    decoded, rate = decode_format(name, encode_stream(name, cut(chirp(count), [777])))
    if name in DELAY:
        assert len(decoded) >= count + DELAY[name]
    else:
        assert len(decoded) * RATE == count * rate


@pytest.mark.parametrize(
    ("name", "least"), [("mp3", 24), ("opus", 36), ("aac", 40), ("flac", 85), ("wav", 85), ("pcm", 85)]
)
@pytest.mark.parametrize("count", [24_000, 24_577])
def test_decoded_audio_is_what_was_fed(name, least, count):
    samples = chirp(count)
    decoded, rate = decode_format(name, encode_stream(name, [samples]))
    start = DELAY.get(name, 0)
    decoded = decoded[:: rate // RATE][start : start + count]
    assert decibels(samples, decoded) > least
    # To its very end.
    assert decibels(samples[-480:], decoded[-480:]) > min(least, 20)


@pytest.mark.parametrize(
    ("name", "count"), [("mp3", 1200), ("opus", 960), ("aac", 2100), ("flac", 600), ("wav", 1), ("pcm", 1)]
)
def test_first_audio_comes_early(name, count):
    header = {"opus": 200, "flac": 100, "wav": 44}.get(name, 0)
    with make_encoder(name, RATE) as encoder:
        given_out = b"".join(encoder.feed(piece) for piece in cut(chirp(count), [60]))
    assert len(given_out) > header


@pytest.mark.parametrize("name", NAMES)
def test_the_rest_flows(name):
    """No codec holds back more than a tenth of a second."""
    with make_encoder(name, RATE) as encoder:
        sizes = [len(encoder.feed(piece)) for piece in cut(chirp(RATE), [240])]
    silent = max(len(run) for run in "".join("x" if size else " " for size in sizes[10:]).split("x"))
    assert silent < 10


@pytest.mark.parametrize("name", NAMES)
def test_no_nan_reaches_a_codec(name):
    samples = chirp(6000)
    broken, mended = samples.copy(), samples.copy()
    broken[100:110], mended[100:110] = np.nan, 0
    broken[200], mended[200] = np.inf, 1
    broken[300], mended[300] = -np.inf, -1
    broken[400], mended[400] = 7.5, 1
    assert np.array_equal(
        decode_format(name, encode_stream(name, [broken]))[0], decode_format(name, encode_stream(name, [mended]))[0]
    )


@pytest.mark.parametrize("name", NAMES)
def test_feeding_nothing(name):
    with make_encoder(name, RATE) as encoder:
        first = encoder.feed(np.zeros(0, np.float32))
        assert len(first) == (44 if name == "wav" else 0)
        rest = first + encoder.finish()
    if name in {"opus", "flac", "wav"}:
        assert rest[:4] in {b"OggS", b"fLaC", b"RIFF"}
    else:
        assert rest == b""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("end", [Encoder.finish, Encoder.close])
def test_nothing_can_be_fed_after_the_end(name, end):
    encoder = make_encoder(name, RATE)
    encoder.feed(chirp(100))
    end(encoder)
    encoder.close()
    with pytest.raises(RuntimeError, match="finished or closed"):
        encoder.feed(chirp(100))
    with pytest.raises(RuntimeError, match="finished or closed"):
        encoder.finish()


def test_unknown_format_lists_what_exists():
    with pytest.raises(BadInput, match="aac, flac, mp3, opus, pcm, wav") as caught:
        make_encoder("m4r", RATE)
    assert caught.value.param == "response_format"
    with pytest.raises(BadInput, match="aac, flac"):
        encode_file(chirp(10), RATE, "")


def test_formats_are_the_contract():
    assert {name: format_.content_type for name, format_ in FORMATS.items()} == {
        "mp3": "audio/mpeg",
        "opus": "audio/opus",
        "aac": "audio/aac",
        "flac": "audio/flac",
        "wav": "audio/wav",
        "pcm": "audio/pcm",
    }
    with pytest.raises(TypeError):
        FORMATS["mp4"] = FORMATS["aac"]


def test_a_streamed_wav_header_is_44_bytes_that_wave_reads():
    with make_encoder("wav", 22_050) as encoder:
        first = encoder.feed(chirp(1000))
    assert len(first) == 2044
    assert struct.unpack_from("<I", first, 4) == struct.unpack_from("<I", first, 40) == (0xFFFFFFFF,)
    assert struct.unpack_from("<I", first, 24) == (22_050,)
    with wave.open(io.BytesIO(first[:2048])) as parsed:
        assert parsed.getparams()[:3] == (1, 2, 22_050)


def test_a_wav_file_tells_its_length():
    samples = chirp(1001)
    with wave.open(io.BytesIO(encode_file(samples, RATE, "wav"))) as parsed:
        assert parsed.getparams()[:4] == (1, 2, RATE, 1001)
        assert parsed.readframes(2000) == encode_file(samples, RATE, "pcm")


def test_mp3_streams_can_be_joined():
    one, other = encode_stream("mp3", [chirp(9000)]), encode_stream("mp3", [chirp(5003)])
    joined = decode(one + other)[0]
    assert len(joined) == len(decode(one)[0]) + len(decode(other)[0])
    assert np.array_equal(joined[: len(decode(one)[0])], decode(one)[0])
    for tag in (b"ID3", b"Xing", b"Info", b"TAG"):
        assert tag not in one
    assert one[:2] == b"\xff\xf3"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "aac"])
@pytest.mark.parametrize("count", [2400, 12_345])
def test_a_file_decodes_to_its_very_length(name, count):
    decoded, rate = decode_format(name, encode_file(chirp(count), RATE, name))
    assert len(decoded) * RATE == count * rate


def test_a_flac_file_declares_its_length_and_a_stream_none():
    def declared(data):
        return int.from_bytes(data[8 + 13 : 8 + 18], "big") & 0xFFFFFFFFF

    assert declared(encode_file(chirp(5001), RATE, "flac")) == 5001
    assert declared(encode_stream("flac", [chirp(5001)])) == 0


@pytest.mark.parametrize("name", CODED)
@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 48_000])
def test_every_rate_of_a_model_is_carried(name, rate):
    count = rate // 2
    decoded, carried = decode_format(name, encode_stream(name, cut(chirp(count, rate), [1000]), rate))
    assert 0.5 <= len(decoded) / carried < 0.5 + (0.2 if name in DELAY else 0.001)
    assert carried >= rate


@pytest.mark.parametrize("name", CODED)
def test_level_at_full_scale_survives_resampling(name):
    square = np.sign(chirp(22_050, 22_050))
    decoded, _ = decode_format(name, encode_stream(name, [square], 22_050), 22_050)
    assert np.isfinite(decoded).all()


def test_dropped_and_closed_encoders_leak_nothing():
    # In a process of its own: a heap that other tests have grown hides a leak.
    script = """
import gc, os
import numpy as np
from more_server.audio.encode import FORMATS, make_encoder
def resident():
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")
def leave(rounds):
    for turn in range(rounds):
        for name in FORMATS:
            encoder = make_encoder(name, 22050)
            encoder.feed(np.zeros(3000, np.float32))
            if turn % 2:
                encoder.close()
def growth(rounds):
    before = resident()
    leave(rounds)
    return (resident() - before) / (rounds * len(FORMATS))
leave(20)
# A leak shows each time; the codecs' threads grow their heaps once, sooner or later.
print(min(growth(30) for _ in range(3)))
"""
    if sys.platform != "linux":
        pytest.skip("resident memory is read from /proc, which Linux has")
    ran = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    # An encoder holds 60 kB (pcm: none) to 500 kB; a leak would show as that.
    assert float(ran.stdout) < 8000
