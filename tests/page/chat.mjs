// A conversation in the ordinary course of things.

import assert from 'node:assert/strict';
import test from 'node:test';
import { answers, finished, isHidden, lastAnswer, roles, say, text, withPage } from './harness.mjs';
import { sleep } from './mock.mjs';

const options = { permissions: ['clipboard-read', 'clipboard-write'] };

test('a question is sent with the server’s own defaults and answered', () =>
  withPage({}, async (page, mock) => {
    await say(page, 'What is 12 + 30?');
    assert.equal(await lastAnswer(page), '42');
    const [body] = mock.requests;
    assert.deepEqual(body.messages, [{ role: 'user', content: 'What is 12 + 30?' }]);
    assert.equal(body.stream, true);
    assert.deepEqual(body.chat_template_kwargs, { enable_thinking: false });
    for (const name of ['temperature', 'top_p', 'top_k', 'min_p', 'seed', 'max_tokens', 'tools', 'response_format']) {
      assert.ok(!(name in body), `${name} is the server's choice`);
    }
    assert.equal(await page.inputValue('#input'), '');
    assert.match(await text(page, '.figures'), /^2 tokens · 31 tokens\/s · first after 0\.2 s$/);
    assert.match(await text(page, '#meter-text'), /^32 of 4,096 tokens · 31 tokens\/s$/);
    assert.equal(await page.getAttribute('#bar', 'aria-valuetext'), '32 of 4,096 tokens');
    await say(page, 'And twice that?');
    assert.deepEqual(roles(mock.requests[1]), ['user', 'assistant', 'user']);
  }));

test('an answer appears while it is made, whatever the cuts of the stream', () =>
  withPage({}, async (page, mock) => {
    let go;
    const gate = new Promise((resolve) => (go = resolve));
    mock.script = async (_, stream) => {
      await stream.text('Grüße **aus** ');
      await gate;
      const delta = { choices: [{ index: 0, delta: { content: 'Zürich 🐹' }, finish_reason: null }] };
      await stream.raw(`data: ${JSON.stringify(delta)}\n\n`, 3);
    };
    await page.fill('#input', 'Hallo');
    await page.press('#input', 'Enter');
    await page.waitForSelector('.reply.running .md strong');
    assert.equal(await isHidden(page, '#stop'), false);
    go();
    await finished(page);
    assert.equal(await lastAnswer(page), 'Grüße aus Zürich 🐹');
    assert.equal(await isHidden(page, '#stop'), true);
  }));

test('Escape stops an answer, keeps what came, and the server hears of it', () =>
  withPage({}, async (page, mock) => {
    mock.script = async (_, stream) => stream.text('on and on '.repeat(500), 20);
    await page.fill('#input', 'Talk');
    await page.press('#input', 'Enter');
    await page.waitForFunction(() => document.querySelector('.reply .md')?.textContent.length > 20);
    await page.keyboard.press('Escape');
    await finished(page);
    assert.match(await lastAnswer(page), /^on and on/);
    assert.match(await text(page, '.remark'), /You stopped/);
    for (let i = 0; i < 40 && !mock.cancelled; i += 1) await sleep(25);
    assert.equal(mock.cancelled, 1);
    mock.script = null;
    await say(page, 'Go on');
    assert.match(mock.requests[1].messages[1].content, /^on and on/);
  }));

test('a turn is edited and sent again, and what came after it goes', () =>
  withPage({}, async (page, mock) => {
    mock.script = async (body, stream) => stream.text(`answer to ${body.messages.at(-1).content}`);
    await say(page, 'one');
    await say(page, 'two');
    await page.press('#input', 'ArrowUp');
    assert.equal(await page.inputValue('.editing textarea'), 'two');
    await page.keyboard.press('Escape');
    assert.equal(await page.locator('.editing').count(), 0);
    await page.hover('.user >> nth=0');
    await page.click('.user .edit >> nth=0');
    await page.fill('.editing textarea', 'three');
    await page.press('.editing textarea', 'Enter');
    await finished(page);
    assert.deepEqual(await answers(page), ['answer to three']);
    assert.deepEqual(mock.requests.at(-1).messages, [{ role: 'user', content: 'three' }]);
  }));

