/* Tokens and logits by hand: prefill, forward, a sampler of one's own. */
#include "support.h"

static int32_t stop_at_once(void *user_data, uint32_t stage, uint64_t done, uint64_t total) {
    CHECK(stage == LEMMY_STAGE_PROMPT && done <= total);
    *(int *)user_data += 1;
    return 1;
}

/* A prompt by hand, and the best token again and again: the same answer as in a chat. */
static void a_loop(LemmyModel *model) {
    static const char *prompt =
        "<bos><|turn>user\nWhat is 12 + 30?<turn|>\n<|turn>model\n<|channel>thought\n<channel|>";
    LemmySession *session = start(model, NULL);
    LemmySampler *sampler = NULL;
    LemmySamplerOptions options;
    uint32_t ids[64], id = 0, flags = 0;
    size_t count = 0, vocab = 0, len = 0;
    float *logits = NULL;
    char text[64] = "";
    uint64_t seed = 0;
    int turns;
    LemmyDecoder *decoder = NULL;
    OK(lemmy_decoder_new(model, &decoder, &error));
    CHECK(lemmy_sampler_options_init(&options, sizeof options) == LEMMY_OK);
    options.temperature = 0;
    options.seed = 7;
    OK(lemmy_sampler_new(&options, &sampler, &error));
    OK(lemmy_sampler_seed(sampler, &seed, &error));
    CHECK(seed == 7);
    OK(lemmy_model_tokenize(model, prompt, strlen(prompt), LEMMY_TOKENIZE_PARSE_CONTROL, ids, 64, &count, &error));
    OK(lemmy_session_prefill(session, ids, count - 1, NULL, NULL, &error));
    OK(lemmy_session_forward(session, ids + count - 1, 1, &logits, &vocab, &error));
    for (turns = 0; turns < 30 && logits != NULL; turns++) {
        const char *piece = NULL;
        OK(lemmy_sampler_sample(sampler, logits, vocab, &id, &error));
        OK(lemmy_sampler_accept(sampler, id, &error));
        OK(lemmy_model_token_flags(model, id, &flags, &error));
        if (flags & LEMMY_TOKEN_END) break;
        OK(lemmy_decoder_push(decoder, id, &piece, &len, &error));
        strncat(text, piece, sizeof text - strlen(text) - 1);
        OK(lemmy_session_forward(session, &id, 1, &logits, &vocab, &error));
    }
    CHECK(strstr(text, "42") != NULL && turns < 30);

    /* logits may be changed before they are sampled */
    OK(lemmy_session_forward(session, &id, 1, &logits, &vocab, &error));
    logits[11] = 1e6f;
    OK(lemmy_sampler_sample(sampler, logits, vocab, &id, &error));
    CHECK(id == 11);
    logits[11] = (float)strtod("nan", NULL);
    FAILS(LEMMY_E_NUMERIC, "sample", lemmy_sampler_sample(sampler, logits, vocab, &id, &error));
    CHECK(id == LEMMY_NO_TOKEN);
    lemmy_decoder_free(decoder);
    lemmy_sampler_free(sampler);
    lemmy_session_free(session);
}

static void reading(LemmyModel *model) {
    LemmySession *session;
    LemmySessionOptions small;
    LemmySessionInfo info;
    static uint32_t ids[2000];
    float *logits = NULL;
    size_t vocab = 0;
    uint64_t number = 0;
    int calls = 0;
    info.struct_size = sizeof info;
    lemmy_session_options_init(&small, sizeof small);
    small.rewind_window = 16;
    small.batch = 64;
    session = start(model, &small);
    OK(lemmy_session_prefill(session, NULL, 0, NULL, NULL, &error));
    FAILS(LEMMY_E_CANCELLED, "cancelled", lemmy_session_prefill(session, ids, 900, stop_at_once, &calls, &error));
    OK(lemmy_session_info(session, &info, &error));
    CHECK(calls == 1 && info.position > 0 && info.position < 900);
    CHECK(lemmy_session_prefill(session, ids, 900, NULL, NULL, &error) == LEMMY_E_CONTEXT_FULL);
    CHECK(lemmy_error_value(error, LEMMY_VALUE_USED, &number) == 1 && number == info.position);
    lemmy_error_free(error);
    error = (LemmyError *)&failures;
    FAILS(LEMMY_E_CONTEXT_FULL, "context", lemmy_session_forward(session, ids, 2000, &logits, &vocab, &error));
    /* layers that see only so far have forgotten the rest; what is kept is not touched */
    CHECK(lemmy_session_rewind(session, 100, &error) == LEMMY_E_REWIND_TOO_FAR);
    CHECK(lemmy_error_value(error, LEMMY_VALUE_REQUESTED, &number) == 1 && number == 100);
    CHECK(lemmy_error_value(error, LEMMY_VALUE_LIMIT, &number) == 1 && number > 100 && number < info.position);
    lemmy_error_free(error);
    error = (LemmyError *)&failures;
    OK(lemmy_session_rewind(session, number, &error));
    ids[1] = LEMMY_NO_TOKEN;
    FAILS(LEMMY_E_ARGUMENT, "vocabulary", lemmy_session_prefill(session, ids, 2, NULL, NULL, &error));
    FAILS(LEMMY_E_ARGUMENT, "ids", lemmy_session_forward(session, ids, 2, &logits, &vocab, &error));
    FAILS(LEMMY_E_ARGUMENT, "ids", lemmy_session_forward(session, ids, 0, &logits, &vocab, &error));
    CHECK(logits == NULL && vocab == 0);
    FAILS(LEMMY_E_ARGUMENT, "ids", lemmy_session_forward(session, NULL, 1, &logits, &vocab, &error));
    FAILS(LEMMY_E_ARGUMENT, "out_logits", lemmy_session_forward(session, ids, 1, NULL, &vocab, &error));
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_forward(NULL, ids, 1, &logits, &vocab, &error));
    FAILS(LEMMY_E_ARGUMENT, "session", lemmy_session_prefill(NULL, ids, 1, NULL, NULL, &error));
    lemmy_session_free(session);
}

