// Conversations in the browser: kept, named, deleted, carried to another browser and back.

import assert from 'node:assert/strict';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { answers, say, text, withPage } from './harness.mjs';

const titles = (page) => page.$$eval('#conversations .title', (nodes) => nodes.map((n) => n.textContent));
const reload = async (page) => {
  await page.reload();
  await page.waitForSelector('#send:not([disabled])');
};

test('a conversation survives a reload, gets another name, and is deleted after a question', () =>
  withPage({}, async (page, mock) => {
    mock.script = async (_, stream) => stream.text('It is **42**.');
    await say(page, 'What is 12 + 30?');
    await reload(page);
    assert.deepEqual(await answers(page), ['It is 42.']);
    assert.deepEqual(await titles(page), ['What is 12 + 30?']);
    await page.hover('#conversations li');
    await page.click('#conversations button[aria-label^="Rename"]');
    await page.fill('#ask-input', 'Sums');
    await page.press('#ask-input', 'Enter');
    await page.waitForFunction(() => document.querySelector('#title').textContent === 'Sums');
    await page.click('#new');
    await say(page, 'Hello');
    await reload(page);
    assert.deepEqual(await titles(page), ['Hello', 'Sums']);
    await page.click('#conversations .open:has-text("Sums")');
    assert.deepEqual(await answers(page), ['It is 42.']);
    await page.hover('#conversations li.current');
    await page.click('#conversations .current button[aria-label^="Delete"]');
    await page.click('#confirm [data-close=""]');
    assert.equal((await titles(page)).length, 2);
    await page.hover('#conversations li.current');
    await page.click('#conversations .current button[aria-label^="Delete"]');
    await page.click('#confirm-yes');
    await page.waitForFunction(() => document.querySelectorAll('#conversations li').length === 1);
    await reload(page);
    assert.deepEqual(await titles(page), ['Hello']);
  }));

test('export, delete all, import: the same conversations again, none twice the same id', () =>
  withPage({}, async (page) => {
    await say(page, 'one');
    await page.click('#new');
    await say(page, 'two');
    await page.click('#open-settings');
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#export')]);
    const file = await download.path();
    const before = JSON.parse(await readFile(file, 'utf8'));
    assert.deepEqual(
      before.conversations.map((c) => c.messages[0].content),
      ['two', 'one'],
    );
    await page.click('#delete-all');
    await page.click('#confirm-yes');
    await page.waitForFunction(() => document.querySelectorAll('#conversations li').length === 0);
    assert.equal(
      await page.evaluate(() => Object.keys(localStorage).filter((k) => k.startsWith('lemmy.chat')).length),
      0,
    );
    const importFile = () =>
      page.setInputFiles('#import-file', {
        name: 'c.json',
        mimeType: 'application/json',
        buffer: Buffer.from(JSON.stringify(before)),
      });
    await importFile();
    await page.waitForFunction(() => document.querySelectorAll('#conversations li').length === 2);
    assert.deepEqual(await titles(page), ['two', 'one']);
    await importFile();
    await page.waitForFunction(() => document.querySelectorAll('#conversations li').length === 4);
  }));

