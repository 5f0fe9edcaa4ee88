/* A little of everything that a session does, with few tokens: short enough for valgrind. */
#include "support.h"

#include <pthread.h>

static int32_t stop_reading(void *user_data, uint32_t stage, uint64_t done, uint64_t total) {
    (void)user_data;
    return stage == LEMMY_STAGE_PROMPT && done <= total;
}

static int32_t on_logits(void *user_data, uint64_t position, float *logits, size_t count) {
    CHECK(position > 0 && count > 0);
    logits[0] = -1e30f;
    *(int *)user_data += 1;
    return *(int *)user_data == 3;
}

static int32_t on_token(void *user_data, const LemmyEvent *event) {
    CHECK(event->text_len > 0);
    return *(int *)user_data > 3;
}

/* A reply that its hooks end, with a grammar, alternatives and guesses; another one that its events end. */
static void replies(LemmySession *session) {
    LemmyGenerateOptions options;
    LemmySamplerOptions sampler;
    Reply reply;
    LemmyFinish ended;
    int calls = 0;
    ended.struct_size = sizeof ended;
    greedy(&options, &sampler);
    options.constraint_kind = LEMMY_CONSTRAINT_REGEX;
    options.constraint = "[0-9]{9}";
    options.logprobs = 2;
    options.speculate = 2;
    options.on_logits = on_logits;
    options.on_token = on_token;
    options.user_data = &calls;
    OK(lemmy_session_send(session, "12 + 30?", LEMMY_NUL_TERMINATED, NULL, 0, &options, &error));
    memset(&reply, 0, sizeof reply);
    OK(lemmy_session_run(session, collect, &reply, &ended, &error));
    CHECK(ended.reason == LEMMY_FINISH_CANCELLED && calls == 3 && reply.tokens >= 3);
    memset(&reply, 0, sizeof reply);
    reply.stop_after = 2;
    OK(lemmy_session_send(session, "And 1 + 1?", LEMMY_NUL_TERMINATED, NULL, 0, NULL, &error));
    OK(lemmy_session_run(session, collect, &reply, NULL, &error));
    CHECK(reply.events == 2);
}

static void reading(LemmySession *session) {
    static const char *question = "[{\"role\":\"user\",\"content\":\"Hi\"}]";
    LemmyChatOptions options;
    LemmySession *fork = NULL;
    LemmyBuffer *json = NULL;
    const uint32_t ids[2] = {20, 21};
    float *logits = NULL;
    size_t vocab = 0;
    lemmy_chat_options_init(&options, sizeof options);
    options.on_progress = stop_reading;
    OK(lemmy_session_clear(session, &error));
    FAILS(LEMMY_E_CANCELLED, "cancelled",
          lemmy_session_sync(session, question, LEMMY_NUL_TERMINATED, NULL, 0, &options, NULL, &error));
    OK(lemmy_session_sync(session, question, LEMMY_NUL_TERMINATED, NULL, 0, NULL, NULL, &error));
    OK(lemmy_session_fork(session, &fork, &error));
    OK(lemmy_session_messages(fork, &json, &error));
    lemmy_buffer_free(json);
    OK(lemmy_session_forward(fork, ids, 2, &logits, &vocab, &error));
    CHECK(vocab > 0 && logits[0] == logits[0] && logits[vocab - 1] == logits[vocab - 1]);
    FAILS(LEMMY_E_CANCELLED, "cancelled", lemmy_session_prefill(fork, ids, 2, stop_reading, NULL, &error));
    OK(lemmy_session_rewind(fork, 0, &error));
    lemmy_session_free(fork);
}

static void *beside(void *argument) {
    const uint32_t id = 20;
    const LemmyStatus status = lemmy_session_prefill((LemmySession *)argument, &id, 1, NULL, NULL, NULL);
    return status == LEMMY_OK || status == LEMMY_E_BUSY ? NULL : argument;
}

int main(int argc, char **argv) {
    LemmyModel *model = load(argv);
    LemmySession *session = start(model, NULL);
    pthread_t threads[2];
    void *trouble = NULL;
    int i;
    CHECK(argc == 3);
    replies(session);
    reading(session);
    for (i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, beside, session) == 0);
    for (i = 0; i < 2; i++) CHECK(pthread_join(threads[i], &trouble) == 0 && trouble == NULL);
    /* given up in the middle */
    OK(lemmy_session_send(session, "Hi", 2, NULL, 0, NULL, &error));
    lemmy_session_free(session);
    lemmy_model_release(model);
    return failures != 0;
}
