/* Sessions: options, messages, whole conversations, tokens, rewind, fork, clear. */
#include "support.h"

static const char *question = "[{\"role\":\"user\",\"content\":\"What is 12 + 30?\"}]";

static uint64_t position(LemmySession *session) {
    LemmySessionInfo info;
    info.struct_size = sizeof info;
    OK(lemmy_session_info(session, &info, &error));
    CHECK(info.capacity == 1024 && info.memory > 0 && info.position <= info.capacity);
    return info.position;
}

static void options_count(LemmyModel *model) {
    LemmySession *session = NULL;
    LemmySessionOptions options;
    CHECK(lemmy_session_options_init(&options, sizeof options) == LEMMY_OK);
    CHECK(lemmy_session_options_init(NULL, sizeof options) == LEMMY_E_ARGUMENT);
    options.kv_type = LEMMY_KV_F32;
    options.batch = 16;
    options.rewind_window = 8;
    options.system = "You are brief. And this is not read";
    options.system_len = 14;
    session = start(model, &options);
    lemmy_session_free(session);

    options.kv_type = 9;
    FAILS(LEMMY_E_ARGUMENT, "kv_type", lemmy_session_new(model, &options, &session, &error));
    CHECK(session == NULL);
    options.kv_type = LEMMY_KV_F16;
    options.tools_json = "{}";
    options.tools_len = 2;
    FAILS(LEMMY_E_ARGUMENT, "tools", lemmy_session_new(model, &options, &session, &error));
    options.tools_json = NULL;
    options.tools_len = LEMMY_NUL_TERMINATED;
    options.context = (uint64_t)1 << 60;
    FAILS(LEMMY_E_ARGUMENT, "context", lemmy_session_new(model, &options, &session, &error));
    options.context = 16;
    options.reserved = 1;
    FAILS(LEMMY_E_FIELD, "options", lemmy_session_new(model, &options, &session, &error));
    FAILS(LEMMY_E_ARGUMENT, "model", lemmy_session_new(NULL, NULL, &session, &error));
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_new(model, NULL, NULL, &error));
    lemmy_session_free(NULL);

    /* a prompt that does not fit leaves the session as it was */
    options.reserved = 0;
    options.system = NULL;
    OK(lemmy_session_new(model, &options, &session, &error));
    {
        static const char *words = "one two three four five six seven eight nine ten eleven twelve thirteen";
        uint64_t needed = 0;
        CHECK(lemmy_session_send(session, words, LEMMY_NUL_TERMINATED, NULL, 0, NULL, &error) == LEMMY_E_CONTEXT_FULL);
        CHECK(lemmy_error_value(error, LEMMY_VALUE_REQUESTED, &needed) == 1 && needed > 16);
        CHECK(lemmy_error_value(error, LEMMY_VALUE_CAPACITY, &needed) == 1 && needed == 16);
        lemmy_error_free(error);
        error = (LemmyError *)&failures;
    }
    lemmy_session_free(session);
}

