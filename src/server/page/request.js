// A conversation and the settings become a request; the chunks of a stream become a message. No DOM here.

/** The legal numbers of tokens for one picture, with the names that the interface has for some of them. */
export const BUDGETS = new Map([
  [70, 'low'],
  [140, null],
  [280, 'auto'],
  [560, 'high'],
  [1120, 'original'],
]);

const SAMPLING = ['temperature', 'top_p', 'top_k', 'min_p', 'seed', 'max_tokens'];

export function buildRequest(conversation, settings) {
  const body = {
    messages: wireMessages(conversation),
    stream: true,
    stream_options: { include_usage: true },
    timings_per_token: true,
    return_progress: true,
    chat_template_kwargs: { enable_thinking: settings.thinking },
  };
  for (const name of SAMPLING) if (settings[name] !== null) body[name] = settings[name];
  if (settings.thinking && settings.thinking_budget !== null) body.thinking_budget_tokens = settings.thinking_budget;
  const tools = parseTools(conversation.tools).tools;
  if (tools.length) body.tools = tools;
  if (conversation.format === 'json') body.response_format = { type: 'json_object' };
  if (conversation.format === 'schema') {
    body.response_format = {
      type: 'json_schema',
      json_schema: { name: 'answer', schema: JSON.parse(conversation.schema) },
    };
  }
  return body;
}

function wireMessages(conversation) {
  const messages = [];
  if (conversation.system.trim()) messages.push({ role: 'system', content: conversation.system });
  for (const message of conversation.messages) {
    if (message.role === 'user') messages.push({ role: 'user', content: userContent(message) });
    else if (message.role === 'tool') {
      messages.push({ role: 'tool', tool_call_id: message.callId, content: message.content });
    } else if (hasSubstance(message)) messages.push(wireAssistant(message));
  }
  return messages;
}

function userContent(message) {
  if (!message.images.length) return message.content;
  const pictures = message.images.map(({ url, budget }) => {
    const detail = BUDGETS.get(budget);
    return { type: 'image_url', image_url: detail ? { url, detail } : { url, soft_tokens: budget } };
  });
  return message.content ? [...pictures, { type: 'text', text: message.content }] : pictures;
}

function wireAssistant(message) {
  const wire = { role: 'assistant', content: message.content };
  if (!message.calls.length) return wire;
  wire.tool_calls = message.calls.map(({ id, name, arguments: args }) => ({
    id,
    type: 'function',
    function: { name, arguments: args || '{}' },
  }));
  wire.content = message.content || null;
  // A turn whose calls are being answered needs its thought back.
  if (message.thinking) wire.reasoning_content = message.thinking;
  return wire;
}

/** Whether a reply holds something to keep: one that failed at once does not. */
export const hasSubstance = (message) => Boolean(message.content || message.calls.length);

/** Tool definitions from text: an array or one object, with or without the wrapper. `{tools, error}`. */
export function parseTools(text) {
  if (!text.trim()) return { tools: [], error: null };
  let parsed;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    return { tools: [], error: `This is not JSON: ${error.message}` };
  }
  const list = (Array.isArray(parsed) ? parsed : [parsed]).map((tool) =>
    tool?.name && !tool.function ? { type: 'function', function: tool } : tool,
  );
  const bad = list.findIndex((tool) => typeof tool?.function?.name !== 'string' || !tool.function.name);
  if (bad >= 0) return { tools: [], error: `Tool ${bad + 1} has no name.` };
  return { tools: list, error: null };
}

/** Null if the text is a JSON object, else what is wrong with it. */
export function schemaError(text) {
  try {
    const parsed = JSON.parse(text);
    return parsed && typeof parsed === 'object' && !Array.isArray(parsed) ? null : 'A schema is a JSON object.';
  } catch (error) {
    return `This is not JSON: ${error.message}`;
  }
}

export function newReply(format) {
  return { role: 'assistant', content: '', thinking: '', thinkingMs: 0, calls: [], finish: null, format };
}

/** Adds chunks to a message as they come. `now` is a clock in milliseconds. */
export class Reply {
  constructor(message, now = () => performance.now()) {
    this.message = message;
    this.now = now;
    this.progress = null;
    this.timings = null;
    this.usage = null;
    this.thinkingSince = null;
  }

  take(chunk) {
    const { message } = this;
    if (chunk.timings) this.timings = chunk.timings;
    if (chunk.usage) this.usage = chunk.usage;
    if (chunk.prompt_progress) this.progress = chunk.prompt_progress;
    if (chunk.model) message.model = chunk.model;
    if (chunk.lemmy_warnings?.length) message.warnings = chunk.lemmy_warnings.map(String);
    if (chunk.lemmy_finish) message.finishDetail = String(chunk.lemmy_finish);
    const choice = chunk.choices?.find((c) => c.index === 0);
    if (!choice) return;
    const { delta = {}, finish_reason: finish } = choice;
    if (choice.lemmy_finish) message.finishDetail = String(choice.lemmy_finish);
    const thought = delta.reasoning_content ?? delta.reasoning;
    if (thought) {
      this.progress = null;
      this.thinkingSince ??= this.now();
      message.thinking += thought;
    }
    if (delta.content || delta.tool_calls) {
      this.progress = null;
      this.endThinking();
    }
    if (delta.content) message.content += delta.content;
    for (const piece of delta.tool_calls ?? []) this.takeCall(piece);
    if (finish) {
      this.endThinking();
      message.finish = finish;
    }
  }

  takeCall(piece) {
    const { calls } = this.message;
    const call = (calls[piece.index ?? 0] ??= { id: '', name: '', arguments: '' });
    if (piece.id) call.id = piece.id;
    if (piece.function?.name) call.name = piece.function.name;
    if (piece.function?.arguments) call.arguments += piece.function.arguments;
  }

  endThinking() {
    if (this.thinkingSince === null) return;
    this.message.thinkingMs += this.now() - this.thinkingSince;
    this.thinkingSince = null;
  }

  /** Writes what is known at the end, however it came, into the message. */
  finish() {
    this.endThinking();
    const { message, timings, usage } = this;
    message.calls = message.calls.filter(Boolean);
    const stats = {
      prompt: usage?.prompt_tokens ?? (timings ? (timings.cache_n ?? 0) + (timings.prompt_n ?? 0) : null),
      cached: usage?.prompt_tokens_details?.cached_tokens ?? timings?.cache_n ?? null,
      generated: usage?.completion_tokens ?? timings?.predicted_n ?? null,
      rate: timings?.predicted_per_second || null,
      firstMs: timings?.prompt_ms ?? null,
    };
    if (stats.generated !== null) message.stats = stats;
  }

  /** Tokens in the context so far, or null if the server did not say. */
  get used() {
    if (this.usage) return this.usage.prompt_tokens + this.usage.completion_tokens;
    if (this.timings) {
      const { cache_n = 0, prompt_n = 0, predicted_n = 0 } = this.timings;
      return cache_n + prompt_n + predicted_n;
    }
    return this.progress?.processed ?? null;
  }
}
