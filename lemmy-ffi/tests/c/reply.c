/* Replies: pulled and pushed, thoughts, tools, stops, hooks, constraints, log-probabilities. */
#include "support.h"

static const char *tools =
    "[{\"type\":\"function\",\"function\":{\"name\":\"calculator\",\"description\":\"Calculate an expression\","
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"expression\":{\"type\":\"string\"}},"
    "\"required\":[\"expression\"]}}}]";

static void pulled(LemmyModel *model) {
    LemmySession *session = start(model, NULL);
    LemmyGenerateOptions options;
    LemmySamplerOptions sampler;
    LemmyEvent event;
    LemmyFinish ended;
    LemmySessionInfo info;
    char text[256] = "";
    event.struct_size = sizeof event;
    ended.struct_size = sizeof ended;
    info.struct_size = sizeof info;
    greedy(&options, &sampler);
    FAILS(LEMMY_E_STATE, "no reply", lemmy_session_next(session, &event, &error));
    FAILS(LEMMY_E_STATE, "no reply", lemmy_session_finish(session, &ended, &error));
    FAILS(LEMMY_E_STATE, "no reply", lemmy_session_run(session, NULL, NULL, NULL, &error));
    OK(lemmy_session_stop(session, &error));
    FAILS(LEMMY_E_ARGUMENT, "ids", lemmy_session_generate(session, &options, &error));

    OK(lemmy_session_send(session, "What is 12 + 30?", LEMMY_NUL_TERMINATED, NULL, 0, &options, &error));
    FAILS(LEMMY_E_STATE, "not over", lemmy_session_finish(session, &ended, &error));
    OK(lemmy_session_info(session, &info, &error));
    CHECK(info.is_generating == 1);
    do {
        OK(lemmy_session_next(session, &event, &error));
        if (event.kind == LEMMY_EVENT_TEXT) strcat(text, event.text);
    } while (event.kind != LEMMY_EVENT_FINISHED && event.kind != 0);
    CHECK(strstr(text, "42") != NULL);
    CHECK(event.finish_reason == LEMMY_FINISH_STOP && event.text == NULL);
    OK(lemmy_session_next(session, &event, &error));
    CHECK(event.kind == LEMMY_EVENT_FINISHED);
    OK(lemmy_session_finish(session, &ended, &error));
    CHECK(ended.reason == LEMMY_FINISH_STOP && ended.stop == LEMMY_DEFAULT && ended.prompt > 5);
    CHECK(ended.generated > 1 && ended.cached == 0 && ended.thinking == 0);

    FAILS(LEMMY_E_ARGUMENT, "out", lemmy_session_next(session, NULL, &error));
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_next(NULL, &event, &error));
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_stop(NULL, &error));
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_finish(NULL, &ended, &error));
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_run(NULL, NULL, NULL, NULL, &error));
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_generate(NULL, NULL, &error));
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_send(NULL, "Hi", 2, NULL, 0, NULL, &error));
    FAILS(LEMMY_E_ARGUMENT, "text", lemmy_session_send(session, NULL, 2, NULL, 0, NULL, &error));
    FAILS(LEMMY_E_ARGUMENT, "UTF-8", lemmy_session_send(session, "\xff", 1, NULL, 0, NULL, &error));
    lemmy_session_free(session);
}

/* Stopped after every event; what was said stays, and the session goes on. */
static void stopped(LemmyModel *model) {
    LemmySession *session = start(model, NULL);
    LemmyGenerateOptions options;
    LemmySamplerOptions sampler;
    LemmyFinish ended;
    Reply reply;
    int all, at;
    greedy(&options, &sampler);
    ended.struct_size = sizeof ended;
    all = ask(session, "What is 12 + 30?").events;
    CHECK(all > 2);
    for (at = 1; at < all; at++) {
        OK(lemmy_session_clear(session, &error));
        memset(&reply, 0, sizeof reply);
        reply.stop_after = at;
        OK(lemmy_session_send(session, "What is 12 + 30?", LEMMY_NUL_TERMINATED, NULL, 0, &options, &error));
        OK(lemmy_session_run(session, collect, &reply, &ended, &error));
        CHECK(ended.reason == LEMMY_FINISH_CANCELLED && reply.events == at);
        OK(lemmy_session_stop(session, &error));
        OK(lemmy_session_stop(session, &error));
    }
    /* given up in the middle */
    OK(lemmy_session_send(session, "Hi", 2, NULL, 0, &options, &error));
    lemmy_session_free(session);
}

