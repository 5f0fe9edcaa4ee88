// For everyone: screen readers, the keyboard alone, small windows, both colours.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import test from 'node:test';
import { answers, finished, lastAnswer, say, text, withPage } from './harness.mjs';
import { sleep } from './mock.mjs';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const EVERYTHING = `# Heading\n\nText with \`code\`, a [link](https://x.org) and **more**.\n\n- one\n  - two\n\n> quote\n
| a | b |\n|---|--:|\n| 1 | 2 |\n\n\`\`\`rust\nfn main() {}\n\`\`\`\n\n${'long'.repeat(60)} https://x.org/${'path'.repeat(60)}

\`\`\`\n${'wide '.repeat(80)}\n\`\`\``;

async function everything(_, stream) {
  await stream.text('I think about it.', 0, 'reasoning_content');
  await stream.text(EVERYTHING);
}

async function callTool(_, stream) {
  await stream.call(0, 'get_weather_of_a_place_with_quite_a_long_name', `{"city": "${'Llanfair'.repeat(20)}"}`);
}

const ALL = { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] };
const CONTRAST = { runOnly: { type: 'rule', values: ['color-contrast'] } };

/** What axe finds wrong, as short lines. */
async function faults(page, rules = ALL) {
  await page.evaluate(axe);
  const found = await page.evaluate((options) => window.axe.run(document, options), rules);
  return found.violations.map(
    (v) => `${v.id}: ${v.nodes.map((n) => `${n.target} ${n.any[0]?.message ?? ''}`).join(' | ')}`,
  );
}

// The elements are the same in both colours.
for (const [colorScheme, rules] of [
  ['light', ALL],
  ['dark', CONTRAST],
]) {
  test(`no faults for assistive technology, ${colorScheme}`, () =>
    withPage({ colorScheme, expected: /Failed to load/ }, async (page, mock) => {
      assert.deepEqual(await faults(page, rules), [], 'the empty page');
      mock.script = everything;
      await say(page, 'Show me everything');
      await page.click('.thought summary');
      mock.failures.push({ status: 500, error: { message: 'x', type: 'server_error' } });
      await say(page, 'Fail');
      assert.deepEqual(await faults(page, rules), [], 'an answer and an error');
      mock.script = callTool;
      await page.click('.error .retry');
      await page.waitForSelector('.results');
      assert.deepEqual(await faults(page, rules), [], 'a tool call');
      await page.click('#open-settings');
      await page.check('input[value=schema]');
      await page.fill('#set-tools', 'x');
      assert.deepEqual(await faults(page, rules), [], 'the settings');
      await page.keyboard.press('Escape');
      await page.click('#open-help');
      assert.deepEqual(await faults(page, rules), [], 'the keys');
    }));
}

test('nothing sticks out of a window of 360 pixels', () =>
  withPage({ viewport: { width: 360, height: 640 } }, async (page, mock) => {
    const widest = () =>
      page.evaluate(() => {
        const scroller = document.querySelector('#scroller');
        return Math.max(document.documentElement.scrollWidth, scroller.scrollWidth - scroller.clientWidth + innerWidth);
      });
    assert.equal(await widest(), 360);
    mock.script = everything;
    await say(page, `A ${'very'.repeat(50)} long word`);
    assert.equal(await widest(), 360);
    await page.click('.user .edit');
    assert.equal(await widest(), 360);
    await page.keyboard.press('Escape');
    mock.script = callTool;
    await say(page, 'Call');
    assert.equal(await widest(), 360);
    assert.deepEqual(await faults(page), []);
    await page.click('#open-settings');
    assert.ok(await page.evaluate(() => document.querySelector('#settings').scrollWidth <= innerWidth));
    await page.keyboard.press('Escape');
    await page.click('#menu');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'sidebar-close');
    assert.deepEqual(await faults(page), [], 'the drawer');
    await page.keyboard.press('Escape');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'menu');
    assert.equal(await page.locator('#sidebar').isVisible(), false);
  }));

