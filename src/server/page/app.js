// The page put together: which conversation is open, which answers are being made, what the server is.

import { announce, byId } from './dom.js';
import { ApiError, Client, explain } from './api.js';
import { Composer } from './composer.js';
import { askKey, asked, confirmed, note, prepareDialogs } from './dialogs.js';
import { examplesFor, introduction } from './examples.js';
import { rate } from './reply.js';
import { Reply, buildRequest, hasSubstance, newReply, parseTools } from './request.js';
import { SettingsPanel, loadSettings, saveSettings, settingsProblem } from './settings.js';
import { Sidebar } from './sidebar.js';
import { Store, newConversation, titleOf } from './store.js';
import { Thread, showWelcome } from './thread.js';
import { Watch } from './watch.js';

const client = new Client();
const store = new Store();
const settings = loadSettings();
const runs = new Map(); // conversation id -> {controller, reply}
let current = newConversation();

const sidebar = new Sidebar({ open, rename, remove });
const thread = new Thread({ edit, retry, results, busy: () => runs.has(current.id) });
const composer = new Composer({ send, stop, editLast });
const panel = new SettingsPanel(settings, (what) => {
  if (what === 'conversation' && current.messages.length) keep(current);
  showState();
});
const watch = new Watch(client, () => {
  panel.showDefaults(watch.properties);
  showAll();
});

function showAll() {
  const empty = current.messages.length === 0;
  byId('welcome').hidden = !empty;
  if (empty) {
    showWelcome({
      title: watch.modelName ? `This is ${watch.modelName}` : 'Hello',
      text: introduction(watch.model),
      examples: watch.ready ? examplesFor(watch.model) : [],
      onExample: startExample,
    });
  }
  thread.show(current, runs.get(current.id)?.reply);
  showList();
  showState();
}

function showList() {
  sidebar.show(store.list(), current.id, new Set(runs.keys()));
  document.title = current.messages.length ? `${titleOf(current)} · Lemmy` : 'Lemmy';
  byId('title').textContent = current.messages.length ? titleOf(current) : 'New conversation';
}

function showState() {
  const run = runs.get(current.id);
  composer.show({ busy: Boolean(run), ready: watch.ready, pictures: watch.vision });
  byId('model').textContent = watch.modelName ?? '';
  byId('thinking').setAttribute('aria-pressed', String(settings.thinking));
  const tools = parseTools(current.tools).tools.length;
  const marks = [
    current.system.trim() && 'instructions',
    tools && `${tools} ${tools === 1 ? 'tool' : 'tools'}`,
    current.format !== 'text' && (current.format === 'schema' ? 'schema' : 'JSON'),
  ].filter(Boolean);
  byId('marks').hidden = !marks.length;
  byId('marks-text').textContent = marks.join(', ');
  showMeter(run?.reply);
}

/** The fill of the context and the speed: of the answer being made, or of the last one. */
function showMeter(reply) {
  const stats = current.messages.findLast((m) => m.stats)?.stats;
  const used = reply?.used ?? (stats ? stats.prompt + stats.generated : null);
  const speed = reply ? reply.timings?.predicted_per_second : stats?.rate;
  const meter = byId('meter');
  meter.hidden = used === null;
  if (used === null) return;
  const size = watch.contextSize;
  const share = size ? Math.min(1, used / size) : 0;
  byId('fill').style.width = `${(100 * share).toFixed(1)}%`;
  meter.classList.toggle('high', share > 0.85);
  const bar = byId('bar');
  bar.hidden = !size;
  bar.setAttribute('aria-valuenow', String(Math.round(100 * share)));
  const text = size ? `${used.toLocaleString()} of ${size.toLocaleString()} tokens` : `${used.toLocaleString()} tokens`;
  bar.setAttribute('aria-valuetext', text);
  byId('meter-text').textContent = speed ? `${text} · ${rate(speed)}` : text;
}