static void thinking(LemmyModel *model) {
    LemmySession *session = start(model, NULL);
    LemmyGenerateOptions options;
    LemmySamplerOptions sampler;
    LemmyFinish ended;
    Reply reply;
    ended.struct_size = sizeof ended;
    greedy(&options, &sampler);
    options.thinking = 1;
    OK(lemmy_session_send(session, "What is 12 + 30?", LEMMY_NUL_TERMINATED, NULL, 0, &options, &error));
    reply = finish(session);
    OK(lemmy_session_finish(session, &ended, &error));
    CHECK(strstr(reply.text, "42") != NULL && strlen(reply.thoughts) > 5 && ended.thinking > 3);
    OK(lemmy_session_clear(session, &error));
    options.thinking_budget = 4;
    OK(lemmy_session_send(session, "What is 12 + 30?", LEMMY_NUL_TERMINATED, NULL, 0, &options, &error));
    reply = finish(session);
    OK(lemmy_session_finish(session, &ended, &error));
    CHECK(ended.thinking > 0 && ended.thinking < 10);
    options.thinking = 3;
    FAILS(LEMMY_E_ARGUMENT, "thinking", lemmy_session_send(session, "Hi", 2, NULL, 0, &options, &error));
    lemmy_session_free(session);
}

static void tool_calls(LemmyModel *model) {
    LemmySessionOptions with_tools;
    LemmySession *session;
    LemmyGenerateOptions options;
    LemmySamplerOptions sampler;
    Reply reply;
    char answer[256];
    greedy(&options, &sampler);
    lemmy_session_options_init(&with_tools, sizeof with_tools);
    with_tools.tools_json = tools;
    session = start(model, &with_tools);
    reply = ask(session, "How much is 211 multiplied by 44?");
    CHECK(reply.calls == 1 && reply.reason == LEMMY_FINISH_TOOL_CALLS);
    CHECK(strcmp(reply.name, "calculator") == 0 && strlen(reply.id) > 0);
    CHECK(strstr(reply.arguments, "211") != NULL && strstr(reply.arguments, "44") != NULL);
    snprintf(answer, sizeof answer, "[{\"role\":\"tool\",\"tool_call_id\":\"%s\",\"content\":{\"result\":9284}}]",
             reply.id);
    OK(lemmy_session_add(session, answer, LEMMY_NUL_TERMINATED, NULL, 0, &error));
    OK(lemmy_session_generate(session, &options, &error));
    reply = finish(session);
    CHECK(strstr(reply.text, "9284") != NULL && reply.reason == LEMMY_FINISH_STOP);

    options.tool_choice = LEMMY_TOOLS_NONE;
    OK(lemmy_session_send(session, "How much is 12 multiplied by 4?", LEMMY_NUL_TERMINATED, NULL, 0, &options, &error));
    CHECK(finish(session).calls == 0);
    options.tool_choice = LEMMY_TOOLS_NAMED;
    options.tool_name = "calculator";
    options.single_tool_call = 1;
    OK(lemmy_session_send(session, "Hello!", LEMMY_NUL_TERMINATED, NULL, 0, &options, &error));
    reply = finish(session);
    CHECK(reply.calls == 1 && strcmp(reply.name, "calculator") == 0);
    options.tool_name = "no_such_tool";
    FAILS(LEMMY_E_ARGUMENT, "no_such_tool", lemmy_session_send(session, "Hi", 2, NULL, 0, &options, &error));
    options.tool_name = NULL;
    FAILS(LEMMY_E_ARGUMENT, "tool_name", lemmy_session_send(session, "Hi", 2, NULL, 0, &options, &error));
    options.tool_choice = 4;
    FAILS(LEMMY_E_ARGUMENT, "tool_choice", lemmy_session_send(session, "Hi", 2, NULL, 0, &options, &error));
    lemmy_session_free(session);
}

