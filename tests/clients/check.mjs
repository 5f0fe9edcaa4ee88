// Cases that go on after a failure, and checks that say what was expected and what was found.

import { isDeepStrictEqual, inspect } from 'node:util';

export const URL = process.env.LEMMY_URL;
export const LOCKED_URL = process.env.LEMMY_LOCKED_URL;
export const SEES = process.env.LEMMY_SEES === '1';

class Failed extends Error {}

const cases = [];

export function test(name, run) {
  cases.push([name, run]);
}

export function equal(what, found, expected) {
  if (!isDeepStrictEqual(found, expected)) {
    throw new Failed(`${what}: expected ${inspect(expected)}, found ${inspect(found)}`);
  }
}

export function holds(what, condition, found) {
  if (!condition) throw new Failed(`${what}: found ${inspect(found)}`);
}

// The error of this very class that a call ends with.
export async function refused(what, kind, call) {
  let found;
  try {
    found = await call();
  } catch (error) {
    if (error instanceof kind) return error;
    throw new Failed(`${what}: expected ${kind.name}, found ${error?.constructor?.name}: ${error?.message}`);
  }
  throw new Failed(`${what}: expected ${kind.name}, found the answer ${inspect(found)}`);
}

// Waits until a number of /health is this.
export async function becomes(name, value, seconds = 10) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = (await (await fetch(`${URL}/health`)).json())[name];
    if (found === value) return;
    if (Date.now() > end) throw new Failed(`${name}: expected ${value} within ${seconds} s, found ${found}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// A bias against every token that ends a reply, so that it goes on until somebody leaves.
export async function endless() {
  const bias = {};
  for (const content of ['<eos>', '<turn|>', '<|tool_response>']) {
    const body = JSON.stringify({ content, add_special: false, parse_special: true });
    const headers = { 'Content-Type': 'application/json' };
    const { tokens } = await (await fetch(`${URL}/tokenize`, { method: 'POST', headers, body })).json();
    equal(`tokens of ${content}`, tokens.length, 1);
    bias[tokens[0]] = -100;
  }
  return bias;
}

export async function main() {
  let failed = 0;
  for (const [name, run] of cases) {
    try {
      await run();
      console.log(`ok     ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${name}\n    ${error instanceof Failed ? error.message : error?.stack}`);
    }
  }
  console.log(`${cases.length - failed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}