function keep(conversation, updated) {
  const result = store.save(conversation, updated);
  if (result === 'reduced')
    note('The browser’s storage is full: of the pictures of this conversation only previews are kept.');
  if (result === 'failed')
    note('The browser’s storage is full: this conversation is lost when you leave the page. Delete or export others.');
}

function open(id) {
  const conversation = store.get(id);
  if (!conversation) return;
  current = conversation;
  thread.stick = true;
  showAll();
  composer.focus();
}

function begin() {
  current = newConversation();
  if (sidebar.isOpen) sidebar.close();
  showAll();
  composer.focus();
}

async function rename(id) {
  const conversation = store.get(id);
  const title = await asked('Name of the conversation', titleOf(conversation));
  if (title === null) return;
  conversation.title = title.slice(0, 200);
  keep(conversation, conversation.updated);
  showList();
}

async function remove(id) {
  if (!(await confirmed(`Delete “${titleOf(store.get(id))}”?`, 'Delete'))) return;
  runs.get(id)?.controller.abort();
  store.remove(id);
  if (id === current.id) begin();
  else showList();
}

function startExample(example) {
  if (example.tools) current.tools = example.tools;
  if (example.format) Object.assign(current, { format: example.format, schema: example.schema });
  if (example.thinking) setThinking(true);
  if (watch.ready) send(example.text, []);
  else composer.set(example.text);
  composer.focus();
}

/** Takes a message to send. False if it cannot be sent now. */
function send(text, pictures) {
  if (runs.has(current.id)) return false;
  if (!watch.ready) {
    note('The server is not ready yet.');
    return false;
  }
  const last = current.messages.at(-1);
  if (last?.role === 'assistant' && last.calls.length && !last.error) {
    note('The model waits for the result of its tool call. Send one, or try again.');
    document.querySelector('.results textarea')?.focus();
    return false;
  }
  if (!usable()) return false;
  if (last?.role === 'assistant' && !hasSubstance(last)) current.messages.pop();
  const images = pictures.map((picture) => ({ ...picture, budget: settings.budget }));
  current.messages.push({ role: 'user', content: text, images });
  run(current);
  return true;
}

function edit(index, text) {
  if (!usable()) return;
  current.messages[index].content = text;
  current.messages.length = index + 1;
  run(current);
  composer.focus();
}

function retry(index) {
  if (runs.has(current.id) || !usable()) return;
  current.messages.length = index;
  run(current);
  composer.focus();
}

function results(index, answers) {
  if (!usable()) return;
  current.messages.length = index + 1;
  current.messages.push(...answers.map((result) => ({ role: 'tool', ...result })));
  run(current);
  composer.focus();
}

function editLast() {
  const index = current.messages.findLastIndex((m) => m.role === 'user');
  if (index < 0 || runs.has(current.id)) return false;
  thread.edit(index);
  return true;
}

function stop() {
  runs.get(current.id)?.controller.abort();
}

/** Whether the settings of the conversation can be sent; if not, shows what is wrong with them. */
function usable() {
  const problem = settingsProblem(current);
  if (!problem) return true;
  note(problem.text);
  panel.open(current, problem.field);
  return false;
}

/** Asks for the next message of a conversation, and shows it as it comes. */
async function run(conversation) {
  const request = buildRequest(conversation, settings);
  const message = newReply(conversation.format);
  if (watch.model) message.model = watch.model;
  conversation.messages.push(message);
  const reply = new Reply(message);
  const controller = new AbortController();
  runs.set(conversation.id, { controller, reply });
  keep(conversation);
  if (conversation === current) thread.stick = true;
  showAll();
  announce('The answer is coming.');
  try {
    await receive(request, reply, controller.signal, () => conversation === current && showProgress(reply));
  } catch (error) {
    if (error.name === 'AbortError') {
      message.stopped = true;
      message.calls = message.calls.filter((call) => call && isJson(call.arguments));
    } else {
      message.error = explain(error);
      if (error instanceof ApiError && (error.loading || error.code === 'unreachable')) watch.begin();
    }
  }
  reply.finish();
  runs.delete(conversation.id);
  if (store.get(conversation.id) === conversation) keep(conversation);
  if (conversation === current) {
    showAll();
    announce(message.error ? '' : message.content || (message.calls.length ? 'The model calls a tool.' : 'Stopped.'));
  } else showList();
}