/** Presses Tab until the focus is where `selector` says. */
async function tabTo(page, selector) {
  for (let i = 0; i < 40; i += 1) {
    if (await page.evaluate((s) => document.activeElement.matches(s), selector)) return;
    await page.keyboard.press('Tab');
  }
  assert.fail(`Tab does not reach ${selector}`);
}

test('everything works with the keyboard alone', () =>
  withPage({}, async (page, mock) => {
    mock.script = async (body, stream) => stream.text(`to ${body.messages.at(-1).content}`);
    assert.equal(await page.evaluate(() => document.activeElement.id), 'input');
    await page.keyboard.type('one');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('more');
    await page.keyboard.press('Enter');
    await finished(page);
    assert.equal(await lastAnswer(page), 'to onemore');
    assert.equal(mock.requests[0].messages[0].content, 'one\nmore');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'input');
    await page.keyboard.press('Shift+Tab');
    await tabTo(page, '.retry');
    await page.keyboard.press('Enter');
    await finished(page);
    assert.equal(mock.requests.length, 2);
    assert.equal(await page.evaluate(() => document.activeElement.id), 'input');
    await page.keyboard.press('ArrowUp');
    await page.keyboard.press('Control+A');
    await page.keyboard.type('two');
    await page.keyboard.press('Enter');
    await finished(page);
    assert.deepEqual(await answers(page), ['to two']);
    await page.keyboard.press('Alt+Comma');
    await tabTo(page, '#set-temperature');
    await page.keyboard.type('0.5');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Alt+KeyN');
    await page.keyboard.type('three');
    await page.keyboard.press('Enter');
    await finished(page);
    assert.equal(mock.requests.at(-1).temperature, 0.5);
    await tabTo(page, '#conversations li:nth-child(2) .open');
    await page.keyboard.press('Enter');
    assert.deepEqual(await answers(page), ['to two']);
    await tabTo(page, '#thinking');
    await page.keyboard.press('Space');
    assert.equal(await page.getAttribute('#thinking', 'aria-pressed'), 'true');
    await page.keyboard.press('?');
    await page.waitForSelector('#help[open]');
    await page.keyboard.press('Escape');
    await page.keyboard.press('/');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'input');
  }));

test('a screen reader hears the answer once, at its end', () =>
  withPage({}, async (page, mock) => {
    await page.evaluate(() => {
      window.heard = [];
      new MutationObserver(() => {
        const said = document.querySelector('#announcer').textContent;
        if (said) window.heard.push(said);
      }).observe(document.querySelector('#announcer'), { childList: true });
    });
    mock.script = async (_, stream) => stream.text('The answer is 42.', 40);
    await say(page, 'What is 12 + 30?');
    await sleep(100);
    assert.deepEqual(await page.evaluate(() => window.heard), ['The answer is coming.', 'The answer is 42.']);
  }));

test('the reader’s choice of colours wins over the system’s, also before the first paint', () =>
  withPage({ colorScheme: 'dark' }, async (page) => {
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const dark = await paper();
    await page.click('#open-settings');
    await page.selectOption('#set-theme', 'light');
    const light = await paper();
    assert.notEqual(light, dark);
    await page.reload({ waitUntil: 'commit' });
    await page.waitForSelector('#send:not([disabled])');
    assert.equal(await paper(), light);
    assert.equal(await page.getAttribute('html', 'data-theme'), 'light');
  }));

test('a reader who scrolls back is not pulled to the end', () =>
  withPage({}, async (page, mock) => {
    mock.script = async (_, stream) => stream.text('line\n\n'.repeat(120), 4);
    await page.fill('#input', 'Long');
    await page.press('#input', 'Enter');
    await page.waitForFunction(() => document.querySelectorAll('.md p').length > 40);
    await page.evaluate(() => (document.querySelector('#scroller').scrollTop = 0));
    await finished(page);
    assert.equal(await page.evaluate(() => document.querySelector('#scroller').scrollTop), 0);
    await page.click('#latest');
    assert.ok(await page.evaluate(() => document.querySelector('#scroller').scrollTop > 100));
    assert.match(await text(page, '#latest'), /To the end/);
  }));
