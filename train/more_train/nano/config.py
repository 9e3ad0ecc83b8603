"""The recipe's settings: every number in one place, with its unit and its reason.

A file (TOML) starts from a preset and names what it changes:

    preset = "small"
    languages = ["en", "de"]
    [gpt.optimisation]
    total_steps = 6000

What is not named keeps the preset's value; a name that is not here is refused.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, field

from more_train.optimise import Optimisation

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1)]
Positive = Annotated[float, Meta(gt=0)]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Corpus(Part, frozen=True, kw_only=True):
    """What is said."""

    short: Share = 0.13
    """Of the sentences: one to four words, which a model that never saw them hallucinates on."""
    words: Share = 0.25
    """Of the sentences: words in a row without sense, so that every spelling is met."""
    documents: Share = 0.2
    """Of the sentences: the standard library's documentation, for English; phrases where there is none."""
    pairs: Share = 0.2
    """Of the phrases: two in one segment, since the server joins short sentences."""
    max_characters: Annotated[int, Meta(ge=20)] = 90
    """Longest sentence. The server splits to this (`max_segment_tokens`); each one more costs time in every stage."""
    held_out: Annotated[int, Meta(ge=2)] = 20
    """One sentence in so many is for evaluation alone."""


class Voices(Part, frozen=True, kw_only=True):
    """Who says it."""

    speakers: Annotated[int, Meta(ge=2)] = 40
    """Different voices, the two bundled references among them. With two, the GPT ignored its conditioning."""
    house_share: Share = 0.3
    """Of the groups: spoken by the two bundled references, which most people will hear."""
    pitch: tuple[int, int] = (25, 75)
    """espeak-ng's pitch, lowest and highest; beyond, voices squeak or growl."""
    range: tuple[int, int] = (40, 60)
    """espeak-ng's pitch range, flattest and liveliest."""
    rate: tuple[int, int] = (160, 180)
    """Words per minute, slowest and fastest: what people find easy to follow."""
    stretch: tuple[float, float] = (0.9, 1.12)
    """Resampling, which moves formants as the size of a head does: shortest and longest."""
    tilt: tuple[float, float] = (-0.25, 0.35)
    """Spectral tilt, dullest and brightest: microphones differ so."""


class Speech(Part, frozen=True, kw_only=True):
    """How much is said, and how it is kept. 1,000 clips are 50 minutes, take 5 s of one core and 130 MB of disk."""

    shards: Count = 40
    """Files, each made by a process of its own: espeak-ng's state begins anew, so a shard is always the same."""
    groups: Count = 8
    """In a shard: a voice in a language."""
    clips: Annotated[int, Meta(ge=3)] = 32
    """In a group: two at least, so that a clip's reference is another one, and some to choose equal lengths from."""
    workers: Count = 2
    """Processes that speak at once."""


class SpeakerEncoder(Part, frozen=True, kw_only=True):
    """The H/ASP speaker encoder, trained to tell the voices apart and then left alone."""

    filters: tuple[int, int, int, int] = (8, 16, 32, 64)
    """Channels of its four layers, each one block deep: XTTS-v2's are 32 to 256, for thousands of people."""
    width: Count = 256
    """Of the embedding. XTTS-v2's is 512; the decoder spends a table of this width in each of its stages."""
    speakers: Annotated[int, Meta(ge=2)] = 16
    """In a batch."""
    clips: Annotated[int, Meta(ge=2)] = 2
    """Of each speaker in a batch."""
    seconds: Positive = 1.5
    """Of each clip."""
    scale: Positive = 15.0
    """By which cosines are multiplied before the softmax over speakers."""
    margin: Share = 0.1
    """A clip's own speaker must win by so much of a cosine."""
    noise: tuple[float, float] = (-70.0, -40.0)
    """Decibels of white noise below the speech: recordings have some, espeak-ng has none."""
    optimisation: Optimisation = Optimisation(learning_rate=2e-3, total_steps=500, warmup_steps=30, average=0.98)


