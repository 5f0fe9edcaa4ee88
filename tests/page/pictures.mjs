// Pictures by picker, paste and drop: made smaller in the browser, sent with the chosen detail, kept with the
// conversation.

import assert from 'node:assert/strict';
import test from 'node:test';
import { isHidden, say, text, withPage } from './harness.mjs';

/** Bytes of a picture of one colour, drawn by the browser. */
async function picture(page, width, height, type = 'image/png', colour = '#d33') {
  const base64 = await page.evaluate(
    ([w, h, kind, fill]) => {
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [w, h];
      const context = canvas.getContext('2d');
      context.fillStyle = fill;
      context.fillRect(0, 0, w, h);
      return canvas.toDataURL(kind).split(',')[1];
    },
    [width, height, type, colour],
  );
  return Buffer.from(base64, 'base64');
}

/** Width and height of a data URL's picture. */
const sizeOf = (page, url) =>
  page.evaluate(async (source) => {
    const image = new Image();
    image.src = source;
    await image.decode();
    return [image.naturalWidth, image.naturalHeight];
  }, url);

/** Gives a file to the page as the clipboard or a drag would. */
const give = (page, bytes, how) =>
  page.evaluate(
    ([base64, kind]) => {
      const data = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([data], 'given.png', { type: 'image/png' }));
      if (kind === 'paste') {
        document
          .querySelector('#input')
          .dispatchEvent(new ClipboardEvent('paste', { clipboardData: transfer, bubbles: true, cancelable: true }));
        return;
      }
      for (const type of ['dragenter', 'dragover', 'drop']) {
        document.body.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
      }
    },
    [bytes.toString('base64'), how],
  );

test('a large picture is made smaller, sent with its detail, shown, and kept', () =>
  withPage({}, async (page, mock) => {
    await page.setInputFiles('#picker', {
      name: 'large.jpg',
      mimeType: 'image/jpeg',
      buffer: await picture(page, 3200, 1000, 'image/jpeg'),
    });
    await page.waitForSelector('#waiting img');
    assert.equal(await page.inputValue('#set-budget'), '280');
    await page.selectOption('#set-budget', '560');
    await say(page, 'What is this?');
    const [{ image_url: sent, type }, words] = mock.requests[0].messages[0].content;
    assert.equal(type, 'image_url');
    assert.equal(sent.detail, 'high');
    assert.match(sent.url, /^data:image\/jpeg;base64,/);
    assert.deepEqual(await sizeOf(page, sent.url), [1568, 490]);
    assert.deepEqual(words, { type: 'text', text: 'What is this?' });
    assert.equal(await isHidden(page, '#waiting-row'), true);
    assert.equal(await page.getAttribute('.pictures img', 'alt'), 'large.jpg');
    await page.reload();
    await page.waitForSelector('.pictures img');
    await say(page, 'And now?');
    assert.equal(
      mock.requests[1].messages[0].content[0].image_url.url,
      sent.url,
      'a picture stays in the conversation',
    );
  }));

test('pictures come by paste and drop, can be taken away, and may be sent alone', () =>
  withPage({}, async (page, mock) => {
    await page.evaluate(() => localStorage.setItem('lemmy.settings', '{"budget": 140}'));
    await page.reload();
    await page.waitForSelector('#send:not([disabled])');
    await give(page, await picture(page, 40, 30), 'paste');
    await page.waitForSelector('#waiting li');
    await give(page, await picture(page, 1, 1), 'drop');
    await page.waitForFunction(() => document.querySelectorAll('#waiting li').length === 2);
    assert.equal(await page.evaluate(() => document.body.classList.contains('dropping')), false);
    await page.click('#waiting li:first-child button');
    await page.click('#send');
    await page.waitForSelector('.reply:last-child:not(.running)');
    const { content } = mock.requests[0].messages[0];
    assert.equal(content.length, 1);
    assert.equal(content[0].image_url.soft_tokens, 140);
    assert.deepEqual(await sizeOf(page, content[0].image_url.url), [1, 1]);
    assert.equal(await text(page, '#title'), 'A picture');
  }));

test('what is no picture is refused with words', () =>
  withPage({}, async (page, mock) => {
    const buffer = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>');
    await page.setInputFiles('#picker', [
      { name: 'a.svg', mimeType: 'image/svg+xml', buffer },
      { name: 'b.png', mimeType: 'image/png', buffer },
    ]);
    await page.waitForFunction(() => document.querySelectorAll('.note').length === 2);
    assert.match(await text(page, '#notes'), /“a\.svg” cannot be used.*“b\.png” cannot be read/);
    assert.equal(await isHidden(page, '#waiting-row'), true);
    await say(page, 'Hi');
    assert.equal(mock.requests[0].messages[0].content, 'Hi');
  }));

test('a model without eyes is offered no pictures', () =>
  withPage({ prepare: (mock) => (mock.vision = false) }, async (page) => {
    assert.equal(await page.isDisabled('#attach'), true);
    assert.equal(await page.getAttribute('#attach', 'title'), 'This model reads no pictures');
    await give(page, await picture(page, 8, 8), 'paste');
    await page.waitForSelector('.note');
    assert.match(await text(page, '.note'), /reads no pictures/);
  }));
