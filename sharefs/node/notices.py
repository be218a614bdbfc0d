"""What does the person have to be told, in `status`?"""

import logging
import threading
from collections.abc import Hashable, Iterator

log = logging.getLogger("sharefs.node")

NOTICES_MAX = 50


class Notices:
    """The latest sentences, each once. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: dict[Hashable, str] = {}
        """By what they are about: for most, that is the sentence itself."""

    def tell(self, sentence: str, about: Hashable | None = None) -> None:
        """Show a sentence, in the place of any other about the same, until that is settled."""
        key = sentence if about is None else about
        with self._lock:
            if self._told.get(key) == sentence:
                return
            self._told[key] = sentence
            if len(self._told) > NOTICES_MAX:
                del self._told[next(iter(self._told))]
        log.warning("%s", sentence)

    def settle(self, about: Hashable) -> None:
        """It is not true any more."""
        with self._lock:
            self._told.pop(about, None)

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(list(self._told.values()))
