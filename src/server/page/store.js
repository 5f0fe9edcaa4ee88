// Conversations in the browser's own storage, one entry each. What comes out of storage or a file is checked like any
// other input: an older version, another tab or a person may have written it.

const PREFIX = 'lemmy.chat.';
const FORMAT = 'lemmy-conversations';
const PICTURE = /^data:image\/(png|jpeg|webp|gif|bmp);base64,[A-Za-z0-9+/=]*$/;

export class Store {
  constructor() {
    this.conversations = new Map();
    try {
      for (let i = 0; i < localStorage.length; i += 1) {
        const name = localStorage.key(i);
        if (name.startsWith(PREFIX)) this.#load(localStorage.getItem(name));
      }
    } catch {
      // Storage may be forbidden; conversations then live as long as the page.
    }
  }

  #load(text) {
    const conversation = clean(parse(text));
    if (conversation) this.conversations.set(conversation.id, conversation);
    return conversation;
  }

  /** Newest first. */
  list() {
    return [...this.conversations.values()].sort((a, b) => b.updated - a.updated);
  }

  get(id) {
    return this.conversations.get(id);
  }

  /** Keeps a conversation: 'saved', 'reduced' (only previews of its pictures found room) or 'failed'. */
  save(conversation, updated = Date.now()) {
    conversation.updated = updated;
    this.conversations.set(conversation.id, conversation);
    for (const [result, form] of [
      ['saved', conversation],
      ['reduced', withPreviewsOnly(conversation)],
    ]) {
      try {
        localStorage.setItem(PREFIX + conversation.id, JSON.stringify(form));
        return result;
      } catch {
        // The quota: try the smaller form.
      }
    }
    return 'failed';
  }

  remove(id) {
    this.conversations.delete(id);
    try {
      localStorage.removeItem(PREFIX + id);
    } catch {
      // Nothing was stored then.
    }
  }

  removeAll() {
    for (const id of [...this.conversations.keys()]) this.remove(id);
  }

  /** Takes over what another tab wrote. True if something changed. */
  follow({ key, newValue }) {
    if (key === null) this.conversations.clear();
    else if (!key.startsWith(PREFIX)) return false;
    else if (newValue === null) this.conversations.delete(key.slice(PREFIX.length));
    else this.#load(newValue);
    return true;
  }

  exportAll() {
    return JSON.stringify({ format: FORMAT, version: 1, conversations: this.list() }, null, 1);
  }

  /** Adds the conversations of a file; none is overwritten. Returns how many, and the worst result of saving. */
  importAll(text) {
    const file = parse(text);
    if (file?.format !== FORMAT || !Array.isArray(file.conversations)) {
      throw new Error('This file holds no conversations exported from this page.');
    }
    let added = 0;
    let worst = 'saved';
    for (const raw of file.conversations) {
      const conversation = clean(raw);
      if (!conversation) continue;
      if (this.conversations.has(conversation.id)) conversation.id = newId();
      const result = this.save(conversation, conversation.updated);
      if (result !== 'saved' && worst !== 'failed') worst = result;
      added += 1;
    }
    return { added, worst };
  }
}

const newId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, '0')).join('');

export function newConversation() {
  return {
    id: newId(),
    title: '',
    updated: Date.now(),
    system: '',
    tools: '',
    format: 'text',
    schema: '',
    messages: [],
  };
}

/** A name for a conversation that has none: its first words. */
export function titleOf(conversation) {
  if (conversation.title) return conversation.title;
  const first = conversation.messages.find((m) => m.role === 'user');
  const words = first?.content.trim().replace(/\s+/g, ' ') ?? '';
  if (!words) return first ? 'A picture' : 'New conversation';
  return words.length > 60 ? `${words.slice(0, 59).trimEnd()}…` : words;
}

function withPreviewsOnly(conversation) {
  const messages = conversation.messages.map((message) =>
    message.images?.length
      ? { ...message, images: message.images.map((image) => ({ ...image, url: image.thumb, reduced: true })) }
      : message,
  );
  return { ...conversation, messages };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const text = (value) => (typeof value === 'string' ? value : '');
const number = (value, otherwise = null) => (Number.isFinite(value) ? value : otherwise);
const list = (value) => (Array.isArray(value) ? value : []);

/** A conversation in exactly the shape that this page writes, or null. */
export function clean(raw) {
  if (!raw || typeof raw !== 'object' || !/^[0-9a-f]{16}$/.test(raw.id) || !Array.isArray(raw.messages)) return null;
  return {
    id: raw.id,
    title: text(raw.title).slice(0, 200),
    updated: number(raw.updated, 0),
    system: text(raw.system),
    tools: text(raw.tools),
    format: ['text', 'json', 'schema'].includes(raw.format) ? raw.format : 'text',
    schema: text(raw.schema),
    messages: raw.messages.map(cleanMessage).filter(Boolean),
  };
}

function cleanMessage(raw) {
  const content = text(raw?.content);
  switch (raw?.role) {
    case 'user':
      return { role: 'user', content, images: list(raw.images).map(cleanImage).filter(Boolean) };
    case 'tool':
      return { role: 'tool', callId: text(raw.callId), name: text(raw.name), content };
    case 'assistant':
      return cleanReply(raw, content);
    default:
      return null;
  }
}

function cleanReply(raw, content) {
  const message = {
    role: 'assistant',
    content,
    thinking: text(raw.thinking),
    thinkingMs: number(raw.thinkingMs, 0),
    calls: list(raw.calls)
      .filter((call) => call && typeof call === 'object')
      .map((call) => ({ id: text(call.id), name: text(call.name), arguments: text(call.arguments) })),
    finish: text(raw.finish) || null,
    format: text(raw.format) || 'text',
  };
  for (const name of ['model', 'finishDetail']) if (text(raw[name])) message[name] = raw[name];
  if (raw.stopped === true) message.stopped = true;
  if (list(raw.warnings).length) message.warnings = raw.warnings.map(String);
  if (raw.error && typeof raw.error === 'object') {
    message.error = { title: text(raw.error.title), text: text(raw.error.text) };
  }
  if (raw.stats && typeof raw.stats === 'object') {
    const names = ['prompt', 'cached', 'generated', 'rate', 'firstMs'];
    message.stats = Object.fromEntries(names.map((name) => [name, number(raw.stats[name])]));
  }
  return message;
}

function cleanImage(raw) {
  if (!PICTURE.test(raw?.url) || !PICTURE.test(raw?.thumb)) return null;
  return {
    url: raw.url,
    thumb: raw.thumb,
    name: text(raw.name).slice(0, 200),
    width: number(raw.width, 0),
    height: number(raw.height, 0),
    budget: [70, 140, 280, 560, 1120].includes(raw.budget) ? raw.budget : 280,
    ...(raw.reduced === true && { reduced: true }),
  };
}