/** Reads the answer to its end; asks for the key as often as it is refused. */
async function receive(request, reply, signal, show) {
  for (let asks = 0; ; asks += 1) {
    try {
      for await (const chunk of client.chat(request, signal)) {
        reply.take(chunk);
        show();
      }
      return;
    } catch (error) {
      if (error.status !== 401) throw error;
      const key = await askKey(asks > 0 || Boolean(client.key));
      if (!key) throw error;
      client.key = key;
    }
  }
}

let frame = 0;

/** Draws at most once per frame. */
function showProgress(reply) {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    if (runs.get(current.id)?.reply !== reply) return;
    thread.update(reply);
    showMeter(reply);
  });
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function setThinking(on) {
  settings.thinking = on;
  saveSettings(settings);
  showState();
}

function exportAll() {
  const url = URL.createObjectURL(new Blob([store.exportAll()], { type: 'application/json' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = `lemmy-conversations-${new Date().toISOString().slice(0, 10)}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

async function importFile(file) {
  try {
    const { added, worst } = store.importAll(await file.text());
    note(`${added} ${added === 1 ? 'conversation' : 'conversations'} added.`);
    if (worst !== 'saved') note('The browser’s storage is full: not everything could be kept.');
  } catch (error) {
    note(error.message);
  }
  showList();
}

async function removeAll() {
  if (!(await confirmed('Delete all conversations of this browser? This cannot be undone.', 'Delete all'))) return;
  for (const { controller } of runs.values()) controller.abort();
  store.removeAll();
  begin();
}

function keys(event) {
  if (document.querySelector('dialog[open]')) return;
  const typing = event.target.closest?.('input, textarea, select');
  if (event.key === 'Escape' && runs.has(current.id)) stop();
  else if (event.altKey && event.code === 'KeyN') begin();
  else if (event.altKey && event.code === 'KeyT') setThinking(!settings.thinking);
  else if (event.altKey && event.code === 'Comma') panel.open(current);
  else if (!typing && event.key === '/') composer.focus();
  else if (!typing && event.key === '?') byId('help').showModal();
  else return;
  event.preventDefault();
}

prepareDialogs();
byId('new').addEventListener('click', begin);
byId('new-top').addEventListener('click', begin);
byId('thinking').addEventListener('click', () => setThinking(!settings.thinking));
byId('open-settings').addEventListener('click', () => panel.open(current));
byId('marks').addEventListener('click', () => panel.open(current));
byId('open-help').addEventListener('click', () => byId('help').showModal());
byId('export').addEventListener('click', exportAll);
byId('import').addEventListener('click', () => byId('import-file').click());
byId('import-file').addEventListener('change', ({ target }) => {
  if (target.files[0]) importFile(target.files[0]);
  target.value = '';
});
byId('delete-all').addEventListener('click', removeAll);
addEventListener('keydown', keys);
addEventListener('storage', (event) => {
  if (!store.follow(event)) return;
  if (!runs.has(current.id) && current.messages.length) current = store.get(current.id) ?? newConversation();
  showAll();
});
addEventListener('pagehide', () => {
  for (const [id, { reply }] of runs) {
    reply.message.stopped = true;
    if (store.get(id)) store.save(store.get(id));
  }
});

const latest = store.list()[0];
if (latest && new URLSearchParams(location.search).get('new') === null) current = latest;
showAll();
composer.focus();
watch.begin();