static void whole_conversations(LemmyModel *model) {
    LemmySession *session = start(model, NULL);
    LemmySyncReport report = {sizeof(LemmySyncReport), 9, 9};
    LemmyBuffer *json = NULL;
    LemmyGenerateOptions options;
    LemmySamplerOptions sampler;
    Reply reply;
    greedy(&options, &sampler);

    OK(lemmy_session_sync(session, question, LEMMY_NUL_TERMINATED, NULL, 0, NULL, &report, &error));
    CHECK(report.reused == 0 && report.prefilled > 5 && position(session) == report.prefilled);
    OK(lemmy_session_generate(session, &options, &error));
    reply = finish(session);
    CHECK(strstr(reply.text, "42") != NULL && reply.reason == LEMMY_FINISH_STOP);

    OK(lemmy_session_messages(session, &json, &error));
    CHECK(strstr((const char *)lemmy_buffer_data(json), "\"assistant\"") != NULL);
    CHECK(strstr((const char *)lemmy_buffer_data(json), "42") != NULL);
    /* what comes out goes in, and is there already */
    OK(lemmy_session_sync(session, (const char *)lemmy_buffer_data(json), lemmy_buffer_size(json), NULL, 0, NULL,
                          &report, &error));
    CHECK(report.reused > 5 && report.prefilled > 0);
    lemmy_buffer_free(json);
    OK(lemmy_session_sync(session, question, LEMMY_NUL_TERMINATED, NULL, 0, NULL, NULL, &error));

    FAILS(LEMMY_E_ARGUMENT, "messages", lemmy_session_sync(session, "{", 1, NULL, 0, NULL, NULL, &error));
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_sync(NULL, question, 46, NULL, 0, NULL, NULL, &error));
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_messages(NULL, &json, &error));
    CHECK(json == NULL);
    FAILS(LEMMY_E_ARGUMENT, "json", lemmy_session_messages(session, NULL, &error));
    report.struct_size = 0;
    FAILS(LEMMY_E_ARGUMENT, "out",
          lemmy_session_sync(session, question, LEMMY_NUL_TERMINATED, NULL, 0, NULL, &report, &error));
    lemmy_session_free(session);
}

static int32_t stop_reading(void *user_data, uint32_t stage, uint64_t done, uint64_t total) {
    CHECK(stage == LEMMY_STAGE_PROMPT && done <= total);
    *(int *)user_data += 1;
    return 1;
}

static void reading_is_stopped(LemmyModel *model) {
    LemmySessionOptions small;
    LemmyChatOptions options;
    LemmySession *session;
    LemmyCancel *cancel = lemmy_cancel_new();
    LemmyGenerateOptions generate;
    LemmySamplerOptions sampler;
    int calls = 0;
    lemmy_session_options_init(&small, sizeof small);
    small.batch = 4;
    small.cancel = cancel;
    session = start(model, &small);
    lemmy_chat_options_init(&options, sizeof options);
    options.on_progress = stop_reading;
    options.user_data = &calls;
    FAILS(LEMMY_E_CANCELLED, "cancelled",
          lemmy_session_sync(session, question, LEMMY_NUL_TERMINATED, NULL, 0, &options, NULL, &error));
    CHECK(calls == 1 && position(session) == 4);
    lemmy_cancel_trigger(cancel);
    FAILS(LEMMY_E_CANCELLED, "cancelled",
          lemmy_session_sync(session, question, LEMMY_NUL_TERMINATED, NULL, 0, NULL, NULL, &error));
    lemmy_cancel_reset(cancel);
    CHECK(strstr(ask(session, "What is 12 + 30?").text, "42") != NULL);

    /* what waited for an answer waits on */
    greedy(&generate, &sampler);
    OK(lemmy_session_clear(session, &error));
    OK(lemmy_session_add(session, question, LEMMY_NUL_TERMINATED, NULL, 0, &error));
    FAILS(LEMMY_E_CANCELLED, "cancelled",
          lemmy_session_sync(session, "[{\"role\":\"user\",\"content\":\"Hello, what is your name?\"}]",
                             LEMMY_NUL_TERMINATED, NULL, 0, &options, NULL, &error));
    OK(lemmy_session_generate(session, &generate, &error));
    CHECK(strstr(finish(session).text, "42") != NULL);
    lemmy_session_free(session);
    lemmy_cancel_release(cancel);
}

