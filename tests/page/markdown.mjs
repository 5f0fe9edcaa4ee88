// What Markdown becomes, and what it must never become.

import assert from 'node:assert/strict';
import test from 'node:test';
import { withPage } from './harness.mjs';

/** The HTML that each text becomes, without the frames around code and tables. */
const render = (page, texts) =>
  page.evaluate(async (list) => {
    const { renderMarkdown } = await import('/assets/markdown.js');
    return list.map((text) => {
      const node = document.createElement('div');
      renderMarkdown(node, text);
      for (const head of node.querySelectorAll('.code-head button, .code-head + pre')) head.removeAttribute('class');
      return node.innerHTML;
    });
  }, texts);

const CASES = [
  ['plain', '<p>plain</p>'],
  ['two\nlines', '<p>two<br>lines</p>'],
  ['one\n\ntwo', '<p>one</p><p>two</p>'],
  [
    '**bold** *soft* ***both*** ~~gone~~',
    '<p><strong>bold</strong> <em>soft</em> <strong><em>both</em></strong> <del>gone</del></p>',
  ],
  ['**a *b* c**', '<p><strong>a <em>b</em> c</strong></p>'],
  ['*a **b** c*', '<p><em>a <strong>b</strong> c</em></p>'],
  ['snake_case_name and 2 * 3 * 4', '<p>snake_case_name and 2 * 3 * 4</p>'],
  ['**not closed', '<p>**not closed</p>'],
  ['\\*literal\\*', '<p>*literal*</p>'],
  ['`a < b` and ``a ` b``', '<p><code>a &lt; b</code> and <code>a ` b</code></p>'],
  ['`*no*`', '<p><code>*no*</code></p>'],
  ['# One\n### Three #', '<h3 class="h1">One</h3><h5 class="h3">Three</h5>'],
  ['#nothing', '<p>#nothing</p>'],
  ['- a\n- b\n  - c', '<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>'],
  ['3. a\n4. b', '<ol start="3"><li>a</li><li>b</li></ol>'],
  ['1. a\n   - b\n2. c', '<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>'],
  ['* a\n\n* b', '<ul><li><p>a</p></li><li><p>b</p></li></ul>'],
  ['- [x] done', '<ul><li class="has-task"><span class="task" role="img" aria-label="done">☑ </span>done</li></ul>'],
  ['text\n- item', '<p>text</p><ul><li>item</li></ul>'],
  ['> quote\n> **more**', '<blockquote><p>quote<br><strong>more</strong></p></blockquote>'],
  ['a\n\n---\n\nb', '<p>a</p><hr><p>b</p>'],
  ['<b>x</b> <script>alert(1)</script>', '<p>&lt;b&gt;x&lt;/b&gt; &lt;script&gt;alert(1)&lt;/script&gt;</p>'],
  ['a &amp; b', '<p>a &amp;amp; b</p>'],
];

const LINK = 'target="_blank" rel="noopener noreferrer nofollow"';
const LINKS = [
  ['[a](https://x.org/p)', `<p><a href="https://x.org/p" ${LINK} title="https://x.org/p">a</a></p>`],
  [
    'see https://x.org/a_b_c.',
    `<p>see <a href="https://x.org/a_b_c" ${LINK} title="https://x.org/a_b_c">https://x.org/a_b_c</a>.</p>`,
  ],
  ['(https://x.org/)', `<p>(<a href="https://x.org/" ${LINK} title="https://x.org/">https://x.org/</a>)</p>`],
  [
    '![a cat](https://x.org/cat.png)',
    `<p><a href="https://x.org/cat.png" ${LINK} title="https://x.org/cat.png">a cat</a></p>`,
  ],
];

test('Markdown becomes the right elements', () =>
  withPage({}, async (page) => {
    const cases = [...CASES, ...LINKS];
    const found = await render(
      page,
      cases.map(([source]) => source),
    );
    cases.forEach(([source, html], i) => assert.equal(found[i], html, source));
  }));

test('code keeps every character and names its language', () =>
  withPage({}, async (page) => {
    const source = '```rust\nfn a<T>() {\n\n    *b*\n}\n```\nafter';
    const result = await page.evaluate(async (text) => {
      const { renderMarkdown } = await import('/assets/markdown.js');
      const node = document.createElement('div');
      renderMarkdown(node, text);
      return [
        node.querySelector('code').textContent,
        node.querySelector('.code-head span').textContent,
        node.lastChild.outerHTML,
      ];
    }, source);
    assert.deepEqual(result, ['fn a<T>() {\n\n    *b*\n}', 'rust', '<p>after</p>']);
  }));

