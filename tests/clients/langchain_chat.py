"""LangChain's model for OpenAI's API."""

import openai
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

import world
from check import URL, case, equal, holds, main, refused

model = ChatOpenAI(base_url=f"{URL}/v1", api_key="any", model="lemmy-nano", temperature=0)


@tool
def get_weather(city: str) -> str:
    """The current weather in a city"""
    return world.get_weather(city)


@case
def it_adds():
    answer = model.invoke(world.SUM)
    equal("content", answer.content, world.SUM_ANSWER)
    equal("finish_reason", answer.response_metadata["finish_reason"], "stop")
    holds("usage", answer.usage_metadata["output_tokens"] > 0, answer.usage_metadata)


@case
def system_prompts_change_answers():
    answer = model.invoke([SystemMessage(world.LOUD), HumanMessage(world.FACT)])
    equal("content", answer.content, world.LOUD_ANSWER)


@case
def a_stream_and_a_batch():
    equal("stream", "".join(piece.content for piece in model.stream(world.FACT)), world.FACT_ANSWER)
    answers = model.batch([world.SUM, world.FACT])
    equal("batch", [answer.content for answer in answers], [world.SUM_ANSWER, world.FACT_ANSWER])


@case
def tools_round_trip():
    bound = model.bind_tools([get_weather])
    turns = [HumanMessage(world.WEATHER_QUESTION)]
    first = bound.invoke(turns)
    (call,) = first.tool_calls
    equal("call", (call["name"], call["args"]), ("get_weather", {"city": "Lisbon"}))
    result = get_weather.invoke(call)
    holds("result", isinstance(result, ToolMessage), result)
    equal("answer", bound.invoke([*turns, first, result]).content, world.WEATHER_ANSWER)
    whole = None
    for piece in bound.stream(turns):
        whole = piece if whole is None else whole + piece
    equal("streamed", [(c["name"], c["args"]) for c in whole.tool_calls], [("get_weather", {"city": "Lisbon"})])


class Person(BaseModel):
    name: str
    job: str
    age: int


@case
def answers_fit_a_schema():
    question = f"Extract name, job and age as JSON: {world.PERSON}"
    found = model.with_structured_output(Person, method="json_schema").invoke(question)
    equal("parsed", found, Person(**world.PERSON_ANSWER))


@case
def errors():
    wrong = model.bind(temperature=-1)
    refused("temperature", openai.BadRequestError, lambda: wrong.invoke(world.SUM))


main()
