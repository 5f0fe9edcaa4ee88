// A browser for all tests; for each test a fresh profile, a mock server, and the demand that nothing is complained
// about.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';
import { Mock } from './mock.mjs';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const executablePath = process.env.CHROMIUM ?? PLACES.find((place) => existsSync(place));

export const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });

/**
 * Runs `use(page, mock)` on the page of a mock server. `options`: those of a browser context, and `prepare(mock)`;
 * `expected`: console errors to be excused, as a pattern; `ready: false` if the server does not become ready at once.
 */
export async function withPage(options, use) {
  const { prepare, expected, ready = true, ...contextOptions } = options;
  const mock = new Mock();
  await mock.listen();
  prepare?.(mock);
  try {
    await atAddress(mock.url, { expected, ready, ...contextOptions }, (page) => use(page, mock));
  } finally {
    mock.close();
  }
}

/** The same for a server that runs already. */
export async function atAddress(url, { expected, ready = true, ...contextOptions }, use) {
  const context = await browser.newContext({
    viewport: { width: 1100, height: 720 },
    reducedMotion: 'reduce',
    ...contextOptions,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(20000);
  const complaints = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error.stack)));
  try {
    await page.goto(url);
    if (ready) await page.waitForSelector('#send:not([disabled])');
    await use(page);
    assert.deepEqual(
      complaints.filter((text) => !expected?.test(text)),
      [],
      'the browser complained',
    );
  } finally {
    await context.close();
  }
}

/** Sends a message with the keyboard and waits for the end of the answer. */
export async function say(page, text) {
  await page.waitForSelector('#send:not([disabled])');
  await page.fill('#input', text);
  await page.press('#input', 'Enter');
  await finished(page);
}

/** Waits until the answer has begun and ended. */
export async function finished(page) {
  await page.waitForSelector('.reply:last-child:not(.running)');
  await page.waitForSelector('#send:not([hidden])');
}

export const answers = (page) => page.$$eval('.reply .md', (nodes) => nodes.map((node) => node.textContent));
export const lastAnswer = async (page) => (await answers(page)).at(-1);
export const text = (page, selector) => page.$eval(selector, (node) => node.textContent);
export const isHidden = (page, selector) => page.$eval(selector, (node) => node.hidden);
export const roles = (body) => body.messages.map((message) => message.role);
