/* Loading, facts, memory, chat template. */
#include "support.h"

typedef struct Seen {
    int calls, stop_at;
    uint32_t stages;
} Seen;

static int32_t on_progress(void *user_data, uint32_t stage, uint64_t done, uint64_t total) {
    Seen *seen = (Seen *)user_data;
    seen->calls += 1;
    seen->stages |= 1u << stage;
    CHECK(done <= total && stage >= LEMMY_STAGE_FILE && stage <= LEMMY_STAGE_WEIGHTS);
    return seen->calls == seen->stop_at;
}

static void estimates(char **argv) {
    LemmyMemory small = {sizeof(LemmyMemory), 9, 9, 9, 9, 9}, large = small;
    LemmyModelOptions options;
    uint64_t number = 9;
    OK(lemmy_model_estimate(argv[2], 512, &small, &error));
    CHECK(small.weights > 5000000 && small.weights < 6000000 && small.kv_per_session > 0 && small.picture == 0);
    lemmy_model_options_init(&options, sizeof options);
    OK(lemmy_model_estimate_with(argv[2], &options, 512, LEMMY_KV_F32, &large, &error));
    CHECK(large.weights == small.weights && large.kv_per_session > small.kv_per_session);
    OK(lemmy_model_estimate_with(argv[2], NULL, 512, LEMMY_KV_F16, &large, &error));
    CHECK(memcmp(&large, &small, sizeof large) == 0);

    FAILS(LEMMY_E_ARGUMENT, "kv_type", lemmy_model_estimate_with(argv[2], NULL, 512, 9, &large, &error));
    FAILS(LEMMY_E_IO, "no-such", lemmy_model_estimate_with("no-such-file.gguf", NULL, 1, 0, &large, &error));
    FAILS(LEMMY_E_ARGUMENT, "context", lemmy_model_estimate(argv[2], (uint64_t)-1, &large, &error));
    FAILS(LEMMY_E_ARGUMENT, "out", lemmy_model_estimate(argv[2], 512, NULL, &error));
    CHECK(lemmy_model_estimate("no-such-file.gguf", 512, &small, &error) == LEMMY_E_IO);
    CHECK(lemmy_error_value(error, LEMMY_VALUE_POSITION, &number) == 0 && number == 9);
    CHECK(lemmy_error_value(error, LEMMY_VALUE_POSITION, NULL) == 0);
    lemmy_error_free(error);
    CHECK(memcmp(&large, &small, sizeof large) == 0);
}