static void sampling(LemmyModel *model) {
    static const float logits[4] = {0, 3, 1, 2};
    LemmySampler *sampler = NULL;
    LemmySamplerOptions options, model_s;
    uint32_t id = 9, biased[1] = {0}, never[2] = {1, 3};
    float bias[1] = {10};
    model_s.struct_size = sizeof model_s;
    OK(lemmy_model_sampler_defaults(model, &model_s, &error));
    CHECK(model_s.temperature > 0 && model_s.order_count == 5 && model_s.seed == LEMMY_DEFAULT_64);
    CHECK(model_s.suppress_count > 0 && model_s.bias_count == 0);
    model_s.seed = 1;
    OK(lemmy_sampler_new(&model_s, &sampler, &error));
    lemmy_sampler_free(sampler);
    FAILS(LEMMY_E_ARGUMENT, "model", lemmy_model_sampler_defaults(NULL, &model_s, &error));
    FAILS(LEMMY_E_ARGUMENT, "out", lemmy_model_sampler_defaults(model, NULL, &error));

    CHECK(lemmy_sampler_options_init(NULL, sizeof options) == LEMMY_E_ARGUMENT);
    lemmy_sampler_options_init(&options, sizeof options);
    options.top_k = 1;
    options.suppress = never;
    options.suppress_count = 2;
    OK(lemmy_sampler_new(&options, &sampler, &error));
    OK(lemmy_sampler_sample(sampler, logits, 4, &id, &error));
    CHECK(id == 2);
    lemmy_sampler_free(sampler);
    options.bias_ids = biased;
    options.bias_values = bias;
    options.bias_count = 1;
    options.order[0] = LEMMY_SAMPLER_TOP_K;
    options.order_count = 1;
    OK(lemmy_sampler_new(&options, &sampler, &error));
    OK(lemmy_sampler_sample(sampler, logits, 4, &id, &error));
    CHECK(id == 0);
    lemmy_sampler_free(sampler);

    /* what was said is penalised */
    lemmy_sampler_options_init(&options, sizeof options);
    options.temperature = 0;
    options.presence_penalty = 2;
    options.repeat_last = LEMMY_ALL_TOKENS;
    OK(lemmy_sampler_new(&options, &sampler, &error));
    OK(lemmy_sampler_accept(sampler, 1, &error));
    OK(lemmy_sampler_sample(sampler, logits, 4, &id, &error));
    CHECK(id == 3);
    FAILS(LEMMY_E_ARGUMENT, "logits", lemmy_sampler_sample(sampler, logits, 0, &id, &error));
    FAILS(LEMMY_E_ARGUMENT, "logits", lemmy_sampler_sample(sampler, NULL, 4, &id, &error));
    FAILS(LEMMY_E_ARGUMENT, "out_id", lemmy_sampler_sample(sampler, logits, 4, NULL, &error));
    FAILS(LEMMY_E_ARGUMENT, "out_seed", lemmy_sampler_seed(sampler, NULL, &error));
    lemmy_sampler_free(sampler);

    OK(lemmy_sampler_new(NULL, &sampler, &error));
    lemmy_sampler_free(sampler);
    lemmy_sampler_free(NULL);
    options.min_p = -1;
    FAILS(LEMMY_E_ARGUMENT, "min_p", lemmy_sampler_new(&options, &sampler, &error));
    CHECK(sampler == NULL);
    options.min_p = 0;
    options.order_count = 9;
    FAILS(LEMMY_E_ARGUMENT, "order_count", lemmy_sampler_new(&options, &sampler, &error));
    options.order_count = 1;
    options.order[0] = 0;
    FAILS(LEMMY_E_ARGUMENT, "order", lemmy_sampler_new(&options, &sampler, &error));
    options.order[0] = 6;
    FAILS(LEMMY_E_ARGUMENT, "order", lemmy_sampler_new(&options, &sampler, &error));
    options.order[0] = 1;
    options.bias_count = 1;
    FAILS(LEMMY_E_ARGUMENT, "bias_ids", lemmy_sampler_new(&options, &sampler, &error));
    FAILS(LEMMY_E_ARGUMENT, "sampler", lemmy_sampler_new(NULL, NULL, &error));
    FAILS(LEMMY_E_ARGUMENT, "sampler", lemmy_sampler_sample(NULL, logits, 4, &id, &error));
    FAILS(LEMMY_E_ARGUMENT, "sampler", lemmy_sampler_accept(NULL, 1, &error));
}

int main(int argc, char **argv) {
    LemmyModel *model = load(argv);
    CHECK(argc == 3);
    a_loop(model);
    reading(model);
    sampling(model);
    lemmy_model_release(model);
    return failures != 0;
}
