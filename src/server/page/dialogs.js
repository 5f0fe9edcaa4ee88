// Small windows: a question, a text, the key, passing notes. The browser's own dialog element keeps the focus inside
// and gives it back afterwards.

import { byId, el } from './dom.js';

/** Asks yes or no. */
export function confirmed(question, yes) {
  const dialog = byId('confirm');
  byId('confirm-text').textContent = question;
  byId('confirm-yes').textContent = yes;
  return answerOf(dialog).then((value) => value === 'yes');
}

/** Asks for one line of text; null if it was left. */
export function asked(label, value) {
  const dialog = byId('ask');
  byId('ask-label').textContent = label;
  const input = byId('ask-input');
  input.value = value;
  const answer = answerOf(dialog);
  input.select();
  return answer.then((result) => (result === 'yes' ? input.value.trim() : null));
}

let keyQuestion = null;

/** Asks for the key, once however many requests need it. `wrong`: one was given and refused. Null if it was left. */
export function askKey(wrong) {
  keyQuestion ??= (async () => {
    byId('key-wrong').hidden = !wrong;
    const input = byId('key-input');
    input.value = '';
    const result = await answerOf(byId('key'));
    keyQuestion = null;
    return result === 'yes' && input.value.trim() ? input.value.trim() : null;
  })();
  return keyQuestion;
}

function answerOf(dialog) {
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue), { once: true });
  });
}

/** Prepares dialogs: buttons with data-close close theirs with that answer, and so does a click beside it. */
export function prepareDialogs() {
  for (const dialog of document.querySelectorAll('dialog')) {
    dialog.addEventListener('click', (event) => {
      const closer = event.target.closest('[data-close]');
      if (closer) dialog.close(closer.dataset.close);
      else if (event.target === dialog && event.detail > 0 && outside(dialog, event)) dialog.close('');
    });
    for (const input of dialog.querySelectorAll('[data-enter]')) {
      input.addEventListener('keydown', (event) => {
        if (event.key !== 'Enter' || event.isComposing) return;
        event.preventDefault();
        dialog.close('yes');
      });
    }
  }
}

function outside(dialog, { clientX: x, clientY: y }) {
  const box = dialog.getBoundingClientRect();
  return x < box.left || x > box.right || y < box.top || y > box.bottom;
}

/** A note that goes away by itself. */
export function note(text) {
  const item = el('p', { class: 'note', text });
  byId('notes').append(item);
  setTimeout(() => item.remove(), 7000);
}
