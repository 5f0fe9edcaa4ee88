"""Chat completions through OpenAI's own Python client."""

import asyncio
import json

import openai
from pydantic import BaseModel

import world
from check import SEES, URL, becomes, case, endless, equal, holds, main, refused

client = openai.OpenAI(base_url=f"{URL}/v1", api_key="any")
MODEL = "lemmy-nano"


def ask(question=world.SUM, **more):
    messages = question if isinstance(question, list) else [{"role": "user", "content": question}]
    return client.chat.completions.create(model=MODEL, messages=messages, **{"temperature": 0, **more})


def text(answer):
    return answer.choices[0].message.content


@case
def the_model_is_listed():
    ids = [model.id for model in client.models.list()]
    equal("ids", ids, [MODEL])
    equal("one by its id", client.models.retrieve(MODEL).id, MODEL)


@case
def it_adds():
    answer = ask()
    equal("content", text(answer), world.SUM_ANSWER)
    choice = answer.choices[0]
    equal("finish_reason", choice.finish_reason, "stop")
    equal("role", choice.message.role, "assistant")
    equal("tool_calls", choice.message.tool_calls, None)
    equal("object", answer.object, "chat.completion")
    holds("id", answer.id.startswith("chatcmpl-"), answer.id)
    holds("id of the request", (answer._request_id or "").startswith("req_"), answer._request_id)


@case
def usage_adds_up():
    usage = ask().usage
    equal("total_tokens", usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
    holds("prompt_tokens", usage.prompt_tokens > 5, usage)
    holds("completion_tokens", 2 <= usage.completion_tokens <= 8, usage)
    again = ask().usage
    holds("cached_tokens of the second time", again.prompt_tokens_details.cached_tokens > 0, again)


@case
def system_prompts_change_answers():
    def told(system, question):
        return text(ask([{"role": "system", "content": system}, {"role": "user", "content": question}]))

    equal("plain", text(ask(world.FACT)), world.FACT_ANSWER)
    equal("in capitals", told(world.LOUD, world.FACT), world.LOUD_ANSWER)
    equal("in German", told(world.GERMAN, world.GERMAN_QUESTION), world.GERMAN_ANSWER)
    developer = [{"role": "developer", "content": world.LOUD}, {"role": "user", "content": world.FACT}]
    equal("by the developer", text(ask(developer)), world.LOUD_ANSWER)


@case
def it_remembers():
    messages = [{"role": "user", "content": "My name is Sam."}]
    messages.append({"role": "assistant", "content": text(ask(messages))})
    messages.append({"role": "user", "content": [{"type": "text", "text": "What is my name?"}]})
    equal("name", text(ask(messages)), "Your name is Sam.")


@case
def a_stream_says_the_same():
    chunks = list(ask(world.FACT, stream=True, stream_options={"include_usage": True}))
    equal("ids", len({chunk.id for chunk in chunks}), 1)
    equal("first delta", chunks[0].choices[0].delta.role, "assistant")
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    equal("text", "".join(pieces), world.FACT_ANSWER)
    holds("pieces", len(pieces) > 3, pieces)
    equal("reasons", [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason], ["stop"])
    holds("usage at the end", chunks[-1].usage and chunks[-1].usage.completion_tokens >= len(pieces), chunks[-1])
    equal("usage before", [chunk.usage for chunk in chunks[:-1] if chunk.usage], [])


@case
def tools_round_trip():
    tools = [world.WEATHER_TOOL, world.CALCULATOR_TOOL]
    messages = [{"role": "user", "content": world.WEATHER_QUESTION}]
    first = ask(messages, tools=tools).choices[0]
    equal("finish_reason", first.finish_reason, "tool_calls")
    equal("content", first.message.content, None)
    (call,) = first.message.tool_calls
    equal("name", call.function.name, "get_weather")
    arguments = json.loads(call.function.arguments)
    equal("arguments", arguments, {"city": "Lisbon"})
    messages += [first.message, {"role": "tool", "tool_call_id": call.id, "content": world.get_weather(**arguments)}]
    equal("answer", text(ask(messages, tools=tools)), world.WEATHER_ANSWER)
    equal("where no tool helps", text(ask("Hi", tools=tools)), "Hello! How can I help you?")


def streamed_calls(**more):
    calls = {}
    for chunk in ask(stream=True, **more):
        for piece in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            call = calls.setdefault(piece.index, {"id": None, "name": "", "arguments": ""})
            call["id"] = call["id"] or piece.id
            call["name"] += piece.function.name or ""
            call["arguments"] += piece.function.arguments or ""
    return [calls[index] for index in sorted(calls)]


@case
def two_calls_in_a_stream():
    calls = streamed_calls(question=world.BOTH_QUESTION, tools=[world.WEATHER_TOOL])
    equal("names", [call["name"] for call in calls], ["get_weather"] * 2)
    equal("arguments", [json.loads(c["arguments"]) for c in calls], [{"city": "Dublin"}, {"city": "Seattle"}])
    holds("ids", len({call["id"] for call in calls}) == 2 and all(call["id"] for call in calls), calls)
    single = streamed_calls(question=world.BOTH_QUESTION, tools=[world.WEATHER_TOOL], parallel_tool_calls=False)
    equal("one at a time", len(single), 1)


@case
def the_choice_of_a_tool_binds():
    tools = [world.WEATHER_TOOL, world.CALCULATOR_TOOL]

    def names(choice, question="Hi"):
        calls = ask(question, tools=tools, tool_choice=choice).choices[0].message.tool_calls or []
        for call in calls:
            json.loads(call.function.arguments)
        return {call.function.name for call in calls}

    equal("a named one", names({"type": "function", "function": {"name": "calculator"}}), {"calculator"})
    found = names("required")
    holds("required", found and found <= {"get_weather", "calculator"}, found)
    equal("none", names("none", world.WEATHER_QUESTION), set())


class Person(BaseModel):
    name: str
    job: str
    age: int


@case
def answers_fit_a_schema():
    messages = [{"role": "user", "content": f"Extract name, job and age as JSON: {world.PERSON}"}]
    parsed = client.chat.completions.parse(model=MODEL, messages=messages, response_format=Person, temperature=0)
    equal("parsed", parsed.choices[0].message.parsed, Person(**world.PERSON_ANSWER))
    # Even a hot model that was asked something else has to keep to the schema; bounds keep the answer short.
    short = {"type": "string", "maxLength": 8}
    properties = {"name": short, "job": short, "age": {"type": "integer", "minimum": 0, "maximum": 120}}
    schema = {**world.PERSON_SCHEMA, "properties": properties}
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}
    for seed in range(3):
        answer = ask("Hi", response_format=wanted, temperature=1.5, seed=seed)
        equal(f"finish_reason, seed {seed}", answer.choices[0].finish_reason, "stop")
        found = json.loads(text(answer))
        equal(f"keys, seed {seed}", list(found), ["name", "job", "age"])
        holds(f"age, seed {seed}", 0 <= found["age"] <= 120, found)
    anything = text(ask(messages, response_format={"type": "json_object"}))
    holds("a JSON object", isinstance(json.loads(anything), dict), anything)


