// A server with the interface of `lemmy serve` that answers by script, so that the page can be tested in every
// state that a real model reaches rarely: slow, refusing, loading, breaking off. It sends the page with the same
// headers.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { fileURLToPath } from 'node:url';

const PAGE = new URL('../../src/server/page/', import.meta.url);
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css',
  '.js': 'text/javascript',
  '.svg': 'image/svg+xml',
};
const HEADERS = {
  'Content-Security-Policy':
    "default-src 'self'; img-src 'self' data: blob:; connect-src 'self'; frame-ancestors 'none'; " +
    "base-uri 'none'; form-action 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'X-Frame-Options': 'DENY',
};
const CONTEXT = 4096;

export class Mock {
  constructor() {
    this.key = null;
    this.progress = null; // a number while loading
    this.vision = true;
    this.model = 'lemmy-nano';
    this.requests = [];
    this.cancelled = 0;
    this.failures = []; // answers for the next chat requests: {status, headers, error}
    this.script = null; // (request, stream) => Promise
  }

  async listen() {
    this.server = createServer((request, response) => this.#handle(request, response).catch(() => response.destroy()));
    await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${this.server.address().port}/`;
    return this.url;
  }

  close() {
    this.server.closeAllConnections();
    this.server.close();
  }

  async #handle(request, response) {
    const { pathname } = new URL(request.url, 'http://localhost');
    if (pathname === '/') return this.#file(response, 'index.html');
    if (pathname.startsWith('/assets/')) return this.#file(response, basename(pathname));
    if (this.progress !== null) {
      const error = { message: 'Loading model', type: 'unavailable_error', code: 'loading', progress: this.progress };
      return json(response, 503, { error }, { 'Retry-After': '1' });
    }
    if (pathname === '/health') return json(response, 200, { status: 'ok' });
    if (this.key && request.headers.authorization !== `Bearer ${this.key}`) {
      return json(response, 401, {
        error: { message: 'Missing or wrong key', type: 'authentication_error', code: 'invalid_api_key' },
      });
    }
    if (pathname === '/v1/models') return json(response, 200, { object: 'list', data: [this.#model()] });
    if (pathname === '/props') {
      const params = { temperature: 1, top_k: 64, top_p: 0.95, min_p: 0 };
      return json(response, 200, { default_generation_settings: { n_ctx: CONTEXT, params } });
    }
    if (pathname === '/v1/chat/completions') return this.#chat(request, response);
    return json(response, 404, { error: { message: 'Unknown address', type: 'not_found_error', code: 'unknown_url' } });
  }

  #model() {
    const input_modalities = this.vision ? ['text', 'image'] : ['text'];
    return { id: this.model, object: 'model', meta: { n_ctx: CONTEXT }, architecture: { input_modalities } };
  }

  async #file(response, name) {
    try {
      const body = await readFile(fileURLToPath(new URL(name, PAGE)));
      response.writeHead(200, { 'Content-Type': TYPES[extname(name)], ...HEADERS }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  }

  async #chat(request, response) {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = JSON.parse(Buffer.concat(parts).toString());
    this.requests.push(body);
    const failure = this.failures.shift();
    if (failure?.destroy) return response.destroy();
    if (failure) return json(response, failure.status, { error: failure.error }, failure.headers);
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    const stream = new Stream(response, this.model);
    response.on('close', () => {
      if (!response.writableEnded) this.cancelled += 1;
    });
    stream.delta({ role: 'assistant', content: '' });
    await (this.script ?? answer42)(body, stream);
    if (!stream.ended) stream.end();
  }
}

const answer42 = async (_, stream) => stream.text('42');

function json(response, status, body, headers = {}) {
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body));
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Writes chunks as the server does. */
class Stream {
  constructor(response, model) {
    this.response = response;
    this.base = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model };
    this.tokens = 0;
    this.ended = false;
  }

  get open() {
    return !this.response.destroyed;
  }

  send(fields) {
    if (this.open) this.response.write(`data: ${JSON.stringify({ ...this.base, ...fields })}\n\n`);
  }

  delta(delta, finish_reason = null) {
    this.tokens += 1;
    this.send({ choices: [{ index: 0, delta, finish_reason }], timings: this.timings });
  }

  get timings() {
    return {
      cache_n: 0,
      prompt_n: 30,
      prompt_ms: 210,
      predicted_n: this.tokens,
      predicted_ms: 1,
      predicted_per_second: 31.4,
    };
  }

  progress(processed, total) {
    this.send({
      choices: [{ index: 0, delta: {}, finish_reason: null }],
      prompt_progress: { total, cache: 0, processed, time_ms: 5 },
    });
  }

  /** Text in small pieces, `pause` milliseconds apart; also cuts between the halves of the transport's chunks. */
  async text(text, pause = 0, field = 'content') {
    for (const piece of text.match(/[\s\S]{1,7}/gu) ?? []) {
      if (!this.open) return;
      this.delta({ [field]: piece });
      this.response.write(': keep-alive\n\n');
      if (pause) await sleep(pause);
    }
  }

  async call(index, name, args) {
    this.delta({
      tool_calls: [{ index, id: `call_${index}${this.tokens}`, type: 'function', function: { name, arguments: '' } }],
    });
    for (const piece of args.match(/[\s\S]{1,5}/g))
      this.delta({ tool_calls: [{ index, function: { arguments: piece } }] });
    this.finish = 'tool_calls';
  }

  /** Bytes in pieces that cut lines and characters. */
  async raw(text, size) {
    const bytes = Buffer.from(text);
    for (let i = 0; i < bytes.length; i += size) {
      this.response.write(bytes.subarray(i, i + size));
      await sleep(2);
    }
  }

  error(error) {
    this.send({ error });
    this.response.end('data: [DONE]\n\n');
    this.ended = true;
  }

  /** Ends without saying so, as a crash does. */
  cut() {
    this.response.end();
    this.ended = true;
  }

  end(finish = this.finish ?? 'stop', extra = {}) {
    this.ended = true;
    this.send({ choices: [{ index: 0, delta: {}, finish_reason: finish }], timings: this.timings, ...extra });
    const usage = { prompt_tokens: 30, completion_tokens: this.tokens, total_tokens: 30 + this.tokens };
    this.send({ choices: [], usage });
    this.response.end('data: [DONE]\n\n');
  }
}
