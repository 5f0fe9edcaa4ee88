"""The held-out cases as a fixture for other programs: OpenAI-style messages and what must come back."""

import json

from . import files

NOTE = (
    "Lemmy Nano: held-out cases. expect.content is the whole answer; expect.calls the calls in order; "
    "expect.thinking the thought."
)


def openai_messages(messages):
    """Results inside an assistant message become tool messages with an object as content."""
    out = []
    for m in messages:
        m = dict(m)
        results = m.pop("tool_responses", [])
        m.pop("reasoning", None)
        out.append(m)
        out += [{"role": "tool", "tool_call_id": f"call_{i}", "content": r["response"]} for i, r in enumerate(results)]
    return out


def as_dict(case, number):
    a = case.answer
    expect = {}
    if case.thinking:
        expect["thinking"] = a["reasoning"]
    if a.get("tool_calls"):
        expect["calls"] = [
            {"name": c["function"]["name"], "arguments": c["function"]["arguments"]} for c in a["tool_calls"]
        ]
    else:
        expect["content"] = a["content"]
    row = {"name": f"{case.group} {number}", "group": case.group, "messages": openai_messages(case.messages)}
    if case.tools:
        row["tools"] = case.tools
    return {**row, "thinking": case.thinking, "expect": expect}


def write(path, each):
    with open(path, "w", encoding="utf-8") as f:
        f.write(json.dumps({"note": NOTE}) + "\n")
        for i, case in enumerate(files.test_cases(each)):
            f.write(json.dumps(as_dict(case, i % each + 1), ensure_ascii=False, separators=(",", ":")) + "\n")