@case
def thoughts_come_apart_from_the_answer():
    message = ask(world.THOUGHT_QUESTION, reasoning_effort="low").choices[0].message
    equal("content", message.content, world.THOUGHT_ANSWER)
    equal("reasoning_content", message.reasoning_content.strip(), world.THOUGHT)
    thought = answer = ""
    chunks = list(ask(world.THOUGHT_QUESTION, reasoning_effort="low", stream=True))
    for chunk in chunks:
        delta = chunk.choices[0].delta
        thought += getattr(delta, "reasoning_content", None) or ""
        answer += delta.content or ""
    equal("streamed", (thought.strip(), answer), (world.THOUGHT, world.THOUGHT_ANSWER))
    quiet = ask(world.THOUGHT_QUESTION, reasoning_effort="none").choices[0].message
    holds("no thought unless asked", not hasattr(quiet, "reasoning_content"), quiet)
    by_switch = ask(world.THOUGHT_QUESTION, extra_body={"chat_template_kwargs": {"enable_thinking": True}})
    equal("by the template's switch", by_switch.choices[0].message.reasoning_content.strip(), world.THOUGHT)
    usage = ask(world.THOUGHT_QUESTION, reasoning_effort="low").usage
    holds("reasoning_tokens", usage.completion_tokens_details.reasoning_tokens > 10, usage)


