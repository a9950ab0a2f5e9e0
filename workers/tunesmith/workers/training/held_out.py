"""Which examples are held out for validation when no validation file was given."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith.workers.trainer.data_order import derived_seed
from tunesmith.workers.trainer.render import Item

FEWEST_EXAMPLES = 50
"""Below this, every example is worth more in training than in a validation of four or less."""

_SHARE = 0.1
_MOST = 200
"""As many tell a mean loss within some percent; more would only cost training data and time."""


def automatic_split(examples: int) -> float:
    """Share of the examples to hold out: a tenth, at most 200; none of less than 50."""
    if examples < FEWEST_EXAMPLES:
        return 0.0
    return min(_SHARE, _MOST / examples)


def held_out(items: Sequence[Item], share: float, seed: int) -> set[int]:
    """Examples (0-based indices) to hold out, the same for equal arguments.

    Examples with a prompt in common stay together, so that no held-out prompt was trained on.

    Args:
        items: rendered training items.
        share: of the examples; 0 for none.
        seed: the job's.
    """
    if not share:
        return set()
    examples = {item.example for item in items}
    wanted = max(1, round(share * len(examples)))
    chosen: set[int] = set()
    groups = _groups(items)
    for prompt in sorted(groups, key=lambda prompt: derived_seed(seed, "held-out", prompt.hex())):
        if len(chosen) + len(groups[prompt]) <= wanted:
            chosen |= groups[prompt]
        if len(chosen) >= wanted:
            break
    return chosen if len(chosen) < len(examples) else set()


def _groups(items: Sequence[Item]) -> dict[bytes, set[int]]:
    """Examples that share a prompt, directly or by way of others, by the least of their prompts.

    An example of several rows has several prompts, and so may tie others together.
    """
    groups: dict[bytes, tuple[set[bytes], set[int]]] = {}
    by_example: dict[int, bytes] = {}
    for item in items:
        row = item.rows[0]
        prompt = row.input_ids[: row.loss_mask.index(1)].tobytes()
        merged = groups.setdefault(prompt, ({prompt}, set()))
        merged[1].add(item.example)
        other = groups[by_example.setdefault(item.example, prompt)]
        if other is not merged:
            small, large = sorted((other, merged), key=lambda group: len(group[0]))
            large[0].update(small[0])
            large[1].update(small[1])
            groups.update(dict.fromkeys(small[0], large))
    return {min(prompts): examples for prompts, examples in groups.values()}