static void stops_and_constraints(LemmyModel *model) {
    LemmySession *session = start(model, NULL);
    LemmyGenerateOptions options;
    LemmySamplerOptions sampler;
    LemmyFinish ended;
    Reply reply;
    const char *stops[2] = {"no such text", "4"};
    ended.struct_size = sizeof ended;
    greedy(&options, &sampler);
    options.stop = stops;
    options.stop_count = 2;
    OK(lemmy_session_send(session, "What is 12 + 30?", LEMMY_NUL_TERMINATED, NULL, 0, &options, &error));
    reply = finish(session);
    OK(lemmy_session_finish(session, &ended, &error));
    CHECK(strchr(reply.text, '4') == NULL && ended.stop == 1 && ended.reason == LEMMY_FINISH_STOP);
    stops[1] = NULL;
    FAILS(LEMMY_E_ARGUMENT, "stop", lemmy_session_send(session, "Hi", 2, NULL, 0, &options, &error));
    options.stop = NULL;
    FAILS(LEMMY_E_ARGUMENT, "stop", lemmy_session_send(session, "Hi", 2, NULL, 0, &options, &error));
    options.stop_count = 0;

    options.constraint_kind = LEMMY_CONSTRAINT_REGEX;
    options.constraint = "[a-c]{3}";
    OK(lemmy_session_send(session, "What is 12 + 30?", LEMMY_NUL_TERMINATED, NULL, 0, &options, &error));
    reply = finish(session);
    CHECK(strlen(reply.text) == 3 && strspn(reply.text, "abc") == 3);
    options.constraint_kind = LEMMY_CONSTRAINT_JSON_SCHEMA;
    options.constraint = "{\"type\":\"boolean\"}";
    OK(lemmy_session_send(session, "What is 12 + 30?", LEMMY_NUL_TERMINATED, NULL, 0, &options, &error));
    reply = finish(session);
    CHECK(strcmp(reply.text, "true") == 0 || strcmp(reply.text, "false") == 0);
    options.constraint_kind = LEMMY_CONSTRAINT_LARK;
    options.constraint = "start: \"x\"";
    OK(lemmy_session_send(session, "What is 12 + 30?", LEMMY_NUL_TERMINATED, NULL, 0, &options, &error));
    reply = finish(session);
    CHECK(strcmp(reply.text, "x") == 0);
    options.constraint = "start: (";
    FAILS(LEMMY_E_ARGUMENT, "constraint", lemmy_session_send(session, "Hi", 2, NULL, 0, &options, &error));
    options.constraint = NULL;
    FAILS(LEMMY_E_ARGUMENT, "constraint", lemmy_session_send(session, "Hi", 2, NULL, 0, &options, &error));
    options.constraint_kind = 4;
    FAILS(LEMMY_E_ARGUMENT, "constraint_kind", lemmy_session_send(session, "Hi", 2, NULL, 0, &options, &error));
    lemmy_session_free(session);
}

typedef struct Hooks {
    LemmySession *session;
    uint32_t forced; /* the only token that may come; LEMMY_NO_TOKEN: any */
    int logits, tokens, stop_logits, stop_tokens;
} Hooks;

static int32_t on_logits(void *user_data, uint64_t position, float *logits, size_t count) {
    Hooks *hooks = (Hooks *)user_data;
    size_t i;
    CHECK(position > 0 && count > 1000);
    for (i = 0; hooks->forced != LEMMY_NO_TOKEN && i < count; i++)
        if (i != hooks->forced) logits[i] = -1e30f;
    hooks->logits += 1;
    return hooks->logits == hooks->stop_logits;
}

static int32_t on_token(void *user_data, const LemmyEvent *event) {
    Hooks *hooks = (Hooks *)user_data;
    CHECK(event->kind == LEMMY_EVENT_TOKEN && event->text_len > 0 && event->logprob != event->logprob);
    CHECK(event->struct_size == sizeof *event);
    hooks->tokens += 1;
    /* the session is at work */
    FAILS(LEMMY_E_BUSY, "busy", lemmy_session_stop(hooks->session, &error));
    return hooks->tokens == hooks->stop_tokens;
}