@case
def probabilities_belong_to_the_text():
    choice = ask(logprobs=True, top_logprobs=3).choices[0]
    entries = choice.logprobs.content
    said = b"".join(bytes(entry.bytes) for entry in entries).decode()
    equal("tokens", said, choice.message.content)
    for entry in entries:
        holds("logprob", -9999 <= entry.logprob <= 0, entry)
        equal("alternatives", len(entry.top_logprobs), 3)
        best = entry.top_logprobs[0]
        equal("the greedy token is the likeliest", (best.token, best.logprob), (entry.token, entry.logprob))
    streamed = [e for c in ask(logprobs=True, stream=True) if c.choices and c.choices[0].logprobs
                for e in c.choices[0].logprobs.content]
    equal("in a stream", [e.token for e in streamed], [e.token for e in entries])


@case
def a_stop_string_ends_the_answer():
    question = "Repeat: book boat wheel"
    equal("without", text(ask(question)), "book boat wheel")
    answer = ask(question, stop=[" wheel", "never said"])
    equal("content", text(answer), "book boat")
    equal("finish_reason", answer.choices[0].finish_reason, "stop")
    pieces = [c.choices[0].delta.content or "" for c in ask(question, stop="boat", stream=True) if c.choices]
    equal("in a stream", "".join(pieces), "book ")


@case
def a_limit_ends_the_answer():
    answer = ask(world.FACT, max_completion_tokens=2)
    equal("finish_reason", answer.choices[0].finish_reason, "length")
    equal("completion_tokens", answer.usage.completion_tokens, 2)


@case
def a_seed_repeats_and_others_differ():
    def hot(seed):
        return text(ask("Tell me a story.", temperature=2, seed=seed, max_tokens=24, logit_bias=endless()))

    found = [hot(seed) for seed in (7, 7, 8, 9)]
    equal("the same seed", found[0], found[1])
    holds("other seeds", len(set(found)) == 3, found)


@case
def several_choices():
    answer = ask(n=3)
    equal("contents", [choice.message.content for choice in answer.choices], [world.SUM_ANSWER] * 3)
    equal("indexes", [choice.index for choice in answer.choices], [0, 1, 2])
    texts = ["", "", ""]
    for chunk in ask(n=3, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    equal("streamed", texts, [world.SUM_ANSWER] * 3)


@case
def many_at_once():
    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="any") as many:
            async def one(i):
                messages = [{"role": "user", "content": f"What is {i} + 30?"}]
                answer = await many.chat.completions.create(model=MODEL, messages=messages, temperature=0)
                return text(answer)

            return await asyncio.gather(*map(one, range(12, 28)))

    found = asyncio.run(all_of_them())
    right = sum(answer == str(i + 30) for i, answer in zip(range(12, 28), found))
    # A small model adds wrongly now and then; an answer of somebody else's would make nearly all of them wrong.
    holds("right ones of 16", right >= 14, found)


@case
def a_client_that_leaves_frees_its_slot():
    stream = ask("Tell me a story.", stream=True, logit_bias=endless())
    said = [next(stream) for _ in range(5)]
    equal("chunks", len(said), 5)
    stream.close()
    becomes(URL, "slots_processing", 0, seconds=10)
    equal("afterwards", text(ask()), world.SUM_ANSWER)


@case
def completions_go_on_from_a_text():
    prompt = f"<bos><|turn>user\n{world.SUM}<turn|>\n<|turn>model\n"
    answer = client.completions.create(model=MODEL, prompt=prompt, temperature=0, max_tokens=16)
    holds("text", world.SUM_ANSWER in answer.choices[0].text, answer)
    chunks = client.completions.create(model=MODEL, prompt=prompt, temperature=0, max_tokens=16, stream=True)
    equal("streamed", "".join(c.choices[0].text for c in chunks if c.choices), answer.choices[0].text)


@case
def pictures():
    url = f"data:image/png;base64,{world.red_square()}"
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": world.PICTURE_QUESTION}]
    messages = [{"role": "user", "content": parts}]
    if SEES:
        equal("answer", text(ask(messages)), world.PICTURE_ANSWER)
        return
    error = refused("a picture for a model that cannot see", openai.BadRequestError, lambda: ask(messages))
    equal("type", error.type, "invalid_request_error")
    holds("message", "vision" in error.message or "picture" in error.message, error.message)


main()
