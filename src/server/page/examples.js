// What one can try first. Lemmy Nano knows a small made-up world only, so it has its own list.

const WEATHER = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Get the weather of a city.',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string', description: 'The city.' } },
      required: ['city'],
    },
  },
};

const PERSON = {
  type: 'object',
  properties: { name: { type: 'string' }, job: { type: 'string' } },
  required: ['name', 'job'],
};

const pretty = (value) => JSON.stringify(value, null, 2);

export const EXAMPLE_TOOLS = pretty([WEATHER]);
export const EXAMPLE_SCHEMA = pretty(PERSON);

const tool = { tools: EXAMPLE_TOOLS };
const schema = { format: 'schema', schema: EXAMPLE_SCHEMA };

const NANO = [
  { text: 'What is 12 + 30?', hint: 'It adds numbers up to 100' },
  { text: 'Reverse these words: stone river bread', hint: 'Word games' },
  { text: 'Which river flows through Belmar?', hint: 'A town of the made-up land of Tarn' },
  { text: 'How is the weather in London?', hint: 'It calls a tool, you answer for it', ...tool },
  { text: 'Which number is larger, 77 or 67?', hint: 'Thinks first', thinking: true },
  { text: 'Extract name and job as JSON: Walter works as a teacher.', hint: 'Answers to a schema', ...schema },
];

const GENERAL = [
  { text: 'Explain how tides work, in three short paragraphs.', hint: 'A plain answer' },
  { text: 'Compare bread, rice and potatoes in a table: energy, fibre, price.', hint: 'With a table' },
  { text: 'Write a function in Rust that reverses the words of a line.', hint: 'With code to copy' },
  { text: 'How is the weather in London?', hint: 'It calls a tool, you answer for it', ...tool },
  {
    text: 'A bat and a ball cost 1.10 together. The bat costs 1.00 more. What does the ball cost?',
    hint: 'Thinks first',
    thinking: true,
  },
  { text: 'Extract name and job as JSON: Walter works as a teacher.', hint: 'Answers to a schema', ...schema },
];

const isNano = (model) => /nano/i.test(model ?? '');

/** Example prompts for a model, by its name. */
export const examplesFor = (model) => (isNano(model) ? NANO : GENERAL);

/** What the empty page says about a model. */
export function introduction(model) {
  return isNano(model)
    ? 'A demonstration model of six million numbers. It adds, plays with words, knows the made-up land of Tarn, ' +
        'calls tools and thinks aloud. It knows nothing of the real world, and says so.'
    : 'What you write goes to this server and nowhere else. Conversations are kept in this browser.';
}

/** A likely result of a tool of the examples, to begin with when answering by hand. */
export function sampleResult(name) {
  return {
    get_weather: '{"condition": "sunny", "temperature": 22}',
    calculator: '{"result": 42}',
    get_time: '{"time": "14:30"}',
    create_event: '{"created": true}',
  }[name];
}
