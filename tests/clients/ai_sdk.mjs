// Vercel's AI SDK: over chat completions (openai-compatible, and openai's own) and over the responses API (openai's
// default).

import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, Output, generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai';

import { LOCKED_URL, SEES, URL, becomes, equal, holds, main, refused, test } from './check.mjs';
import { redSquare } from './picture.mjs';
import * as world from './world.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false;
const compatible = createOpenAICompatible({
  name: 'lemmy',
  baseURL: `${URL}/v1`,
  apiKey: 'any',
  supportsStructuredOutputs: true,
});
const openai = createOpenAI({ baseURL: `${URL}/v1`, apiKey: 'any' });
const MODELS = {
  'openai-compatible': compatible('lemmy-nano'),
  'openai, chat': openai.chat('lemmy-nano'),
  'openai, responses': openai('lemmy-nano'),
};

function weather(cities) {
  return tool({
    description: world.WEATHER,
    inputSchema: jsonSchema(world.CITY),
    execute: (call) => {
      cities.push(call.city);
      return world.weather(call);
    },
  });
}

for (const [name, model] of Object.entries(MODELS)) {
  const ask = (prompt, more = {}) => generateText({ model, prompt, temperature: 0, maxRetries: 0, ...more });

  test(`${name}: it adds`, async () => {
    const answer = await ask(world.SUM);
    equal('text', answer.text, world.SUM_ANSWER);
    equal('finishReason', answer.finishReason, 'stop');
    holds('usage', answer.usage.inputTokens > 0 && answer.usage.outputTokens > 0, answer.usage);
    equal('system', (await ask(world.FACT, { system: world.LOUD })).text, world.LOUD_ANSWER);
  });

  test(`${name}: a stream says the same`, async () => {
    const stream = streamText({ model, prompt: world.FACT, temperature: 0 });
    const pieces = [];
    for await (const piece of stream.textStream) pieces.push(piece);
    equal('text', pieces.join(''), world.FACT_ANSWER);
    holds('pieces', pieces.length > 3, pieces);
  });

  test(`${name}: tools in several steps`, async () => {
    const cities = [];
    const options = { tools: { get_weather: weather(cities) }, stopWhen: stepCountIs(4) };
    equal('text', (await ask(world.BOTH_QUESTION, options)).text, world.BOTH_ANSWER);
    equal('cities', cities.toSorted(), ['Dublin', 'Seattle']);
    const stream = streamText({ model, prompt: world.WEATHER_QUESTION, temperature: 0, ...options });
    equal('streamed', await stream.text, world.WEATHER_ANSWER);
  });

  test(`${name}: answers fit a schema`, async () => {
    const answer = await ask(world.PERSON, { output: Output.object({ schema: jsonSchema(world.PERSON_SCHEMA) }) });
    equal('output', answer.output, world.PERSON_ANSWER);
  });

  test(`${name}: errors`, async () => {
    const error = await refused('temperature', APICallError, () => ask(world.SUM, { temperature: -1 }));
    equal('status', error.statusCode, 400);
    holds('message', error.message.includes('temperature'), error.message);
  });

  test(`${name}: pictures`, async () => {
    const content = [
      { type: 'image', image: redSquare(), mediaType: 'image/png' },
      { type: 'text', text: world.PICTURE_QUESTION },
    ];
    const call = () =>
      generateText({ model, messages: [{ role: 'user', content }], temperature: 0, maxRetries: 0 });
    if (SEES) equal('answer', (await call()).text, world.PICTURE_ANSWER);
    else equal('status', (await refused('a picture for a model that cannot see', APICallError, call)).statusCode, 400);
  });

  test(`${name}: a client that leaves frees its slot`, async () => {
    const abort = new AbortController();
    const stream = streamText({ model, prompt: world.FACT, temperature: 0, abortSignal: abort.signal });
    let pieces = 0;
    for await (const _ of stream.textStream) {
      pieces += 1;
      break;
    }
    equal('pieces', pieces, 1);
    abort.abort();
    await becomes('slots_processing', 0);
  });
}

test('thoughts come apart from the answer', async () => {
  const providerOptions = { lemmy: { reasoningEffort: 'low' } };
  const prompt = world.THOUGHT_QUESTION;
  const answer = await generateText({ model: MODELS['openai-compatible'], prompt, temperature: 0, providerOptions });
  equal('text', answer.text, world.THOUGHT_ANSWER);
  equal('reasoning', answer.reasoningText?.trim(), world.THOUGHT);
});

test('a wrong key', async () => {
  const locked = createOpenAICompatible({ name: 'lemmy', baseURL: `${LOCKED_URL}/v1`, apiKey: 'wrong' });
  const call = () => generateText({ model: locked('lemmy-nano'), prompt: world.SUM, maxRetries: 0 });
  equal('status', (await refused('a wrong key', APICallError, call)).statusCode, 401);
});

await main();
