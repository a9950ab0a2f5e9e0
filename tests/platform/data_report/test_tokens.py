"""Token counts equal those of the trainer's renderer."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tunesmith.platform.data_report.token_figures import TokenTally
from tunesmith.platform.data_report.tokens import TokenCounter
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.examples import Example
from tunesmith.workers.pocket import model_directory

WORDS = ("Where", "is", "my", "order?", "It's", "12", "late;", "", "naïve", "東京", "\n\n", "<b>")


def _chat(rng: random.Random, line: int) -> Example:
    messages: list[dict[str, Any]] = []
    if rng.random() < 0.5:
        messages.append({"role": rng.choice(["system", "developer"]), "content": _text(rng, 20)})
    for _ in range(rng.randint(1, 4)):
        messages.append({"role": "user", "content": _text(rng, 30)})
        answer: dict[str, Any] = {"role": "assistant", "content": _text(rng, 30)}
        if rng.random() < 0.3:
            answer["weight"] = rng.randint(0, 1)
        messages.append(answer)
    messages[-1].pop("weight", None)
    return Example(line, messages)


def _text(rng: random.Random, most: int) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(1, most)))


@pytest.mark.parametrize(
    "template",
    [
        None,
        # rewrites history: only the last user message stays
        "{% for m in messages %}{% if loop.last or m['role'] != 'user' %}<|im_start|>"
        "{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        # a generation prompt that a spoken turn lacks, no stop token, and other blocks
        "{%- for m in messages %}\n    {%- if m['role'] == 'user' %}Q: {{ m['content'] }}\n"
        "    {%- else %}{% generation %}A: {{ m['content'] }}\n{% endgeneration %}\n"
        "    {%- endif %}\n{%- endfor %}{% if add_generation_prompt %}A: <think>{% endif %}",
    ],
)
@pytest.mark.parametrize("context_length", [60, 1024])
def test_counts_equal_the_renderers(
    tmp_path: Path, template: str | None, context_length: int
) -> None:
    render = pytest.importorskip("tunesmith.workers.trainer.render", reason="torch is missing")
    errors = pytest.importorskip("tunesmith.workers.trainer.errors")
    folder = tmp_path / "base"
    shutil.copytree(model_directory(), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    if template is not None:
        config = json.loads((folder / "tokenizer_config.json").read_text())
        del config["chat_template"]
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        (folder / "chat_template.jinja").write_text(template)
    renderer = render.Renderer.from_directory(folder, context_length=context_length)
    counter = TokenCounter.from_directory(folder, context_length)
    rng = random.Random(7)
    examples = [_chat(rng, line) for line in range(1, 201)]
    seen: set[bool | str] = set()
    for example, counted in zip(examples, counter.count(examples), strict=True):
        try:
            rendered = renderer.render({"messages": example.messages, "tools": example.tools})
        except errors.ExampleTooLong:
            assert counted.learned == counted.tokens == 0
            assert counted.truncated
            seen.add("too long")
            continue
        assert counted.tokens == sum(len(row) for row in rendered.rows)
        assert counted.learned == sum(row.learned_tokens for row in rendered.rows)
        assert counted.truncated == rendered.truncated
        seen.add(counted.truncated)
    assert seen == ({True, False, "too long"} if context_length == 60 else {False})


def test_counts_of_preferences_equal_the_renderers() -> None:
    render = pytest.importorskip("tunesmith.workers.trainer.render", reason="torch is missing")
    folder = model_directory()
    example = Example(
        1,
        [{"role": "user", "content": "Where is it?"}],
        preferred=[{"role": "assistant", "content": "On its way, look here."}],
        rejected=[{"role": "assistant", "content": "No idea."}],
    )
    pair, _ = render.Renderer.from_directory(folder).render_pair(
        {
            "messages": example.messages,
            "preferred": example.preferred,
            "rejected": example.rejected,
        }
    )
    (counted,) = TokenCounter.from_directory(folder).count([example])
    assert (counted.tokens, counted.learned) == (len(pair), pair.learned_tokens)


def test_tools_are_rendered_as_the_renderer_does(tmp_path: Path) -> None:
    render = pytest.importorskip("tunesmith.workers.trainer.render", reason="torch is missing")
    folder = tmp_path / "base"
    shutil.copytree(model_directory(), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "chat_template.jinja").write_text(
        "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<|im_start|>"
        "{{ m.role }}\n{{ m.content }}{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% endif %}"
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "look", "arguments": '{"order": "é12"}'},
    }
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "Where is é12?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "Oslo", "tool_call_id": "c1"},
        {"role": "assistant", "content": "In Oslo."},
    ]
    rendered = render.Renderer.from_directory(folder).render({"messages": messages, "tools": tools})
    (counted,) = TokenCounter.from_directory(folder).count([Example(1, messages, tools)])
    assert counted.tokens == sum(len(row) for row in rendered.rows)
    assert counted.learned == sum(row.learned_tokens for row in rendered.rows)


def test_what_is_cut_refused_or_lost_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(model_directory(), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}"
        "{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tally = TokenTally(TokenCounter.from_directory(folder, 40))
    chats = [("hi", "yes"), ("hi", "word " * 60), ("word " * 60, "yes")]
    examples = [
        Example(
            line,
            [{"role": "user", "content": asked}, {"role": "assistant", "content": said}],
        )
        for line, (asked, said) in enumerate(chats, 1)
    ]
    examples.append(Example(4, [{"role": "tool", "content": "x"}, *examples[0].messages]))
    assert list(tally.passing(examples)) == examples
    findings = {finding.check: finding for finding in tally.findings()}
    assert findings["truncated"].rows == (2,)
    assert findings["nothing_to_learn"].rows == (3,)
    assert findings["template_refuses"].rows == (4,)
    assert findings["template_refuses"].example == "no tools"
    figures = tally.figures(2, 0.5, 7200.0)
    assert figures is not None
    assert figures.trained == 2 * figures.total
    assert figures.seconds == figures.trained * 0.5
    assert figures.cost == pytest.approx(figures.trained)
    assert sum(count for _, _, count in figures.histogram) == 3
    assert figures.percentiles["50"] in range(figures.minimum, figures.maximum + 1)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"tokenizer\.json"):
        TokenCounter.from_directory(tmp_path)
