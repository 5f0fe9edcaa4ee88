// The settings and their panel. Those of the answers hold for all conversations; instructions, tools and the form
// of the answer belong to one conversation.

import { byId } from './dom.js';
import { EXAMPLE_SCHEMA, EXAMPLE_TOOLS } from './examples.js';
import { parseTools, schemaError } from './request.js';

const KEY = 'lemmy.settings';
const DEFAULTS = {
  theme: 'system',
  thinking: false,
  thinking_budget: null,
  budget: 280,
  temperature: null,
  top_p: null,
  top_k: null,
  min_p: null,
  seed: null,
  max_tokens: null,
};
const NUMBERS = ['temperature', 'top_p', 'top_k', 'min_p', 'seed', 'max_tokens', 'thinking_budget'];

/** The stored settings; null in a number means that the server decides. */
export function loadSettings() {
  const settings = { ...DEFAULTS };
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    for (const [name, standard] of Object.entries(DEFAULTS)) {
      const value = stored[name];
      if (standard === null ? Number.isFinite(value) : typeof value === typeof standard) settings[name] = value;
    }
  } catch {
    // Unreadable settings are replaced by the next change.
  }
  return settings;
}

export function saveSettings(settings) {
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // They then hold until the page is left.
  }
}

export function applyTheme(theme) {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** The panel at the side. `changed(what)` is called after each change: 'settings' or 'conversation'. */
export class SettingsPanel {
  constructor(settings, changed) {
    this.settings = settings;
    this.changed = changed;
    this.conversation = null;
    this.dialog = byId('settings');
    for (const name of NUMBERS) this.#number(name);
    this.#choice('theme', (value) => applyTheme(value));
    this.#choice('budget', () => {}, Number);
    byId('set-thinking').addEventListener('change', ({ target }) => this.#set('thinking', target.checked));
    for (const name of ['system', 'tools', 'schema']) this.#text(name);
    for (const radio of document.getElementsByName('format')) {
      radio.addEventListener('change', () => {
        this.conversation.format = radio.value;
        this.#check();
        this.changed('conversation');
      });
    }
    this.#example('tools', EXAMPLE_TOOLS);
    this.#example('schema', EXAMPLE_SCHEMA);
    byId('sampling-reset').addEventListener('click', () => {
      for (const name of NUMBERS) this.settings[name] = null;
      this.#store();
      this.show();
    });
    applyTheme(settings.theme);
  }

  open(conversation, focusOn) {
    this.conversation = conversation;
    this.show();
    this.dialog.showModal();
    if (focusOn) byId(focusOn).focus();
  }

  /** Writes the values into the fields. */
  show() {
    const { settings, conversation } = this;
    for (const name of NUMBERS) {
      const field = byId(`set-${name}`);
      field.value = settings[name] ?? '';
      field.removeAttribute('aria-invalid');
    }
    byId('set-thinking').checked = settings.thinking;
    for (const name of ['system', 'tools', 'schema']) byId(`set-${name}`).value = conversation[name];
    for (const radio of document.getElementsByName('format')) radio.checked = radio.value === conversation.format;
    this.#check();
  }

  /** Shows the server's own values where none is set. */
  showDefaults(properties) {
    const found = properties?.default_generation_settings ?? {};
    const values = { ...found, ...found.params };
    for (const name of ['temperature', 'top_p', 'top_k', 'min_p']) {
      const value = values[name];
      if (Number.isFinite(value)) byId(`set-${name}`).placeholder = String(Number(value.toFixed(4)));
    }
  }

  #set(name, value) {
    this.settings[name] = value;
    this.#store();
  }

  #store() {
    saveSettings(this.settings);
    this.changed('settings');
  }

  #number(name) {
    const field = byId(`set-${name}`);
    field.addEventListener('input', () => {
      const valid = field.validity.valid;
      if (valid) field.removeAttribute('aria-invalid');
      else field.setAttribute('aria-invalid', 'true');
      if (valid) this.#set(name, field.value === '' ? null : field.valueAsNumber);
    });
  }

  #choice(name, apply, convert = String) {
    byId(`set-${name}`).value = String(this.settings[name]);
    byId(`set-${name}`).addEventListener('change', ({ target }) => {
      this.#set(name, convert(target.value));
      apply(this.settings[name]);
    });
  }

  #text(name) {
    byId(`set-${name}`).addEventListener('input', ({ target }) => {
      this.conversation[name] = target.value;
      this.#check();
      this.changed('conversation');
    });
  }

  #example(name, text) {
    byId(`example-${name}`).addEventListener('click', () => {
      const field = byId(`set-${name}`);
      field.value = text;
      field.dispatchEvent(new Event('input'));
      field.focus();
    });
  }

  #check() {
    const { conversation } = this;
    byId('schema-part').hidden = conversation.format !== 'schema';
    state('tools', parseTools(conversation.tools).error);
    state('schema', conversation.schema.trim() ? schemaError(conversation.schema) : 'A schema is needed for this.');
  }
}

function state(name, error) {
  byId(`${name}-error`).textContent = error ?? '';
  const field = byId(`set-${name}`);
  if (error) field.setAttribute('aria-invalid', 'true');
  else field.removeAttribute('aria-invalid');
}

/** What in a conversation keeps it from being sent: `{text, field}`, or null. */
export function settingsProblem(conversation) {
  const tools = parseTools(conversation.tools).error;
  if (tools) return { text: `The tool definitions cannot be used. ${tools}`, field: 'set-tools' };
  const schema = conversation.format === 'schema' ? schemaError(conversation.schema) : null;
  if (schema) return { text: `The schema of the answer cannot be used. ${schema}`, field: 'set-schema' };
  return null;
}