test('tables have heads, cells and sides', () =>
  withPage({}, async (page) => {
    const [html] = await render(page, ['| a | b |\n|:--|--:|\n| 1 | **2** |\n| 3 \\| 4 | |\n\nend']);
    assert.match(html, /<th class="to-left">a<\/th><th class="to-right">b<\/th>/);
    assert.match(html, /<td class="to-right"><strong>2<\/strong><\/td>/);
    assert.match(html, /<td class="to-left">3 \| 4<\/td><td class="to-right"><\/td>/);
    assert.match(html, /<p>end<\/p>$/);
  }));

test('no text makes an element or an address that can act', () =>
  withPage({}, async (page) => {
    const hostile = [
      '[x](javascript:alert(1))',
      '[x](JaVaScRiPt:alert(1))',
      '[x](java\nscript:alert(1))',
      '[x](data:text/html,<script>)',
      '[x](vbscript:x)',
      '[x](//evil.org)',
      '[x](/metrics)',
      '[x](https://)',
      '<img src=x onerror=alert(1)>',
      '![x](javascript:alert(1))',
      '![x](https://evil.org/p.png)',
      '<https://x.org" onclick="alert(1)>',
      '[`a`](javascript:1)',
      '```"><img src=x onerror=alert(1)>\n<script>alert(1)</script>\n```',
      '| <b>x</b> | [y](javascript:z) |\n|--|--|\n| <i> | q |',
      '# <svg onload=alert(1)>',
      '> <iframe src=x>',
      '- <style>*{}</style>',
      'https://x.org/"onmouseover="alert(1)',
      '[a](<javascript:x>)',
      '[a](\u0001javascript:x)',
      '[a](https://user:pass@x.org "t" onclick=1)',
      '&#106;avascript:x',
    ];
    const bad = await page.evaluate(async (list) => {
      const { renderMarkdown } = await import('/assets/markdown.js');
      const allowed = new Set(
        'P BR STRONG EM DEL CODE H3 H4 H5 H6 UL OL LI BLOCKQUOTE HR A SPAN DIV PRE TABLE THEAD TBODY TR TH TD BUTTON svg use'.split(
          ' ',
        ),
      );
      return list.filter((text) => {
        const node = document.createElement('div');
        renderMarkdown(node, text);
        return [...node.querySelectorAll('*')].some(
          (e) =>
            !allowed.has(e.tagName) ||
            e.getAttributeNames().some((name) => name.startsWith('on') || name === 'src' || name === 'style') ||
            (e.tagName === 'A' && !/^https?:\/\//.test(e.getAttribute('href'))),
        );
      });
    }, hostile);
    assert.deepEqual(bad, []);
  }));

test('a growing text ends as the whole text would, and finished blocks keep their nodes', () =>
  withPage({}, async (page) => {
    const source =
      '# T\n\none **two** [x](https://x.org)\n\n- a\n- b\n\n```js\nlet a = 1;\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nend';
    const same = await page.evaluate(async (text) => {
      const { renderMarkdown } = await import('/assets/markdown.js');
      const [grown, whole] = [document.createElement('div'), document.createElement('div')];
      let heading = null;
      for (let i = 1; i <= text.length; i += 1) {
        renderMarkdown(grown, text.slice(0, i));
        if (i === 10) heading = grown.firstChild;
      }
      renderMarkdown(whole, text);
      return [grown.innerHTML === whole.innerHTML, grown.firstChild === heading];
    }, source);
    assert.deepEqual(same, [true, true]);
  }));

test('hostile lengths and depths end', () =>
  withPage({}, async (page) => {
    const n = 20000;
    const long = [
      '*'.repeat(n),
      '*a '.repeat(n),
      '['.repeat(n),
      '[a]('.repeat(n),
      '`'.repeat(n),
      '`a '.repeat(n),
      '> '.repeat(n),
      '- '.repeat(n),
      '|'.repeat(n),
      '|a\n|-\n'.repeat(3000),
      '**a*'.repeat(n),
      '_a_b'.repeat(n),
      'http://'.repeat(n),
      '<http'.repeat(n),
      '\\'.repeat(n),
      '#'.repeat(n),
      '- a\n'.repeat(3000),
      '1. '.repeat(n),
      ' '.repeat(n),
      '~~~\n'.repeat(3001),
      '![](x'.repeat(n),
    ];
    const [slowest, length] = await page.evaluate(async (list) => {
      const { renderMarkdown } = await import('/assets/markdown.js');
      let worst = [0, 0];
      for (const text of list) {
        const start = performance.now();
        const node = document.createElement('div');
        renderMarkdown(node, text);
        const took = performance.now() - start;
        if (took > worst[0]) worst = [took, text.slice(0, 12)];
      }
      return worst;
    }, long);
    // Not a measure of speed: what grows with the square of the length would take minutes.
    assert.ok(slowest < 20000, `${length}: ${slowest} ms`);
  }));
