// The server's interface: requests, streams, errors, the key. Addresses are relative, so that a path before them
// works too.

const KEY = 'lemmy.key';

/** An answer that is not the wished one. `status` is 0 when no answer came, 200 for an error inside a stream. */
export class ApiError extends Error {
  constructor(message, fields = {}) {
    super(message);
    this.name = 'ApiError';
    this.status = 0;
    this.type = null;
    this.code = null;
    this.retryAfter = null;
    Object.assign(this, fields);
  }

  get loading() {
    return this.status === 503 && (this.code === 'loading' || typeof this.progress === 'number');
  }
}

export class Client {
  get key() {
    try {
      return sessionStorage.getItem(KEY) ?? '';
    } catch {
      return this.keyWithoutStorage ?? '';
    }
  }

  set key(value) {
    try {
      sessionStorage.setItem(KEY, value);
    } catch {
      this.keyWithoutStorage = value;
    }
  }

  /** GET, as JSON. */
  async get(path) {
    return (await this.#fetch(path, {})).json();
  }

  /** Sends a chat request and yields its chunks. Throws `ApiError`, or `AbortError` once `signal` is aborted. */
  async *chat(body, signal) {
    const response = await this.#fetch('v1/chat/completions', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
      signal,
    });
    let data;
    try {
      for await (data of events(response.body)) {
        if (data === '[DONE]') return;
        const chunk = JSON.parse(data);
        if (chunk.error) throw fromBody(chunk, 200);
        yield chunk;
      }
    } catch (error) {
      if (error instanceof ApiError || error.name === 'AbortError') throw error;
      throw new ApiError(error instanceof SyntaxError ? 'A part of the answer was not JSON.' : '', { code: 'broken' });
    }
    throw new ApiError('', { code: 'broken' });
  }

  async #fetch(path, options) {
    const headers = { ...options.headers };
    if (this.key) headers.Authorization = `Bearer ${this.key}`;
    let response;
    try {
      response = await fetch(path, { ...options, headers, cache: 'no-store', credentials: 'same-origin' });
    } catch (error) {
      if (error.name === 'AbortError') throw error;
      throw new ApiError('', { code: 'unreachable' });
    }
    if (response.ok) return response;
    let body = null;
    try {
      body = await response.json();
    } catch {
      // A proxy may answer with a page; the status says enough.
    }
    const error = fromBody(body, response.status);
    const wait = Number.parseInt(response.headers.get('Retry-After') ?? '', 10);
    if (Number.isFinite(wait)) error.retryAfter = wait;
    throw error;
  }
}

function fromBody(body, status) {
  const found = body?.error;
  if (typeof found === 'string') return new ApiError(found, { status });
  return new ApiError(found?.message ?? '', { ...found, message: found?.message ?? '', status });
}

/** The data of server-sent events. Comments (keep-alive) and other fields are skipped. */
async function* events(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const lines = rest.split('\n');
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith('data:')) yield line.slice(5).trim();
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** What an error means, in plain words: `{title, text}`. */
export function explain(error) {
  const said = error.message || null;
  const later = error.retryAfter ? ` Try again in ${seconds(error.retryAfter)}.` : ' Try again in a moment.';
  if (error.code === 'unreachable') {
    return { title: 'The server does not answer', text: 'Is lemmy serve still running, and is the network up?' };
  }
  if (error.code === 'broken') {
    return { title: 'The connection ended early', text: said ?? 'The answer above is incomplete.' };
  }
  if (error.type === 'exceed_context_size_error' || error.code === 'context_length_exceeded') {
    const sizes = error.n_ctx ? ` It needs ${count(error.n_prompt_tokens)} tokens of ${count(error.n_ctx)}.` : '';
    return {
      title: 'This conversation no longer fits',
      text: `It is longer than what the model can read at once.${sizes} Begin a new one, or edit an early turn.`,
    };
  }
  if (error.status === 429) return { title: 'The server is busy', text: `Others are waiting as well.${later}` };
  if (error.code === 'shutting_down') return { title: 'The server is stopping', text: said ?? '' };
  if (error.code === 'out_of_memory') return { title: 'The server is out of memory', text: (said ?? '') + later };
  if (error.status === 503) return { title: 'The server is not ready', text: (said ?? '') + later };
  if (error.status === 413)
    return { title: 'That is too large for the server', text: said ?? 'Send fewer or smaller pictures.' };
  if (error.status === 403) return { title: 'The server refuses this page', text: said ?? '' };
  if (error.status === 404) return { title: 'The server does not know this', text: said ?? '' };
  if (error.code === 'invalid_image') return { title: 'The picture cannot be used', text: said ?? '' };
  if (error.code === 'invalid_schema') return { title: 'The schema cannot be used', text: said ?? '' };
  if (error.status >= 400 && error.status < 500) {
    return { title: 'The server did not accept the request', text: said ?? `It answered with status ${error.status}.` };
  }
  if (error.status === 200) return { title: 'The answer broke off', text: said ?? '' };
  if (error.status >= 500) {
    return { title: 'Something went wrong in the server', text: said ?? `It answered with status ${error.status}.` };
  }
  return { title: 'Something went wrong', text: said ?? String(error) };
}

const count = (n) => Number(n).toLocaleString();
const seconds = (n) => (n === 1 ? 'one second' : `${count(n)} seconds`);