static void loading(char **argv) {
    LemmyModel *model = NULL;
    LemmyModelOptions options;
    LemmyPool *pool = NULL;
    LemmyCancel *cancel = lemmy_cancel_new();
    Seen seen = {0, 0, 0};
    uint64_t needed = 0, limit = 0;
    int at, calls;

    CHECK(lemmy_model_options_init(&options, sizeof options) == LEMMY_OK);
    CHECK(lemmy_model_options_init(&options, 8) == LEMMY_E_ARGUMENT);
    OK(lemmy_pool_new(NULL, &pool, &error));
    options.pool = pool;
    options.cancel = cancel;
    options.load_mode = LEMMY_LOAD_READ;
    options.on_progress = on_progress;
    options.user_data = &seen;
    OK(lemmy_model_load(argv[2], &options, &model, &error));
    CHECK(seen.stages == (1u << LEMMY_STAGE_FILE | 1u << LEMMY_STAGE_TOKENIZER | 1u << LEMMY_STAGE_WEIGHTS));
    lemmy_model_release(model);

    /* stopped by the callback at every place, and by a token */
    calls = seen.calls;
    for (at = 1; at <= calls; at++) {
        memset(&seen, 0, sizeof seen);
        seen.stop_at = at;
        FAILS(LEMMY_E_CANCELLED, "cancelled", lemmy_model_load(argv[2], &options, &model, &error));
        CHECK(model == NULL && seen.calls == at);
    }
    options.on_progress = NULL;
    lemmy_cancel_trigger(cancel);
    FAILS(LEMMY_E_CANCELLED, "cancelled", lemmy_model_load(argv[2], &options, &model, &error));
    lemmy_cancel_reset(cancel);

    options.memory_limit = 1000;
    CHECK(lemmy_model_load(argv[2], &options, &model, &error) == LEMMY_E_OUT_OF_MEMORY);
    CHECK(lemmy_error_value(error, LEMMY_VALUE_NEEDED, &needed) == 1 && needed > 1000);
    CHECK(lemmy_error_value(error, LEMMY_VALUE_LIMIT, &limit) == 1 && limit == 1000);
    lemmy_error_free(error);
    options.memory_limit = LEMMY_DEFAULT_64;

    options.chat_template = "{% if %}";
    options.chat_template_len = LEMMY_NUL_TERMINATED;
    FAILS(LEMMY_E_TEMPLATE, "template", lemmy_model_load(argv[2], &options, &model, &error));
    options.chat_template = NULL;
    options.mmproj_path = argv[2];
    FAILS(LEMMY_E_UNSUPPORTED, "clip", lemmy_model_load(argv[2], &options, &model, &error));
    options.mmproj_path = NULL;
    options.load_mode = 7;
    FAILS(LEMMY_E_ARGUMENT, "load_mode", lemmy_model_load(argv[2], &options, &model, &error));
    options.load_mode = LEMMY_LOAD_MAP;
    options.reserved = 1;
    FAILS(LEMMY_E_FIELD, "76", lemmy_model_load(argv[2], &options, &model, &error));

    FAILS(LEMMY_E_IO, "no-such-file.gguf", lemmy_model_load("no-such-file.gguf", NULL, &model, &error));
    FAILS(LEMMY_E_GGUF, "directory", lemmy_model_load(argv[1], NULL, &model, &error));
    FAILS(LEMMY_E_ARGUMENT, "path", lemmy_model_load(NULL, NULL, &model, &error));
    FAILS(LEMMY_E_ARGUMENT, "UTF-8", lemmy_model_load("caf\xe9.gguf", NULL, &model, &error));
    FAILS(LEMMY_E_ARGUMENT, "model", lemmy_model_load(argv[2], NULL, NULL, &error));
    CHECK(lemmy_model_load("no-such-file.gguf", NULL, &model, NULL) == LEMMY_E_IO);
    lemmy_pool_release(pool);
    lemmy_cancel_release(cancel);
}

/* A model file that changes under a session. */
static void a_file_that_changes(char **argv) {
    static char bytes[1 << 16];
    const char *path = path_in(argv, "changing.gguf");
    FILE *from = fopen(argv[2], "rb"), *to = fopen(path, "wb");
    LemmyModel *model = NULL;
    LemmySession *session;
    uint32_t id = 20;
    size_t size;
    CHECK(from != NULL && to != NULL);
    if (from == NULL || to == NULL) return;
    while ((size = fread(bytes, 1, sizeof bytes, from)) > 0) CHECK(fwrite(bytes, 1, size, to) == size);
    fclose(from);
    fclose(to);
    OK(lemmy_model_load(path, NULL, &model, &error));
    session = start(model, NULL);
    OK(lemmy_session_prefill(session, &id, 1, NULL, NULL, &error));
    to = fopen(path, "ab");
    CHECK(to != NULL && fputc(0, to) == 0 && fclose(to) == 0);
    FAILS(LEMMY_E_FILE_CHANGED, "changing.gguf", lemmy_session_prefill(session, &id, 1, NULL, NULL, &error));
    FAILS(LEMMY_E_FILE_CHANGED, "changing.gguf", lemmy_session_send(session, "Hi", 2, NULL, 0, NULL, &error));
    lemmy_session_free(session);
    lemmy_model_release(model);
}