class Dvae(Part, frozen=True, kw_only=True):
    """Mel to codes; coqui's `DiscreteVAE`, which fine-tuning reads too."""

    codes: Annotated[int, Meta(ge=16)] = 512
    """XTTS-v2 has 1,024. Half as many are learnt in half the time, and the latents carry what they lack."""
    width: Count = 128
    """Of a code's vector."""
    hidden: Count = 128
    """Channels of its first layer; the second has twice as many."""
    blocks: Count = 2
    """Residual blocks on each side."""
    batch: Count = 16
    """Stretches of speech."""
    stretch_codes: Count = 24
    """Length of each, in codes."""
    voice_free: Share = 1.0
    """Of a speaker's mean spectrum: taken out of what codes are to tell. Latents and decoder know the voice from the
    reference; codes that need not tell it are alike for all voices, and the GPT learns them sooner."""
    smooth: Count = 24
    """Cosine waves of the spectrum that codes are to tell, of 80: formants; the pitch, too, is the latents' matter."""
    commitment: float = 0.25
    """Weight of the distance between encoder and codes."""
    plain: Share = 0.15
    """Of the steps: without codes, so that they start in a space worth dividing; from the first step on, 490 of 512
    were dead at step 400."""
    first_codes: Count = 16
    """Batches whose vectors the codes start from."""
    revive_every: Count = 50
    """Steps between two looks for codes that are hardly used: they start anew from data."""
    revive_until: Share = 0.7
    """Of the steps: later ones leave the codes where they are."""
    optimisation: Optimisation = Optimisation(learning_rate=8e-4, total_steps=1000, warmup_steps=30, average=0.99)


class Gpt(Part, frozen=True, kw_only=True):
    """Text and voice to codes and latents."""

    layers: Count = 5
    """Blocks: five of 256 learnt to speak in under an hour."""
    width: Annotated[int, Meta(ge=32)] = 256
    """Of the model and its latents; a multiple of `heads`, and of 32 for the normalisation in the conditioning."""
    heads: Count = 4
    """Of attention; 64 wide each."""
    max_codes: Count = 200
    """Of a segment: 9.3 s, for 100 characters at the slowest pace. Longer clips are not made."""
    reference_seconds: Positive = 1.5
    """Of the clip that the conditioning is made from; at inference a reference is cut into such chunks."""
    groups: Count = 4
    """Voices in a batch. One reference each, shared by the clips: the conditioning encoder costs as much as a clip."""
    clips: Count = 4
    """Of each voice in a batch, of about equal length."""
    guided_layers: Annotated[tuple[int, ...], Meta(min_length=1)] = (1, 2, 3)
    """Blocks, counted from 0, one head of each of which is told where in the text each code is. With several, a later
    one sees where the codes before were looked up, and goes on from there."""
    guided: float = 0.5
    """Weight of that. With it the alignment appeared within 150 steps, without it not in 1,300."""
    guided_characters: Positive = 2.0
    """On either side of the place that word times tell, where that head may look."""
    hearing: Share = 0.2
    """Of the learning rate: for the conditioning encoder. At the whole rate it gave every voice the same latents after
    a hundred steps, and never recovered."""
    muon: Positive = 0.02
    """Learning rate of Muon, which moves the blocks' matrices. After 100 steps held-out codes cost 4.78 nats, with
    AdamW 4.99 (after 200: 4.74); a step takes a quarter longer."""
    short_until: Share = 0.2
    """Of the steps: until then the longest clips are let in, by and by; the shortest third begins."""
    perturbed: Share = 0.7
    """Of the clips: with past codes replaced by others. Whole ones tell the voice, and the reference is ignored."""
    perturbed_codes: Share = 0.4
    """Of a perturbed clip's codes: replaced at most; the share is drawn for each clip."""
    mel: float = 5.0
    """Weight of the mels before and at each code, told from its latent: the decoder gets more than 9 bits of sound."""
    voice: float = 0.2
    """Weight of the speaker's embedding, told from the conditioning: it is used once it says something."""
    text: float = 0.01
    """Weight of the next character, as in coqui: the text head wants training too."""
    gain: Annotated[float, Meta(ge=0)] = 6.0
    """Decibels by which a reference may be louder or quieter than the clips."""
    noise: tuple[float, float] = (-75.0, -45.0)
    """Decibels of white noise below a reference: recordings have some."""
    held_out: Count = 16
    """Clips of held-out sentences that the loss is measured on."""
    measured_every: Count = 100
    """Steps between two such measurements."""
    optimisation: Optimisation = Optimisation(
        learning_rate=1.2e-3, total_steps=2600, warmup_steps=60, final_share=0.02, average=0.995
    )


class Course(Part, frozen=True, kw_only=True):
    """How the decoder learns in a stage."""

    adversarial_from: Share = 0.5
    """Of the steps: from then on with discriminators. Before, a step costs a third."""
    likeness: Annotated[float, Meta(ge=0)] = 0.0
    """Weight of one minus the cosine of the made sound's speaker embedding with its reference's (YourTTS)."""
    monotone: bool = False
    """From speech made again on one of two notes, which a decoder learns in minutes (monotone.py)."""
    optimisation: Optimisation


