// OpenAI's own client for Node: chat completions, tools, schemas, errors, leaving early, the responses API.

import OpenAI from 'openai';

import { LOCKED_URL, SEES, URL, becomes, endless, equal, holds, main, refused, test } from './check.mjs';
import { redSquare } from './picture.mjs';
import * as world from './world.mjs';

const client = new OpenAI({ baseURL: `${URL}/v1`, apiKey: 'any' });
const WEATHER = { name: 'get_weather', description: world.WEATHER, parameters: world.CITY };
const TOOL = { type: 'function', function: WEATHER };

function ask(question = world.SUM, more = {}, options = {}) {
  const messages = Array.isArray(question) ? question : [{ role: 'user', content: question }];
  return client.chat.completions.create({ model: 'lemmy-nano', messages, temperature: 0, ...more }, options);
}

test('it adds', async () => {
  const answer = await ask();
  equal('content', answer.choices[0].message.content, world.SUM_ANSWER);
  equal('finish_reason', answer.choices[0].finish_reason, 'stop');
  equal('usage', answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test('the model is listed', async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  equal('ids', ids, ['lemmy-nano']);
});

test('a stream says the same', async () => {
  const pieces = [];
  let usage;
  for await (const chunk of await ask(world.FACT, { stream: true, stream_options: { include_usage: true } })) {
    if (chunk.choices[0]?.delta.content) pieces.push(chunk.choices[0].delta.content);
    usage = chunk.usage;
  }
  equal('content', pieces.join(''), world.FACT_ANSWER);
  holds('pieces', pieces.length > 3, pieces);
  holds('usage', usage?.completion_tokens >= pieces.length, usage);
});

test('tools are run by the client', async () => {
  const cities = [];
  const runner = client.chat.completions.runTools({
    model: 'lemmy-nano',
    temperature: 0,
    messages: [{ role: 'user', content: world.BOTH_QUESTION }],
    tools: [
      {
        type: 'function',
        function: {
          ...WEATHER,
          parse: JSON.parse,
          function: (call) => {
            cities.push(call.city);
            return JSON.stringify(world.weather(call));
          },
        },
      },
    ],
  });
  equal('answer', await runner.finalContent(), world.BOTH_ANSWER);
  equal('cities', cities, ['Dublin', 'Seattle']);
});

test('a call in a stream', async () => {
  const stream = client.chat.completions.stream({
    model: 'lemmy-nano',
    temperature: 0,
    messages: [{ role: 'user', content: world.WEATHER_QUESTION }],
    tools: [TOOL],
  });
  const { choices } = await stream.finalChatCompletion();
  equal('finish_reason', choices[0].finish_reason, 'tool_calls');
  const calls = choices[0].message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]);
  equal('calls', calls, [['get_weather', { city: 'Lisbon' }]]);
});

test('answers fit a schema', async () => {
  const schema = { type: 'json_schema', json_schema: { name: 'person', strict: true, schema: world.PERSON_SCHEMA } };
  const answer = await ask(world.PERSON, { response_format: schema });
  equal('parsed', JSON.parse(answer.choices[0].message.content), world.PERSON_ANSWER);
});

test('thoughts come apart from the answer', async () => {
  const { message } = (await ask(world.THOUGHT_QUESTION, { reasoning_effort: 'low' })).choices[0];
  equal('content', message.content, world.THOUGHT_ANSWER);
  equal('reasoning_content', message.reasoning_content.trim(), world.THOUGHT);
});

test('probabilities, stop, seed, several choices', async () => {
  const [choice] = (await ask(world.SUM, { logprobs: true, top_logprobs: 2 })).choices;
  equal('tokens', choice.logprobs.content.map((entry) => entry.token).join(''), world.SUM_ANSWER);
  equal('stop', (await ask('Repeat: book boat wheel', { stop: ' wheel' })).choices[0].message.content, 'book boat');
  const hot = { temperature: 2, seed: 11, max_tokens: 24, logit_bias: await endless() };
  const [first, second] = [await ask('Tell me a story.', hot), await ask('Tell me a story.', hot)];
  equal('seed', first.choices[0].message.content, second.choices[0].message.content);
  const several = (await ask(world.SUM, { n: 3 })).choices.map((one) => one.message.content);
  equal('n', several, Array(3).fill(world.SUM_ANSWER));
});

test('errors have their classes', async () => {
  const bad = await refused('temperature', OpenAI.BadRequestError, () => ask(world.SUM, { temperature: -1 }));
  equal('param', bad.param, 'temperature');
  await refused('a model', OpenAI.NotFoundError, () => client.models.retrieve('nobody'));
  const stranger = new OpenAI({ baseURL: `${LOCKED_URL}/v1`, apiKey: 'wrong', maxRetries: 0 });
  const key = await refused('a wrong key', OpenAI.AuthenticationError, () => stranger.models.list());
  equal('code', key.code, 'invalid_api_key');
});

test('a client that leaves frees its slot', async () => {
  const stream = await ask('Tell me a story.', { stream: true, logit_bias: await endless() });
  let chunks = 0;
  for await (const _ of stream) {
    chunks += 1;
    if (chunks === 5) break; // The client aborts the request.
  }
  await becomes('slots_processing', 0);
  const abort = new AbortController();
  const waiting = refused('a request that is aborted', OpenAI.APIUserAbortError, async () =>
    ask('Tell me a story.', { logit_bias: await endless() }, { signal: abort.signal }),
  );
  setTimeout(() => abort.abort(), 300);
  await waiting;
  await becomes('slots_processing', 0);
  equal('afterwards', (await ask()).choices[0].message.content, world.SUM_ANSWER);
});

test('pictures', async () => {
  const content = [
    { type: 'image_url', image_url: { url: `data:image/png;base64,${redSquare()}` } },
    { type: 'text', text: world.PICTURE_QUESTION },
  ];
  const call = () => ask([{ role: 'user', content }]);
  if (SEES) equal('answer', (await call()).choices[0].message.content, world.PICTURE_ANSWER);
  else await refused('a picture for a model that cannot see', OpenAI.BadRequestError, call);
});

test('responses', async () => {
  const asked = { model: 'lemmy-nano', temperature: 0 };
  equal('whole', (await client.responses.create({ ...asked, input: world.SUM })).output_text, world.SUM_ANSWER);
  let text = '';
  for await (const event of await client.responses.create({ ...asked, input: world.FACT, stream: true })) {
    if (event.type === 'response.output_text.delta') text += event.delta;
  }
  equal('stream', text, world.FACT_ANSWER);
});

await main();
