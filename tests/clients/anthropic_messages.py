"""Messages through Anthropic's own Python client."""

import anthropic

import world
from check import LOCKED_KEY, LOCKED_URL, SEES, URL, becomes, case, endless, equal, health, holds, main, refused

client = anthropic.Anthropic(base_url=URL, api_key="any")
TOOL = {
    "name": "get_weather",
    "description": world.WEATHER_TOOL["function"]["description"],
    "input_schema": world.CITY,
}


# Anthropic's own models have no temperature any more, so the client has no argument for it.
GREEDY = {"temperature": 0}


def ask(question=world.SUM, of=client, body=GREEDY, **more):
    messages = question if isinstance(question, list) else [{"role": "user", "content": question}]
    asked = {"model": "lemmy-nano", "messages": messages, "max_tokens": 256, "extra_body": body, **more}
    return of.messages.create(**asked)


def text(answer):
    return "".join(block.text for block in answer.content if block.type == "text")


@case
def it_adds():
    answer = ask()
    equal("text", text(answer), world.SUM_ANSWER)
    equal("stop_reason", answer.stop_reason, "end_turn")
    equal("role", (answer.type, answer.role), ("message", "assistant"))
    holds("usage", answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0, answer.usage)


@case
def system_prompts_change_answers():
    equal("in capitals", text(ask(world.FACT, system=world.LOUD)), world.LOUD_ANSWER)
    blocks = [{"type": "text", "text": world.LOUD}]
    equal("as blocks", text(ask(world.FACT, system=blocks)), world.LOUD_ANSWER)


@case
def it_remembers():
    turns = [{"role": "user", "content": "My name is Sam."}]
    turns.append({"role": "assistant", "content": ask(turns).content})
    turns.append({"role": "user", "content": "What is my name?"})
    equal("name", text(ask(turns)), "Your name is Sam.")


@case
def a_stream_says_the_same():
    messages = [{"role": "user", "content": world.FACT}]
    asked = {"model": "lemmy-nano", "max_tokens": 256, "messages": messages, "extra_body": GREEDY}
    with client.messages.stream(**asked) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    equal("pieces", "".join(pieces), world.FACT_ANSWER)
    holds("several pieces", len(pieces) > 3, pieces)
    equal("final", text(final), world.FACT_ANSWER)
    holds("usage", final.usage.output_tokens >= len(pieces), final.usage)
    events = [e.type for e in ask(world.FACT, stream=True) if e.type != "ping"]
    equal("first events", events[:3], ["message_start", "content_block_start", "content_block_delta"])
    equal("last events", events[-3:], ["content_block_stop", "message_delta", "message_stop"])


def result(call):
    return {"type": "tool_result", "tool_use_id": call.id, "content": world.get_weather(**call.input)}


@case
def tools_round_trip():
    turns = [{"role": "user", "content": world.BOTH_QUESTION}]
    first = ask(turns, tools=[TOOL])
    equal("stop_reason", first.stop_reason, "tool_use")
    calls = [block for block in first.content if block.type == "tool_use"]
    found = [(call.name, call.input) for call in calls]
    equal("calls", found, [("get_weather", {"city": "Dublin"}), ("get_weather", {"city": "Seattle"})])
    turns.append({"role": "assistant", "content": first.content})
    turns.append({"role": "user", "content": [result(call) for call in calls]})
    equal("answer", text(ask(turns, tools=[TOOL])), world.BOTH_ANSWER)


@case
def a_call_in_a_stream():
    messages = [{"role": "user", "content": world.WEATHER_QUESTION}]
    asked = {"model": "lemmy-nano", "max_tokens": 256, "messages": messages, "extra_body": GREEDY}
    with client.messages.stream(**asked, tools=[TOOL]) as stream:
        final = stream.get_final_message()
    (call,) = [block for block in final.content if block.type == "tool_use"]
    equal("call", (call.name, call.input), ("get_weather", {"city": "Lisbon"}))
    equal("stop_reason", final.stop_reason, "tool_use")


@case
def the_choice_of_a_tool_binds():
    answer = ask("Hi", tools=[TOOL], tool_choice={"type": "any"})
    equal("any", [block.name for block in answer.content if block.type == "tool_use"], ["get_weather"])
    answer = ask(world.WEATHER_QUESTION, tools=[TOOL], tool_choice={"type": "none"})
    equal("none", [block.type for block in answer.content], ["text"])


@case
def thoughts_are_blocks():
    answer = ask(world.THOUGHT_QUESTION, max_tokens=2048, thinking={"type": "enabled", "budget_tokens": 1024})
    equal("kinds", [block.type for block in answer.content], ["thinking", "text"])
    equal("thought", answer.content[0].thinking.strip(), world.THOUGHT)
    equal("answer", text(answer), world.THOUGHT_ANSWER)


@case
def tokens_are_counted():
    messages = [{"role": "user", "content": world.SUM}]
    count = client.messages.count_tokens(model="lemmy-nano", messages=messages)
    usage = ask().usage
    read = usage.input_tokens + (usage.cache_read_input_tokens or 0)
    equal("input_tokens", count.input_tokens, read)


@case
def ends():
    equal("a limit", ask(world.FACT, max_tokens=2).stop_reason, "max_tokens")
    answer = ask("Repeat: book boat wheel", stop_sequences=[" wheel"])
    found = (text(answer), answer.stop_reason, answer.stop_sequence)
    equal("a stop sequence", found, ("book boat", "stop_sequence", " wheel"))


@case
def errors():
    refused("temperature", anthropic.BadRequestError, lambda: ask(body={"temperature": -1}))
    equal("the right key", text(ask(of=anthropic.Anthropic(base_url=LOCKED_URL, api_key=LOCKED_KEY))), world.SUM_ANSWER)
    wrong = anthropic.Anthropic(base_url=LOCKED_URL, api_key="wrong", max_retries=0)
    error = refused("a wrong key", anthropic.AuthenticationError, lambda: ask(of=wrong))
    equal("type", error.body["error"]["type"], "authentication_error")
    error = refused("a long prompt", anthropic.BadRequestError, lambda: ask("word " * 6000))
    equal("type", error.body["error"]["type"], "invalid_request_error")


@case
def a_client_that_leaves_frees_its_slot():
    stream = ask("Tell me a story.", stream=True, max_tokens=100_000, body={**GREEDY, "logit_bias": endless()})
    for _ in range(4):
        next(iter(stream))
    equal("running before", health(URL)["slots_processing"], 1)
    stream.close()
    becomes(URL, "slots_processing", 0, seconds=10)
    equal("afterwards", text(ask()), world.SUM_ANSWER)


@case
def pictures():
    source = {"type": "base64", "media_type": "image/png", "data": world.red_square()}
    blocks = [{"type": "image", "source": source}, {"type": "text", "text": world.PICTURE_QUESTION}]
    messages = [{"role": "user", "content": blocks}]
    if SEES:
        equal("answer", text(ask(messages)), world.PICTURE_ANSWER)
        return
    error = refused("a picture for a model that cannot see", anthropic.BadRequestError, lambda: ask(messages))
    holds("message", "vision" in error.message or "picture" in error.message, error.message)


main()
