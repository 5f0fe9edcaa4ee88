// Markdown to DOM nodes. Every piece of the text becomes a text node of an element from a fixed set; HTML in it
// stays text. Blocks whose source did not change keep their nodes, so a growing answer costs only its last block.

import { el, button, copy } from './dom.js';
import { inline } from './inline.js';

const MAX_DEPTH = 8; // nested quotes and lists; deeper ones stay text

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*)$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( +|$)/;
const TABLE_RULE = /^ {0,3}\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

/** Shows `text` in `container`, reusing what an earlier call left there. */
export function renderMarkdown(container, text) {
  const blocks = split(text.replaceAll('\r\n', '\n').replaceAll('\t', '    ').split('\n'));
  const old = container.blockSources ?? [];
  const sources = blocks.map((block) => block.source);
  let same = 0;
  while (same < sources.length && same < old.length && sources[same] === old[same]) same += 1;
  while (container.childNodes.length > same) container.lastChild.remove();
  for (const block of blocks.slice(same)) container.append(build(block, 0));
  container.blockSources = sources;
}

/** Lines to blocks: `{kind, source, …}` with what `build` needs. */
function split(lines) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const block = fence(lines, at) ?? single(lines[at]) ?? quote(lines, at) ?? list(lines, at) ?? table(lines, at);
    const found = block ?? paragraph(lines, at);
    found.source = `${found.kind}\n${lines.slice(at, at + found.length).join('\n')}`;
    blocks.push(found);
    at += found.length;
  }
  return blocks;
}

