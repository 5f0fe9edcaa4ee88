// What goes wrong, and whether a person is told what to do.

import assert from 'node:assert/strict';
import test from 'node:test';
import { answers, finished, isHidden, lastAnswer, say, text, withPage } from './harness.mjs';

const LOAD = /Failed to load resource/;
const waitFor = (page, pattern) =>
  page.waitForFunction((source) => new RegExp(source).test(document.body.innerText), pattern.source);

test('the page shows how far the model is loaded, and then becomes ready by itself', () =>
  withPage({ prepare: (mock) => (mock.progress = 0.25), ready: false, expected: LOAD }, async (page, mock) => {
    await waitFor(page, /The model is being loaded, 25 %/);
    assert.equal(await page.getAttribute('#banner-bar', 'aria-valuenow'), '25');
    await page.fill('#input', 'What is 12 + 30?');
    await page.press('#input', 'Enter');
    assert.equal(await page.inputValue('#input'), 'What is 12 + 30?', 'nothing that was written is lost');
    mock.progress = 0.75;
    await waitFor(page, /loaded, 75 %/);
    mock.progress = null;
    await page.waitForSelector('#send:not([disabled])');
    assert.equal(await isHidden(page, '#banner'), true);
    await page.press('#input', 'Enter');
    await finished(page);
    assert.equal(await lastAnswer(page), '42');
  }));

test('a key is asked for once, again if it is wrong, and kept in the tab only', () =>
  withPage({ prepare: (mock) => (mock.key = 'right'), ready: false, expected: LOAD }, async (page) => {
    await page.waitForSelector('#key[open]');
    assert.equal(await isHidden(page, '#key-wrong'), true);
    await page.fill('#key-input', 'wrong');
    await page.press('#key-input', 'Enter');
    await page.waitForSelector('#key-wrong:not([hidden])');
    await page.fill('#key-input', 'right');
    await page.press('#key-input', 'Enter');
    await page.waitForSelector('#send:not([disabled])');
    await say(page, 'What is 12 + 30?');
    assert.equal(await lastAnswer(page), '42');
    await page.reload();
    await page.waitForSelector('#send:not([disabled])');
    assert.equal(await page.locator('#key[open]').count(), 0);
    const kept = await page.evaluate(() => [
      JSON.stringify({ ...sessionStorage }),
      JSON.stringify({ ...localStorage }),
    ]);
    assert.match(kept[0], /right/);
    assert.doesNotMatch(kept[1], /right/);
  }));

test('a key that is no longer right is asked for when something is sent', () =>
  withPage({ expected: LOAD }, async (page, mock) => {
    mock.key = 'new';
    await page.fill('#input', 'What is 12 + 30?');
    await page.press('#input', 'Enter');
    await page.waitForSelector('#key[open]');
    await page.fill('#key-input', 'new');
    await page.click('#key .primary');
    await finished(page);
    assert.equal(await lastAnswer(page), '42');
  }));

const FAILURES = [
  [
    429,
    { message: 'queue is full', type: 'rate_limit_error', code: 'queue_full' },
    /The server is busy[\s\S]*in 3 seconds/,
  ],
  [
    400,
    { message: 'x', type: 'exceed_context_size_error', n_prompt_tokens: 5000, n_ctx: 4096 },
    /no longer fits[\s\S]*5,000 tokens of 4,096/,
  ],
  [
    400,
    { message: 'temperature is -1, expected 0 to 2', type: 'invalid_request_error' },
    /did not accept[\s\S]*temperature is -1/,
  ],
  [413, { message: 'the body has 80 MiB', type: 'invalid_request_error' }, /too large[\s\S]*80 MiB/],
  [500, { message: 'a worker failed', type: 'server_error' }, /went wrong in the server[\s\S]*a worker failed/],
  [503, { message: 'The server is stopping', type: 'unavailable_error', code: 'shutting_down' }, /is stopping/],
  [502, null, /status 502/],
];

test('each refusal is said in plain words and can be tried again', () =>
  withPage({ expected: LOAD }, async (page, mock) => {
    for (const [status, error, expected] of FAILURES) {
      mock.failures.push({ status, error, headers: status === 429 ? { 'Retry-After': '3' } : {} });
      await page.click('#new');
      await say(page, 'Hi');
      assert.match(await page.innerText('.reply .error'), expected);
      await page.click('.error .retry');
      await page.waitForFunction(() => document.querySelector('.reply .md')?.textContent === '42');
      assert.equal(await page.locator('.error').count(), 0);
      assert.equal(await page.locator('.reply').count(), 1);
    }
  }));

test('an answer that breaks off keeps what came', () =>
  withPage({ expected: LOAD }, async (page, mock) => {
    mock.script = async (_, stream) => {
      await stream.text('so far');
      stream.error({ message: 'the worker failed', type: 'server_error', code: 'internal_error' });
    };
    await say(page, 'one');
    assert.equal(await lastAnswer(page), 'so far');
    assert.match(await page.innerText('.error'), /broke off[\s\S]*the worker failed/);
    mock.script = async (_, stream) => {
      await stream.text('half an answ');
      stream.cut();
    };
    await page.click('.error .retry');
    await page.waitForFunction(() => document.querySelector('.error-title')?.textContent.includes('ended early'));
    assert.deepEqual(await answers(page), ['half an answ']);
    mock.script = null;
    await say(page, 'two');
    assert.equal(await lastAnswer(page), '42');
  }));

test('a server that went away is named, and found again', () =>
  withPage({ expected: LOAD }, async (page, mock) => {
    // Browsers send a request again by themselves while kept connections break.
    mock.failures = Array.from({ length: 20 }, () => ({ destroy: true }));
    await say(page, 'Hi');
    assert.match(await page.innerText('.error'), /does not answer/);
    mock.failures = [];
    await page.waitForSelector('#send:not([disabled])');
    await page.click('.error .retry');
    await page.waitForFunction(() => document.querySelector('.reply .md')?.textContent === '42');
  }));

test('what a model says cannot act on the page', () =>
  withPage({}, async (page, mock) => {
    const evil = '<img src=x onerror="window.hit=1"><script>window.hit=1</script> [x](javascript:window.hit=1)';
    mock.model = `lemmy-nano${evil}`;
    mock.script = async (_, stream) => {
      await stream.text(evil, 0, 'reasoning_content');
      await stream.text(evil);
      await stream.call(0, evil, JSON.stringify({ [evil]: evil }));
    };
    await say(page, evil);
    await page.click('.thought summary');
    assert.equal(await page.evaluate(() => window.hit), undefined);
    assert.equal(await page.locator('#turns img, #turns script, #turns a').count(), 0);
    assert.equal(await text(page, '.call-name'), evil);
    assert.equal(await text(page, '.bubble'), evil);
  }));
