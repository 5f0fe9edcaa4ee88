// The turns of one conversation, and what can be done with each.

import { button, byId, copy, el, icon } from './dom.js';
import { fit } from './composer.js';
import { ReplyView } from './reply.js';

export class Thread {
  /** `actions`: edit(index, text), retry(index), results(index, results), busy(). */
  constructor(actions) {
    this.actions = actions;
    this.root = byId('turns');
    this.scroller = byId('scroller');
    this.views = new Map();
    this.stick = true;
    this.scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    byId('latest').addEventListener('click', () => this.toEnd(true));
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.stick = scrollHeight - scrollTop - clientHeight < 64;
    byId('latest').hidden = this.stick;
  }

  /** Goes to the end if the reader was there, or in any case. */
  toEnd(always = false) {
    if (!always && !this.stick) return;
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.stick = true;
    byId('latest').hidden = true;
  }

  /** Draws a conversation anew. `reply` is the answer in the making, if there is one. */
  show(conversation, reply) {
    this.conversation = conversation;
    const opened = [...this.views].filter(([, view]) => view.thought.open).map(([message]) => message);
    this.views.clear();
    const { messages } = conversation;
    const nodes = [];
    messages.forEach((message, index) => {
      if (message.role === 'user') nodes.push(this.#userTurn(message, index));
      else if (message.role === 'assistant') nodes.push(this.#replyTurn(messages, index, reply));
    });
    // A thought that the reader has unfolded stays so.
    for (const message of opened) if (this.views.has(message)) this.views.get(message).thought.open = true;
    this.root.replaceChildren(...nodes);
    if (nodes.length) this.toEnd();
    else this.scroller.scrollTop = 0;
  }

  /** Shows what came since. */
  update(reply) {
    this.views.get(reply.message)?.update(reply);
    this.toEnd();
  }

  #replyTurn(messages, index, reply) {
    const message = messages[index];
    const results = [];
    for (let i = index + 1; messages[i]?.role === 'tool'; i += 1) results.push(messages[i]);
    const last = index + results.length === messages.length - 1;
    const view = new ReplyView(message, {
      results,
      running: reply?.message === message ? reply : null,
      last,
      onRetry: () => this.actions.retry(index),
      onResults: (answers) => this.actions.results(index, answers),
    });
    this.views.set(message, view);
    return view.root;
  }

  #userTurn(message, index) {
    const pictures = message.images.map((image) =>
      el(
        'li',
        {},
        el('img', { src: image.thumb, alt: image.name, width: image.width, height: image.height }),
        image.reduced &&
          el('span', { class: 'reduced', title: 'Only this preview found room in the browser', text: 'preview' }),
      ),
    );
    const copyButton = button('Copy', 'copy', () => copy(message.content, copyButton), {
      iconOnly: true,
      class: 'quiet',
    });
    const turn = el(
      'article',
      { class: 'turn user', 'aria-label': 'You' },
      el('h2', { class: 'sr', text: 'You' }),
      pictures.length > 0 && el('ul', { class: 'pictures' }, ...pictures),
      message.content && el('div', { class: 'bubble', text: message.content }),
      el(
        'div',
        { class: 'actions' },
        copyButton,
        button('Edit and send again', 'pen', () => this.edit(index), { iconOnly: true, class: 'quiet edit' }),
      ),
    );
    turn.dataset.index = index;
    return turn;
  }

  /** Puts an editor in the place of a turn. */
  edit(index) {
    if (this.actions.busy()) return;
    const turn = this.root.querySelector(`[data-index="${index}"]`);
    const message = this.conversation.messages[index];
    const area = el('textarea', { 'aria-label': 'Edit your message', rows: '1' });
    area.value = message.content;
    const leave = () => {
      turn.replaceWith(this.#userTurn(message, index));
      this.root.querySelector(`[data-index="${index}"] .edit`)?.focus();
    };
    const send = () => {
      const text = area.value.trim();
      if (text || message.images.length) this.actions.edit(index, text);
    };
    area.addEventListener('input', () => fit(area));
    area.addEventListener('keydown', (event) => {
      if (event.isComposing) return;
      if (event.key === 'Enter' && !event.shiftKey) {
        event.preventDefault();
        send();
      } else if (event.key === 'Escape') {
        event.stopPropagation();
        leave();
      }
    });
    const pictures = turn.querySelector('.pictures');
    turn.classList.add('editing');
    turn.replaceChildren(
      ...(pictures ? [pictures] : []),
      area,
      el(
        'div',
        { class: 'row end' },
        el('span', { class: 'hint', text: 'What came after is replaced.' }),
        button('Cancel', null, leave, { class: 'quiet' }),
        button('Send', null, send, { class: 'primary' }),
      ),
    );
    fit(area);
    area.focus();
  }
}

/** The page of a conversation without turns. */
export function showWelcome({ title, text, examples, onExample }) {
  byId('welcome-title').textContent = title;
  byId('welcome-text').textContent = text;
  byId('examples').replaceChildren(
    ...examples.map((example) =>
      el(
        'li',
        {},
        el(
          'button',
          { type: 'button', on: { click: () => onExample(example) } },
          el('span', { class: 'example-text', text: example.text }),
          el('span', { class: 'example-hint' }, icon(exampleIcon(example)), el('span', { text: example.hint })),
        ),
      ),
    ),
  );
}

const exampleIcon = (example) =>
  (example.tools && 'tool') || (example.format && 'braces') || (example.thinking && 'bulb') || 'chat';