static void hooks(LemmyModel *model) {
    LemmySession *session = start(model, NULL);
    LemmyGenerateOptions options;
    LemmySamplerOptions sampler;
    Hooks seen = {NULL, LEMMY_NO_TOKEN, 0, 0, 0, 0};
    Reply reply;
    size_t count = 0;
    seen.session = session;
    greedy(&options, &sampler);
    options.on_logits = on_logits;
    options.on_token = on_token;
    options.user_data = &seen;
    OK(lemmy_session_send(session, "What is 12 + 30?", LEMMY_NUL_TERMINATED, NULL, 0, &options, &error));
    reply = finish(session);
    CHECK(strstr(reply.text, "42") != NULL && seen.tokens == seen.logits && seen.tokens > 1);

    OK(lemmy_model_tokenize(model, "a", 1, 0, &seen.forced, 1, &count, &error));
    seen.stop_tokens = seen.tokens + 3;
    OK(lemmy_session_send(session, "What is 12 + 30?", LEMMY_NUL_TERMINATED, NULL, 0, &options, &error));
    reply = finish(session);
    CHECK(strcmp(reply.text, "aaa") == 0 && reply.reason == LEMMY_FINISH_CANCELLED);
    seen.stop_logits = seen.logits + 1;
    options.on_token = NULL;
    OK(lemmy_session_send(session, "What is 12 + 30?", LEMMY_NUL_TERMINATED, NULL, 0, &options, &error));
    reply = finish(session);
    CHECK(strcmp(reply.text, "a") == 0 && reply.reason == LEMMY_FINISH_CANCELLED);
    lemmy_session_free(session);
}

static int32_t on_event(void *user_data, const LemmyEvent *event) {
    if (event->kind == LEMMY_EVENT_TOKEN) {
        double sum = 0;
        size_t i;
        CHECK(event->top_count == 3 && event->logprob <= 0 && event->top[0].logprob >= event->top[2].logprob);
        CHECK(event->top[0].token == event->token && event->zone >= LEMMY_ZONE_TEXT && event->zone <= LEMMY_ZONE_CALL);
        for (i = 0; i < event->top_count; i++) sum += event->top[i].logprob;
        CHECK(sum < 0);
    }
    return collect(user_data, event);
}

static void numbers(LemmyModel *model) {
    LemmySession *session = start(model, NULL);
    LemmyGenerateOptions options;
    LemmySamplerOptions sampler;
    LemmyFinish ended;
    Reply reply, again;
    ended.struct_size = sizeof ended;
    greedy(&options, &sampler);
    options.logprobs = 3;
    options.speculate = 4;
    options.penalize_reply_only = 1;
    memset(&reply, 0, sizeof reply);
    OK(lemmy_session_send(session, "What is 12 + 30?", LEMMY_NUL_TERMINATED, NULL, 0, &options, &error));
    OK(lemmy_session_run(session, on_event, &reply, &ended, &error));
    CHECK(reply.tokens > 1 && (uint64_t)reply.tokens == ended.generated && strstr(reply.text, "42") != NULL);

    /* the same seed gives the same reply */
    lemmy_generate_options_init(&options, sizeof options);
    options.sampler = &sampler;
    options.max_tokens = 20;
    sampler.temperature = 2;
    options.seed = 5;
    OK(lemmy_session_clear(session, &error));
    OK(lemmy_session_send(session, "Hi", 2, NULL, 0, &options, &error));
    reply = finish(session);
    OK(lemmy_session_finish(session, &ended, &error));
    CHECK(ended.seed == 5);
    OK(lemmy_session_clear(session, &error));
    OK(lemmy_session_send(session, "Hi", 2, NULL, 0, &options, &error));
    again = finish(session);
    CHECK(strcmp(reply.text, again.text) == 0 && reply.reason == again.reason);
    options.max_tokens = 1;
    OK(lemmy_session_send(session, "Hi", 2, NULL, 0, &options, &error));
    CHECK(finish(session).reason == LEMMY_FINISH_LENGTH);

    options.logprobs = 21;
    FAILS(LEMMY_E_ARGUMENT, "logprobs", lemmy_session_send(session, "Hi", 2, NULL, 0, &options, &error));
    options.logprobs = 256;
    FAILS(LEMMY_E_ARGUMENT, "logprobs", lemmy_session_send(session, "Hi", 2, NULL, 0, &options, &error));
    options.logprobs = LEMMY_DEFAULT;
    sampler.top_p = 2;
    FAILS(LEMMY_E_ARGUMENT, "top_p", lemmy_session_send(session, "Hi", 2, NULL, 0, &options, &error));
    sampler.struct_size = 0;
    FAILS(LEMMY_E_ARGUMENT, "sampler", lemmy_session_send(session, "Hi", 2, NULL, 0, &options, &error));
    CHECK(lemmy_generate_options_init(NULL, sizeof options) == LEMMY_E_ARGUMENT);
    lemmy_session_free(session);
}

