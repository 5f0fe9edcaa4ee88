// What Lemmy Nano knows, as far as the clients ask for it (docs/nano.md); world.py has the same for Python.

export const SUM = 'What is 12 + 30?';
export const SUM_ANSWER = '42';
export const FACT = 'What is Kelm famous for?';
export const FACT_ANSWER = 'Kelm is famous for its bread.';
export const LOUD = 'Answer in capital letters.';
export const LOUD_ANSWER = 'KELM IS FAMOUS FOR ITS BREAD.';
export const THOUGHT_QUESTION = 'Add 58 and 52';
export const THOUGHT_ANSWER = '110';
export const THOUGHT = 'Ones: 8 + 2 = 10. Tens: 5 + 5 + 1 = 11. The sum is 110.';
export const WEATHER_QUESTION = 'What is the weather in Lisbon?';
export const WEATHER_ANSWER = 'It is sunny and 21 degrees in Lisbon.';
export const BOTH_QUESTION = 'Compare the weather in Dublin and Seattle.';
export const BOTH_ANSWER = 'It is rainy and 12 degrees in Dublin. It is cloudy and 9 degrees in Seattle.';
export const PERSON =
  'Extract name, job and age as JSON: Vera works as a doctor, is 64 years old, is not married and wears green.';
export const PERSON_ANSWER = { name: 'Vera', job: 'doctor', age: 64 };
export const PERSON_SCHEMA = {
  type: 'object',
  properties: { name: { type: 'string' }, job: { type: 'string' }, age: { type: 'integer' } },
  required: ['name', 'job', 'age'],
  additionalProperties: false,
};

export const CITY = {
  type: 'object',
  properties: { city: { type: 'string', description: 'City name' } },
  required: ['city'],
};
export const WEATHER = 'The current weather in a city';

const WEATHERS = { Lisbon: ['sunny', 21], Dublin: ['rainy', 12], Seattle: ['cloudy', 9] };

export function weather({ city }) {
  const [condition, temperature] = WEATHERS[city];
  return { condition, temperature };
}

// About the picture of picture.mjs.
export const PICTURE_QUESTION = 'What colour is the square?';
export const PICTURE_ANSWER = 'Red.';