test('an answer is tried again in its place', () =>
  withPage({}, async (page, mock) => {
    let n = 0;
    mock.script = async (_, stream) => stream.text(`try ${(n += 1)}`);
    await say(page, 'one');
    await page.click('.retry');
    await page.waitForFunction(() => document.querySelector('.reply .md')?.textContent === 'try 2');
    assert.equal(await page.locator('.reply').count(), 1);
    assert.deepEqual(mock.requests[0].messages, mock.requests[1].messages);
  }));

test('thinking is asked for, folded, timed, and not sent back', () =>
  withPage({}, async (page, mock) => {
    mock.script = async (_, stream) => {
      await stream.text('12 and 30 are 42.', 60, 'reasoning_content');
      await stream.text('42');
    };
    await page.keyboard.press('Alt+KeyT');
    assert.equal(await page.getAttribute('#thinking', 'aria-pressed'), 'true');
    await say(page, 'What is 12 + 30?');
    assert.deepEqual(mock.requests[0].chat_template_kwargs, { enable_thinking: true });
    const thought = await page.$eval('.thought', (d) => [
      d.open,
      d.querySelector('summary').textContent,
      d.querySelector('.thought-text').textContent,
    ]);
    assert.deepEqual([thought[0], thought[2]], [false, '12 and 30 are 42.']);
    assert.match(thought[1], /^Thought for \d\.\d s$/);
    assert.equal(await lastAnswer(page), '42');
    await say(page, 'Thanks');
    assert.deepEqual(mock.requests[1].messages[1], { role: 'assistant', content: '42' });
  }));

test('tools: an example, two calls, results by hand, the thought goes back with the calls', () =>
  withPage({}, async (page, mock) => {
    mock.script = async (body, stream) => {
      if (body.messages.at(-1).role === 'tool') return stream.text('Sunny in both.');
      await stream.text('I need the weather.', 0, 'reasoning_content');
      await stream.call(0, 'get_weather', '{"city": "London"}');
      await stream.call(1, 'get_weather', '{"city": "Rome"}');
      return undefined;
    };
    await page.click('#examples button:has-text("weather")');
    await page.waitForSelector('.results');
    assert.equal(mock.requests[0].tools[0].function.name, 'get_weather');
    assert.match(await text(page, '#marks'), /1 tool/);
    assert.equal(await page.locator('.call').count(), 2);
    await page.fill('#input', 'And Oslo?');
    await page.press('#input', 'Enter');
    assert.equal(mock.requests.length, 1, 'an open call must be answered first');
    const fields = page.locator('.results textarea');
    await fields.nth(0).fill('{"condition": "sunny"}');
    await fields.nth(1).fill('fine');
    await page.click('.results .primary');
    await page.waitForFunction(
      () => [...document.querySelectorAll('.reply .md')].at(-1).textContent === 'Sunny in both.',
    );
    const { messages } = mock.requests[1];
    assert.deepEqual(roles(mock.requests[1]), ['user', 'assistant', 'tool', 'tool']);
    assert.equal(messages[1].reasoning_content, 'I need the weather.');
    assert.deepEqual(
      messages[1].tool_calls.map((c) => c.function),
      [
        { name: 'get_weather', arguments: '{"city": "London"}' },
        { name: 'get_weather', arguments: '{"city": "Rome"}' },
      ],
    );
    assert.equal(messages[1].content, null);
    assert.deepEqual(
      messages.slice(2).map((m) => [m.tool_call_id, m.content]),
      [
        [messages[1].tool_calls[0].id, '{"condition": "sunny"}'],
        [messages[1].tool_calls[1].id, 'fine'],
      ],
    );
  }));