static void tokens_go_and_come_back(LemmyModel *model) {
    LemmySession *session = start(model, NULL), *fork = NULL;
    uint32_t ids[256];
    size_t count = 0, need = 0;
    uint64_t before, number = 0;
    LemmySessionInfo info;
    ask(session, "My name is Ada.");
    before = position(session);
    OK(lemmy_session_tokens(session, ids, 256, &count, &error));
    CHECK(count == before && count > 5);
    FAILS(LEMMY_E_BUFFER, "ids", lemmy_session_tokens(session, ids, 3, &need, &error));
    CHECK(need == count);

    OK(lemmy_session_fork(session, &fork, &error));
    CHECK(strcmp(ask(session, "What is my name?").text, ask(fork, "What is my name?").text) == 0);
    CHECK(position(session) == position(fork) && position(fork) > before);
    lemmy_session_free(session);
    OK(lemmy_session_rewind(fork, before, &error));
    CHECK(position(fork) == before);
    CHECK(lemmy_session_rewind(fork, before + 1000, &error) == LEMMY_E_ARGUMENT);
    lemmy_error_free(error);
    error = (LemmyError *)&failures;
    OK(lemmy_session_rewind(fork, 0, &error));
    CHECK(position(fork) == 0 && lemmy_error_value(NULL, LEMMY_VALUE_REQUESTED, &number) == 0);
    OK(lemmy_session_clear(fork, &error));
    CHECK(strstr(ask(fork, "What is 12 + 30?").text, "42") != NULL);
    lemmy_session_free(fork);

    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_tokens(NULL, ids, 3, &need, &error));
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_rewind(NULL, 0, &error));
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_fork(NULL, &fork, &error));
    CHECK(fork == NULL);
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_clear(NULL, &error));
    info.struct_size = sizeof info;
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_info(NULL, &info, &error));
    FAILS(LEMMY_E_ARGUMENT, "out", lemmy_session_info(fork, NULL, &error));
}

static void clear_keeps_instructions(LemmyModel *model) {
    LemmySessionOptions options;
    LemmySession *session;
    LemmySessionInfo info;
    LemmyBuffer *json = NULL;
    info.struct_size = sizeof info;
    lemmy_session_options_init(&options, sizeof options);
    options.system = "You are brief."; /* whose length is not said ends at its NUL */
    session = start(model, &options);
    ask(session, "Hi");
    OK(lemmy_session_info(session, &info, &error));
    CHECK(info.messages == 3 && info.is_generating == 0);
    OK(lemmy_session_clear(session, &error));
    OK(lemmy_session_info(session, &info, &error));
    CHECK(info.messages == 1 && info.position == 0);
    OK(lemmy_session_messages(session, &json, &error));
    CHECK(strcmp((const char *)lemmy_buffer_data(json), "[{\"role\":\"system\",\"content\":\"You are brief.\"}]") == 0);
    lemmy_buffer_free(json);
    lemmy_session_free(session);
}

static void added_messages_are_answered(LemmyModel *model) {
    LemmySession *session = start(model, NULL);
    LemmyGenerateOptions options;
    LemmySamplerOptions sampler;
    Reply reply;
    LemmyCancel *cancel = lemmy_cancel_new();
    greedy(&options, &sampler);
    OK(lemmy_session_add(session, question, LEMMY_NUL_TERMINATED, NULL, 0, &error));
    /* a reply that is stopped before it says anything may be asked for again */
    options.cancel = cancel;
    lemmy_cancel_trigger(cancel);
    OK(lemmy_session_generate(session, &options, &error));
    CHECK(finish(session).reason == LEMMY_FINISH_CANCELLED);
    lemmy_cancel_release(cancel);
    options.cancel = NULL;
    OK(lemmy_session_generate(session, &options, &error));
    reply = finish(session);
    CHECK(strstr(reply.text, "42") != NULL);
    FAILS(LEMMY_E_ARGUMENT, "list", lemmy_session_add(session, "{}", 2, NULL, 0, &error));
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_add(NULL, question, LEMMY_NUL_TERMINATED, NULL, 0, &error));
    lemmy_session_free(session);
}

int main(int argc, char **argv) {
    LemmyModel *model = load(argv);
    CHECK(argc == 3);
    options_count(model);
    whole_conversations(model);
    reading_is_stopped(model);
    tokens_go_and_come_back(model);
    clear_keeps_instructions(model);
    added_messages_are_answered(model);
    lemmy_model_release(model);
    return failures != 0;
}
