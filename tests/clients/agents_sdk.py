"""OpenAI's agents SDK with chat completions: its loop calls the tools."""

import asyncio

import agents
import openai

import world
from check import URL, case, equal, main

agents.set_tracing_disabled(True)
cities = []


@agents.function_tool(strict_mode=False)
def get_weather(city: str) -> str:
    """The current weather in a city"""
    cities.append(city)
    return world.get_weather(city)


async def run(question, is_streamed):
    """The answer; what was called is in `cities`."""
    cities.clear()
    async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="any") as client:
        model = agents.OpenAIChatCompletionsModel(model="lemmy-nano", openai_client=client)
        settings = agents.ModelSettings(temperature=0)
        agent = agents.Agent(name="Lemmy", model=model, tools=[get_weather], model_settings=settings)
        if not is_streamed:
            return (await agents.Runner.run(agent, question)).final_output
        running = agents.Runner.run_streamed(agent, question)
        async for _ in running.stream_events():
            pass
        return running.final_output


@case
def one_call():
    equal("answer", asyncio.run(run(world.WEATHER_QUESTION, is_streamed=False)), world.WEATHER_ANSWER)
    equal("calls", cities, ["Lisbon"])


@case
def two_calls_streamed():
    equal("answer", asyncio.run(run(world.BOTH_QUESTION, is_streamed=True)), world.BOTH_ANSWER)
    equal("calls", sorted(cities), ["Dublin", "Seattle"])


main()
