// Against `lemmy serve` itself with Lemmy Nano. `LEMMY` names the program, `LEMMY_MODEL` another model file.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { answers, atAddress, finished, lastAnswer, say, text } from './harness.mjs';

const MODEL = process.env.LEMMY_MODEL ?? fileURLToPath(new URL('../../models/lemmy-nano-q8_0.gguf', import.meta.url));
let server;
let url;

before(async () => {
  server = spawn(process.env.LEMMY, ['serve', MODEL, '--port', '0'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  url = await new Promise((resolve, reject) => {
    const read = (data) => {
      printed += data;
      const found = /http:\/\/[\d.]+:\d+/.exec(printed);
      if (found) resolve(`${found[0]}/`);
    };
    server.stdout.on('data', read);
    server.stderr.on('data', read);
    server.on('error', reject);
    server.on('exit', (code) => reject(new Error(`lemmy serve ended with ${code}: ${printed}`)));
    setTimeout(() => reject(new Error(`lemmy serve printed no address: ${printed}`)), 30000).unref();
  });
});

after(() => server?.kill('SIGTERM'));

/** A page that always takes the likeliest token. */
const exact = (options, use) =>
  atAddress(url, { ...options, expected: /status of 503/ }, async (page) => {
    await page.evaluate(() => localStorage.setItem('lemmy.settings', '{"temperature": 0}'));
    await page.reload();
    await page.waitForSelector('#send:not([disabled])', { timeout: 60000 });
    page.setDefaultTimeout(60000);
    await use(page);
  });

test('Lemmy Nano adds, is tried again, edited, and remembered', () =>
  exact({}, async (page) => {
    assert.match(await text(page, '#welcome-title'), /Lemmy Nano/);
    await page.click('#examples button:has-text("12 + 30")');
    await finished(page);
    assert.equal(await lastAnswer(page), '42');
    assert.match(await text(page, '.figures'), /tokens? · [\d.]+ tokens\/s/);
    assert.match(await text(page, '#meter-text'), /^\d+ of [\d,]+ tokens/);
    await page.click('.retry');
    await finished(page);
    assert.deepEqual(await answers(page), ['42']);
    await page.press('#input', 'ArrowUp');
    await page.fill('.editing textarea', 'What is 20 + 30?');
    await page.press('.editing textarea', 'Enter');
    await finished(page);
    assert.deepEqual(await answers(page), ['50']);
    await page.reload();
    await page.waitForSelector('.reply');
    assert.deepEqual(await answers(page), ['50']);
  }));

test('Lemmy Nano calls a tool and speaks about its result', () =>
  exact({}, async (page) => {
    await page.click('#examples button:has-text("weather")');
    await page.waitForSelector('.results');
    assert.equal(await text(page, '.call-name'), 'get_weather');
    assert.match(await text(page, '.call-arguments'), /"city": ?"London"/);
    await page.click('.results .primary');
    await page.waitForFunction(() => document.querySelectorAll('.reply').length === 2);
    await finished(page);
    assert.match(await lastAnswer(page), /sunny and 22 degrees in London/);
  }));

test('Lemmy Nano thinks before it answers, and answers to a schema', () =>
  exact({}, async (page) => {
    await page.click('#thinking');
    await say(page, 'What is 12 + 30?');
    assert.match(await text(page, '.thought summary'), /^Thought for/);
    assert.equal(await lastAnswer(page), '42');
    await page.click('#thinking');
    await page.click('#new');
    await page.click('#examples button:has-text("JSON")');
    await finished(page);
    assert.deepEqual(JSON.parse(await text(page, '.reply .code code')), { name: 'Walter', job: 'teacher' });
  }));

test('the examples that the page offers for Lemmy Nano are answered', () =>
  exact({}, async (page) => {
    const cases = [
      ['Reverse', 'bread river stone'],
      ['Belmar', 'The river of Belmar is the Loru.'],
      ['larger', '77'],
    ];
    for (const [example, answer] of cases) {
      await page.click('#new');
      await page.click(`#examples button:has-text("${example}")`);
      await finished(page);
      assert.equal(await lastAnswer(page), answer);
    }
    assert.notEqual(await text(page, '.thought-text'), '');
  }));

test('an answer of the real server can be stopped', () =>
  exact({}, async (page) => {
    await page.click('#open-settings');
    await page.check('input[value=schema]');
    // An answer that cannot end soon: as many words as the context holds.
    await page.fill('#set-schema', '{"type": "array", "items": {"type": "string"}, "minItems": 900}');
    await page.fill('#set-system', '');
    await page.keyboard.press('Escape');
    await page.fill('#input', 'Write JSON.');
    await page.press('#input', 'Enter');
    await page.waitForFunction(() => document.querySelector('.reply .md')?.textContent.length > 10);
    await page.keyboard.press('Escape');
    await finished(page);
    assert.match(await text(page, '.remark'), /You stopped/);
    await page.click('#new');
    await say(page, 'What is 12 + 30?');
    assert.equal(await lastAnswer(page), '42', 'the server is free again');
  }));