static void facts(LemmyModel *model) {
    LemmyModelInfo info;
    LemmyMemory memory = {sizeof(LemmyMemory), 0, 0, 0, 0, 0};
    LemmySessionOptions options;
    const char *jinja = NULL;
    size_t len = 0;
    info.struct_size = sizeof info;
    OK(lemmy_model_info(model, &info, &error));
    CHECK(strlen(info.name) > 0 && strcmp(info.architecture, "gemma4") == 0 && strncmp(info.backend, "cpu", 3) == 0);
    CHECK(strcmp(info.types, "Q8_0,F32") == 0 && info.template_warning == NULL && info.parameters > 1000000);
    CHECK(info.vocab > 1000 && info.bos < info.vocab && info.has_vision == 0 && info.context > 0);
    FAILS(LEMMY_E_ARGUMENT, "model", lemmy_model_info(NULL, &info, &error));
    info.struct_size = 3;
    FAILS(LEMMY_E_ARGUMENT, "struct_size", lemmy_model_info(model, &info, &error));
    FAILS(LEMMY_E_ARGUMENT, "out", lemmy_model_info(model, NULL, &error));

    lemmy_session_options_init(&options, sizeof options);
    options.context = 512;
    OK(lemmy_model_memory(model, &options, &memory, &error));
    CHECK(memory.weights > 5000000 && memory.scratch > 0);
    options.context = 0;
    FAILS(LEMMY_E_ARGUMENT, "context", lemmy_model_memory(model, &options, &memory, &error));
    FAILS(LEMMY_E_ARGUMENT, "model", lemmy_model_memory(NULL, NULL, &memory, &error));

    OK(lemmy_model_chat_template(model, &jinja, &len, &error));
    CHECK(len > 1000 && strlen(jinja) == len);
    FAILS(LEMMY_E_ARGUMENT, "out_len", lemmy_model_chat_template(model, &jinja, NULL, &error));
    CHECK(jinja == NULL);
    FAILS(LEMMY_E_ARGUMENT, "model", lemmy_model_chat_template(NULL, &jinja, &len, &error));
}

static void prompts(LemmyModel *model) {
    static const char *messages = "[{\"role\":\"user\",\"content\":\"Hi\"}]";
    LemmyBuffer *text = NULL;
    LemmyChatOptions options;
    OK(lemmy_model_render_chat(model, messages, LEMMY_NUL_TERMINATED, NULL, &text, &error));
    CHECK(strncmp((const char *)lemmy_buffer_data(text), "<bos><|turn>user\nHi<turn|>\n<|turn>model\n", 39) == 0);
    lemmy_buffer_free(text);

    CHECK(lemmy_chat_options_init(&options, sizeof options) == LEMMY_OK);
    CHECK(options.add_generation_prompt == 1);
    options.add_generation_prompt = 0;
    options.tools_json = "[{\"type\":\"function\",\"function\":{\"name\":\"clock\",\"description\":\"Time\"}}]";
    options.tools_len = strlen(options.tools_json);
    OK(lemmy_model_render_chat(model, messages, strlen(messages), &options, &text, &error));
    CHECK(strstr((const char *)lemmy_buffer_data(text), "declaration:clock") != NULL);
    CHECK(strstr((const char *)lemmy_buffer_data(text), "<|turn>model") == NULL);
    lemmy_buffer_free(text);

    options.tools_len -= 1;
    FAILS(LEMMY_E_ARGUMENT, "tools", lemmy_model_render_chat(model, messages, strlen(messages), &options, &text, &error));
    CHECK(text == NULL);
    options.tools_json = NULL;
    options.thinking = 2;
    FAILS(LEMMY_E_ARGUMENT, "thinking",
          lemmy_model_render_chat(model, messages, strlen(messages), &options, &text, &error));
    FAILS(LEMMY_E_ARGUMENT, "messages[0]: the key \"colour\"",
          lemmy_model_render_chat(model, "[{\"role\":\"user\",\"content\":\"Hi\",\"colour\":1}]", LEMMY_NUL_TERMINATED,
                                  NULL, &text, &error));
    FAILS(LEMMY_E_ARGUMENT, "null", lemmy_model_render_chat(model, NULL, 4, NULL, &text, &error));
    FAILS(LEMMY_E_ARGUMENT, "null", lemmy_model_render_chat(NULL, messages, strlen(messages), NULL, &text, &error));
    CHECK(lemmy_chat_options_init(NULL, sizeof options) == LEMMY_E_ARGUMENT);
}

int main(int argc, char **argv) {
    LemmyModel *model;
    CHECK(argc == 3);
    estimates(argv);
    loading(argv);
    model = load(argv);
    CHECK(lemmy_model_retain(model) == model);
    lemmy_model_release(model);
    a_file_that_changes(argv);
    facts(model);
    prompts(model);
    lemmy_model_release(model);
    lemmy_model_release(NULL);
    CHECK(lemmy_model_retain(NULL) == NULL);
    return failures != 0;
}
