"""From a sample to text and tokens, through the canonical chat template as transformers renders it."""

import json
from pathlib import Path

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def _environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])

    def fail(message):
        raise jinja2.exceptions.TemplateError(message)

    env.globals["raise_exception"] = fail
    env.filters["tojson"] = lambda x, **kw: json.dumps(x, ensure_ascii=False, **kw)
    return env


_template = _environment().from_string(TEMPLATE.read_text(encoding="utf-8"))


def chat(messages, tools=None, thinking=False, generate=True):
    return _template.render(
        messages=messages,
        tools=tools or None,
        bos_token="<bos>",
        add_generation_prompt=generate,
        enable_thinking=thinking,
    )


def prompt(sample):
    return chat(sample.messages, sample.tools, sample.thinking)


def value(v):
    """A value inside a call, as the template prints it."""
    if v is None:
        return "null"
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, str):
        return f'<|"|>{v}<|"|>'
    if isinstance(v, dict):
        return "{" + ",".join(f"{k}:{value(v[k])}" for k in sorted(v, key=str.lower)) + "}"
    if isinstance(v, list):
        return "[" + ",".join(value(x) for x in v) + "]"
    return str(v)


def target(sample):
    """What the model writes after the prompt, its stop token included."""
    a = sample.answer
    text = ""
    if sample.thinking:
        open_already = sample.messages[-1].get("role") == "tool" or "tool_responses" in sample.messages[-1]
        text += ("" if open_already else "<|channel>thought\n") + a["reasoning"] + "\n<channel|>"
    if a.get("tool_calls"):
        for c in a["tool_calls"]:
            f = c["function"]
            text += f"<|tool_call>call:{f['name']}{value(f['arguments'])}<tool_call|>"
        return text + "<|tool_response>"
    return text + a["content"] + "<turn|>"


class Encoder:
    """Tokens and the places where the model learns."""

    def __init__(self, tokenizer):
        self.tok = tokenizer
        i = tokenizer.token_to_id
        self.turn, self.end, self.newline = i("<|turn>"), i("<turn|>"), i("\n")
        self.model = i("model")
        self.response, self.response_end = i("<|tool_response>"), i("<tool_response|>")
        assert None not in vars(self).values(), "a piece of the template is no single token"

    def encode(self, sample):
        """(ids, learn): learn[i] is True where ids[i] is written by the model. The model's earlier turns are learned
        too, unless thinking is on (the template drops their thoughts)."""
        p = self.tok.encode(prompt(sample)).ids
        t = self.tok.encode(target(sample)).ids
        learn = [False] * len(p) + [True] * len(t)
        if not sample.thinking:
            self.mark_history(p, learn)
        return p + t, learn

    def mark_history(self, ids, learn):
        i = 0
        while i + 2 < len(ids):
            if ids[i] == self.turn and ids[i + 1] == self.model and self.end in ids[i:]:
                i += 3
                inside = False
                while ids[i - 1] != self.end:
                    learn[i] = not inside
                    if ids[i] == self.response:
                        inside = True
                    elif ids[i] == self.response_end:
                        inside = False
                    i += 1
            else:
                i += 1