function fence(lines, at) {
  const open = FENCE.exec(lines[at]);
  if (!open) return null;
  const [, mark, info] = open;
  const indent = lines[at].length - lines[at].trimStart().length;
  const body = [];
  let end = at + 1;
  for (; end < lines.length; end += 1) {
    const close = /^ {0,3}(`{3,}|~{3,})\s*$/.exec(lines[end]);
    if (close && close[1][0] === mark[0] && close[1].length >= mark.length) break;
    body.push(lines[end].slice(Math.min(indent, lines[end].length - lines[end].trimStart().length)));
  }
  return {
    kind: 'code',
    text: body.join('\n'),
    language: info.trim().split(/\s/)[0],
    length: Math.min(end + 1, lines.length) - at,
  };
}

function single(line) {
  const heading = HEADING.exec(line);
  if (heading) return { kind: 'heading', level: heading[1].length, text: heading[2].replace(/ +#+ *$/, ''), length: 1 };
  return RULE.test(line) ? { kind: 'rule', length: 1 } : null;
}

function quote(lines, at) {
  if (!QUOTE.test(lines[at])) return null;
  let end = at;
  while (end < lines.length && (QUOTE.test(lines[end]) || (end > at && continues(lines[end])))) end += 1;
  return { kind: 'quote', lines: lines.slice(at, end).map((line) => line.replace(QUOTE, '')), length: end - at };
}

function list(lines, at) {
  const first = ITEM.exec(lines[at]);
  if (!first) return null;
  const ordered = /\d/.test(first[2]);
  const items = [];
  let loose = false;
  let width = 0;
  let end = at;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    const mark = ITEM.exec(line);
    const indent = line.length - line.trimStart().length;
    const blankBefore = end > at && !lines[end - 1].trim();
    if (mark && /\d/.test(mark[2]) === ordered && indent < Math.max(width, 2) && !RULE.test(line)) {
      width =
        mark[0].length > mark[1].length + mark[2].length + 4 ? mark[1].length + mark[2].length + 1 : mark[0].length;
      if (items.length && blankBefore) loose = true;
      items.push([line.slice(mark[0].length)]);
    } else if (!line.trim()) {
      const next = lines.slice(end).find((l) => l.trim());
      const more = next && (next.length - next.trimStart().length >= Math.min(width, 2) || ITEM.test(next));
      if (!more || end + 1 >= lines.length) break;
      items.at(-1).push('');
    } else if (indent >= Math.min(width, 2)) {
      items.at(-1).push(line.slice(Math.min(indent, width)));
    } else if (!blankBefore && continues(line)) {
      items.at(-1).push(line.trimStart());
    } else break;
  }
  return { kind: 'list', ordered, start: ordered ? Number.parseInt(first[2], 10) : 1, items, loose, length: end - at };
}

function table(lines, at) {
  const rule = lines[at + 1];
  if (!lines[at].includes('|') || rule === undefined || !TABLE_RULE.test(rule) || !/[|]/.test(rule)) return null;
  const head = cells(lines[at]);
  const align = cells(rule).map((c) => (c.endsWith(':') ? (c.startsWith(':') ? 'center' : 'right') : 'left'));
  if (align.length !== head.length) return null;
  let end = at + 2;
  while (end < lines.length && lines[end].includes('|')) end += 1;
  return { kind: 'table', head, align, rows: lines.slice(at + 2, end).map(cells), length: end - at };
}

function cells(line) {
  const row = line.trim().replace(/^\|/, '');
  const found = [''];
  for (let i = 0; i < row.length; i += 1) {
    if (row[i] === '\\' && row[i + 1] === '|') {
      found.push(`${found.pop()}|`);
      i += 1;
    } else if (row[i] === '|') found.push('');
    else found.push(found.pop() + row[i]);
  }
  if (found.length > 1 && !found.at(-1).trim()) found.pop();
  return found.map((cell) => cell.trim());
}

function paragraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && continues(lines[end]) && !table(lines, end)) end += 1;
  return {
    kind: 'paragraph',
    text: lines
      .slice(at, end)
      .map((l) => l.trimStart())
      .join('\n'),
    length: end - at,
  };
}

/** Whether a line goes on with the paragraph before it. */
const continues = (line) =>
  line.trim() && !FENCE.test(line) && !HEADING.test(line) && !RULE.test(line) && !QUOTE.test(line) && !ITEM.test(line);

function build(block, depth) {
  switch (block.kind) {
    case 'code':
      return codeBlock(block.text, block.language);
    case 'heading':
      // The page itself has h1 and h2; those of an answer stand below them.
      return el(`h${Math.min(block.level + 2, 6)}`, { class: `h${block.level}` }, ...inline(block.text));
    case 'rule':
      return el('hr');
    case 'quote':
      return el('blockquote', {}, ...nested(block.lines, depth));
    case 'list':
      return listNode(block, depth);
    case 'table':
      return tableNode(block);
    default:
      return el('p', {}, ...inline(block.text));
  }
}

function nested(lines, depth) {
  if (depth >= MAX_DEPTH) return [el('p', { text: lines.join('\n') })];
  return split(lines).map((block) => build(block, depth + 1));
}

function listNode(block, depth) {
  const start = block.ordered && block.start !== 1 ? block.start : null;
  const items = block.items.map((lines) => {
    const task = /^\[([ xX])\] /.exec(lines[0]);
    if (task) lines = [lines[0].slice(4), ...lines.slice(1)];
    let children = nested(lines, depth);
    // In a tight list the text stands in the item itself, without the space around a paragraph.
    if (!block.loose) children = children.flatMap((c) => (c.tagName === 'P' ? [...c.childNodes] : [c]));
    if (task) {
      const done = task[1] !== ' ';
      children.unshift(
        el('span', { class: 'task', role: 'img', 'aria-label': done ? 'done' : 'open', text: done ? '☑ ' : '☐ ' }),
      );
    }
    return el('li', { class: task && 'has-task' }, ...children);
  });
  return el(block.ordered ? 'ol' : 'ul', { start }, ...items);
}

function tableNode({ head, align, rows }) {
  const cell = (tag, text, i) => el(tag, { class: `to-${align[i] ?? 'left'}` }, ...inline(text ?? ''));
  const top = el('thead', {}, el('tr', {}, ...head.map((text, i) => cell('th', text, i))));
  const body = rows.map((row) => el('tr', {}, ...head.map((_, i) => cell('td', row[i], i))));
  // Wide tables scroll by themselves, also with the keyboard.
  return el(
    'div',
    { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Table' },
    el('table', {}, top, el('tbody', {}, ...body)),
  );
}

/** Code with its language and a button to copy it. */
export function codeBlock(text, language) {
  const copyButton = button('Copy', 'copy', () => copy(text, copyButton), { class: 'quiet small' });
  return el(
    'div',
    { class: 'code' },
    el('div', { class: 'code-head' }, el('span', { text: language || 'text' }), copyButton),
    el(
      'pre',
      { tabindex: '0', 'aria-label': `Code${language ? ` in ${language}` : ''}`, role: 'region' },
      el('code', { text }),
    ),
  );
}
