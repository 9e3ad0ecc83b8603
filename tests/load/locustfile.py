"""Load on `POST /v1/audio/speech`, by locust: who asks again as soon as they have heard all of it. See README.md.

locust -f tests/load/locustfile.py --headless --host http://127.0.0.1:8000 -u 8 -r 8 -t 60s Sentences
"""

import json
import math
import random
import time
from collections import Counter

from locust import HttpUser, events, task
from locust.env import Environment
from requests import RequestException

PATH = "/v1/audio/speech"
BYTES_PER_SECOND = 24_000 * 2
PATIENCE_SECONDS = 120.0
SENTENCES = (
    "The train to the city leaves at seven every morning.",
    "There was only the sound of the water, and far away a bell.",
    "He put the lamp on the table, took off his coat, and waited for an answer.",
    "It was the third letter this week, and she put it with the others.",
)
"""Of 10 to 16 words."""
REFUSALS = (429, 503)


class Tally:
    """What locust does not count: audio, first audio, and refusals apart from failures."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.outcomes: Counter[str] = Counter()
        self.firsts: list[float] = []
        self.audio = 0.0
        """Seconds."""

    def heard(self, first: float, size: int) -> None:
        """Seconds to the first bytes, and all bytes; 0: it failed."""
        self.outcomes["whole" if size else "failed"] += 1
        if size:
            self.firsts.append(first)
            self.audio += size / BYTES_PER_SECOND

    def line(self, users: int) -> str:
        """One line of JSON."""
        wall = time.monotonic() - self.began
        return json.dumps(
            {
                "users": users,
                "wall_s": round(wall, 1),
                "requests_per_s": round(self.outcomes["whole"] / wall, 3),
                "audio_s_per_s": round(self.audio / wall, 3),
                "first_audio_ms_p50": self._first(0.5),
                "first_audio_ms_p95": self._first(0.95),
                **{name: self.outcomes[name] for name in ("whole", "refused", "failed")},
            }
        )

    def _first(self, share: float) -> int | None:
        ordered = sorted(self.firsts)
        return round(1000 * ordered[min(len(ordered) - 1, math.floor(share * len(ordered)))]) if ordered else None


TALLY = Tally()


@events.test_start.add_listener
def begin(**_: object) -> None:
    TALLY.began = time.monotonic()


@events.quitting.add_listener
def tell(environment: Environment, **_: object) -> None:
    users = environment.parsed_options.num_users if environment.parsed_options else 0
    print(TALLY.line(users), flush=True)


class Speech(HttpUser):
    """Asks for samples and reads them as they come.

    Not by locust's faster client: there an answer that is cut reads like one that ends.
    """

    abstract = True

    def speak(self, text: str, **more: object) -> None:
        asked = {"input": text, "response_format": "pcm", "seed": random.randrange(2**31), **more}
        began, first, size = time.monotonic(), 0.0, 0
        with self.client.post(PATH, json=asked, stream=True, catch_response=True, timeout=PATIENCE_SECONDS) as answer:
            if answer.status_code in REFUSALS and answer.headers.get("retry-after"):
                answer.success()  # by design, and told apart
                self.wait_after_refusal(float(answer.headers["retry-after"]))
                return
            try:
                answer.raise_for_status()
                for chunk in answer.iter_content(None):
                    first = first or time.monotonic() - began
                    size += len(chunk)
            except RequestException as error:
                size = 0
                answer.failure(error)
        TALLY.heard(first, size)

    def wait_after_refusal(self, seconds: float) -> None:
        """As the server asks for."""
        TALLY.outcomes["refused"] += 1
        time.sleep(seconds)


class Sentences(Speech):
    """A sentence at a time, streamed."""

    @task
    def sentence(self) -> None:
        self.speak(random.choice(SENTENCES))


class Passages(Speech):
    """Some 20 seconds of speech at a time, streamed."""

    @task
    def passage(self) -> None:
        self.speak(" ".join(SENTENCES))


class Files(Speech):
    """A sentence at a time, made whole before it is sent."""

    @task
    def file(self) -> None:
        self.speak(random.choice(SENTENCES), stream=False)