class Decoder(Part, frozen=True, kw_only=True):
    """Latents to sound: coqui's `HifiganGenerator` as the server runs it."""

    channels: Count = 128
    """At the frame rate; each stage halves them."""
    resblock: str = "2"
    """HiFi-GAN's light block; "1" has twice the convolutions."""
    kernels: tuple[int, ...] = (3, 5, 7)
    """Of the residual blocks of a stage: HiFi-GAN's V3."""
    dilations: tuple[tuple[int, ...], ...] = ((1, 2), (2, 6), (3, 12))
    """Of each block's convolutions; V3 again."""
    factors: tuple[int, ...] = (8, 8, 4)
    """Samples that a stage makes of one; 256 in all."""
    factor_kernels: tuple[int, ...] = (16, 16, 8)
    """Twice the factors: they begin as linear interpolation, and every sample gets the same number of taps."""
    batch: Count = 8
    """Stretches of speech."""
    stretch_codes: Count = 10
    """Length of each, in codes of 46 ms."""
    pool: Count = 48
    """Clips whose latents are kept for a while."""
    pool_steps: Count = 60
    """Steps that a pool is used for."""
    mel: float = 15.0
    """Weight of the mel spectrogram's error, as large beside the discriminators' as in HiFi-GAN."""
    stft: float = 2.5
    """Weight of the spectra's errors at three resolutions."""
    features: float = 2.0
    """Weight of the distance between the discriminators' inner values for true and made sound."""


class Discriminators(Part, frozen=True, kw_only=True):
    """What tells true sound from made; used in training alone."""

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    """Samples apart: HiFi-GAN's, which have no common factor."""
    period_channels: tuple[int, ...] = (8, 32, 64, 96)
    """Of its layers; HiFi-GAN's are 32 to 1,024."""
    resolutions: tuple[tuple[int, int], ...] = ((512, 128), (1024, 240), (2048, 512))
    """Window and hop of the spectra, in samples: tones at multiples of the frame rate stand out in the longest."""
    channels: Count = 8
    """Of the spectral ones; UnivNet's are 32."""
    optimisation: Optimisation = Optimisation(
        learning_rate=4e-4, total_steps=1200, betas=(0.8, 0.99), final_share=0.2, average=0, clip=0
    )
    """`total_steps` is made the decoder's own number of adversarial ones."""


class Evaluation(Part, frozen=True, kw_only=True):
    """What is measured of the finished model."""

    sentences: Count = 100
    """Held-out ones for each bundled voice in each language."""
    clones: Count = 8
    """Other voices whose reference is to move the voice towards it."""
    temperature: Positive = 0.6
    """Of the draws; the server's profiles lie between 0.6 and 0.75."""
    top_k: Count = 30
    """Codes that are drawn among."""
    batch: Count = 20
    """Sentences spoken at once."""


class Nano(Part, frozen=True, kw_only=True):
    """The whole recipe."""

    name: str = "nano"
    """Of the model."""
    languages: tuple[str, ...] = ("en",)
    """Of the model: en, pt, es, de."""
    language_weights: tuple[float, ...] = ()
    """Share of each language in the groups; empty: alike."""
    seed: int = 1
    """Of everything that is drawn."""
    device: str = "auto"
    """auto, cpu or cuda. Speech and what is drawn stay on the CPU."""
    threads: Count = 1
    """torch's, on the CPU. Two pools on two cores stall each other by 8 ms an operation."""
    loaders: Annotated[int, Meta(ge=0)] = 0
    """Threads that prepare batches ahead: for a GPU, which would wait for them. 0: the thread that trains does it."""
    save_seconds: Positive = 60.0
    """Between two checkpoints: as much as a killed process loses."""
    corpus: Corpus = field(default_factory=Corpus)
    voices: Voices = field(default_factory=Voices)
    speech: Speech = field(default_factory=Speech)
    speaker: SpeakerEncoder = field(default_factory=SpeakerEncoder)
    dvae: Dvae = field(default_factory=Dvae)
    gpt: Gpt = field(default_factory=Gpt)
    decoder: Decoder = field(default_factory=Decoder)
    vocoder: Course = Course(
        optimisation=Optimisation(
            learning_rate=8e-4,
            total_steps=3000,
            warmup_steps=50,
            betas=(0.8, 0.99),
            final_share=0.2,
            average=0.995,
            clip=0,
        )
    )
    """The decoder's steps from true mels, which need no GPT: a process of its own can do them meanwhile."""
    spoken: Course = Course(
        adversarial_from=0.7,
        likeness=4.0,
        monotone=True,
        optimisation=Optimisation(
            learning_rate=8e-4, total_steps=800, warmup_steps=20, betas=(0.8, 0.99), average=0.995, clip=0
        ),
    )
    """Its further steps from the GPT's latents, which tell mels less sharply."""
    discriminators: Discriminators = field(default_factory=Discriminators)
    evaluation: Evaluation = field(default_factory=Evaluation)