test('settings travel with the request; wrong ones are not sent', () =>
  withPage({}, async (page, mock) => {
    await page.click('#open-settings');
    assert.equal(await page.getAttribute('#set-temperature', 'placeholder'), '1');
    const numbers = {
      temperature: '0',
      top_p: '0.9',
      top_k: '20',
      min_p: '0.05',
      seed: '7',
      max_tokens: '64',
      thinking_budget: '100',
    };
    for (const [name, value] of Object.entries(numbers)) await page.fill(`#set-${name}`, value);
    await page.fill('#set-system', 'Be short.');
    await page.check('#set-thinking');
    await page.check('input[value=schema]');
    await page.fill('#set-schema', '{"type": "object"');
    assert.match(await text(page, '#schema-error'), /not JSON/);
    await page.fill('#set-tools', '[{"function": {}}]');
    assert.match(await text(page, '#tools-error'), /Tool 1 has no name/);
    await page.keyboard.press('Escape');
    await page.fill('#input', 'Hi');
    await page.press('#input', 'Enter');
    await page.waitForSelector('#settings[open]');
    assert.equal(mock.requests.length, 0);
    await page.fill('#set-tools', '');
    await page.fill('#set-schema', '{"type": "object"}');
    await page.fill('#set-temperature', '3');
    assert.equal(await page.getAttribute('#set-temperature', 'aria-invalid'), 'true');
    await page.keyboard.press('Escape');
    mock.script = async (_, stream) => stream.text('{"a": 1}');
    assert.equal(await page.inputValue('#input'), 'Hi', 'what was written waits');
    await page.press('#input', 'Enter');
    await finished(page);
    const [body] = mock.requests;
    assert.deepEqual(
      [body.temperature, body.top_p, body.top_k, body.min_p, body.seed, body.max_tokens, body.thinking_budget_tokens],
      [0, 0.9, 20, 0.05, 7, 64, 100],
    );
    assert.deepEqual(body.messages, [
      { role: 'system', content: 'Be short.' },
      { role: 'user', content: 'Hi' },
    ]);
    assert.deepEqual(body.response_format, {
      type: 'json_schema',
      json_schema: { name: 'answer', schema: { type: 'object' } },
    });
    assert.equal(await text(page, '.reply .code code'), '{"a": 1}');
    await page.reload();
    await page.waitForSelector('#send:not([disabled])');
    await page.click('#open-settings');
    assert.equal(await page.inputValue('#set-top_p'), '0.9');
    assert.equal(await page.inputValue('#set-system'), 'Be short.');
  }));

test('two conversations are answered at the same time', () =>
  withPage({}, async (page, mock) => {
    let go;
    const gate = new Promise((resolve) => (go = resolve));
    mock.script = async (body, stream) => {
      if (body.messages[0].content === 'slow') await gate;
      await stream.text(`done: ${body.messages[0].content}`);
    };
    await page.fill('#input', 'slow');
    await page.press('#input', 'Enter');
    await page.waitForSelector('.reply.running');
    await page.click('#new');
    await say(page, 'quick');
    assert.deepEqual(await answers(page), ['done: quick']);
    assert.equal(await page.locator('.pulse').count(), 1);
    go();
    await page.waitForSelector('.pulse', { state: 'detached' });
    await page.click('#conversations .open:has-text("slow")');
    assert.deepEqual(await answers(page), ['done: slow']);
  }));

test('code and answers are copied as they were written', () =>
  withPage(options, async (page, mock) => {
    const code = 'let a = 1;\n\n  let b = 2;';
    mock.script = async (_, stream) => stream.text(`Look:\n\n\`\`\`js\n${code}\n\`\`\``);
    await say(page, 'Code');
    await page.click('.code button');
    await page.waitForSelector('.code button.done');
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), code);
    await page.click('.reply .actions button[aria-label="Copy the answer"]');
    await page.waitForSelector('.reply .actions .done');
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), `Look:\n\n\`\`\`js\n${code}\n\`\`\``);
  }));

test('the limits of an answer are said', () =>
  withPage({}, async (page, mock) => {
    mock.script = async (_, stream) => {
      await stream.text('cut');
      stream.end('length', { lemmy_finish: 'context_full', lemmy_warnings: ['field “x” has no effect'] });
    };
    await say(page, 'Hi');
    const remarks = await page.$$eval('.remark', (nodes) => nodes.map((n) => n.textContent));
    assert.deepEqual(remarks, [
      'The context is full: the answer ends here.',
      'The server remarks: field “x” has no effect',
    ]);
  }));
