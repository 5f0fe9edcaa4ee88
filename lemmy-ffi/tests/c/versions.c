/* Programs whose header is older or newer than the library: each struct that has a size. */
#include "support.h"

enum { MORE = 24 };

/* A struct as a newer header might have it: with MORE bytes at its end, and bytes behind that nobody may touch. */
#define NEWER(type)                                                                                                    \
    union {                                                                                                            \
        type now;                                                                                                      \
        uint8_t bytes[sizeof(type) + MORE + 8];                                                                        \
    }

/* `accepted` with the newer struct `s` unset; LEMMY_E_FIELD, and its place, with each of the new bytes set. */
#define NEWER_OPTIONS(type, init, accepted, drop)                                                                      \
    do {                                                                                                               \
        NEWER(type) s;                                                                                                 \
        size_t at;                                                                                                     \
        memset(&s, 0xaa, sizeof s);                                                                                    \
        CHECK(init(&s.now, sizeof(type) + MORE) == LEMMY_OK);                                                          \
        CHECK(s.now.struct_size == sizeof(type) + MORE && s.bytes[sizeof(type) + MORE] == 0xaa);                       \
        OK(accepted);                                                                                                  \
        drop;                                                                                                          \
        for (at = sizeof(type); at < sizeof(type) + MORE; at++) {                                                      \
            uint64_t place = 0;                                                                                        \
            s.bytes[at] = 1;                                                                                           \
            CHECK((accepted) == LEMMY_E_FIELD);                                                                        \
            CHECK(lemmy_error_value(error, LEMMY_VALUE_POSITION, &place) == 1 && place == at);                         \
            lemmy_error_free(error);                                                                                   \
            s.bytes[at] = 0;                                                                                           \
        }                                                                                                              \
        error = (LemmyError *)&failures;                                                                               \
        s.now.struct_size = sizeof(size_t); /* as old as no header ever was */                                         \
        FAILS(LEMMY_E_ARGUMENT, "struct_size", accepted);                                                              \
        s.now.struct_size = 5000;                                                                                      \
        FAILS(LEMMY_E_ARGUMENT, "struct_size", accepted);                                                              \
    } while (0)

/* What the library does not know is zero; what lies behind is as it was. */
#define NEWER_ANSWER(type, call)                                                                                       \
    do {                                                                                                               \
        NEWER(type) s;                                                                                                 \
        size_t at;                                                                                                     \
        memset(&s, 0xaa, sizeof s);                                                                                    \
        s.now.struct_size = sizeof(type) + MORE;                                                                       \
        OK(call);                                                                                                      \
        CHECK(s.now.struct_size == sizeof(type) + MORE);                                                               \
        for (at = sizeof(type); at < sizeof(type) + MORE; at++) CHECK(s.bytes[at] == 0);                               \
        CHECK(s.bytes[at] == 0xaa);                                                                                    \
        s.now.struct_size = 0;                                                                                         \
        FAILS(LEMMY_E_ARGUMENT, "struct_size", call);                                                                  \
    } while (0)

static void options(char **argv, LemmyModel *model, LemmySession *session) {
    static const uint8_t pixels[3] = {0, 0, 0};
    LemmyPool *pool = NULL;
    LemmyModel *other = NULL;
    LemmySession *another = NULL;
    LemmySampler *sampler = NULL;
    LemmyBuffer *text = NULL;
    LemmyImage *image = NULL;
    LemmyMemory memory;
    memory.struct_size = sizeof memory;
    NEWER_OPTIONS(LemmyPoolOptions, lemmy_pool_options_init, lemmy_pool_new(&s.now, &pool, &error),
                  lemmy_pool_release(pool));
    NEWER_OPTIONS(LemmyModelOptions, lemmy_model_options_init, lemmy_model_load(argv[2], &s.now, &other, &error),
                  lemmy_model_release(other));
    NEWER_OPTIONS(LemmyChatOptions, lemmy_chat_options_init,
                  lemmy_model_render_chat(model, "[]", 2, &s.now, &text, &error), lemmy_buffer_free(text));
    NEWER_OPTIONS(LemmyImageOptions, lemmy_image_options_init,
                  lemmy_image_from_rgb(pixels, 1, 1, 3, &s.now, &image, &error), lemmy_image_release(image));
    NEWER_OPTIONS(LemmySessionOptions, lemmy_session_options_init,
                  lemmy_session_new(model, (s.now.context = 64, &s.now), &another, &error),
                  lemmy_session_free(another));
    NEWER_OPTIONS(LemmySamplerOptions, lemmy_sampler_options_init, lemmy_sampler_new(&s.now, &sampler, &error),
                  lemmy_sampler_free(sampler));
    NEWER_OPTIONS(LemmyGenerateOptions, lemmy_generate_options_init,
                  lemmy_session_send(session, "Hi", 2, NULL, 0, &s.now, &error), (void)0);
}

static void answers(char **argv, LemmyModel *model, LemmySession *session) {
    static const char *messages = "[{\"role\":\"user\",\"content\":\"Hi\"}]";
    OK(lemmy_session_send(session, "Hi", 2, NULL, 0, NULL, &error));
    NEWER_ANSWER(LemmyEvent, lemmy_session_next(session, &s.now, &error));
    OK(lemmy_session_stop(session, &error));
    NEWER_ANSWER(LemmyFinish, lemmy_session_finish(session, &s.now, &error));
    NEWER_ANSWER(LemmySessionInfo, lemmy_session_info(session, &s.now, &error));
    NEWER_ANSWER(LemmySyncReport,
                 lemmy_session_sync(session, messages, strlen(messages), NULL, 0, NULL, &s.now, &error));
    NEWER_ANSWER(LemmyModelInfo, lemmy_model_info(model, &s.now, &error));
    NEWER_ANSWER(LemmySamplerOptions, lemmy_model_sampler_defaults(model, &s.now, &error));
    NEWER_ANSWER(LemmyMemory, lemmy_model_estimate(argv[2], 64, &s.now, &error));
    NEWER_ANSWER(LemmyMemory, lemmy_model_memory(model, NULL, &s.now, &error));
}

/* LemmyMemory of ABI 0.1 ended before `picture`. */
static void an_old_answer(char **argv) {
    LemmyMemory memory;
    memset(&memory, 0xaa, sizeof memory);
    memory.struct_size = offsetof(LemmyMemory, picture);
    OK(lemmy_model_estimate(argv[2], 64, &memory, &error));
    CHECK(memory.weights > 0 && memory.scratch > 0 && memory.picture == UINT64_C(0xaaaaaaaaaaaaaaaa));
}

int main(int argc, char **argv) {
    LemmyModel *model = load(argv);
    LemmySession *session = start(model, NULL);
    CHECK(argc == 3);
    options(argv, model, session);
    answers(argv, model, session);
    an_old_answer(argv);
    lemmy_session_free(session);
    lemmy_model_release(model);
    return failures != 0;
}
