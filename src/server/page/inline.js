// The text within a block of Markdown: code, emphasis, links, line breaks. One pass from left to right.

import { el } from './dom.js';

const MAX_DEPTH = 6; // emphasis within links within emphasis …
const MARKS = [
  ['***', (nodes) => el('strong', {}, el('em', {}, ...nodes))],
  ['___', (nodes) => el('strong', {}, el('em', {}, ...nodes))],
  ['**', (nodes) => el('strong', {}, ...nodes)],
  ['__', (nodes) => el('strong', {}, ...nodes)],
  ['~~', (nodes) => el('del', {}, ...nodes)],
  ['*', (nodes) => el('em', {}, ...nodes)],
  ['_', (nodes) => el('em', {}, ...nodes)],
];
const ESCAPABLE = /[!-/:-@[-`{-~]/;
const BARE_LINK = /^https?:\/\/[^\s<>"'`]+/;
const WORD = /[\p{L}\p{N}]/u;

/** Nodes for `text`. */
export function inline(text, depth = 0) {
  if (depth > MAX_DEPTH) return [text];
  const nodes = [];
  let plain = '';
  const flush = () => {
    if (plain) nodes.push(plain);
    plain = '';
  };
  const missing = new Set(); // marks known to have no end further on, so that each is searched for once
  let at = 0;
  while (at < text.length) {
    const char = text[at];
    if (char === '\\' && ESCAPABLE.test(text[at + 1] ?? '')) {
      plain += text[at + 1];
      at += 2;
      continue;
    }
    if (char === '\n') {
      // Chat models end lines where they mean it, so a single line end is a break.
      plain = plain.trimEnd().replace(/\\$/, '');
      flush();
      nodes.push(el('br'));
      at += 1;
      while (text[at] === ' ') at += 1;
      continue;
    }
    const found =
      (char === '`' && code(text, at, missing)) ||
      (char === '!' && text[at + 1] === '[' && picture(text, at, missing)) ||
      (char === '[' && link(text, at, depth, missing)) ||
      ((char === 'h' || char === '<') && bareLink(text, at)) ||
      ('*_~'.includes(char) && emphasis(text, at, depth, missing));
    if (found) {
      flush();
      nodes.push(found.node);
      at = found.end;
    } else {
      plain += char;
      at += 1;
      // A run of marks that opens nothing is taken as a whole.
      while ('*_~`'.includes(char) && text[at] === char) {
        plain += char;
        at += 1;
      }
    }
  }
  flush();
  return nodes;
}

function code(text, at, missing) {
  let run = 1;
  while (text[at + run] === '`') run += 1;
  const mark = '`'.repeat(run);
  if (missing.has(mark)) return null;
  for (let end = text.indexOf(mark, at + run); end >= 0; end = text.indexOf(mark, end)) {
    let length = run;
    while (text[end + length] === '`') length += 1;
    if (length !== run) {
      end += length;
      continue;
    }
    let inner = text.slice(at + run, end).replaceAll('\n', ' ');
    if (inner.startsWith(' ') && inner.endsWith(' ') && inner.trim()) inner = inner.slice(1, -1);
    return { node: el('code', { text: inner }), end: end + run };
  }
  missing.add(mark);
  return null;
}

function emphasis(text, at, depth, missing) {
  for (const [mark, make] of MARKS) {
    if (!text.startsWith(mark, at) || missing.has(mark)) continue;
    const start = at + mark.length;
    if (!text[start] || /\s/.test(text[start]) || text[start] === mark[0]) continue;
    if (mark[0] === '_' && WORD.test(text[at - 1] ?? '')) continue;
    const end = closing(text, start, mark);
    if (end < 0) {
      missing.add(mark);
      continue;
    }
    return { node: make(inline(text.slice(start, end), depth + 1)), end: end + mark.length };
  }
  return null;
}

function closing(text, start, mark) {
  for (let end = text.indexOf(mark, start); end >= 0; end = text.indexOf(mark, end + 1)) {
    if (text[end - 1] === '\\') continue;
    let run = 1;
    while (text[end + run] === mark[0]) run += 1;
    // A run after a space opens, and one of another length belongs to another emphasis: **a *b* c**, *a **b** c*.
    const fits = end > start && !/\s/.test(text[end - 1]) && (run === mark.length || (run === 3 && mark.length < 3));
    if (fits && !(mark[0] === '_' && WORD.test(text[end + run] ?? ''))) return end + run - mark.length;
    end += run - 1;
  }
  return -1;
}

function link(text, at, depth, missing) {
  const parts = linkParts(text, at, missing);
  if (!parts) return null;
  const label = inline(parts.label, depth + 1);
  return { node: anchor(parts.target, label), end: parts.end };
}

// A picture in an answer would be fetched from a stranger's server: its address is offered as a link instead.
function picture(text, at, missing) {
  const parts = linkParts(text, at + 1, missing);
  return parts && { node: anchor(parts.target, [parts.label || parts.target]), end: parts.end };
}

function linkParts(text, at, missing) {
  if (missing.has('](')) return null;
  if (text.indexOf('](', at) < 0) {
    missing.add('](');
    return null;
  }
  let open = 0;
  let close = at;
  for (; close < text.length && close - at < 1000; close += 1) {
    if (text[close] === '\\') close += 1;
    else if (text[close] === '[') open += 1;
    else if (text[close] === ']') {
      open -= 1;
      if (open === 0) break;
    }
  }
  if (text[close] !== ']' || text[close + 1] !== '(') return null;
  let end = close + 2;
  let depth = 1;
  for (; end < text.length && end - close < 4000; end += 1) {
    if (text[end] === '\n') return null;
    if (text[end] === '(') depth += 1;
    if (text[end] === ')') {
      depth -= 1;
      if (depth === 0) break;
    }
  }
  if (text[end] !== ')') return null;
  const target = text
    .slice(close + 2, end)
    .trim()
    .replace(/\s+["'(].*$/, '')
    .replace(/^<(.*)>$/, '$1');
  return { label: text.slice(at + 1, close), target, end: end + 1 };
}

function bareLink(text, at) {
  const wrapped = text[at] === '<';
  if (!wrapped && WORD.test(text[at - 1] ?? '')) return null;
  const start = wrapped ? at + 1 : at;
  if (!text.startsWith('http', start)) return null;
  const found = BARE_LINK.exec(text.slice(start, start + 2000))?.[0];
  if (!found) return null;
  if (wrapped) {
    return text[start + found.length] === '>' ? { node: anchor(found, [found]), end: start + found.length + 1 } : null;
  }
  let address = found.replace(/[.,;:!?*_~]+$/, '');
  if (address.endsWith(')') && !address.includes('(')) address = address.replace(/\)+[.,;:!?]*$/, '');
  return { node: anchor(address, [address]), end: start + address.length };
}

/** A link to the web or to mail; any other target (javascript:, data:, a relative path) leaves the words only. */
function anchor(target, label) {
  const address = safeAddress(target);
  if (!address) return el('span', { class: 'no-link', title: 'This link leads nowhere safe' }, ...label);
  return el('a', { href: address, target: '_blank', rel: 'noopener noreferrer nofollow', title: address }, ...label);
}

/** The address in full if it may be followed, else null. */
export function safeAddress(target) {
  if (!/^(https?:\/\/|mailto:)/i.test(target)) return null;
  try {
    const url = new URL(target);
    return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}
