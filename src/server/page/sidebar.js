// The list of conversations: a column on a wide screen, a drawer on a narrow one.

import { button, byId, el } from './dom.js';
import { titleOf } from './store.js';

export class Sidebar {
  /** `actions`: open(id), rename(id), remove(id). */
  constructor(actions) {
    this.actions = actions;
    this.root = byId('sidebar');
    this.narrow = matchMedia('(max-width: 860px)');
    this.narrow.addEventListener('change', () => this.close());
    byId('menu').addEventListener('click', () => this.open());
    byId('sidebar-close').addEventListener('click', () => this.close());
    byId('shade').addEventListener('click', () => this.close());
    this.root.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.isOpen) {
        event.stopPropagation();
        this.close();
      }
    });
    this.close();
  }

  get isOpen() {
    return document.body.classList.contains('drawer');
  }

  open() {
    document.body.classList.add('drawer');
    this.root.inert = false;
    byId('main').inert = true;
    byId('menu').setAttribute('aria-expanded', 'true');
    byId('sidebar-close').focus();
  }

  close() {
    const wasOpen = this.isOpen;
    document.body.classList.remove('drawer');
    byId('main').inert = false;
    this.root.inert = this.narrow.matches;
    byId('menu').setAttribute('aria-expanded', 'false');
    if (wasOpen) byId('menu').focus();
  }

  /** Shows the conversations; `running` are the ids of those being answered. */
  show(conversations, currentId, running) {
    const focused = this.root.contains(document.activeElement) && document.activeElement.dataset.key;
    const items = conversations.map((conversation) => this.#item(conversation, currentId, running));
    byId('conversations').replaceChildren(...items);
    byId('no-conversations').hidden = items.length > 0;
    if (focused) this.root.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  #item(conversation, currentId, running) {
    const { id } = conversation;
    const title = titleOf(conversation);
    const current = id === currentId;
    const open = el(
      'button',
      {
        type: 'button',
        class: 'open',
        'data-key': id,
        'aria-current': current && 'true',
        on: { click: () => this.#choose(id) },
      },
      el('span', { class: 'title', text: title }),
      running.has(id) && el('span', { class: 'pulse', role: 'img', 'aria-label': 'being answered' }),
    );
    return el(
      'li',
      { class: current && 'current' },
      open,
      button(`Rename “${title}”`, 'pen', () => this.actions.rename(id), {
        iconOnly: true,
        class: 'quiet',
        'data-key': `${id}r`,
      }),
      button(`Delete “${title}”`, 'bin', () => this.actions.remove(id), {
        iconOnly: true,
        class: 'quiet',
        'data-key': `${id}d`,
      }),
    );
  }

  #choose(id) {
    if (this.isOpen) this.close();
    this.actions.open(id);
  }
}
