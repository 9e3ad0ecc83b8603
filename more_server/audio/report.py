"""How good the recordings of a voice are for cloning it, in numbers and in sentences a person can act on."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from more_server.audio.read import resample
from more_server.speech import Audio, Samples

MEASURED_RATE = 24_000
"""Hertz; what the model hears of a reference lies below 12 kHz."""
WINDOW, HOP = 768, 384
"""Samples of a frame, 32 ms, and from one to the next."""
QUIETEST = 0.05
"""Share of frames that are taken for pauses: even brisk speech pauses longer."""
QUIETEST_TO_MEAN = 1.1
"""White noise varies by 7 % from frame to frame, so its quietest twentieth lies some 10 % below its mean."""
SPEECH_DECIBELS = 35.0
"""Frames this far below the loud ones are no speech: the softest consonants lie some 30 dB below loud vowels."""
LOUD = 0.95
"""Quantile of the frames that counts as loud; a knock on the table does not."""
LONGEST_GAP_SECONDS = 0.3
"""Between two words; what is longer is silence."""
BAND_DECIBELS = 60.0
"""A band this far below the strongest is empty: `s` fills 8 kHz at -40 dB, resamplers leave less than -90 dB."""
BAND_QUANTILE = 0.99
"""Of the frames: one `s` in a hundred shows that the band is there."""
CLIPPED_RUN = 3
"""Equal samples at the extreme; a sine of 200 Hz at 48 kHz reaches its peak for less than one step of 16 bits."""
CLIPPED_STEP = 2.0**-15
LOWEST_LOUDNESS = -70.0
"""LUFS; ITU-R BS.1770-4 leaves out whatever is quieter."""
LOWEST_PEAK = -120.0
MOST_SIGNAL_TO_NOISE = 60.0
"""Decibels; beyond that the measure says nothing more."""

ENOUGH_SECONDS, MUCH_SECONDS = 6.0, 30.0
USED_SECONDS = 60.0
"""Of a clip, at most (voiceprints.REFERENCE_SECONDS)."""
GOOD_SIGNAL_TO_NOISE = 20.0
"""Clean speech without any pause measures 22 dB and more, so that nobody is told of noise that is not there."""
GOOD_BANDWIDTH = 6_000
MOST_CLIPPED = 0.001
MOST_SILENCE = 0.5
LOUDNESS_RANGE = (-36.0, -10.0)
"""LUFS; beyond, a microphone was far away or something was driven too hard."""
LOUDNESS_SPREAD = 6.0
"""LU between the clips of one voice."""

Power = NDArray[np.float32]


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """What can be measured of a clip, and of a voice as a whole."""

    seconds: float
    """Length in all."""
    speech_seconds: float
    """Without silence before, after and between the words."""
    loudness: float
    """LUFS by ITU-R BS.1770-4, -70 for silence; of a voice, the mean power of its clips by their speech."""
    peak: float
    """Largest sample in dBFS, -120 for silence; of a voice, that of its loudest clip."""
    signal_to_noise: float
    """Estimate in dB, 0 to 60, how far steady noise lies below the speech; of a voice, of its worst clip.

    Within 2 dB of the truth from 10 to 20 dB; above that, speech without a pause is taken for noisier than it is, and
    clean speech for 22 dB at the least. Noise that comes and goes is not seen, nor what a noise gate hid; echo counts
    as noise.
    """
    clipped: float
    """Share of samples, 0 to 1, in flat tops; those that a lossy codec has rounded since are not seen."""
    silence: float
    """Share of the length, 0 to 1, that is no speech."""
    bandwidth: int
    """Highest frequency that the recording holds, in hertz, at most 12,000; 3,400 to 4,000 come through a telephone."""


class ClipReport(Measures, frozen=True, kw_only=True):
    """One recording of a voice."""

    name: str
    """Of the clip in its voice."""
    sample_rate: int
    """Hertz, of the file; the bandwidth tells whether it holds what the rate promises."""


class ReferenceReport(Measures, frozen=True, kw_only=True):
    """All recordings of a voice."""

    clips: tuple[ClipReport, ...]
    """Each on its own, in order."""
    languages: tuple[str, ...]
    """As declared, not heard: only a speech recogniser could tell what is really spoken, and there is none here."""
    not_spoken: tuple[str, ...]
    """Declared languages that the serving model does not speak."""
    advice: tuple[str, ...]
    """What would make the voice better, a sentence each; empty: nothing was found."""


def report(
    clips: Mapping[str, Audio], languages: Sequence[str] = (), spoken: Sequence[str] = (), default: str = "en"
) -> ReferenceReport:
    """The report on a voice's clips, by name and as recorded; at least one.

    languages: those declared. spoken: those of the serving model; empty: not known. default: what requests without a
    language are spoken in where the voice declares none.
    """
    measured = tuple(measure(name, audio) for name, audio in clips.items())
    not_spoken = tuple(language for language in languages if spoken and language not in spoken)
    advice = [*_advice(measured), *_on_languages(languages, not_spoken, spoken, default)]
    speech = np.array([max(clip.speech_seconds, 0.01) for clip in measured])
    seconds = np.array([audio.seconds for audio in clips.values()])
    powers = 10 ** (np.array([clip.loudness for clip in measured]) / 10)
    return ReferenceReport(
        clips=measured,
        languages=tuple(languages),
        not_spoken=not_spoken,
        advice=tuple(advice),
        seconds=round(float(seconds.sum()), 2),
        speech_seconds=round(sum(clip.speech_seconds for clip in measured), 2),
        loudness=round(float(10 * np.log10(np.average(powers, weights=speech))), 1),
        peak=max(clip.peak for clip in measured),
        signal_to_noise=min(clip.signal_to_noise for clip in measured),
        clipped=round(float(np.average([clip.clipped for clip in measured], weights=seconds)), 5),
        silence=round(float(np.average([clip.silence for clip in measured], weights=seconds)), 3),
        bandwidth=min(clip.bandwidth for clip in measured),
    )


def measure(name: str, audio: Audio) -> ClipReport:
    """Measure a clip, which is not empty; flat tops are found at the rate it was recorded at alone."""
    heard = resample(audio.samples, audio.sample_rate, MEASURED_RATE)
    power = _power(heard)
    noise = _noise(power)
    is_speech = _is_speech(power, noise)
    speech_seconds = min(_lasting(is_speech), audio.seconds)
    peak = float(np.abs(audio.samples).max(initial=0.0))
    return ClipReport(
        name=name,
        sample_rate=audio.sample_rate,
        seconds=round(audio.seconds, 2),
        speech_seconds=round(speech_seconds, 2),
        loudness=round(_loudness(heard), 1),
        peak=round(_decibels(peak**2, LOWEST_PEAK), 1),
        signal_to_noise=round(_signal_to_noise(power, noise, is_speech), 1),
        clipped=round(_clipped(audio.samples, peak), 5),
        silence=round(1 - speech_seconds / audio.seconds, 3),
        bandwidth=_bandwidth(power),
    )


def _power(samples: Samples) -> Power:
    """Power spectra of overlapping frames, shape (frames, WINDOW / 2 + 1)."""
    padded = np.pad(samples, (0, max(0, WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    spectra = np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32))
    return np.asarray(np.square(np.abs(spectra)), np.float32)


def _noise(power: Power) -> float:
    """Power of steady noise per frame: the lower of two estimates, as both take what is left of speech for noise.

    The first is the level of the quietest frames, as NIST's speech quality measure takes it; it needs pauses. The other
    needs none: speech leaves every frequency alone now and then, so a low quantile of each is noise (Stahl, Fischer and
    Bippus, "Quantile based noise estimation for spectral subtraction and Wiener filtering", ICASSP 2000). The power of
    Gaussian noise at one frequency is exponentially distributed: its quantile q is -ln(1 - q) times its mean.
    """
    frames = float(np.quantile(power.sum(axis=1), QUIETEST)) * QUIETEST_TO_MEAN
    frequencies = np.quantile(power, QUIETEST, axis=0).sum() / -np.log1p(-QUIETEST)
    return min(frames, float(frequencies))


def _is_speech(power: Power, noise: float) -> NDArray[np.bool_]:
    """Shape (frames,): clearly above the noise and not too far below the loud frames."""
    levels = power.sum(axis=1)
    loud = float(np.quantile(levels, LOUD))
    above_noise = min(2 * noise, loud / 4)
    return np.asarray(levels > max(loud * 10 ** (-SPEECH_DECIBELS / 10), above_noise))


def _lasting(is_speech: NDArray[np.bool_]) -> float:
    """Seconds of speech, the short gaps between words included."""
    steps = np.diff(np.flatnonzero(is_speech))
    if not is_speech.any():
        return 0.0
    between = np.where(steps * HOP <= LONGEST_GAP_SECONDS * MEASURED_RATE, steps, 1)
    return float(between.sum() + 1) * HOP / MEASURED_RATE


def _signal_to_noise(power: Power, noise: float, is_speech: NDArray[np.bool_]) -> float:
    if not is_speech.any():
        return 0.0
    signal = float(power.sum(axis=1)[is_speech].mean()) - noise
    return min(max(_decibels(signal / max(noise, 1e-30), 0.0), 0.0), MOST_SIGNAL_TO_NOISE)


def _bandwidth(power: Power) -> int:
    """Hertz, rounded to hundreds."""
    top = np.quantile(power, BAND_QUANTILE, axis=0)
    held = np.flatnonzero(top > top.max() * 10 ** (-BAND_DECIBELS / 10))
    highest = float(held[-1]) * MEASURED_RATE / WINDOW if len(held) else 0.0
    return round(highest / 100) * 100


def _clipped(samples: Samples, peak: float) -> float:
    """Share of samples in runs of CLIPPED_RUN or more at one extreme."""
    if peak <= CLIPPED_STEP:  # a step of 16 bits: quieter than that nothing can be clipped, and both extremes are one
        return 0.0
    count = 0
    for extreme in (samples >= peak - CLIPPED_STEP, samples <= CLIPPED_STEP - peak):
        edges = np.flatnonzero(np.diff(extreme.astype(np.int8), prepend=0, append=0))
        lengths = edges[1::2] - edges[::2]
        count += int(lengths[lengths >= CLIPPED_RUN].sum())
    return count / len(samples)


def _loudness(samples: Samples) -> float:
    """LUFS; less than a measuring block of 0.4 s is padded with silence."""
    # Here, as importing it takes half a second, nearly all of it scipy.
    from pyloudnorm import Meter

    if not samples.any():
        return LOWEST_LOUDNESS
    meter = Meter(MEASURED_RATE)
    lacking = max(0, round(meter.block_size * MEASURED_RATE) - len(samples))
    loudness = float(meter.integrated_loudness(np.pad(samples, (0, lacking)).astype(np.float64)))
    return max(loudness, LOWEST_LOUDNESS)


def _decibels(power: float, lowest: float) -> float:
    return max(10 * float(np.log10(power)), lowest) if power > 0 else lowest


def _advice(clips: Sequence[ClipReport]) -> list[str]:
    speech = sum(clip.speech_seconds for clip in clips)
    range_of = f"{ENOUGH_SECONDS:.0f} to {MUCH_SECONDS:.0f} s"
    found = []
    if speech < ENOUGH_SECONDS:
        found.append(f"{speech:.1f} s of speech; {range_of} are good")
    for clip in clips:
        where = f"{clip.name}: " if len(clips) > 1 else ""
        found += [where + sentence for sentence in _on_clip(clip)]
    levels = [clip.loudness for clip in clips]
    if max(levels) - min(levels) > LOUDNESS_SPREAD:
        found.append(
            f"the loudness of the clips differs by {max(levels) - min(levels):.0f} LU; bring them to one level"
        )
    return found


def _on_clip(clip: ClipReport) -> list[str]:
    found = []
    if clip.seconds > USED_SECONDS:
        found.append(f"{clip.seconds:.0f} s long; nothing after the first {USED_SECONDS:.0f} s is used")
    if clip.signal_to_noise < GOOD_SIGNAL_TO_NOISE:
        found.append(
            f"noise is {clip.signal_to_noise:.0f} dB below the speech, {GOOD_SIGNAL_TO_NOISE:.0f} dB and more are "
            "good; record in a quieter place, closer to the microphone"
        )
    if clip.clipped > MOST_CLIPPED:
        found.append(f"{clip.clipped:.1%} of the samples are clipped; record at a lower level")
    if clip.silence > MOST_SILENCE:
        found.append(f"{clip.silence:.0%} of it is silence; cut the pauses out, or record more speech")
    if clip.bandwidth < GOOD_BANDWIDTH:
        found.append(
            f"nothing above {clip.bandwidth / 1000:.1f} kHz, as over a telephone; "
            "a recording that reaches 8 kHz makes a clearer voice"
        )
    low, high = LOUDNESS_RANGE
    if not low <= clip.loudness <= high:
        what = "quiet; record closer to the microphone" if clip.loudness < low else "loud; record at a lower level"
        found.append(f"{clip.loudness:.0f} LUFS is very {what}")
    return found


def _on_languages(
    languages: Sequence[str], not_spoken: Sequence[str], spoken: Sequence[str], default: str
) -> list[str]:
    if not languages:
        return [f"language not given: requests that name none are spoken in {default}"]
    if not_spoken:
        return [f"the model does not speak {', '.join(not_spoken)}; it speaks: {', '.join(sorted(spoken))}"]
    return []
