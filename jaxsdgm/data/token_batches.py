"""Batches of sentences as tokens without padding: what a step works on is what it was given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxsdgm.data.batches import Plan

#: the number of tokens in a step is a multiple of this
ROUND = 32


@dataclass(frozen=True)
class TokenPlan:
    """The rows of a plan with the tokens of their sentences, as `layers.token_encoder.Tokens`.

    A group's arrays are `[s, n]` of tokens, `grid [s, b, t]`, and `spellings [s, n, c]` of which
    each different word of a step has one. n is one for all steps. There are `parts` of it, equal
    parts of the rows with the tokens of these, so that devices can share a step.
    """

    rows: Callable[[int, int], Plan]  # of sentences
    ids: np.ndarray  # [sentences, t], 0 at padding
    spelling: np.ndarray  # [sentences, t], a number for every word that is spelt differently
    spellings: np.ndarray  # [words, c]
    per_token: Mapping[str, np.ndarray]  # further arrays [sentences, t]
    tokens: Mapping[str, int]  # n of each group
    parts: int = 1

    def __call__(self, start: int, count: int) -> Plan:
        """The plan of the steps [start, start + count)."""
        return {
            group: self._packed(rows, self.tokens[group])
            for group, rows in self.rows(start, count).items()
        }

    def _packed(self, rows: dict[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
        of_steps = zip(rows["index"], rows["mask"], strict=True)
        steps = [self._step(index, mask, n) for index, mask in of_steps]
        return {**rows, **{name: np.stack([step[name] for step in steps]) for name in steps[0]}}

    def _step(self, index: np.ndarray, mask: np.ndarray, n: int) -> dict[str, np.ndarray]:
        b, size = len(index) // self.parts, n // self.parts
        there = (self.ids[index] > 0) & (mask > 0)[:, None]
        found: dict[str, Any] = {name: np.zeros(n, x.dtype) for name, x in self.per_token.items()}
        found |= {name: np.zeros(n, np.int32) for name in ("ids", "of", "at", "spelling")}
        found["spellings"] = np.zeros((n, self.spellings.shape[1]), self.spellings.dtype)
        found["grid"] = np.zeros(there.shape, np.int32)
        for part in range(self.parts):
            first = part * b
            of, at = np.nonzero(there[first : first + b])
            place = slice(part * size, part * size + len(of))
            sentence = index[first + of]
            for name, x in (("ids", self.ids), *self.per_token.items()):
                found[name][place] = x[sentence, at]
            words, spelling = np.unique(self.spelling[sentence, at], return_inverse=True)
            found["of"][part * size : (part + 1) * size] = first  # of fillers too
            found["of"][place], found["at"][place] = first + of, at
            found["spelling"][part * size : (part + 1) * size] = part * size
            found["spelling"][place] = part * size + spelling
            found["spellings"][part * size : part * size + len(words)] = self.spellings[words]
            found["grid"][first : first + b] = part * size
            found["grid"][first + of, at] = part * size + np.arange(len(of))
        return found


def most_tokens(
    rows: Callable[[int, int], Plan], lengths: np.ndarray, *, steps: int, parts: int
) -> dict[str, int]:
    """What n has to be for the steps [0, steps) of a plan, by group; lengths are the sentences'."""
    found: dict[str, int] = {}
    for start in range(0, steps, 1000):
        for group, x in rows(start, min(1000, steps - start)).items():
            counts = (lengths[x["index"]] * x["mask"]).astype(int)
            of_parts = counts.reshape(len(counts), parts, -1).sum(2)
            found[group] = max(found.get(group, 1), int(of_parts.max()))
    return {group: parts * -(-n // ROUND) * ROUND for group, n in found.items()}