test('a hostile file is refused or reduced to what this page writes', () =>
  withPage({}, async (page) => {
    const found = await page.evaluate(async () => {
      const { Store, clean } = await import('/assets/store.js');
      const store = new Store();
      const refused = ['', '[]', 'null', '{"format":"other"}', '{"format":"lemmy-conversations"}'].filter((file) => {
        try {
          store.importAll(file);
          return false;
        } catch {
          return true;
        }
      }).length;
      const id = '0123456789abcdef';
      const image = (url) => ({ url, thumb: url, budget: 9, width: '<b>' });
      return [
        refused,
        [null, 1, {}, { id, messages: 'x' }, { id: '../x', messages: [] }].filter((raw) => clean(raw) !== null).length,
        clean({
          id,
          title: ['x'],
          updated: 'soon',
          format: 'exe',
          more: 1,
          messages: [
            null,
            { role: 'system', content: 'x' },
            {
              role: 'user',
              content: 5,
              images: [
                image('https://evil.org/x.png'),
                image('data:image/svg+xml;base64,PHN2Zz4='),
                image('data:image/png;base64,AAAA'),
              ],
            },
            {
              role: 'assistant',
              content: 'a',
              calls: [null, { name: 3 }],
              error: 'x',
              stats: { rate: 'fast' },
              warnings: [{}],
            },
          ],
        }),
      ];
    });
    assert.equal(found[0], 5);
    assert.equal(found[1], 0);
    assert.deepEqual(found[2], {
      id: '0123456789abcdef',
      title: '',
      updated: 0,
      system: '',
      tools: '',
      format: 'text',
      schema: '',
      messages: [
        {
          role: 'user',
          content: '',
          images: [
            {
              url: 'data:image/png;base64,AAAA',
              thumb: 'data:image/png;base64,AAAA',
              name: '',
              width: 0,
              height: 0,
              budget: 280,
            },
          ],
        },
        {
          role: 'assistant',
          content: 'a',
          thinking: '',
          thinkingMs: 0,
          calls: [{ id: '', name: '', arguments: '' }],
          finish: null,
          format: 'text',
          warnings: ['[object Object]'],
          stats: { prompt: null, cached: null, generated: null, rate: null, firstMs: null },
        },
      ],
    });
    const folder = await mkdtemp(join(tmpdir(), 'page-'));
    await writeFile(join(folder, 'x.json'), 'not json');
    await page.setInputFiles('#import-file', join(folder, 'x.json'));
    await page.waitForSelector('.note');
    assert.match(await text(page, '.note'), /no conversations exported from this page/);
  }));

test('broken storage does not keep the page from working', () =>
  withPage({}, async (page) => {
    await page.evaluate(() => {
      localStorage.setItem('lemmy.chat.0123456789abcdef', '{broken');
      localStorage.setItem('lemmy.settings', '{"temperature": "hot", "theme": 5, "budget": null');
    });
    await reload(page);
    await say(page, 'What is 12 + 30?');
    assert.deepEqual(await answers(page), ['42']);
  }));

test('when storage is full, previews are kept, and else a note says so', () =>
  withPage({}, async (page) => {
    const results = await page.evaluate(async () => {
      const { Store, newConversation } = await import('/assets/store.js');
      const store = new Store();
      const fill = (n) => localStorage.setItem('filler', 'x'.repeat(n));
      const conversation = newConversation();
      const url = `data:image/png;base64,${'A'.repeat(2_000_000)}`;
      const images = [{ url, thumb: 'data:image/png;base64,AAAA', name: 'p', width: 1, height: 1, budget: 280 }];
      conversation.messages.push({ role: 'user', content: 'look', images });
      const before = store.save(conversation);
      fill(3_000_000);
      conversation.messages.push({ role: 'user', content: 'y'.repeat(500_000), images: [] });
      const tight = store.save(conversation);
      const kept = new Store().get(conversation.id).messages[0].images[0];
      const inMemory = conversation.messages[0].images[0].url.length;
      conversation.messages.push({ role: 'user', content: 'z'.repeat(5_000_000), images: [] });
      return [before, tight, kept.url, kept.reduced, inMemory > 2_000_000, store.save(conversation)];
    });
    assert.deepEqual(results, ['saved', 'reduced', 'data:image/png;base64,AAAA', true, true, 'failed']);
    await page.evaluate(() => localStorage.setItem('rest', 'x'));
    await page.evaluate(() => {
      for (let n = 2 ** 22; n >= 1; n /= 2) {
        try {
          localStorage.setItem(`fill${n}`, 'x'.repeat(n));
        } catch {
          // Smaller pieces may still fit.
        }
      }
    });
    await say(page, 'What is 12 + 30?');
    assert.deepEqual(await answers(page), ['42']);
    assert.match(await text(page, '.note'), /storage is full/);
  }));
