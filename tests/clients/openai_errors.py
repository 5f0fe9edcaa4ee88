"""What goes wrong comes as the class that OpenAI's Python client has for it."""

from concurrent.futures import ThreadPoolExecutor

import openai

import world
from check import LOCKED_KEY, LOCKED_URL, NARROW_URL, URL, becomes, case, endless, equal, holds, main, refused


def client(url, key="any", **more):
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, **{"max_retries": 0, **more})


def ask(of, question=world.SUM, **more):
    messages = [{"role": "user", "content": question}]
    return of.chat.completions.create(**{"model": "lemmy-nano", "messages": messages, "temperature": 0, **more})


@case
def bad_requests_name_the_field():
    for name, value in {"temperature": -1, "n": 1000, "top_logprobs": 3, "stop": [""], "max_tokens": -7}.items():
        error = refused(name, openai.BadRequestError, lambda: ask(client(URL), **{name: value}))
        equal(f"param of {name}", error.param.split("[")[0], name)
        equal(f"type of {name}", error.type, "invalid_request_error")
        holds(f"code of {name}", isinstance(error.code, str), error.code)
    error = refused("messages", openai.BadRequestError, lambda: ask(client(URL), messages=[{"role": "king"}]))
    holds("param", error.param.startswith("messages[0]"), error.param)


@case
def schemas_that_cannot_be_kept_are_refused():
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?=x)y"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    error = refused("look-ahead", openai.BadRequestError, lambda: ask(client(URL), response_format=wanted))
    equal("code", error.code, "invalid_schema")


@case
def a_prompt_that_is_too_long_says_how_long():
    error = refused("a long prompt", openai.BadRequestError, lambda: ask(client(URL), "word " * 6000))
    equal("code", error.code, "context_length_exceeded")
    holds("sizes", error.body["n_prompt_tokens"] > error.body["n_ctx"] > 0, error.body)


@case
def what_is_not_there_is_not_found():
    error = refused("a model", openai.NotFoundError, lambda: client(URL).models.retrieve("nobody"))
    equal("code", error.code, "model_not_found")
    refused("a route", openai.NotFoundError, lambda: client(URL).files.list())


@case
def keys():
    equal("the right key", ask(client(LOCKED_URL, LOCKED_KEY)).choices[0].message.content, world.SUM_ANSWER)
    error = refused("a wrong key", openai.AuthenticationError, lambda: ask(client(LOCKED_URL, "wrong")))
    equal("code", error.code, "invalid_api_key")
    holds("the key is not told", LOCKED_KEY not in str(error), str(error))


@case
def a_full_queue_is_a_rate_limit():
    narrow = client(NARROW_URL)
    running = ask(narrow, "Tell me a story.", stream=True, logit_bias=endless())
    next(running)
    becomes(NARROW_URL, "slots_processing", 1)
    with ThreadPoolExecutor(2) as background:
        waiting = background.submit(ask, narrow)
        becomes(NARROW_URL, "queue", 1)
        error = refused("one more", openai.RateLimitError, lambda: ask(narrow))
        equal("code", error.code, "queue_full")
        holds("Retry-After", int(error.response.headers["retry-after"]) >= 1, dict(error.response.headers))
        # With retries, as it has by default, the client comes back by itself once there is room.
        patient = background.submit(ask, client(NARROW_URL, max_retries=8))
        running.close()
        for name, reply in {"who waited": waiting, "who came back": patient}.items():
            equal(name, reply.result(60).choices[0].message.content, world.SUM_ANSWER)


@case
def embeddings_are_not_supported():
    error = refused(
        "embeddings", openai.InternalServerError, lambda: client(URL).embeddings.create(model="lemmy-nano", input="a")
    )
    equal("status", error.status_code, 501)


main()
