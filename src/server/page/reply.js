// One answer of the model: thought, text, tool calls, what went wrong, figures.

import { button, copy, el, icon } from './dom.js';
import { sampleResult } from './examples.js';
import { codeBlock, renderMarkdown } from './markdown.js';

export class ReplyView {
  /**
   * `results`: tool messages that answer its calls. `running`: the `Reply` if it is being made. `last`: nothing
   * follows.
   */
  constructor(message, { results, running, last, onRetry, onResults }) {
    this.message = message;
    this.results = results;
    this.last = last;
    this.onRetry = onRetry;
    this.onResults = onResults;
    this.thoughtText = el('div', { class: 'thought-text' });
    this.thoughtTitle = el('span');
    this.thought = el(
      'details',
      { class: 'thought' },
      el('summary', {}, icon('bulb'), this.thoughtTitle),
      this.thoughtText,
    );
    this.waiting = el(
      'div',
      { class: 'waiting-line' },
      el('span', { class: 'dots', 'aria-hidden': 'true' }),
      el('span'),
    );
    this.body = el('div', { class: 'md' });
    this.calls = el('div', { class: 'calls' });
    this.foot = el('div', { class: 'foot' });
    this.root = el(
      'article',
      { class: 'turn reply', 'aria-label': 'Answer' },
      el('h2', { class: 'sr', text: 'Answer' }),
      this.thought,
      this.body,
      this.calls,
      this.waiting,
      this.foot,
    );
    this.update(running);
  }

  update(running) {
    const { message } = this;
    this.root.classList.toggle('running', Boolean(running));
    this.#showThought(running);
    this.#showBody();
    this.#showCalls(running);
    this.#showWaiting(running);
    if (!running) this.#showFoot();
  }

  #showThought(running) {
    const { message } = this;
    this.thought.hidden = !message.thinking;
    if (!message.thinking) return;
    const going = running && running.thinkingSince !== null;
    this.thought.classList.toggle('going', Boolean(going));
    const ms = message.thinkingMs + (going ? running.now() - running.thinkingSince : 0);
    this.thoughtTitle.textContent = `${going ? 'Thinking' : 'Thought'} for ${duration(ms)}`;
    if (this.thoughtText.textContent !== message.thinking) this.thoughtText.textContent = message.thinking.trim();
  }

  #showBody() {
    const { message } = this;
    if (message.format !== 'text' && /^\s*[{[]/.test(message.content)) {
      this.body.replaceChildren(codeBlock(message.content, 'json'));
    } else {
      renderMarkdown(this.body, message.content);
    }
  }

  #showCalls(running) {
    const { calls } = this.message;
    if (!calls.length) return this.calls.replaceChildren();
    const blocks = calls.filter(Boolean).map((call, i) => {
      const result = this.results.find((r) => r.callId === call.id) ?? this.results[i];
      return el(
        'section',
        { class: 'call', 'aria-label': `Call of ${call.name}` },
        el('div', { class: 'call-head' }, icon('tool'), el('span', { class: 'call-name', text: call.name })),
        el('pre', {
          class: 'call-arguments',
          tabindex: '0',
          role: 'region',
          'aria-label': 'Arguments',
          text: indented(call.arguments),
        }),
        result &&
          el(
            'div',
            { class: 'call-result' },
            el('span', { class: 'label', text: 'Result' }),
            el('pre', { text: indented(result.content) }),
          ),
      );
    });
    const open = !running && this.last && !this.results.length && !this.message.error;
    this.calls.replaceChildren(...(open ? [this.#resultForm(blocks, calls)] : blocks));
  }

  #resultForm(blocks, calls) {
    const areas = calls.map((call) => {
      const area = el('textarea', {
        'aria-label': `Result of ${call.name}`,
        rows: '2',
        spellcheck: 'false',
        placeholder: 'What did it return? Text or JSON',
      });
      area.value = sampleResult(call.name) ?? '';
      return area;
    });
    const send = () => {
      const empty = areas.find((area) => !area.value.trim());
      if (empty) empty.focus();
      else
        this.onResults(calls.map((call, i) => ({ callId: call.id, name: call.name, content: areas[i].value.trim() })));
    };
    for (const area of areas) {
      area.addEventListener('keydown', (event) => {
        if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        send();
      });
    }
    blocks.forEach((block, i) => block.append(areas[i]));
    const many = calls.length > 1;
    return el(
      'form',
      { class: 'results', on: { submit: (event) => event.preventDefault() } },
      ...blocks,
      el(
        'div',
        { class: 'row' },
        button(many ? 'Send results' : 'Send result', null, send, { class: 'primary' }),
        el('span', {
          class: 'hint',
          text: `This page runs no tools: you say what ${many ? 'they return' : 'it returns'}.`,
        }),
      ),
    );
  }

  #showWaiting(running) {
    const { message } = this;
    const started = message.content || message.thinking || message.calls.length;
    this.waiting.hidden = !running || Boolean(started);
    if (this.waiting.hidden) return;
    const progress = running.progress;
    const share = progress?.total ? Math.round((100 * progress.processed) / progress.total) : null;
    this.waiting.lastChild.textContent = share === null ? 'Waiting for the model' : `Reading, ${share} %`;
  }

  #showFoot() {
    const { message } = this;
    const parts = [...this.#remarks()];
    if (message.error) parts.push(this.#errorBox());
    const figures = describe(message.stats);
    const copyButton = button('Copy the answer', 'copy', () => copy(message.content, copyButton), {
      iconOnly: true,
      class: 'quiet',
    });
    parts.push(
      el(
        'div',
        { class: 'actions' },
        message.content && copyButton,
        this.last &&
          !message.error &&
          button('Try again', 'again', this.onRetry, { iconOnly: true, class: 'quiet retry' }),
        figures && el('span', { class: 'figures', text: figures }),
      ),
    );
    this.foot.replaceChildren(...parts);
  }

  *#remarks() {
    const { message } = this;
    const remark = (text) => el('p', { class: 'remark', text });
    if (message.stopped) yield remark('You stopped this answer.');
    if (message.finish === 'length') {
      const full = message.finishDetail === 'context_full';
      yield remark(
        full ? 'The context is full: the answer ends here.' : 'The answer reached the largest number of tokens.',
      );
    }
    if (!message.content && !message.calls.length && !message.error && !message.stopped)
      yield remark('The answer is empty.');
    for (const warning of message.warnings ?? []) yield remark(`The server remarks: ${warning}`);
  }

  #errorBox() {
    const { title, text } = this.message.error;
    return el(
      'div',
      { class: 'error', role: 'alert' },
      el('p', { class: 'error-title', text: title }),
      text && el('p', { text }),
      this.last && button('Try again', 'again', this.onRetry, { class: 'retry' }),
    );
  }
}

/** Long JSON in lines; anything else as it is. */
function indented(text) {
  if (text.length <= 60) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

export function duration(ms) {
  if (ms < 95) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

export const rate = (perSecond) => `${perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond)} tokens/s`;

function describe(stats) {
  if (!stats) return '';
  const parts = [`${stats.generated} ${stats.generated === 1 ? 'token' : 'tokens'}`];
  if (stats.rate) parts.push(rate(stats.rate));
  if (stats.firstMs) parts.push(`first after ${duration(stats.firstMs)}`);
  return parts.join(' · ');
}