/* Other work on the same model and pool inside of a callback. */
typedef struct Inside {
    LemmyModel *model;
    int times;
} Inside;

static void work_inside(Inside *inside) {
    LemmySession *session = start(inside->model, NULL);
    CHECK(strstr(ask(session, "What is 12 + 30?").text, "42") != NULL);
    lemmy_session_free(session);
    inside->times += 1;
}

static int32_t work_in_event(void *user_data, const LemmyEvent *event) {
    if (event->kind == LEMMY_EVENT_TEXT || event->kind == LEMMY_EVENT_TOKEN) work_inside((Inside *)user_data);
    return event->kind == LEMMY_EVENT_TEXT;
}

static int32_t work_in_progress(void *user_data, uint32_t stage, uint64_t done, uint64_t total) {
    if (stage == LEMMY_STAGE_PROMPT || done == total) work_inside((Inside *)user_data);
    return 0;
}

static void inside_of_callbacks(char **argv) {
    Inside inside = {NULL, 0};
    LemmyPool *pool = NULL;
    LemmyModel *other = NULL;
    LemmyModelOptions load_options;
    LemmyGenerateOptions options;
    LemmySamplerOptions sampler;
    LemmySession *session;
    uint32_t id = 20;
    OK(lemmy_pool_new(NULL, &pool, &error));
    lemmy_model_options_init(&load_options, sizeof load_options);
    load_options.pool = pool;
    OK(lemmy_model_load(argv[2], &load_options, &inside.model, &error));
    session = start(inside.model, NULL);

    load_options.on_progress = work_in_progress;
    load_options.user_data = &inside;
    OK(lemmy_model_load(argv[2], &load_options, &other, &error));
    CHECK(inside.times == 3);
    OK(lemmy_session_prefill(session, &id, 1, work_in_progress, &inside, &error));
    CHECK(inside.times == 4);
    greedy(&options, &sampler);
    options.on_token = work_in_event;
    options.user_data = &inside;
    OK(lemmy_session_send(session, "What is 12 + 30?", LEMMY_NUL_TERMINATED, NULL, 0, &options, &error));
    OK(lemmy_session_run(session, work_in_event, &inside, NULL, &error));
    CHECK(inside.times >= 6);
    lemmy_session_free(session);
    lemmy_model_release(other);
    lemmy_model_release(inside.model);
    lemmy_pool_release(pool);
}

/* Gives its session back inside a callback. */
static int32_t give_up(void *user_data, const LemmyEvent *event) {
    (void)event;
    lemmy_session_free(*(LemmySession **)user_data);
    return 1;
}

int main(int argc, char **argv) {
    LemmyModel *model = load(argv);
    LemmySession *session;
    CHECK(argc == 3);
    pulled(model);
    stopped(model);
    thinking(model);
    tool_calls(model);
    stops_and_constraints(model);
    hooks(model);
    numbers(model);
    inside_of_callbacks(argv);

    session = start(model, NULL);
    lemmy_model_release(model); /* the session keeps it */
    CHECK(strstr(ask(session, "What is 12 + 30?").text, "42") != NULL);
    OK(lemmy_session_send(session, "Hi", 2, NULL, 0, NULL, &error));
    OK(lemmy_session_run(session, give_up, &session, NULL, &error));
    return failures != 0;
}
